// Processing of sampled tokens: text in whole characters, stop strings, the last step.
#include <gtest/gtest.h>

#include "tests/api/models.hpp"

namespace gemma::test {
namespace {

TEST(StopFilter, HoldsBackOnlyWhatMayBecomeAStop) {
  detail::StopFilter filter({"END", "\n\n"});
  EXPECT_EQ(filter.push("aE"), "a");
  EXPECT_EQ(filter.push("N"), "");
  EXPECT_EQ(filter.push("x"), "ENx");
  EXPECT_EQ(filter.push("\n"), "");
  EXPECT_EQ(filter.push("y EEN"), "\ny E");
  EXPECT_FALSE(filter.stopped());
  EXPECT_EQ(filter.push("D and more"), "");
  EXPECT_TRUE(filter.stopped());
  EXPECT_EQ(filter.push("nothing any more"), "");
}

TEST(StopFilter, TheEarliestStopWins) {
  detail::StopFilter filter({"later", "b"});
  EXPECT_EQ(filter.push("a later b"), "a ");
  detail::StopFilter none({"", std::string()});
  EXPECT_EQ(none.push("text"), "text") << "an empty stop string stops nothing";
}

TEST(Generation, CharactersComeOutWhole) {
  const Model model = Model::load(demo_model());
  const Vocab& vocab = model.vocab();
  if (!vocab.has_all_bytes()) GTEST_SKIP() << "the demo model has no byte tokens";
  std::vector<std::int32_t> ids;
  for (const char c : std::string_view("\xF0\x9F\x98\x80!")) {
    ids.push_back(*vocab.byte_token(static_cast<std::uint8_t>(c)));
  }
  std::vector<std::string> pieces;
  GenerateOptions options;
  options.on_token = [&](const GeneratedToken& t) {
    pieces.emplace_back(t.text);
    return true;
  };
  detail::Generation g(model.tokenizer(), options);
  for (const std::int32_t id : ids) EXPECT_TRUE(g.take(id, 0));
  g.end(StopReason::kMaxTokens);
  EXPECT_EQ(pieces, (std::vector<std::string>{"", "", "", "\xF0\x9F\x98\x80", "!"}));
  EXPECT_EQ(g.result().text, "\xF0\x9F\x98\x80!");
}

TEST(Generation, ABrokenCharacterAtTheEndIsReplaced) {
  const Model model = Model::load(demo_model());
  if (!model.vocab().has_all_bytes()) GTEST_SKIP() << "the demo model has no byte tokens";
  detail::Generation g(model.tokenizer(), {});
  EXPECT_TRUE(g.take(*model.vocab().byte_token(0xF0), 0));
  g.end(StopReason::kMaxTokens);
  EXPECT_EQ(g.last().id, GeneratedToken::kNone);
  EXPECT_EQ(g.result().text, "\xEF\xBF\xBD");
  g.end(StopReason::kCancelled);
  EXPECT_EQ(g.result().reason, StopReason::kMaxTokens) << "it ends once";
}

TEST(StopReason, HasAName) {
  EXPECT_EQ(to_string(StopReason::kStopString), "stop_string");
  EXPECT_EQ(to_string(StopReason::kContextFull), "context_full");
}

TEST(Version, IsOneNumber) {
  EXPECT_EQ(std::to_string(kVersion.major) + "." + std::to_string(kVersion.minor) + "." +
                std::to_string(kVersion.patch),
            GEMMA_VERSION_STRING);
}

}  // namespace
}  // namespace gemma::test
