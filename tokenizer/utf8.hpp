// UTF-8 for the tokenizers: complete characters, malformed and incomplete sequences.
// Invariant: "valid" means well-formed by Unicode's table 3-7: no overlong forms, surrogates, or code points
// past U+10FFFF. A malformed sequence is split into maximal subparts, one U+FFFD each (Unicode 15, sec. 3.9).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace gemma::utf8 {

inline constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
inline constexpr std::string_view kSpaceMark = "\xE2\x96\x81";    // U+2581, sentencepiece's space

/// The character, or the malformed bytes, at one position of a text.
struct Sequence {
  std::size_t length = 0;   // bytes of the character, or of the maximal subpart if malformed; >= 1
  bool valid = false;       // a complete character
  bool incomplete = false;  // malformed only because the text ends: more bytes could complete it
  std::uint32_t point = 0;  // code point when valid
};

/// The sequence that starts at `text[at]`; needs at < text.size().
inline Sequence next(std::string_view text, std::size_t at) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {1, true, false, lead};
  if (lead < 0xC2 || lead > 0xF4) return {1, false, false, 0};
  const std::size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // the second byte's range excludes overlong forms, surrogates and code points past U+10FFFF
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  std::uint32_t point = lead & (0x7Fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if (at + i == text.size()) return {i, false, true, 0};
    if (byte(i) < low || byte(i) > high) return {i, false, false, 0};
    point = (point << 6) | (byte(i) & 0x3Fu);
    low = 0x80;
    high = 0xBF;
  }
  return {length, true, false, point};
}

/// Number of bytes from `at` to the first malformed sequence or the end.
inline std::size_t valid_prefix(std::string_view text, std::size_t at = 0) noexcept {
  std::size_t end = at;
  while (end < text.size()) {
    const Sequence s = next(text, end);
    if (!s.valid) break;
    end += s.length;
  }
  return end - at;
}

/// Offset of a sequence at the end that more bytes could complete; text.size() if there is none.
inline std::size_t incomplete_tail(std::string_view text) noexcept {
  for (std::size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const std::size_t at = text.size() - back;
    if ((static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) continue;  // a continuation byte
    const Sequence s = next(text, at);
    return s.incomplete && s.length == back ? at : text.size();
  }
  return text.size();
}

/// `text` with every maximal subpart of a malformed sequence replaced by U+FFFD.
inline std::string replace_invalid(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t good = valid_prefix(text, at);
    out.append(text.substr(at, good));
    at += good;
    if (at == text.size()) break;
    out.append(kReplacement);
    at += next(text, at).length;
  }
  return out;
}

/// Appends `point`, which must be a Unicode scalar value, to `out` as UTF-8.
inline void append(std::uint32_t point, std::string& out) {
  if (point < 0x80) {
    out += static_cast<char>(point);
  } else if (point < 0x800) {
    out += static_cast<char>(0xC0 | (point >> 6));
    out += static_cast<char>(0x80 | (point & 0x3F));
  } else if (point < 0x10000) {
    out += static_cast<char>(0xE0 | (point >> 12));
    out += static_cast<char>(0x80 | ((point >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (point & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (point >> 18));
    out += static_cast<char>(0x80 | ((point >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((point >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (point & 0x3F));
  }
}

}  // namespace gemma::utf8
