// Parses token ids as written by people and in files.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "examples/numbers.hpp"
#include "gguf/error.hpp"

namespace gemma::app {

/// Parses ids separated by commas or white space. Throws Error{kInvalidArgument} naming `source` and the text
/// that is not an id.
inline std::vector<std::int32_t> parse_token_ids(std::string_view text, const std::string& source) {
  constexpr std::string_view kSpace = " \t\r\n";
  std::vector<std::int32_t> ids;
  bool after_comma = false;
  for (std::size_t at = 0;;) {
    at = std::min(text.find_first_not_of(kSpace, at), text.size());
    if (at == text.size()) break;
    const std::size_t end = std::min(text.find_first_of(std::string(kSpace) + ",", at), text.size());
    const std::string_view word = text.substr(at, end - at);
    const auto id = parse_number<std::int32_t>(word);
    if (!id) {
      throw Error(ErrorCode::kInvalidArgument, source + ": " + gemma::quoted(word) + " is not a token id");
    }
    ids.push_back(*id);
    at = std::min(text.find_first_not_of(kSpace, end), text.size());
    after_comma = at < text.size() && text[at] == ',';
    if (after_comma) ++at;
  }
  if (ids.empty() || after_comma) {
    throw Error(ErrorCode::kInvalidArgument,
                source + (ids.empty() ? ": no token ids" : ": ends with a comma"));
  }
  return ids;
}

}  // namespace gemma::app
