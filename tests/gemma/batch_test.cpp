// Shared prefixes of the sequences of a batch; sharing never changes an answer (law 1). Joining, leaving and
// errors are tested in tests/api/batch_test.cpp.
#include "gemma/batch.hpp"

#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "gemma/session.hpp"
#include "tests/gemma/model_file.hpp"
#include "tests/gemma/run.hpp"

namespace gemma::test {
namespace {

using Ids = std::vector<std::int32_t>;

Shape shape(bool slides) {
  Shape s;
  if (slides) {
    s.architecture = "gemma3";
    s.n_layers = 7;
    s.window = 8;
  }
  s.vocabulary = true;
  return s;
}

Ids joined(Ids a, const Ids& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

class SharedPrefixes : public testing::TestWithParam<bool> {
 protected:
  Ids random(std::size_t n, std::uint64_t seed) const { return random_tokens(n, vocab_, seed); }
  GenerateOptions ten() const { return {.max_tokens = 10, .ignore_end = true, .log_probabilities = true}; }
  static Sampler sampler(std::uint64_t seed) { return Sampler({.temperature = 0.9f, .seed = seed}); }
  GenerateResult alone(const Ids& prompt, std::uint64_t seed) const {
    Session s(*model_, {.n_ctx = 1200, .chunk = 64, .n_threads = 1});
    s.set_tokens(prompt);
    Sampler own = sampler(seed);
    return s.generate(own, ten());
  }
  void expect_alone(const GenerateResult& got, const Ids& prompt, std::uint64_t seed) const {
    const GenerateResult want = alone(prompt, seed);
    EXPECT_EQ(got.tokens, want.tokens);
    EXPECT_EQ(got.log_probabilities, want.log_probabilities);
    EXPECT_EQ(got.text, want.text);
  }

  MemoryModel model_{make_model(shape(GetParam()))};
  std::size_t vocab_ = model_->config().vocab_size;
};

/// Eight simultaneous requests with a common prefix: the first computes it, and it is stored once.
TEST_P(SharedPrefixes, AreComputedOnceAndHeldOnce) {
  const Ids prefix = random(1000, 1);
  Batch batch(*model_, {.max_sequences = 8, .n_ctx = 1200, .chunk = 100, .n_threads = 2});
  std::vector<Ids> prompts;
  std::vector<Batch::Id> ids;
  for (std::uint64_t i = 0; i < 8; ++i) {
    prompts.push_back(joined(prefix, random(5 + i, 100 + i)));
    ids.push_back(batch.add(prompts[i], sampler(i), ten()));
  }
  std::size_t most = 0;
  while (batch.step()) most = std::max(most, batch.used_kv_bytes());
  EXPECT_EQ(batch.stats().n_reused, 7 * 1000u);
  EXPECT_LE(batch.stats().n_computed, 1000u + 8 * (12 + 10));
  // pages: the prefix's 16 (the last of them partly), and for each sequence its last page and one more
  std::size_t page = 0;
  for (const KvLayout::Group& g : KvLayout(model_->config(), batch.kv_options()).groups) page += g.page_bytes;
  EXPECT_LE(most, page * (16 + 8 * 2 + 8 * 4 * (GetParam() ? 1 : 0)));
  EXPECT_LE(batch.used_kv_bytes(), batch.memory_bytes());
  for (std::uint64_t i = 0; i < 8; ++i) expect_alone(batch.take(ids[i]), prompts[i], i);
}

TEST_P(SharedPrefixes, AreKeptForRequestsToCome) {
  Batch batch(*model_, {.max_sequences = 2, .n_ctx = 400, .chunk = 64, .n_threads = 1});
  const Ids system = random(150, 2);
  std::size_t reused = 0;
  for (std::uint64_t i = 0; i < 4; ++i) {
    const Ids prompt = joined(system, random(3 + 40 * i, 50 + i));
    const auto id = batch.add(prompt, sampler(i), ten());
    batch.run();
    expect_alone(batch.take(id), prompt, i);
    // layers with a window hold its pages and those of a chunk before it
    EXPECT_EQ(batch.stats().n_reused, reused);
    reused += 150;
  }
  // the next turn: the whole prompt and answer are reused
  const Ids prompt = joined(system, random(20, 60));
  auto id = batch.add(prompt, sampler(9), ten());
  batch.run();
  const Ids answer = batch.take(id).tokens;
  const Ids next = joined(joined(prompt, answer), random(5, 61));
  const std::size_t before = batch.stats().n_reused;
  id = batch.add(next, sampler(10), ten());
  batch.run();
  expect_alone(batch.take(id), next, 10);
  EXPECT_EQ(batch.stats().n_reused - before, prompt.size() + answer.size() - 1)
      << "its last token was not computed";
  // the same request again: only one token is computed before the first answer token
  const std::size_t computed = batch.stats().n_computed;
  id = batch.add(next, sampler(10), {.max_tokens = 1, .ignore_end = true});
  batch.run();
  batch.take(id);
  EXPECT_EQ(batch.stats().n_computed - computed, 1u);
}

/// Kept prefixes are dropped when a running sequence needs their pages.
TEST_P(SharedPrefixes, LeaveWhenTheirPagesAreNeeded) {
  Batch batch(*model_, {.max_sequences = 2, .n_ctx = 300, .chunk = 64, .n_threads = 1, .max_prefixes = 8});
  for (std::uint64_t i = 0; i < 6; ++i) {  // needs more pages than there are
    const Ids prompt = random(200, 10 + i);
    const auto id = batch.add(prompt, sampler(i), ten());
    batch.run();
    batch.take(id);
  }
  const Ids a = random(285, 30), b = random(290, 31);
  const auto first = batch.add(a, sampler(1), ten());
  const auto second = batch.add(b, sampler(2), ten());
  batch.run();
  expect_alone(batch.take(first), a, 1);
  expect_alone(batch.take(second), b, 2);
  batch.forget_prefixes();
  EXPECT_EQ(batch.used_kv_bytes(), 0u);
}

/// Sequences that join, leave, are cancelled or diverge never change the bits of others.
TEST_P(SharedPrefixes, NeverShow) {
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    SCOPED_TRACE(seed);
    Random dice(seed);
    Batch batch(*model_, {.max_sequences = 4,
                          .n_ctx = 260,
                          .chunk = 1 + dice.below(90),
                          .n_threads = 2,
                          .max_prefixes = dice.below(6),
                          .max_prompt_tokens = dice.below(2) * 7});
    const Ids base = random(200, seed);
    struct Running {
      Batch::Id id;
      Ids prompt;
      std::uint64_t seed;
    };
    std::vector<Running> running;
    for (std::uint64_t round = 0; round < 60; ++round) {
      if (batch.n_sequences() < 4 && dice.below(2) == 0) {
        Ids prompt(base.begin(), base.begin() + static_cast<std::ptrdiff_t>(dice.below(200)));
        prompt = joined(prompt, random(1 + dice.below(40), dice.below(3)));
        running.push_back({batch.add(prompt, sampler(round), ten()), prompt, round});
      }
      batch.step();
      for (std::size_t i = 0; i < running.size();) {
        const bool drop = dice.below(12) == 0;
        if (!batch.ended(running[i].id) && !drop) {
          ++i;
          continue;
        }
        const bool whole = batch.ended(running[i].id);
        const GenerateResult got = batch.take(running[i].id);
        if (whole) expect_alone(got, running[i].prompt, running[i].seed);
        running.erase(running.begin() + static_cast<std::ptrdiff_t>(i));
      }
    }
  }
}

TEST_P(SharedPrefixes, ScoresAreASessions) {
  const Ids prompt = random(90, 4), continuation = random(30, 5);
  Session s(*model_, {.n_ctx = 300, .chunk = 64, .n_threads = 1});
  s.set_tokens(prompt);
  const std::vector<double> want = s.score(continuation);
  for (const std::size_t rows : {1, 7, 64}) {
    Batch batch(*model_, {.max_sequences = 3, .n_ctx = 300, .chunk = 64, .n_threads = 2, .logit_rows = rows});
    const auto a = batch.add_score(prompt, continuation);
    const auto b = batch.add(prompt, sampler(1), ten());
    const auto c = batch.add_score(prompt, continuation);
    batch.run();
    EXPECT_EQ(batch.result(a).log_probabilities, want) << rows;
    EXPECT_EQ(batch.take(c).log_probabilities, want) << rows;
    EXPECT_EQ(batch.take(a).tokens, continuation);
    expect_alone(batch.take(b), prompt, 1);
    const auto none = batch.add_score(prompt, {});
    EXPECT_TRUE(batch.ended(none));
    batch.take(none);
    EXPECT_THROW(batch.add_score(prompt, Ids(300, 1)), Error);
  }
}

TEST_P(SharedPrefixes, AnEndedSequenceGoesOn) {
  Batch batch(*model_, {.max_sequences = 2, .n_ctx = 300, .chunk = 64, .n_threads = 1});
  const Ids prompt = random(50, 6), more = random(9, 7);
  const auto id = batch.add(prompt, sampler(1), ten());
  EXPECT_THROW(batch.resume(id, more, argmax), Error);
  EXPECT_THROW(batch.truncate(id, 0), Error);
  batch.run();
  const Ids whole = joined(joined(prompt, batch.result(id).tokens), more);
  Sampler second = sampler(2);
  batch.resume(
      id, more, [&](std::span<const float> logits) { return second.sample(logits); }, ten());
  batch.run();
  const GenerateResult got = batch.result(id);
  expect_alone(got, whole, 2);
  batch.truncate(id, whole.size() - 2);
  const Ids other = random(4, 8);
  Sampler third = sampler(3);
  batch.resume(
      id, other, [&](std::span<const float> logits) { return third.sample(logits); }, ten());
  batch.run();
  expect_alone(batch.take(id), joined(Ids(whole.begin(), whole.end() - 2), other), 3);
}

TEST_P(SharedPrefixes, ACancelledSequenceLeavesTheOthersAlone) {
  Batch batch(*model_, {.max_sequences = 3, .n_ctx = 300, .chunk = 20, .n_threads = 1});
  const Ids prefix = random(100, 9);
  const Ids a = joined(prefix, random(3, 1)), b = joined(prefix, random(4, 2));
  std::atomic<bool> stop{false};
  GenerateOptions stoppable = ten();
  stoppable.cancel = &stop;
  const auto first = batch.add(a, sampler(1), stoppable);
  const auto second = batch.add(b, sampler(2), ten());  // waits for the prefix that the first computes
  batch.step();
  batch.step();
  stop = true;
  batch.run();
  EXPECT_EQ(batch.take(first).reason, StopReason::kCancelled);
  EXPECT_EQ(batch.stats().n_reused, 40u) << "what it had computed";
  expect_alone(batch.take(second), b, 2);
}

INSTANTIATE_TEST_SUITE_P(Windows, SharedPrefixes, testing::Bool(),
                         [](const auto& param) { return param.param ? "Sliding" : "Full"; });

}  // namespace
}  // namespace gemma::test
