// Text functions of the official SQuAD metric: Python's lower(), split() and \w over Unicode, word counts.
// Invariant: independent of the locale. Texts are UTF-8. What is a letter, a digit or a capital is what ICU's
// version of Unicode says, which differs from Python's in characters that only one of them knows.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace gemma::squad {

/// Python's str.lower: U+0130 becomes two code points, and a capital sigma at the end of a word its final
/// form. Invalid bytes become U+FFFD.
std::string lower(std::string_view text);

/// Python's str.split(): the maximal runs without white space.
std::vector<std::string> split_words(std::string_view text);

/// `text` without Python's string.punctuation: the 32 ASCII marks.
std::string without_punctuation(std::string_view text);

/// `text` with each of the words a, an, the replaced by a space; word boundaries are those of \b in Python.
std::string without_articles(std::string_view text);

/// The article's count of words: everything but ASCII letters and ' separates them ("1889" is 0 words).
std::size_t article_word_count(std::string_view text);
/// The corrected count: maximal runs of letters, digits (of any script) and apostrophes, except ' alone.
std::size_t word_count(std::string_view text);
/// The article's reduction of an answer for the judge: runs of anything but [a-zA-Z0-9'] become one space.
std::string article_reduction(std::string_view text);

/// Number of code points; each invalid sequence counts as one.
std::size_t n_characters(std::string_view text);
/// `text` cut to at most `n` code points, with an ellipsis if something was cut.
std::string shortened(std::string_view text, std::size_t n);
/// `text` cut in the same way, with the ellipsis in the middle: names of files differ at their ends.
std::string shortened_middle(std::string_view text, std::size_t n);

}  // namespace gemma::squad
