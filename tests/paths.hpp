// Paths of test data. Our own data is in the repository. Data owned by others may be beside it, in ../shared;
// tests that need it are skipped with a message if it is missing.
#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

#include <gtest/gtest.h>

namespace gemma::test {

inline std::filesystem::path source_dir() {
  return GEMMA_SOURCE_DIR;
}
inline std::filesystem::path shared_dir() {
  return source_dir().parent_path() / "shared";
}
inline std::filesystem::path golden_dir() {
  return source_dir() / "tests" / "golden" / "models";
}
/// The file of a golden model: milliseconds to run; some have no vocabulary.
inline std::string golden_model(const std::string& name) {
  return (golden_dir() / (name + ".gguf")).string();
}
/// The file of a demo model, which has a vocabulary and answers; 4 MB.
inline std::string demo_model(const std::string& family = "gemma") {
  return (source_dir() / "examples" / "models" / (family + "-demo.Q4_K_M.gguf")).string();
}

/// The content of a file. Throws std::runtime_error when it cannot be opened.
inline std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path.string());
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace gemma::test

/// Skips the current test, with a message, unless `../shared/RELATIVE` exists.
#define GEMMA_NEEDS_SHARED(relative)                                              \
  if (!std::filesystem::exists(gemma::test::shared_dir() / (relative))) {         \
    GTEST_SKIP() << "needs " << (gemma::test::shared_dir() / (relative)).string() \
                 << ", which is not on this machine";                             \
  }                                                                               \
  static_assert(true)
