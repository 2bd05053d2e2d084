// Makes text of files and users safe to show: one line, without bytes that control a terminal.
// Invariant: the result is valid UTF-8 without control, format or invalid characters.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "tokenizer/utf8.hpp"

namespace gemma::app {

/// Whether a terminal acts on the character instead of showing it: controls, line separators, marks that
/// reorder or hide text (Unicode's Cc, Zl, Zp, the bidirectional ones of Cf, zero widths, tags).
inline bool acts_on_terminal(std::uint32_t point) noexcept {
  const auto within = [point](std::uint32_t first, std::uint32_t last) {
    return point >= first && point <= last;
  };
  return point < 0x20 || within(0x7F, 0x9F) || point == 0xAD || point == 0x61C || point == 0x180E ||
         within(0x200B, 0x200F) || within(0x2028, 0x202E) || within(0x2060, 0x206F) || point == 0xFEFF ||
         within(0xFFF9, 0xFFFB) || within(0xE0000, 0xE007F);
}

namespace detail {
inline void append_hex(std::string& out, std::uint32_t value, int digits) {
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) out += "0123456789abcdef"[(value >> shift) & 15];
}

/// Appends the character at text[at] and returns its length in bytes.
inline std::size_t append_printable(std::string& out, std::string_view text, std::size_t at) {
  const utf8::Sequence s = utf8::next(text, at);
  if (s.valid && !acts_on_terminal(s.point)) {
    out += text.substr(at, s.length);
  } else if (s.valid && s.point == '\n') {
    out += "\\n";
  } else if (s.valid && s.point == '\t') {
    out += "\\t";
  } else if (s.valid && s.point >= 0x80) {
    out += "\\u{";
    append_hex(out, s.point, s.point > 0xFFFF ? 5 : 4);
    out += '}';
  } else {
    for (std::size_t i = 0; i < s.length; ++i) {
      out += "\\x";
      append_hex(out, static_cast<unsigned char>(text[at + i]), 2);
    }
  }
  return s.length;
}
}  // namespace detail

/// `text` for a message or a table, with escapes such as \n, \t, \x1b, \u{202e} for characters that are not
/// shown.
inline std::string printable(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) at += detail::append_printable(out, text, at);
  return out;
}

/// The first `most` characters in double quotes, with backslashes and quotes escaped too, so that different
/// texts look different; "..." follows if text was cut.
inline std::string quoted_printable(std::string_view text, std::size_t most) {
  std::string out = "\"";
  std::size_t at = 0;
  for (std::size_t n = 0; n < most && at < text.size(); ++n) {
    if (text[at] == '"' || text[at] == '\\') out += '\\';
    at += detail::append_printable(out, text, at);
  }
  return out + (at < text.size() ? "\"..." : "\"");
}

}  // namespace gemma::app
