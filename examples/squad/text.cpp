#include "examples/squad/text.hpp"

#include <algorithm>
#include <iterator>

#include "examples/squad/unicode_tables.hpp"
#include "tokenizer/utf8.hpp"

namespace gemma::squad {
namespace {

bool is_combining(char32_t c) noexcept {
  return c >= 0x300 && c <= 0x36F;
}

bool is_cased(char32_t c) noexcept {
  if (lower(c) != c) return true;
  if (c < 0x80) return c >= 'a' && c <= 'z';
  // whether some range maps onto it; the few lower-case letters without a capital never follow a sigma
  return std::any_of(
      std::begin(unicode::kLower), std::end(unicode::kLower), [c](const unicode::LowerRange& range) {
        const auto upper = static_cast<std::int64_t>(c) - range.delta;
        return upper >= range.first && upper <= range.last && (upper - range.first) % range.stride == 0;
      });
}

bool is_case_ignorable(char32_t c) noexcept {
  return c == '\'' || c == '.' || c == ':' || c == '^' || c == '`' || c == 0xA8 || c == 0xAD || c == 0xAF ||
         c == 0xB4 || c == 0xB7 || c == 0xB8 || c == 0x2018 || c == 0x2019 || is_combining(c);
}

bool is_final_sigma(std::u32string_view text, std::size_t at) noexcept {
  std::size_t before = at;
  while (before > 0 && is_case_ignorable(text[before - 1])) --before;
  if (before == 0 || !is_cased(text[before - 1])) return false;
  std::size_t after = at + 1;
  while (after < text.size() && is_case_ignorable(text[after])) ++after;
  return after == text.size() || !is_cased(text[after]);
}

bool is_article_letter(char32_t c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '\'';
}

/// Number of maximal runs of bytes for which `inside` holds.
template <typename Inside>
std::size_t count_runs(std::string_view text, Inside inside) {
  std::size_t runs = 0;
  bool in_run = false;
  for (const char c : text) {
    const bool now = inside(static_cast<unsigned char>(c));
    runs += now && !in_run;
    in_run = now;
  }
  return runs;
}

}  // namespace

std::u32string decode_utf8(std::string_view text) {
  constexpr char32_t kReplacement = 0xFFFD;
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const utf8::Sequence one = utf8::next(text, at);
    out.push_back(one.valid ? one.point : kReplacement);
    at += one.length;
  }
  return out;
}

std::string encode_utf8(std::u32string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char32_t c : text) utf8::append(c, out);
  return out;
}

bool is_space(char32_t c) noexcept {
  return (c >= 0x9 && c <= 0xD) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool is_alnum(char32_t c) noexcept {
  if (c < 0x80) return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  const auto* range =
      std::lower_bound(std::begin(unicode::kAlnum), std::end(unicode::kAlnum), c,
                       [](const unicode::Range& r, char32_t value) { return r.last < value; });
  return range != std::end(unicode::kAlnum) && c >= range->first;
}

bool is_ascii_punctuation(char32_t c) noexcept {
  return (c >= 0x21 && c <= 0x2F) || (c >= 0x3A && c <= 0x40) || (c >= 0x5B && c <= 0x60) ||
         (c >= 0x7B && c <= 0x7E);
}

char32_t lower(char32_t c) noexcept {
  if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
  const auto* range =
      std::lower_bound(std::begin(unicode::kLower), std::end(unicode::kLower), c,
                       [](const unicode::LowerRange& r, char32_t value) { return r.last < value; });
  if (range == std::end(unicode::kLower) || c < range->first || (c - range->first) % range->stride != 0)
    return c;
  return static_cast<char32_t>(static_cast<std::int64_t>(c) + range->delta);
}

std::u32string lower(std::u32string_view text) {
  constexpr char32_t kCapitalSigma = 0x3A3, kFinalSigma = 0x3C2, kDottedI = 0x130, kDotAbove = 0x307;
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == kCapitalSigma && is_final_sigma(text, i)) {
      out.push_back(kFinalSigma);
    } else if (text[i] == kDottedI) {
      out.push_back('i');
      out.push_back(kDotAbove);
    } else {
      out.push_back(lower(text[i]));
    }
  }
  return out;
}

std::vector<std::u32string> split_words(std::u32string_view text) {
  std::vector<std::u32string> words;
  for (std::size_t i = 0; i < text.size();) {
    if (is_space(text[i])) {
      ++i;
      continue;
    }
    std::size_t end = i;
    while (end < text.size() && !is_space(text[end])) ++end;
    words.emplace_back(text.substr(i, end - i));
    i = end;
  }
  return words;
}

std::size_t article_word_count(std::string_view text) {
  return count_runs(text, [](unsigned char c) { return is_article_letter(c); });
}

std::size_t word_count(std::string_view text) {
  std::size_t words = 0;
  bool counted = false;  // the current run has a letter or digit
  for (const char32_t c : decode_utf8(text)) {
    const bool solid = is_alnum(c);
    if (solid && !counted) ++words;
    counted = solid || (counted && (c == '\'' || c == 0x2019 || is_combining(c)));
  }
  return words;
}

std::string article_reduction(std::string_view text) {
  std::string out;
  bool gap = false;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (is_article_letter(byte) || (byte >= '0' && byte <= '9')) {
      out += c;
      gap = false;
    } else if (!gap) {
      out += ' ';
      gap = true;
    }
  }
  return out;
}

std::string shortened(std::string_view text, std::size_t n) {
  const std::u32string codes = decode_utf8(text);
  if (codes.size() <= n) return std::string(text);
  return encode_utf8(std::u32string_view(codes).substr(0, n > 0 ? n - 1 : 0)) + "\xE2\x80\xA6";
}

std::string shortened_middle(std::string_view text, std::size_t n) {
  const std::u32string codes = decode_utf8(text);
  if (codes.size() <= n || n == 0) return shortened(text, n);
  const std::u32string_view all = codes;
  const std::size_t first = n / 2, last = n - 1 - first;
  return encode_utf8(all.substr(0, first)) + "\xE2\x80\xA6" + encode_utf8(all.substr(all.size() - last));
}

}  // namespace gemma::squad
