// Text functions of the official SQuAD metric: Python's lower(), split() and \w over Unicode, word counts.
// Invariant: independent of the locale; invalid UTF-8 decodes to U+FFFD.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace gemma::squad {

/// UTF-8 to code points.
std::u32string decode_utf8(std::string_view text);
/// Code points to UTF-8.
std::string encode_utf8(std::u32string_view text);

/// Python's str.isspace for one code point.
bool is_space(char32_t c) noexcept;
/// Python's str.isalnum for one code point.
bool is_alnum(char32_t c) noexcept;
/// Python's string.punctuation: the 32 ASCII marks.
bool is_ascii_punctuation(char32_t c) noexcept;

/// Simple lower-case mapping of one code point.
char32_t lower(char32_t c) noexcept;
/// Python's str.lower: simple mappings, U+0130 to two code points, and a capital sigma at the end of a word
/// to its final form (a word ends where no cased letter follows, ignoring apostrophes, full stops and
/// combining marks).
std::u32string lower(std::u32string_view text);

/// Python's str.split(): the maximal runs without white space.
std::vector<std::u32string> split_words(std::u32string_view text);

/// The article's count: the number of words if everything but ASCII letters and ' is a space ("1889" is 0
/// words).
std::size_t article_word_count(std::string_view text);
/// The corrected count: maximal runs of letters, digits and apostrophes of any script that contain a letter
/// or digit.
std::size_t word_count(std::string_view text);
/// The article's reduction of an answer for the judge: runs of anything but [a-zA-Z0-9'] become one space.
std::string article_reduction(std::string_view text);

/// `text` without the bytes of `marks` at its ends.
inline std::string_view trimmed(std::string_view text, std::string_view marks = " \t\r\n") noexcept {
  const std::size_t begin = text.find_first_not_of(marks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(marks) - begin + 1);
}

/// `text` cut to at most `n` code points, with an ellipsis if something was cut.
std::string shortened(std::string_view text, std::size_t n);
/// `text` cut in the same way, with the ellipsis in the middle: names of files differ at their ends.
std::string shortened_middle(std::string_view text, std::size_t n);

}  // namespace gemma::squad
