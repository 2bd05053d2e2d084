// Files of a run's directory, as tests compare them.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "tests/paths.hpp"

namespace gemma::squad::test {

/// The content of a file; "" while there is none.
inline std::string text_of(const std::filesystem::path& file) {
  return std::filesystem::exists(file) ? gemma::test::read_bytes(file) : "";
}

/// The answers without what depends on times.
inline std::string timeless(const std::filesystem::path& directory) {
  std::ifstream in(directory / "answers.jsonl");
  std::string out;
  for (std::string line; std::getline(in, line);) {
    const std::size_t cut = line.find(",\"timing\":");
    EXPECT_NE(cut, std::string::npos);
    out.append(line, 0, cut).push_back('\n');
  }
  return out;
}

}  // namespace gemma::squad::test
