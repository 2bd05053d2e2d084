// A file that appears under its name only when it has been written completely.
// Invariant: until commit() has returned, an existing file of that name is unchanged, and whatever ends the
// writing (an error, a full disk, Ctrl-C) leaves no part of the new content. Devices and pipes are written
// directly.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gguf/error.hpp"

namespace gemma::app {

/// Writes one file. Not copyable; used by one thread at a time. All errors are Error{kIo} naming the path and
/// the system's reason.
class WholeFile {
 public:
  /// Opens the file for writing, so that a path that cannot be written is an error before any work is done.
  explicit WholeFile(const std::string& path) : path_(path), target_(resolve(path)) {
    struct stat st {};
    const bool exists = ::stat(target_.c_str(), &st) == 0;
    if (exists && S_ISDIR(st.st_mode)) fail(EISDIR);
    if (exists && !S_ISREG(st.st_mode)) {
      fd_ = ::open(target_.c_str(), O_WRONLY | O_CLOEXEC);
    } else {
      if (exists && ::access(target_.c_str(), W_OK) != 0) fail(errno);
      temporary_ = target_ + "." + std::to_string(::getpid()) + ".part";
      fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    }
    if (fd_ < 0) {
      const int error = errno;
      temporary_.clear();  // not created by us
      fail(error);
    }
  }
  WholeFile(const WholeFile&) = delete;
  WholeFile& operator=(const WholeFile&) = delete;
  ~WholeFile() {
    if (fd_ >= 0) ::close(fd_);
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
  }

  void write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail(errno);
      bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
  }
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }

  /// Gives the file its name. Nothing may be written afterwards.
  void commit() {
    const int fd = fd_;
    fd_ = -1;
    if (::close(fd) != 0) fail(errno);  // network file systems report a full disk here
    if (temporary_.empty()) return;
    if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail(errno);
    temporary_.clear();
  }

 private:
  /// The file that symbolic links lead to, which is replaced: the links remain.
  static std::string resolve(const std::string& path) {
    std::error_code error;
    const auto real = std::filesystem::canonical(path, error);
    return error ? path : real.string();
  }
  [[noreturn]] void fail(int error) const {
    throw Error(ErrorCode::kIo, path_ + ": cannot write: " + std::strerror(error));
  }

  std::string path_;
  std::string target_;
  std::string temporary_;  // empty when target_ is written directly, or commit() has renamed it
  int fd_ = -1;
};

}  // namespace gemma::app
