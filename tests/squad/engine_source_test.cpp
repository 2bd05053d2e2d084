// The engine behind the evaluator, on the demo models: sharing a passage's prefill, threads and what was
// asked before change nothing in an answer.
#include "examples/squad/engine_source.hpp"

#include <chrono>
#include <cmath>
#include <map>

#include <gtest/gtest.h>

#include "examples/engine_flags.hpp"
#include "examples/squad/embedded.hpp"
#include "examples/squad/prompts.hpp"
#include "examples/squad/runner.hpp"
#include "examples/squad/squad.hpp"
#include "gemma/engine_error_code.hpp"
#include "tests/paths.hpp"
#include "tests/refusal.hpp"

namespace gemma::squad {
namespace {

const std::atomic<bool> kNotStopped{false};

class Engine : public ::testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<AnswerSource> load(unsigned threads = 2, std::size_t batch = 1,
                                     const std::string& draft = "off") const {
    const auto file = gemma::test::demo_model(GetParam());
    app::EngineFlags flags;
    flags.threads = threads;
    flags.draft = draft;
    auto source = engine_factory(flags)({GetParam(), file});
    source->reserve(1024, batch);
    return source;
  }
  static Prompt prompt_of(const Question& question, const Preset& preset) {
    return {fill_template(preset.prompt_template, set().passages[question.passage].text, question.text),
            preset.chat};
  }
  static Answer ask(AnswerSource& source, const Query& query, bool share,
                    const std::atomic<bool>& cancel = kNotStopped) {
    Answer answer;
    source.ask({&query, 1}, share, cancel, [&](std::size_t, Answer a) { answer = std::move(a); });
    return answer;
  }
  static const Dataset& set() {
    static const Dataset demo = parse_dataset(embedded::kDemoSet, "demo_set.json");
    return demo;
  }
  static Sampling sampling_of(const Preset& preset, const Question& question) {
    Sampling sampling = preset.sampling;
    sampling.max_tokens = 24;
    sampling.seed = sampling_seed(1, question.id);
    return sampling;
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
      const Answer a = ask(*shared, {prompt_of(question, preset), sampling}, true);
      const Answer b = ask(*alone, {prompt_of(question, preset), sampling}, false);
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
    forward[q.id] = ask(*source, {prompt_of(q, preset), sampling_of(preset, q)}, false).text;
  }
  for (std::size_t i = 6; i-- > 0;) {
    const Question& q = set().questions[i];
    EXPECT_EQ(ask(*source, {prompt_of(q, preset), sampling_of(preset, q)}, true).text, forward[q.id]);
  }
}

// Greedy and sampled, questions of a passage beside each other and beside others, in batches that they fill
// and leave at different times.
TEST_P(Engine, BatchesChangeNoAnswer) {
  for (const char* name : {"chat", "article"}) {
    const Preset preset = make_preset(name, false);
    std::vector<Query> queries;
    for (std::size_t i = 0; i < 9; ++i) {
      const Question& q = set().questions[i];
      queries.push_back({prompt_of(q, preset), sampling_of(preset, q)});
      queries.back().sampling.max_tokens = 3 + 5 * i % 17;
    }
    const auto alone = load(1);
    std::vector<Answer> expected;
    for (const Query& query : queries) expected.push_back(ask(*alone, query, true));
    for (const std::size_t batch : {4U, 9U}) {
      const auto together = load(2, batch, batch == 4 ? "lookup" : "off");
      const auto begin = std::chrono::steady_clock::now();
      std::size_t n = 0, cached = 0;
      double share_s = 0;
      together->ask(queries, true, kNotStopped, [&](std::size_t i, Answer answer) {
        EXPECT_EQ(answer.text, expected[i].text) << name << " " << i << " of " << batch;
        EXPECT_EQ(answer.stop, expected[i].stop);
        EXPECT_EQ(answer.tokens, expected[i].tokens);
        EXPECT_EQ(answer.prompt_tokens, expected[i].prompt_tokens);
        EXPECT_EQ(answer.timing.batch, batch);
        cached += answer.timing.cached_tokens;
        share_s += answer.timing.share_s;
        ++n;
      });
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
      EXPECT_EQ(n, queries.size());
      EXPECT_LE(share_s, took.count());
      EXPECT_GT(share_s, 0);
      EXPECT_GT(cached, 5 * 40U) << "3 passages for 9 questions";
    }
  }
}

TEST_P(Engine, DraftsChangeNoAnswer) {
  for (const char* name : {"chat", "article"}) {
    const Preset preset = make_preset(name, false);
    const auto plain = load(1), lookup = load(1, 1, "lookup");
    std::size_t drafted = 0, accepted = 0, forwards = 0, tokens = 0;
    for (std::size_t i = 0; i < 6; ++i) {
      const Query query = {prompt_of(set().questions[i], preset), sampling_of(preset, set().questions[i])};
      const Answer a = ask(*plain, query, true), b = ask(*lookup, query, true);
      EXPECT_EQ(a.text, b.text) << name << " " << i;
      EXPECT_EQ(a.stop, b.stop);
      EXPECT_EQ(a.timing.drafted, 0U);
      EXPECT_EQ(a.timing.forwards, static_cast<double>(a.tokens));
      drafted += b.timing.drafted;
      accepted += b.timing.accepted;
      tokens += b.tokens;
      forwards += static_cast<std::size_t>(b.timing.forwards);
    }
    EXPECT_LE(accepted, drafted);
    EXPECT_EQ(forwards + accepted, tokens);
  }
}

TEST_P(Engine, MemoryDecidesHowManyAtOnce) {
  const auto file = gemma::test::demo_model(GetParam());
  const auto most = [&](std::size_t max_memory) {
    app::EngineFlags flags;
    flags.threads = 1;
    flags.max_memory = max_memory;
    return engine_factory(flags)({GetParam(), file})->most_at_once(1024);
  };
  EXPECT_EQ(most(1), 1U);
  EXPECT_EQ(most(std::size_t{1} << 40), 32U);
  const std::size_t some = most(std::size_t{60} << 20);
  EXPECT_GT(some, 1U);
  EXPECT_LT(some, 32U);
}

TEST_P(Engine, TimesAddUp) {
  const Preset preset = make_preset("chat", false);
  const auto source = load();
  const Question& q = set().questions[0];
  const Answer answer = ask(*source, {prompt_of(q, preset), sampling_of(preset, q)}, true);
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
  const auto together = load(2, 3);
  for (AnswerSource* s : {source.get(), together.get()}) {
    EXPECT_EQ(ask(*s, {{std::string(900, 'x'), true}, sampling_of(preset, q)}, true, stopped).stop, "")
        << "an answer that was stopped";
    EXPECT_EQ(gemma::test::code_of([&] {
                ask(*s, {{std::string(9000, 'x'), true}, sampling_of(preset, q)}, true);
              }),
              EngineErrorCode::kContextFull);
  }
}

INSTANTIATE_TEST_SUITE_P(DemoModels, Engine, ::testing::Values("gemma", "llama", "mistral"));

TEST(EngineFactory, UnknownInstructionSet) {
  app::EngineFlags flags;
  flags.isa = "mmx";
  EXPECT_THROW(engine_factory(flags), Error);
}

}  // namespace
}  // namespace gemma::squad
