// The text of a conversation while it is written.
// Invariant: texts of messages are marked as literal, the dialect's own text is not.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "message.hpp"

namespace gemma::detail {

/// Without white space at the beginning or the end, as Python's str.strip and Jinja's trim.
inline std::string_view strip(std::string_view text, bool left = true, bool right = true) {
  constexpr std::array<std::string_view, 29> kSpaces = {
      "\t",           "\n",           "\v",           "\f",           "\r",
      "\x1c",         "\x1d",         "\x1e",         "\x1f",         " ",
      "\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x81",
      "\xe2\x80\x82", "\xe2\x80\x83", "\xe2\x80\x84", "\xe2\x80\x85", "\xe2\x80\x86",
      "\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89", "\xe2\x80\x8a", "\xe2\x80\xa8",
      "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80"};
  for (bool found = true; found;) {
    found = false;
    for (const std::string_view space : kSpaces) {
      if (left && text.starts_with(space)) text.remove_prefix(space.size()), found = true;
      if (right && text.ends_with(space)) text.remove_suffix(space.size()), found = true;
    }
  }
  return text;
}

/// The spelling of the special tokens that stand for "{bos}" and "{eos}" in a dialect's facts.
struct SpecialTexts {
  std::string_view bos, eos;
};

/// Builds a RenderedChat piece by piece.
class ChatText {
 public:
  explicit ChatText(SpecialTexts specials) : specials_(specials) {}

  std::size_t size() const noexcept { return chat_.text.size(); }
  RenderedChat take() { return std::move(chat_); }

  /// Appends text of the template, in which markers are control tokens.
  void mark(std::string_view text) {
    while (!text.empty()) {
      const std::size_t at = std::min(text.find('{'), text.size());
      chat_.text += text.substr(0, at);
      text.remove_prefix(at);
      if (text.empty()) return;
      const bool bos = text.starts_with("{bos}");
      const bool eos = text.starts_with("{eos}");
      chat_.text += bos ? specials_.bos : eos ? specials_.eos : text.substr(0, 1);
      text.remove_prefix(bos || eos ? 5 : 1);
    }
  }
  /// Appends text of a message, in which markers stay plain text.
  void say(std::string_view content, bool trim) {
    if (trim) content = strip(content);
    if (content.empty()) return;
    chat_.literal.push_back({chat_.text.size(), chat_.text.size() + content.size()});
    chat_.text += content;
  }
  /// Marks the text from `begin` to its present end as an answer whose ids are known.
  void answer(std::size_t begin) { chat_.answers.push_back({begin, chat_.text.size()}); }

 private:
  SpecialTexts specials_;
  RenderedChat chat_;
};

}  // namespace gemma::detail
