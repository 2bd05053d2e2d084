// Pre-tokens of Llama 3 and SmolLM2, derived by hand from the published patterns.
#include "tokenizer/pretokenize.hpp"

#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "tokenizer/utf8.hpp"

namespace gemma::test {
namespace {

using Parts = std::vector<std::string>;

Parts cut_by(const detail::Pretokenizer& pretokenizer, std::string_view text) {
  std::vector<std::size_t> ends;
  pretokenizer.split(text, ends);
  Parts parts;
  std::size_t begin = 0;
  for (const std::size_t end : ends) {
    EXPECT_GT(end, begin);
    parts.emplace_back(text.substr(begin, end - begin));
    begin = end;
  }
  EXPECT_EQ(begin, text.size());
  return parts;
}
Parts cut(std::string_view text) {
  static const detail::Pretokenizer pretokenizer(PrePattern::kLlama3);
  return cut_by(pretokenizer, text);
}
Parts cut_smollm(std::string_view text) {
  static const detail::Pretokenizer pretokenizer(PrePattern::kSmolLm);
  return cut_by(pretokenizer, text);
}
Parts cut_qwen2(std::string_view text) {
  static const detail::Pretokenizer pretokenizer(PrePattern::kQwen2);
  return cut_by(pretokenizer, text);
}
std::string utf8_of(std::uint32_t point) {
  std::string out;
  utf8::append(point, out);
  return out;
}

TEST(Pretokenize, WordsTakeOneCharacterBeforeThem) {
  EXPECT_EQ(cut("Hello world"), (Parts{"Hello", " world"}));
  EXPECT_EQ(cut("(word)"), (Parts{"(word", ")"}));
  EXPECT_EQ(cut("a\xc2\xa0"
                "b"),
            (Parts{"a",
                   "\xc2\xa0"
                   "b"}));
  EXPECT_EQ(cut(""), Parts{});
}

TEST(Pretokenize, ContractionsInEitherCase) {
  EXPECT_EQ(cut("we'll I'D don't"), (Parts{"we", "'ll", " I", "'D", " don", "'t"}));
  EXPECT_EQ(cut("x'y"), (Parts{"x", "'y"}));
}

TEST(Pretokenize, NumbersByThreeDigits) {
  EXPECT_EQ(cut("1234567"), (Parts{"123", "456", "7"}));
  EXPECT_EQ(cut("in 1889."), (Parts{"in", " ", "188", "9", "."}));
}

TEST(Pretokenize, PunctuationTakesASpaceBeforeAndNewlinesBehind) {
  EXPECT_EQ(cut("a !?\n\nb"), (Parts{"a", " !?\n\n", "b"}));
}

TEST(Pretokenize, TheLastOfSeveralSpacesGoesToTheWord) {
  EXPECT_EQ(cut("a   b"), (Parts{"a", "  ", " b"}));
  EXPECT_EQ(cut("a   "), (Parts{"a", "   "}));
  EXPECT_EQ(cut("a \n \n b"), (Parts{"a", " \n \n", " b"}));
  EXPECT_EQ(cut("\r\n\t x"), (Parts{"\r\n", "\t", " x"}));
}

TEST(Pretokenize, TheMongolianVowelSeparatorIsNoSpace) {
  EXPECT_EQ(cut("a \xe1\xa0\x8e"), (Parts{"a", " \xe1\xa0\x8e"}));
}

/// The first and last letters of every block that Unicode 15, 15.1 and 16 added; PCRE2 10.42 supports 14.
TEST(Pretokenize, LettersOfUnicode15And16) {
  for (const std::uint32_t point :
       {0x1C89u,  0x1C8Au,  0xA7CBu,  0xA7CDu,  0xA7DAu,  0xA7DCu,  0x105C0u, 0x105F3u, 0x10D4Au, 0x10D65u,
        0x10D6Fu, 0x10D85u, 0x10EC2u, 0x10EC4u, 0x1123Fu, 0x11240u, 0x11380u, 0x113D3u, 0x11BC0u, 0x11BE0u,
        0x11F02u, 0x11F33u, 0x1342Fu, 0x13441u, 0x13446u, 0x13460u, 0x143FAu, 0x16100u, 0x1611Du, 0x16D40u,
        0x16D6Cu, 0x18CFFu, 0x1B132u, 0x1B155u, 0x1DF25u, 0x1DF2Au, 0x1E030u, 0x1E06Du, 0x1E4D0u, 0x1E4EBu,
        0x1E5D0u, 0x1E5EDu, 0x1E5F0u, 0x2B739u, 0x2EBF0u, 0x2EE5Du, 0x31350u, 0x323AFu}) {
    const std::string letter = utf8_of(point);
    EXPECT_EQ(cut("a" + letter + "b 1"), (Parts{"a" + letter + "b", " ", "1"})) << std::hex << point;
  }
}

TEST(Pretokenize, NumbersOfUnicode15And16) {
  for (const std::uint32_t point :
       {0x10D40u, 0x10D49u, 0x116D0u, 0x116E3u, 0x11BF0u, 0x11BF9u, 0x11F50u, 0x11F59u, 0x16130u, 0x16139u,
        0x16D70u, 0x16D79u, 0x1CCF0u, 0x1CCF9u, 0x1D2C0u, 0x1D2D3u, 0x1E4F0u, 0x1E4F9u, 0x1E5F1u, 0x1E5FAu}) {
    const std::string number = utf8_of(point);
    EXPECT_EQ(cut("a" + number + "12!"), (Parts{"a", number + "12", "!"})) << std::hex << point;
  }
}

/// Neighbours of these blocks that are unassigned in Unicode 16, or marks and signs.
TEST(Pretokenize, WhatStandsBesideThemIsNoLetter) {
  for (const std::uint32_t point : {0x1C8Bu, 0xA7CEu, 0xA7DDu, 0x105F4u, 0x10D6Eu, 0x1138Au, 0x113B8u,
                                    0x11F11u, 0x143FBu, 0x16D6Du, 0x1E4ECu, 0x2EE5Eu, 0x323B0u}) {
    const std::string other = utf8_of(point);
    EXPECT_EQ(cut("a" + other + "b"), (Parts{"a", other + "b"})) << std::hex << point;
  }
}

TEST(PretokenizeSmolLm, EachDigitIsAlone) {
  EXPECT_EQ(cut_smollm("in 1889."), (Parts{"in", " ", "1", "8", "8", "9", "."}));
  EXPECT_EQ(cut_smollm("a  1  b"), (Parts{"a", "  ", "1", " ", " b"}));
  EXPECT_EQ(cut_smollm("x\xc2\xbd 2"), (Parts{"x", "\xc2\xbd", " ", "2"}));  // one half is a number as well
  EXPECT_EQ(cut_smollm("-3.5"), (Parts{"-", "3", ".", "5"}));
}

TEST(PretokenizeSmolLm, OnlyASpaceGoesToWordsAndSigns) {
  EXPECT_EQ(cut_smollm("(word) a\tb"), (Parts{"(", "word", ")", " a", "\t", "b"}));
  EXPECT_EQ(cut_smollm("a !?\n\nb"), (Parts{"a", " !?", "\n", "\n", "b"}));
  EXPECT_EQ(cut_smollm("a   b   "), (Parts{"a", "  ", " b", "   "}));
  EXPECT_EQ(cut_smollm("we'll I'D don't '7"), (Parts{"we", "'ll", " I", "'", "D", " don", "'t", " '", "7"}));
  EXPECT_EQ(cut_smollm(""), Parts{});
}

TEST(Pretokenize, ALongRunOfSpacesNeedsNoStack) {
  const std::string spaces(1 << 20, ' ');
  EXPECT_EQ(cut(spaces + "x"), (Parts{spaces.substr(1), " x"}));
  EXPECT_EQ(cut(spaces), Parts{spaces});
}

TEST(Pretokenize, Qwen2CutsDigitsOneByOneAndElseAsLlama3) {
  EXPECT_EQ(cut_qwen2("In 2025, 3.14"), (Parts{"In", " ", "2", "0", "2", "5", ",", " ", "3", ".", "1", "4"}));
  for (const char* text : {"I'm here, aren't I?  Yes\n\n  no", "a  b\tc", "  x", "don'T!!\r\n"}) {
    EXPECT_EQ(cut_qwen2(text), cut(text)) << text;
  }
}

}  // namespace
}  // namespace gemma::test
