// Keeps a program from replacing its own input.
// Invariant: two names are one file when they are the same object of the file system, through links too.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "examples/numbers.hpp"
#include "gguf/error.hpp"

namespace gemma::app {

/// The files that `input` stands for: itself, or the parts of a split model (NAME-00001-of-00003.gguf).
inline std::vector<std::string> files_of_input(const std::string& input) {
  std::vector<std::string> out = {input};
  constexpr std::string_view kEnd = "-00001-of-00003.gguf";
  if (input.size() < kEnd.size()) return out;
  const std::size_t at = input.size() - kEnd.size();
  const std::string_view end = std::string_view(input).substr(at);
  const auto count = parse_number<std::size_t>(end.substr(10, 5));
  if (!count || !parse_number<std::size_t>(end.substr(1, 5)) || end[0] != '-' || end.substr(6, 4) != "-of-" ||
      end.substr(15) != ".gguf") {
    return out;
  }
  for (std::size_t i = 1; i <= *count; ++i) {
    const std::string digits = std::to_string(i);
    out.push_back(input.substr(0, at + 1) + std::string(5 - digits.size(), '0') + digits +
                  input.substr(at + 6));
  }
  return out;
}

/// Throws Error{kInvalidArgument} when writing the file `out` would replace one of `inputs`, or a part of
/// one. Devices and pipes are never replaced. Names that are empty or of no file are none.
inline void refuse_same_file(const std::string& out, std::span<const std::string> inputs) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(out, error)) return;
  for (const std::string& input : inputs) {
    for (const std::string& file : files_of_input(input)) {
      if (!std::filesystem::equivalent(out, file, error) || error) continue;
      throw Error(
          ErrorCode::kInvalidArgument,
          out + ": would replace " + (file == out ? "an input of this command" : "the input " + file));
    }
  }
}

}  // namespace gemma::app
