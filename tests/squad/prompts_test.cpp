#include "examples/squad/prompts.hpp"

#include <gtest/gtest.h>

#include "gguf/error.hpp"
#include "tests/paths.hpp"

namespace gemma::squad {
namespace {

TEST(CheckTemplate, IsText) {
  EXPECT_NO_THROW(check_template("caf\xC3\xA9 {context} {question}"));
  EXPECT_THROW(check_template("caf\xE9 {context} {question}"), Error);
}

// The expected prompt is written without the constants under test: a newline, 12 spaces, ..., a space after
// "end.", and 8 spaces on the last line without a newline.
TEST(ArticlePrompt, ByteForByte) {
  const std::string indent(12, ' ');
  const std::string expected = "\n" + indent +
                               "Use the following pieces of context to answer the question at the end." +
                               " " + "\n" + indent + "A context.\nWith two lines." + "\n" + indent +
                               "Question: Why?" + "\n" + indent + "Answer:" + "\n" + std::string(8, ' ');
  const Preset preset = make_preset("article", false);
  EXPECT_EQ(fill_template(preset.prompt_template, "A context.\nWith two lines.", "Why?"), expected);
  EXPECT_EQ(expected.size(), 179U);
}

// The same template as it is printed, in a fence, in the notes on the article beside the checkout, if any.
TEST(ArticlePrompt, AsTheNotesPrintIt) {
  GEMMA_NEEDS_SHARED("FACTS.md");
  const std::string notes = test::read_bytes(test::shared_dir() / "FACTS.md");
  EXPECT_NE(notes.find("```\n" + std::string(kArticleTemplate) + "\n```"), std::string::npos);
}

TEST(Preset, Article) {
  const Preset preset = make_preset("article", false);
  EXPECT_FALSE(preset.chat);
  EXPECT_EQ(preset.sampling.temperature, 0.7);
  EXPECT_EQ(preset.sampling.top_k, 40);
  EXPECT_EQ(preset.sampling.top_p, 0.95);
  EXPECT_EQ(preset.sampling.repeat_penalty, 1.1);
  EXPECT_EQ(preset.context, 1024);
  EXPECT_EQ(preset.sampling.max_tokens, 2000U);
  EXPECT_FALSE(preset.share_passages);
}

TEST(Preset, Chat) {
  const Preset preset = make_preset("chat", false);
  EXPECT_TRUE(preset.chat);
  EXPECT_EQ(preset.sampling.temperature, 0);
  EXPECT_TRUE(preset.share_passages);
  EXPECT_EQ(
      fill_template(preset.prompt_template, "C.", "Q?"),
      "Use the following pieces of context to answer the question at the end.\nC.\nQuestion: Q?\nAnswer:");
  EXPECT_NE(make_preset("chat", true).prompt_template.find("unanswerable"), std::string::npos);
  EXPECT_THROW(make_preset("other", false), Error);
}

TEST(FillTemplate, PlaceholdersInsideTheTextStay) {
  EXPECT_EQ(fill_template("{context}|{question}", "{question}", "{context}"), "{question}|{context}");
}

TEST(CheckTemplate, EachPlaceholderOnce) {
  EXPECT_NO_THROW(check_template("{question} {context}"));
  EXPECT_NO_THROW(check_template(kArticleTemplate));
  EXPECT_NO_THROW(check_template(kChatTemplateV2));
  EXPECT_THROW(check_template("{question}"), Error);
  EXPECT_THROW(check_template("{context} {question} {context}"), Error);
}

}  // namespace
}  // namespace gemma::squad
