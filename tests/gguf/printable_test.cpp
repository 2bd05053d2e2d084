// The output of examples/printable.hpp cannot control a terminal, whatever the input is.
#include "examples/printable.hpp"

#include <cstdint>
#include <random>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "tokenizer/utf8.hpp"

namespace gemma::app {
namespace {

bool is_safe(const std::string& text) {
  for (std::size_t at = 0; at < text.size();) {
    const utf8::Sequence s = utf8::next(text, at);
    if (!s.valid || acts_on_terminal(s.point)) return false;
    at += s.length;
  }
  return true;
}

TEST(Printable, OrdinaryTextStaysAsItIs) {
  for (const char* text : {"", "plain text", "C:\\temp", "\"quoted\"", "größe", "日本語", "🙂", "▁the"}) {
    EXPECT_EQ(printable(text), text);
  }
}

TEST(Printable, WhatATerminalWouldActOnIsEscaped) {
  EXPECT_EQ(printable("a\nb\tc\rd"), "a\\nb\\tc\\x0dd");
  EXPECT_EQ(printable("\x1b[2J\x07\x7f"), "\\x1b[2J\\x07\\x7f");
  EXPECT_EQ(printable(std::string("\0", 1)), "\\x00");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m"),
            "\\u{009b}31m");  // a control sequence in 8 bits
  EXPECT_EQ(printable("\xe2\x80\xae"
                      "fdp.exe"),
            "\\u{202e}fdp.exe");  // right-to-left override
  EXPECT_EQ(printable("\xf3\xa0\x81\x81"), "\\u{e0041}");
  EXPECT_EQ(printable("\xff\xc0\xaf\xed\xa0\x80"), "\\xff\\xc0\\xaf\\xed\\xa0\\x80");
}

TEST(Printable, EveryCharacterComesOutSafe) {
  for (std::uint32_t point = 0; point <= 0x10FFFF; ++point) {
    if (point >= 0xD800 && point <= 0xDFFF) continue;
    std::string text;
    utf8::append(point, text);
    const std::string out = printable(text);
    ASSERT_TRUE(is_safe(out)) << point;
    ASSERT_EQ(out == text, !acts_on_terminal(point)) << point;
  }
}

TEST(Printable, AnyBytesComeOutSafeAndDistinct) {
  std::mt19937 random(7);
  std::set<std::string> texts;
  std::set<std::string> shown;
  for (int i = 0; i < 20'000; ++i) {
    std::string text(random() % 12, '\0');
    // few byte values, chosen to make control sequences, escapes and collisions likely
    constexpr unsigned char kBytes[] = {0xE2, 0x80, 0xAE, 0xC2, 0x9B, 0xFF, 'x',
                                        '\\', '"',  'n',  '\n', '8',  '0',  0};
    for (char& c : text) c = static_cast<char>(kBytes[random() % std::size(kBytes)]);
    ASSERT_TRUE(is_safe(printable(text)));
    const std::string quoted = quoted_printable(text, 100);
    ASSERT_TRUE(is_safe(quoted));
    texts.insert(text);
    shown.insert(quoted);
  }
  EXPECT_EQ(shown.size(), texts.size());
}

TEST(Printable, QuotedTextIsCutBetweenCharacters) {
  EXPECT_EQ(quoted_printable("abc", 3), "\"abc\"");
  EXPECT_EQ(quoted_printable("abcd", 3), "\"abc\"...");
  EXPECT_EQ(quoted_printable("größe", 3), "\"grö\"...");
  EXPECT_EQ(quoted_printable("a\"b\\", 9), "\"a\\\"b\\\\\"");
}

}  // namespace
}  // namespace gemma::app
