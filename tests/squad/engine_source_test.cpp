// The engine behind the evaluator, on the demo models: sharing a passage's prefill, threads and what was
// asked before change nothing in an answer.
#include "examples/squad/engine_source.hpp"

#include <cmath>
#include <map>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "examples/squad/embedded.hpp"
#include "examples/squad/prompts.hpp"
#include "examples/squad/runner.hpp"
#include "examples/squad/squad.hpp"
#include "gguf/error.hpp"
#include "tests/paths.hpp"

namespace gemma::squad {
namespace {

const std::atomic<bool> kNotStopped{false};

class Engine : public ::testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<AnswerSource> load(unsigned threads = 2, KvType kv = KvType::kF16) const {
    const auto file = test::source_dir() / fmt::format("examples/models/{}-demo.Q4_K_M.gguf", GetParam());
    auto source = engine_factory({"", threads, kv, 0})({GetParam(), file});
    source->reserve(1024);
    return source;
  }
  static Prompt prompt_of(const Question& question, const Preset& preset) {
    return {fill_template(preset.prompt_template, set().passages[question.passage].text, question.text),
            preset.chat};
  }
  static const Dataset& set() {
    static const Dataset demo = parse_dataset(embedded::demo_set, "demo_set.json");
    return demo;
  }
  static Sampling sampling_of(const Preset& preset, const Question& question) {
    return {preset.temperature,    preset.top_k, preset.top_p,
            preset.repeat_penalty, 24,           sampling_seed(1, question.id)};
  }
};

TEST_P(Engine, SharedPassagesChangeNoAnswer) {
  for (const char* name : {"chat", "article"}) {
    const Preset preset = make_preset(name, false);
    const auto shared = load(), alone = load(1);
    std::size_t computed = 0, computed_alone = 0;
    for (std::size_t i = 0; i < 12; ++i) {
      const Question& question = set().questions[i];
      const Sampling sampling = sampling_of(preset, question);
      const Answer a = shared->ask(prompt_of(question, preset), sampling, true, kNotStopped);
      const Answer b = alone->ask(prompt_of(question, preset), sampling, false, kNotStopped);
      EXPECT_EQ(a.text, b.text) << question.id;
      EXPECT_EQ(a.stop, b.stop);
      EXPECT_EQ(a.tokens, b.tokens);
      EXPECT_EQ(a.prompt_tokens, b.prompt_tokens);
      EXPECT_EQ(a.prompt_tokens, alone->count_tokens(prompt_of(question, preset)));
      EXPECT_EQ(b.timing.cached_tokens, 0U);
      computed += a.prompt_tokens - a.timing.cached_tokens;
      computed_alone += b.prompt_tokens;
    }
    EXPECT_LT(2 * computed, computed_alone + computed_alone / 4) << "4 passages of 3 questions";
  }
}

TEST_P(Engine, AnswersDoNotDependOnWhatWasAskedBefore) {
  const Preset preset = make_preset("article", false);  // sampled, so the seed counts too
  const auto source = load();
  std::map<std::string, std::string> forward;
  for (std::size_t i = 0; i < 6; ++i) {
    const Question& q = set().questions[i];
    forward[q.id] = source->ask(prompt_of(q, preset), sampling_of(preset, q), false, kNotStopped).text;
  }
  for (std::size_t i = 6; i-- > 0;) {
    const Question& q = set().questions[i];
    EXPECT_EQ(source->ask(prompt_of(q, preset), sampling_of(preset, q), true, kNotStopped).text,
              forward[q.id]);
  }
}

TEST_P(Engine, TimesAddUp) {
  const Preset preset = make_preset("chat", false);
  const auto source = load();
  const Question& q = set().questions[0];
  const Answer answer = source->ask(prompt_of(q, preset), sampling_of(preset, q), true, kNotStopped);
  EXPECT_GT(answer.timing.prefill_s, 0);
  EXPECT_GE(answer.timing.first_token_s, answer.timing.prefill_s);
  EXPECT_GE(answer.timing.total_s, answer.timing.first_token_s + answer.timing.decode_s);
  EXPECT_FALSE(answer.text.empty());
}

TEST_P(Engine, LikelihoodsAreProbabilities) {
  const auto source = load();
  const Prompt prompt = prompt_of(set().questions[0], make_preset("chat", false));
  const double kept = source->log_likelihood(prompt, " Anna Keller");
  EXPECT_LT(kept, 0);
  EXPECT_TRUE(std::isfinite(kept));
  EXPECT_GT(kept, source->log_likelihood(prompt, " quarterly parliament"));
  EXPECT_EQ(kept, source->log_likelihood(prompt, " Anna Keller"));
}

TEST_P(Engine, StopsWhenAskedAndSaysWhatDoesNotFit) {
  const Preset preset = make_preset("chat", false);
  const auto source = load();
  const Question& q = set().questions[0];
  const std::atomic<bool> stopped{true};
  EXPECT_EQ(source->ask({std::string(900, 'x'), true}, sampling_of(preset, q), true, stopped).stop,
            "cancelled");
  try {
    source->ask({std::string(9000, 'x'), true}, sampling_of(preset, q), true, kNotStopped);
    FAIL() << "an answer";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kContextFull);
  }
}

INSTANTIATE_TEST_SUITE_P(DemoModels, Engine, ::testing::Values("gemma", "llama", "mistral"));

TEST(EngineFactory, UnknownInstructionSet) {
  EXPECT_THROW(engine_factory({.isa = "mmx"}), Error);
}

}  // namespace
}  // namespace gemma::squad
