#include "examples/squad/text.hpp"

#include <cstdint>

#include <gtest/gtest.h>

namespace gemma::squad {
namespace {

constexpr bool is_scalar(char32_t c) {
  return c < 0xD800 || c > 0xDFFF;
}

// Hashes over every Unicode scalar value, computed with Python 3.11 (Unicode 14.0): FNV-1a over the UTF-8 of
// chr(c).lower() and over the byte chr(c).isalnum().
TEST(Text, LowerOfEveryCodePoint) {
  std::uint64_t hash = 0xCBF29CE484222325U;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (!is_scalar(c)) continue;
    const std::u32string one(1, c);
    for (const char byte : encode_utf8(lower(one))) {
      hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001B3U;
    }
  }
  EXPECT_EQ(hash, 0xC319D02E8283B91EU);
}

TEST(Text, AlnumOfEveryCodePoint) {
  std::uint64_t hash = 0xCBF29CE484222325U;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (is_scalar(c)) hash = (hash ^ (is_alnum(c) ? 1U : 0U)) * 0x100000001B3U;
  }
  EXPECT_EQ(hash, 0x1C3AA2E3E41D524AU);
}

TEST(Text, SpaceOfEveryCodePoint) {
  std::size_t n = 0;
  for (char32_t c = 0; c < 0x110000; ++c) n += is_space(c);
  EXPECT_EQ(n, 29U);  // as many as Python's str.isspace knows
  for (const char32_t c : {U'\t', U'\n', U'\x1C', U' ', U'\x85', U'\xA0', U'\u2003', U'\u3000'}) {
    EXPECT_TRUE(is_space(c)) << static_cast<unsigned>(c);
  }
  EXPECT_FALSE(is_space(U'\u200B'));
}

TEST(Text, Utf8RoundTripOfEveryCodePoint) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (!is_scalar(c)) continue;
    const std::u32string one(1, c);
    ASSERT_EQ(decode_utf8(encode_utf8(one)), one) << static_cast<unsigned>(c);
  }
}

TEST(Text, InvalidBytesBecomeReplacements) {
  EXPECT_EQ(decode_utf8("a\xFF"
                        "b"),
            U"a\uFFFDb");
  EXPECT_EQ(decode_utf8("\xE2\x82"), U"\uFFFD");                  // cut
  EXPECT_EQ(decode_utf8("\xC0\xAF"), U"\uFFFD\uFFFD");            // overlong
  EXPECT_EQ(decode_utf8("\xED\xA0\x80"), U"\uFFFD\uFFFD\uFFFD");  // a surrogate
}

TEST(Text, LowerOfWholeStrings) {
  const auto low = [](const char* text) { return encode_utf8(lower(decode_utf8(text))); };
  EXPECT_EQ(low("ÉCOLE Ñandú ŁÓDŹ"), "école ñandú łódź");
  EXPECT_EQ(low("ΣΟΦΟΣ"), "σοφος");  // final sigma
  EXPECT_EQ(low("Σ"), "σ");          // alone it is not final
  EXPECT_EQ(low("ΟΔΟΣ. ΣΑΣ"), "οδος. σας");
  EXPECT_EQ(low("İ"), "i\xCC\x87");
  EXPECT_EQ(low("ẞ"), "ß");
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
