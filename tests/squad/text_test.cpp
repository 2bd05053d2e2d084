#include "examples/squad/text.hpp"

#include <cstdint>
#include <string>

#include <gtest/gtest.h>
#include <unicode/uchar.h>

#include "tokenizer/utf8.hpp"

namespace gemma::squad {
namespace {

std::string utf8_of(char32_t c) {
  std::string text;
  utf8::append(c, text);
  return text;
}

/// Calls visit(text, in_unicode_14) with each Unicode scalar value. Later versions of Unicode only add
/// characters: the properties of those of 14.0 are the same in all of them.
template <typename Visit>
void for_each_character(Visit visit) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    UVersionInfo age{};
    u_charAge(static_cast<UChar32>(c), age);
    visit(utf8_of(c), age[0] != 0 && age[0] <= 14);
  }
}

std::uint64_t fnv1a(std::uint64_t hash, unsigned char byte) {
  return (hash ^ byte) * 0x100000001B3U;
}

// Hashes over every Unicode scalar value, computed with Python 3.11 (Unicode 14.0): FNV-1a over the UTF-8 of
// chr(c).lower() and over the byte chr(c).isalnum(). Characters added after Unicode 14 count as in Python
// 3.11: they have no lower case and are neither letters nor digits.
TEST(Text, LowerOfEveryCodePoint) {
  std::uint64_t hash = 0xCBF29CE484222325U;
  for_each_character([&](const std::string& text, bool in_unicode_14) {
    for (const char byte : in_unicode_14 ? lower(text) : text) {
      hash = fnv1a(hash, static_cast<unsigned char>(byte));
    }
  });
  EXPECT_EQ(hash, 0xC319D02E8283B91EU);
}

TEST(Text, AlnumOfEveryCodePoint) {
  std::uint64_t hash = 0xCBF29CE484222325U;
  for_each_character([&](const std::string& text, bool in_unicode_14) {
    hash = fnv1a(hash, in_unicode_14 ? static_cast<unsigned char>(word_count(text)) : 0);
  });
  EXPECT_EQ(hash, 0x1C3AA2E3E41D524AU);
}

TEST(Text, WordCharactersOfArticlesAreLettersDigitsAndTheUnderscore) {
  for_each_character([&](const std::string& text, bool) {
    const bool is_word_character = word_count(text) == 1 || text == "_";
    ASSERT_EQ(without_articles("the" + text) == "the" + text, is_word_character) << text;
  });
}

TEST(Text, PunctuationIsAscii) {
  std::string marks;
  for_each_character([&](const std::string& text, bool) {
    if (without_punctuation(text).empty()) marks += text;
  });
  EXPECT_EQ(marks, "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~");  // Python's string.punctuation
}

TEST(Text, SpaceOfEveryCodePoint) {
  std::size_t n = 0;
  for_each_character([&](const std::string& text, bool) { n += split_words(text).empty(); });
  EXPECT_EQ(n, 29U);  // as many as Python's str.isspace knows
  for (const char32_t c : {U'\t', U'\n', U'\x1C', U' ', U'\x85', U'\xA0', U'\u2003', U'\u3000'}) {
    EXPECT_EQ(split_words("a" + utf8_of(c) + "b").size(), 2U) << static_cast<unsigned>(c);
  }
  EXPECT_EQ(split_words("a\u200Bb").size(), 1U);
}

TEST(Text, InvalidBytesBecomeReplacements) {
  EXPECT_EQ(lower("A\xFF"
                  "b"),
            "a\uFFFDb");
  EXPECT_EQ(lower("\xE2\x82"), "\uFFFD");                  // cut
  EXPECT_EQ(lower("\xC0\xAF"), "\uFFFD\uFFFD");            // overlong
  EXPECT_EQ(lower("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");  // a surrogate
}

TEST(Text, LowerOfWholeStrings) {
  EXPECT_EQ(lower("ÉCOLE Ñandú ŁÓDŹ"), "école ñandú łódź");
  EXPECT_EQ(lower("ΣΟΦΟΣ"), "σοφος");  // final sigma
  EXPECT_EQ(lower("Σ"), "σ");          // alone it is not final
  EXPECT_EQ(lower("ΟΔΟΣ. ΣΑΣ"), "οδος. σας");
  EXPECT_EQ(lower("Α'Σ\u0301, ΑΣ'Α"), "α'ς\u0301, ασ'α");  // marks and apostrophes are no end
  EXPECT_EQ(lower("İ"), "i\xCC\x87");
  EXPECT_EQ(lower("ẞ"), "ß");
}

// The three answers that the article prints, with the count its formula gives for each.
TEST(WordCount, TheArticlesPrintedAnswers) {
  EXPECT_EQ(article_word_count("New Haven's Powder House Day is celebrated on April 23rd."), 10U);
  EXPECT_EQ(article_word_count(
                "Sure! The text states on which day Powder House Day is celebrated on: Powder House Day is "
                "celebrated on **23 April** in New Haven."),
            23U);
  EXPECT_EQ(article_word_count("23 April"), 1U);
  EXPECT_EQ(article_word_count("New Haven\xE2\x80\x99s Powder House Day is celebrated on April 23rd."), 11U);
}

TEST(WordCount, DigitsVanishInTheArticlesAndStayInOurs) {
  EXPECT_EQ(article_word_count("1889"), 0U);
  EXPECT_EQ(word_count("1889"), 1U);
  EXPECT_EQ(word_count("23 April"), 2U);
  EXPECT_EQ(word_count("New Haven\xE2\x80\x99s day"), 3U);
  EXPECT_EQ(article_word_count("naïve café"), 3U);
  EXPECT_EQ(word_count("naïve café"), 2U);
  EXPECT_EQ(word_count("nai\xCC\x88ve"), 1U);  // a combining diaeresis belongs to its letter
  EXPECT_EQ(word_count(" ' - ' "), 0U);
  EXPECT_EQ(word_count("rock 'n' roll"), 3U);
  EXPECT_EQ(word_count(""), 0U);
}

TEST(ArticleReduction, RunsBecomeOneSpace) {
  EXPECT_EQ(article_reduction("\n **23 April**, it's!"), " 23 April it's ");
  EXPECT_EQ(article_reduction("café"), "caf ");
}

TEST(Shortened, CutsByCodePoint) {
  EXPECT_EQ(n_characters("äöü\U0001F600"), 4U);
  EXPECT_EQ(shortened("\U0001F600\U0001F600\U0001F600", 2), "\U0001F600…");
  EXPECT_EQ(shortened("äöü", 0), "…");
  EXPECT_EQ(shortened("äöü", 3), "äöü");
  EXPECT_EQ(shortened("äöüß", 3), "äö…");
}

TEST(Shortened, InTheMiddleKeepsBothEnds) {
  EXPECT_EQ(shortened_middle("Meta-Llama-3-8B.Q4_K_M", 9), "Meta…_K_M");
  EXPECT_EQ(shortened_middle("äöüß", 3), "ä…ß");
  EXPECT_EQ(shortened_middle("äöü", 3), "äöü");
}

}  // namespace
}  // namespace gemma::squad
