// A temporary folder for a test, removed with its content.
#pragma once

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include <stdlib.h>

namespace gemma::test {

class TemporaryFolder {
 public:
  /// Creates the folder in `where` if that is a folder, otherwise in the system's folder for temporary files.
  explicit TemporaryFolder(const std::filesystem::path& where = "")
      : path_(((std::filesystem::is_directory(where) ? where : std::filesystem::temp_directory_path()) /
               "gemma-test-XXXXXX")
                  .string()) {
    if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("cannot create " + path_);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::string& path() const { return path_; }
  /// The path of `name` in the folder.
  std::string path(std::string_view name) const { return path_ + "/" + std::string(name); }
  std::filesystem::path operator/(std::string_view name) const { return path(name); }
  /// Writes a file and returns its path.
  std::string write(std::string_view name, std::string_view content) const {
    std::ofstream(path(name), std::ios::binary) << content;
    return path(name);
  }
  std::string write(std::string_view name, std::span<const std::byte> content) const {
    return write(name, std::string_view(reinterpret_cast<const char*>(content.data()), content.size()));
  }

 private:
  std::string path_;
};

}  // namespace gemma::test
