// Plain characters: those that need no escape in a JSON string and that "." of a pattern matches, i.e. all
// except control characters, '"', '\' and the two line separators. Most pieces of a vocabulary consist of
// them, so where a grammar allows all of them, it allows all these pieces, and none is examined by itself.
// Invariant: kEdges are the UTF-8 of exactly these characters.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "../../tokenizer/utf8.hpp"

namespace gemma::detail {

struct PlainChars {
  /// An edge of the automaton of plain characters over bytes. State 0 is between characters.
  struct Edge {
    std::uint8_t from, first, last, to;
  };
  static constexpr std::size_t kStates = 10;
  static constexpr std::array<Edge, 24> kEdges = {{
      {0, 0x20, 0x21, 0}, {0, 0x23, 0x5B, 0}, {0, 0x5D, 0x7F, 0},  // without " and backslash
      {0, 0xC2, 0xDF, 1}, {1, 0x80, 0xBF, 0},                      // two bytes
      {0, 0xE0, 0xE0, 2}, {2, 0xA0, 0xBF, 1},                      // three: no overlong forms,
      {0, 0xE1, 0xE1, 3}, {0, 0xE3, 0xEC, 3}, {0, 0xEE, 0xEF, 3}, {3, 0x80, 0xBF, 1},  //
      {0, 0xED, 0xED, 4}, {4, 0x80, 0x9F, 1},                                          // no surrogates,
      {0, 0xE2, 0xE2, 5}, {5, 0x81, 0xBF, 1}, {5, 0x80, 0x80, 6},                      // no U+2028 and U+2029
      {6, 0x80, 0xA7, 0}, {6, 0xAA, 0xBF, 0},                                          //
      {0, 0xF0, 0xF0, 7}, {7, 0x90, 0xBF, 3},                      // four: no overlong forms,
      {0, 0xF1, 0xF3, 8}, {8, 0x80, 0xBF, 3}, {0, 0xF4, 0xF4, 9},  //
      {9, 0x80, 0x8F, 3},                                          // none past U+10FFFF
  }};

  static constexpr bool is_plain(std::uint32_t c) {
    return c >= 0x20 && c != '"' && c != '\\' && c != 0x2028 && c != 0x2029;
  }
  /// The number of characters of `text` if all are plain and complete, else nullopt.
  static std::optional<std::size_t> count(std::string_view text) {
    std::size_t n = 0;
    for (std::size_t at = 0; at < text.size(); ++n) {
      const utf8::Sequence s = utf8::next(text, at);
      if (!s.valid || !is_plain(s.point)) return std::nullopt;
      at += s.length;
    }
    return n;
  }
};

}  // namespace gemma::detail
