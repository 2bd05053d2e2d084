// Requests from many threads: each answer is the same as alone, and no request blocks the others.
#include "gemma/scheduler.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "gemma/session.hpp"
#include "tests/gemma/model_file.hpp"
#include "tests/gemma/run.hpp"

namespace gemma::test {
namespace {

using Ids = std::vector<std::int32_t>;
using Wait = PendingAnswer::Wait;

Shape with_text() {
  Shape s;
  s.vocabulary = true;
  return s;
}

class Schedulers : public testing::Test {
 protected:
  MemoryModel model_{make_model(with_text())};
  std::size_t vocab_ = model_->config().vocab_size;

  SchedulerOptions options(std::size_t n) const {
    return {
        .engine = {.max_sequences = n, .n_ctx = 300, .chunk = 32, .n_threads = 1, .max_prompt_tokens = 16}};
  }
  Request request(std::uint64_t i, std::size_t max_tokens = 12) const {
    Ids prompt = random_tokens(20, vocab_, 7);
    const Ids own = random_tokens(1 + i % 30, vocab_, i);
    prompt.insert(prompt.end(), own.begin(), own.end());
    return {.prompt = prompt,
            .sampler = {.temperature = 0.8f, .seed = i},
            .options = {.max_tokens = max_tokens, .ignore_end = true, .log_probabilities = true}};
  }
  /// A request that takes seconds unless it is ended, so that tests that act while it runs do not depend on
  /// the machine's load.
  Request slow(std::uint64_t i) const {
    Request r = request(i, 250);
    r.pick = [](std::span<const float> logits) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      return argmax(logits);
    };
    return r;
  }
  GenerateResult alone(const Request& r) const {
    Session s(*model_, {.n_ctx = 300, .chunk = 32, .n_threads = 1});
    s.set_tokens(r.prompt);
    Sampler sampler(r.sampler);
    return s.generate(sampler, r.options);
  }
};

TEST_F(Schedulers, AnswersAreThoseOfEachAlone) {
  SchedulerOptions guessing = options(4);
  guessing.engine.draft.source = DraftSource::kLookup;  // guesses do not change answers
  Scheduler scheduler(*model_, guessing);
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (std::uint64_t t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint64_t i = 0; i < 4; ++i) {
        Request r = request(10 * t + i);
        r.options.draft = i != 0;
        PendingAnswer answer = scheduler.submit(r);
        std::string text;
        Ids ids;
        AnswerPiece piece;
        while (answer.next(piece) == Wait::kPiece) {
          text += piece.text;
          if (piece.id != GeneratedToken::kNone) ids.push_back(piece.id);
        }
        const GenerateResult want = alone(r), got = answer.wait();
        if (text != want.text || ids != want.tokens || got.tokens != want.tokens ||
            got.log_probabilities != want.log_probabilities || answer.state() != RequestState::kDone) {
          ++wrong;
        }
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
  const SchedulerStats stats = scheduler.stats();
  EXPECT_EQ(stats.n_done, 32u);
  EXPECT_EQ(stats.n_queued, 0u);
  EXPECT_GT(stats.batch.n_reused, 0u) << "they begin alike";
}

// The answer without a penalty repeats a token of the prompt, so a penalty that forbids repetitions must
// include the prompt.
TEST_F(Schedulers, TheRepeatPenaltySeesThePrompt) {
  const GenerateOptions wanted{.max_tokens = 6, .ignore_end = true};
  const SamplerOptions forbid{.repeat_penalty = 1e6f};
  Session session(*model_, options(1).engine);
  Ids prompt;
  const auto answer = [&](const SamplerOptions& o) {
    Sampler sampler(o);
    session.set_tokens(prompt);
    return session.generate(sampler, wanted).tokens;
  };
  const auto repeats = [&](const Ids& ids) {
    return std::find_first_of(ids.begin(), ids.end(), prompt.begin(), prompt.end()) != ids.end();
  };
  std::uint64_t seed = 0;
  do {
    ASSERT_LT(seed, 100U) << "no plain answer repeats its prompt";
    prompt = random_tokens(40, vocab_, ++seed);
  } while (!repeats(answer({})));

  const Ids alone = answer(forbid);
  EXPECT_FALSE(repeats(alone));
  Batch batch(*model_, options(1).engine);
  const Batch::Id id = batch.add(prompt, Sampler(forbid), wanted);
  while (batch.step()) {
  }
  EXPECT_EQ(batch.result(id).tokens, alone);
  Scheduler scheduler(*model_, options(1));
  EXPECT_EQ(scheduler.submit({.prompt = prompt, .sampler = forbid, .options = wanted}).wait().tokens, alone);
}

TEST_F(Schedulers, WhoSeesTheEndSeesItCounted) {
  Scheduler scheduler(*model_, options(1));
  for (std::size_t i = 1; i <= 2000; ++i) {
    ASSERT_FALSE(scheduler.submit({.prompt = {1}, .options = {.max_tokens = 1}}).wait().tokens.size() > 1);
    const SchedulerStats stats = scheduler.stats();
    ASSERT_EQ(stats.n_done, i);
    ASSERT_EQ(stats.n_running, 0u);
  }
}

TEST_F(Schedulers, AReaderWhoDoesNotReadHoldsNobodyUp) {
  Scheduler scheduler(*model_, options(2));
  PendingAnswer unread = scheduler.submit(request(1, 200));
  for (std::uint64_t i = 2; i < 6; ++i) {
    const Request r = request(i);
    EXPECT_EQ(scheduler.submit(r).wait().tokens, alone(r).tokens);
  }
  EXPECT_EQ(unread.wait().tokens, alone(request(1, 200)).tokens);
}

TEST_F(Schedulers, WhoLeavesIsCancelled) {
  Scheduler scheduler(*model_, options(1));
  AnswerPiece piece;
  {
    PendingAnswer left = scheduler.submit(slow(1));
    ASSERT_EQ(left.next(piece), Wait::kPiece);
  }
  PendingAnswer cancelled = scheduler.submit(slow(2));
  PendingAnswer queued = scheduler.submit(request(3, 250));
  queued.cancel();
  ASSERT_EQ(cancelled.next(piece), Wait::kPiece);
  cancelled.cancel();
  EXPECT_EQ(cancelled.wait().reason, StopReason::kCancelled);
  EXPECT_EQ(queued.wait().reason, StopReason::kCancelled);
  const Request r = request(4);
  PendingAnswer last = scheduler.submit(r);
  EXPECT_EQ(last.wait().tokens, alone(r).tokens);
  EXPECT_LT(scheduler.stats().batch.n_generated, 4 * 250u);
}

TEST_F(Schedulers, AnErrorEndsItsOwnRequestOnly) {
  Scheduler scheduler(*model_, options(3));
  Request bad = request(1);
  bad.pick = [n = 0](std::span<const float> logits) mutable -> std::int32_t {
    if (++n == 4) throw std::logic_error("mine");
    return argmax(logits);
  };
  Request nan = request(2);
  nan.options.process = [](std::span<float> logits, std::span<const std::int32_t>) {
    for (float& x : logits) x = -INFINITY;
  };
  const Request good = request(3, 40);
  PendingAnswer a = scheduler.submit(bad), b = scheduler.submit(nan), c = scheduler.submit(good);
  EXPECT_EQ(c.wait().tokens, alone(good).tokens);
  AnswerPiece piece;
  int pieces = 0;
  EXPECT_THROW(
      {
        while (a.next(piece) == Wait::kPiece) ++pieces;
      },
      std::logic_error);
  EXPECT_EQ(pieces, 3);
  EXPECT_THROW(b.wait(), Error);
}

TEST_F(Schedulers, RefusesWhatCannotBeAndWhenTheQueueIsFull) {
  SchedulerOptions o = options(1);
  o.max_queue = 2;
  Scheduler scheduler(*model_, o);
  EXPECT_THROW(scheduler.submit({}), Error);
  EXPECT_THROW(scheduler.submit({.prompt = Ids(301, 1)}), Error);
  EXPECT_THROW(scheduler.submit({.prompt = {-1}}), Error);
  EXPECT_THROW(scheduler.submit({.prompt = {1}, .sampler = {.top_p = 7}}), Error);
  std::vector<PendingAnswer> answers;
  EXPECT_THROW(
      {
        for (int i = 0; i < 10; ++i) answers.push_back(scheduler.submit(slow(1)));
      },
      Error);
  EXPECT_GE(answers.size(), 2u);
}

TEST_F(Schedulers, TellsTheLikeliestTokensAndTimes) {
  Scheduler scheduler(*model_, options(2));
  Request r = request(5);
  r.n_top = 3;
  r.sampler = {};
  PendingAnswer answer = scheduler.submit(r);
  AnswerPiece piece;
  while (answer.next(piece) == Wait::kPiece) {
    if (piece.id == GeneratedToken::kNone) continue;
    ASSERT_EQ(piece.top.size(), 3u);
    EXPECT_EQ(piece.top[0].id, piece.id);
    EXPECT_DOUBLE_EQ(piece.top[0].log_probability, piece.log_probability);
  }
  const RequestTimes times = answer.times();
  EXPECT_EQ(times.n_prompt, r.prompt.size());
  EXPECT_GE(times.first_token_seconds, times.queued_seconds);
  EXPECT_GE(times.seconds, times.first_token_seconds);
}

TEST_F(Schedulers, EndsWhileRequestsRunAndWait) {
  std::vector<PendingAnswer> answers;
  {
    Scheduler scheduler(*model_, options(2));
    for (std::uint64_t i = 0; i < 5; ++i) answers.push_back(scheduler.submit(slow(i)));
    AnswerPiece piece;
    ASSERT_EQ(answers[0].next(piece), Wait::kPiece);
  }
  for (PendingAnswer& a : answers) EXPECT_EQ(a.wait().reason, StopReason::kCancelled);
}

TEST_F(Schedulers, AWaitMayEndBeforeTheNextPiece) {
  Scheduler scheduler(*model_, options(1));
  PendingAnswer first = scheduler.submit(slow(1)), second = scheduler.submit(request(2));
  AnswerPiece piece;
  EXPECT_EQ(second.next(piece, 0), Wait::kTimeout);
  EXPECT_EQ(second.state(), RequestState::kQueued);
  first.cancel();
  EXPECT_EQ(second.next(piece), Wait::kPiece);
}

}  // namespace
}  // namespace gemma::test
