// The vocabularies of the bundled models: ids by an independent program (make_goldens.py), round trips,
// unusual bytes, streams, long texts.
#include <algorithm>
#include <ctime>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "gguf/file.hpp"
#include "tests/paths.hpp"
#include "tests/tokenizer/jsonl.hpp"
#include "tokenizer/tokenizer.hpp"

namespace gemma::test {
namespace {

class DemoVocabularies : public testing::TestWithParam<const char*> {
 protected:
  gguf::File file_ = gguf::File::open(demo_model(GetParam()));
  std::unique_ptr<const Tokenizer> tokenizer_ = make_tokenizer(Vocab::from(file_));
  std::string round_trip(const std::string& text) { return tokenizer_->decode(tokenizer_->encode(text)); }
};

TEST_P(DemoVocabularies, EncodeAsThePlainRulesDo) {
  const auto goldens = read_jsonl(source_dir() / "tests" / "tokenizer" / "goldens" /
                                  (GetParam() + std::string("-demo.jsonl")));
  ASSERT_GT(goldens.size(), 50u);
  for (const auto& row : goldens) {
    const std::string text = row.at("text");
    EXPECT_EQ(tokenizer_->encode(text, {.add_bos = false}), row.at("ids").get<std::vector<TokenId>>())
        << row.dump();
  }
}

TEST_P(DemoVocabularies, RoundTripEveryText) {
  for (const std::string& text :
       {std::string("The year 1889, in Paris."), std::string("  two  spaces  "),
        std::string("line\nline\r\n\ttab"),
        std::string("na\xc3\xafve \xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x98\x80"), std::string("a\0b", 3),
        std::string("<eos></s><|eot_id|><bos>"), std::string("x")}) {
    EXPECT_EQ(round_trip(text), text);
  }
}

TEST_P(DemoVocabularies, KeepsBytesThatAreNotUtf8) {
  for (int byte = 0x80; byte < 0x100; ++byte) {
    const std::string text = std::string("a") + static_cast<char>(byte) + "b";
    EXPECT_EQ(round_trip(text), text) << byte;
  }
}

TEST_P(DemoVocabularies, AStreamNeverGivesHalfACharacter) {
  // characters of two, three and four bytes, then invalid bytes; of each, all prefixes
  const std::string text = "\xc3\xa9\xe6\x97\xa5\xf0\x9f\x98\x80 \xf0\x9f\x98\xe2\x82\xc3 \xed\xa0\x80\xff";
  for (std::size_t size = 0; size <= text.size(); ++size) {
    const auto ids = tokenizer_->encode(text.substr(0, size));
    StreamDecoder stream(*tokenizer_);
    std::string shown;
    for (const TokenId id : ids) {
      const std::string part = stream.push(id);
      EXPECT_EQ(utf8::replace_invalid(part), part);
      shown += part;
      const std::string sure = text.substr(0, utf8::valid_prefix(text));
      EXPECT_TRUE(shown.starts_with(sure) || sure.starts_with(shown)) << size;
    }
    EXPECT_EQ(shown + stream.flush(), utf8::replace_invalid(text.substr(0, size)));
  }
}

TEST_P(DemoVocabularies, ALongTextComesBack) {
  std::string text;
  while (text.size() < (1u << 20)) text += "The quick brown fox jumps over the lazy dog in 1889. ";
  EXPECT_EQ(round_trip(text), text);
}

/// Four times the text takes about four times as long, not sixteen times, whatever the text is.
TEST_P(DemoVocabularies, AwkwardTextsTakeTimeInProportion) {
  const std::vector<std::pair<std::string, std::string>> kinds = {{"a letter", "a"},
                                                                  {"spaces", " "},
                                                                  {"newlines", "\n"},
                                                                  {"digits", "7"},
                                                                  {"emoji", "\xf0\x9f\x98\x80"},
                                                                  {"not UTF-8", "\xff"},
                                                                  {"half a character", "\xe2\x82"},
                                                                  {"NUL", std::string(1, 0)},
                                                                  {"marks", "\xcc\x81"},
                                                                  {"words", "word "},
                                                                  {"<", "<"},
                                                                  {"markers cut short", "<start_of_"}};
  for (const auto& [name, unit] : kinds) {
    const auto seconds = [&, unit = unit](std::size_t size) {
      std::string text;
      while (text.size() < size) text += unit;
      double best = 1e9;
      for (int i = 0; i < 2; ++i) {
        const std::clock_t begin = std::clock();  // CPU time, which other load does not change
        EXPECT_EQ(tokenizer_->decode(tokenizer_->encode(text)), text);
        best = std::min(best, static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC);
      }
      return best;
    };
    const double quarter = seconds(1 << 14);
    EXPECT_LT(seconds(1 << 16), 9 * quarter + 0.02) << name;
  }
}

TEST_P(DemoVocabularies, BeginWithBosUnlessAskedOtherwise) {
  ASSERT_TRUE(tokenizer_->vocab().add_bos());
  const TokenId bos = *tokenizer_->vocab().bos();
  std::vector<TokenId> ids = tokenizer_->encode("In 1889", {.add_bos = false});
  EXPECT_NE(ids.front(), bos);
  ids.insert(ids.begin(), bos);
  EXPECT_EQ(tokenizer_->encode("In 1889"), ids);
  EXPECT_EQ(tokenizer_->encode("In 1889", {.add_bos = true}), ids);
  const std::string twice = std::string(tokenizer_->vocab().piece(bos)) + "In 1889";
  EXPECT_EQ(tokenizer_->encode(twice, {.parse_special = true}), ids) << "the text's own is not repeated";
  EXPECT_EQ(tokenizer_->encode(""), std::vector<TokenId>{bos});
}

TEST_P(DemoVocabularies, ControlTokensOnlyWhereAskedFor) {
  const Vocab& vocab = tokenizer_->vocab();
  const std::string eos(vocab.piece(*vocab.eos()));
  EXPECT_EQ(tokenizer_->encode(eos, {.parse_special = true, .add_bos = false}),
            std::vector<TokenId>{*vocab.eos()});
  for (const TokenId id : tokenizer_->encode(eos)) EXPECT_NE(id, *vocab.eos());
  EXPECT_TRUE(vocab.is_stop(*vocab.eos()));
  EXPECT_THROW(tokenizer_->decode(std::vector<TokenId>{-1}), Error);
  EXPECT_THROW(tokenizer_->decode(std::vector<TokenId>{4096}), Error);
}

INSTANTIATE_TEST_SUITE_P(All, DemoVocabularies, testing::Values("gemma", "llama", "mistral"));

}  // namespace
}  // namespace gemma::test
