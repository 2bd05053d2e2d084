// Texts in which U+2581 represents a space, and words, which are encoded one by one and cached.
// Invariant: a word begins where U+2581 follows another character, so a text is its words in order, and its
// ids are those of its words in order.
#pragma once

#include <algorithm>
#include <bitset>
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
/// The positions at which a text may be split into words that are merged one by one: no merge crosses the
/// boundary between a character and the U+2581 after it unless some piece has both. Few vocabularies have
/// such a piece (Gemma 3 and 4: one, '>', U+2581, "</"); a text is not split after the character before its
/// U+2581.
class WordCuts {
 public:
  /// Adds a piece that merging can produce.
  void add(std::string_view piece) {
    for (std::size_t at = piece.find(utf8::kSpaceMark); at != piece.npos;
         at = piece.find(utf8::kSpaceMark, at + utf8::kSpaceMark.size())) {
      if (at > 0 && !piece.substr(0, at).ends_with(utf8::kSpaceMark)) joined_.set(last_byte(piece, at));
    }
  }
  /// Number of bytes of the first word of `text`: up to a U+2581 after another character, or all.
  std::size_t length(std::string_view text) const {
    std::size_t at = 0;
    while (true) {
      while (text.substr(at).starts_with(utf8::kSpaceMark)) at += utf8::kSpaceMark.size();
      at = std::min(text.find(utf8::kSpaceMark, at), text.size());
      if (at == text.size() || !joined_.test(last_byte(text, at))) return at;
    }
  }

 private:
  static std::size_t last_byte(std::string_view text, std::size_t end) {
    return static_cast<unsigned char>(text[end - 1]);
  }
  std::bitset<256> joined_;  // last bytes of characters that precede U+2581 in some piece
};

/// The words of a text so far, and the positions of their ids in the result. For one call; the text must
/// outlive it.
class Words {
 public:
  /// Appends the ids of `text`, word by word; `encode(word, ids)` is called for new words only.
  template <typename Encode>
  void append(std::string_view text, const WordCuts& cuts, std::vector<TokenId>& ids, Encode&& encode) {
    while (!text.empty()) {
      const std::string_view word = text.substr(0, cuts.length(text));
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
  std::unordered_map<std::string_view, Known> known_;
};

}  // namespace gemma::detail
