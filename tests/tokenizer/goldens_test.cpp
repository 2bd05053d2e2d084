// Real vocabularies, compared with the ids of the reference implementations (../shared/tokenizers).
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "gguf/file.hpp"
#include "tests/paths.hpp"
#include "tests/tokenizer/jsonl.hpp"
#include "tokenizer/tokenizer.hpp"

namespace gemma::test {
namespace {

struct Case {
  std::string vocabulary;
  std::string goldens;
};
void PrintTo(const Case& c, std::ostream* out) {
  *out << c.vocabulary;
}

class RealVocabularies : public testing::TestWithParam<Case> {
 protected:
  std::filesystem::path dir_ = shared_dir() / "tokenizers";
  std::string vocabulary() const { return (dir_ / (GetParam().vocabulary + ".vocab.gguf")).string(); }
  std::vector<nlohmann::json> goldens(const std::string& kind) const {
    return read_jsonl(dir_ / (GetParam().goldens + "." + kind + ".jsonl"));
  }
};

TEST_P(RealVocabularies, EncodeEveryGolden) {
  GEMMA_NEEDS_SHARED("tokenizers");
  const gguf::File file = gguf::File::open(vocabulary());
  const auto tokenizer = make_tokenizer(Vocab::from(file));
  for (const bool special : {false, true}) {
    const auto cases = goldens(special ? "special" : "goldens");
    ASSERT_GT(cases.size(), 40u);
    for (const auto& c : cases) {
      const std::string text = c.at("text");
      EXPECT_EQ(tokenizer->encode(text, {.parse_special = special, .add_bos = false}),
                c.at("ids").get<std::vector<TokenId>>())
          << c.dump();
    }
  }
}

TEST_P(RealVocabularies, DecodeEveryGoldenAtOnceAndAsAStream) {
  GEMMA_NEEDS_SHARED("tokenizers");
  const gguf::File file = gguf::File::open(vocabulary());
  const auto tokenizer = make_tokenizer(Vocab::from(file));
  const auto cases = goldens("decode");
  ASSERT_GT(cases.size(), 40u);
  for (const auto& c : cases) {
    const auto ids = c.at("ids").get<std::vector<TokenId>>();
    EXPECT_EQ(utf8::replace_invalid(tokenizer->decode(ids)), c.at("text").get<std::string>()) << c.dump();
    StreamDecoder stream(*tokenizer);
    std::string text;
    for (const TokenId id : ids) {
      const std::string part = stream.push(id);
      EXPECT_EQ(part, utf8::replace_invalid(part)) << c.dump();  // valid UTF-8 after every token
      text += part;
    }
    EXPECT_EQ(text + stream.flush(), c.at("text").get<std::string>()) << c.dump();
  }
}

INSTANTIATE_TEST_SUITE_P(All, RealVocabularies,
                         testing::Values(Case{"gemma", "gemma"}, Case{"gemma-2024-02", "gemma"},
                                         Case{"llama3", "llama3"}, Case{"llama3-nopre", "llama3"},
                                         Case{"mistral-v0.1", "mistral-v0.1"},
                                         Case{"mistral-v0.3", "mistral-v0.3"}, Case{"gemma4", "gemma4"}),
                         [](const auto& param) {
                           std::string name = param.param.vocabulary;
                           for (char& c : name) {
                             if (c == '-' || c == '.') c = '_';
                           }
                           return name;
                         });

}  // namespace
}  // namespace gemma::test
