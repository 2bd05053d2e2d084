// Texts in which U+2581 stands for a space, and words as the unit that is encoded and remembered.
// Invariant: a word begins where U+2581 follows another character, so a text is its words in order.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "token_types.hpp"
#include "utf8.hpp"

namespace gemma::detail {

/// Appends `text` with U+2581 in place of spaces.
inline void append_marked(std::string_view text, std::string& out) {
  for (const char c : text) {
    if (c == ' ') {
      out += utf8::kSpaceMark;
    } else {
      out += c;
    }
  }
}
inline std::string mark_spaces(std::string_view text) {
  std::string out;
  append_marked(text, out);
  return out;
}
/// Appends `text` with spaces in place of U+2581.
inline void append_unmarked(std::string_view text, std::string& out) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t mark = std::min(text.find(utf8::kSpaceMark, at), text.size());
    out += text.substr(at, mark - at);
    if (mark < text.size()) out += ' ';
    at = mark + utf8::kSpaceMark.size();
  }
}
/// Whether U+2581 follows another character in `piece`: then merges may cross the beginning of a word.
inline bool joins_words(std::string_view piece) {
  while (piece.starts_with(utf8::kSpaceMark)) piece.remove_prefix(utf8::kSpaceMark.size());
  return piece.find(utf8::kSpaceMark) != piece.npos;
}

/// Words that came before in a text, and where their ids stand in the result. For one call; the text must
/// outlive it.
class Words {
 public:
  /// Appends the ids of `text`, word by word if `by_word`; `encode(word, ids)` is called for new words only.
  template <typename Encode>
  void append(std::string_view text, bool by_word, std::vector<TokenId>& ids, Encode&& encode) {
    while (!text.empty()) {
      const std::string_view word = text.substr(0, by_word ? word_length(text) : text.size());
      text.remove_prefix(word.size());
      const auto [known, fresh] = known_.try_emplace(word, Known{ids.size(), 0});
      if (fresh) {
        encode(word, ids);
        known->second.count = ids.size() - known->second.begin;
      } else {
        const Known from = known->second;
        for (std::size_t i = 0; i < from.count; ++i) ids.push_back(ids[from.begin + i]);
      }
    }
  }

 private:
  struct Known {
    std::size_t begin;
    std::size_t count;
  };
  /// Bytes up to the next U+2581 that follows another character.
  static std::size_t word_length(std::string_view text) {
    std::size_t at = 0;
    while (text.substr(at).starts_with(utf8::kSpaceMark)) at += utf8::kSpaceMark.size();
    return std::min(text.find(utf8::kSpaceMark, at), text.size());
  }

  std::unordered_map<std::string_view, Known> known_;
};

}  // namespace gemma::detail
