// One Model and many Sessions in many threads: the same bits as alone, cancelling from other threads, 64
// sessions at once.
// tests/run-tsan.sh runs this under ThreadSanitizer.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gemma/engine_error_code.hpp"
#include "gemma/session.hpp"
#include "gemma/thread_team.hpp"
#include "tests/gemma/golden_models.hpp"
#include "tests/gemma/model_file.hpp"
#include "tests/gemma/run.hpp"

namespace gemma::test {
namespace {

/// Calls f(0) ... f(n - 1), each in a separate thread; all threads start together.
void at_once(std::size_t n, const std::function<void(std::size_t)>& f) {
  std::atomic<bool> go{false};
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < n; ++i) {
    threads.emplace_back([&, i] {
      while (!go.load()) std::this_thread::yield();
      f(i);
    });
  }
  go = true;
  for (std::thread& t : threads) t.join();
}

struct Answer {
  std::vector<std::int32_t> tokens;
  std::string text;
  std::vector<float> logits;  // after the last token
  bool operator==(const Answer&) const = default;
};

/// Generates after a prompt that depends on `i`, sometimes greedily, sometimes not.
Answer answer(const Model& model, std::size_t i, unsigned n_threads) {
  Session session(model, {.n_ctx = 80, .chunk = 16, .n_threads = n_threads});
  session.prefill(random_tokens(10 + 7 * (i % 6), model.config().vocab_size, i));
  Sampler sampler({.temperature = i % 2 == 0 ? 0.0f : 0.8f, .top_p = 0.95f, .seed = i});
  GenerateResult r = session.generate(sampler, {.max_tokens = 12, .ignore_end = true});
  return {std::move(r.tokens), std::move(r.text), {session.logits().begin(), session.logits().end()}};
}

Model golden(const char* name) {
  return Model::load((golden_dir() / name).string());
}

TEST(ParallelFor, EachIndexOnceWhateverTheThreads) {
  // the largest team first: clang's OpenMP runtime leaks memory when a team grows from two threads to five
  for (const unsigned n_threads : {1u, 5u, 2u}) {
    for (const std::size_t n : {0u, 1u, 3u, 1000u}) {
      std::vector<int> calls(n, 0);
      parallel_for(n_threads, n, [&](std::size_t i) { ++calls[i]; });
      EXPECT_EQ(calls, std::vector<int>(n, 1)) << n_threads << ", " << n;
    }
  }
}

TEST(TakePiece, EveryRowIsGivenOutOnceInWholeUnitsAndLessAndLess) {
  for (const unsigned count : {1u, 2u, 3u, 16u}) {
    for (const std::size_t n : {1u, 16u, 17u, 300u, 2048u, 256000u}) {
      std::atomic<std::size_t> taken{0};
      std::vector<std::vector<detail::WorkRange>> pieces(count);
      at_once(count, [&](std::size_t i) {
        for (detail::WorkRange r = detail::take_piece(taken, n, 16, count); r.begin != r.end;
             r = detail::take_piece(taken, n, 16, count))
          pieces[i].push_back(r);
      });
      std::vector<detail::WorkRange> all;
      for (const auto& own : pieces) all.insert(all.end(), own.begin(), own.end());
      std::sort(all.begin(), all.end(),
                [](detail::WorkRange a, detail::WorkRange b) { return a.begin < b.begin; });
      std::size_t at = 0, size = n;
      for (const detail::WorkRange r : all) {
        EXPECT_EQ(r.begin, at);
        EXPECT_TRUE(r.end % 16 == 0 || r.end == n);
        EXPECT_LE(r.end - r.begin, size);
        at = r.end, size = r.end - r.begin;
      }
      EXPECT_EQ(at, n);
    }
  }
}

class Threads : public testing::TestWithParam<const char*> {
 protected:
  Model model_ = golden(GetParam());

  void check(std::size_t n_sessions, unsigned n_threads) {
    std::vector<Answer> alone(n_sessions);
    for (std::size_t i = 0; i < n_sessions; ++i) alone[i] = answer(model_, i, 1);
    std::vector<Answer> together(n_sessions);
    at_once(n_sessions, [&](std::size_t i) { together[i] = answer(model_, i, n_threads); });
    for (std::size_t i = 0; i < n_sessions; ++i) EXPECT_TRUE(together[i] == alone[i]) << "session " << i;
  }
};

TEST_P(Threads, SessionsGiveTheSameBitsAsAlone) {
  check(6, 1);
}
TEST_P(Threads, SessionsOfSeveralThreadsEach) {
  check(4, 2);
}
TEST_P(Threads, SixtyFourAtOnce) {
  check(64, 1);
}

TEST_P(Threads, TheTokenizerIsBuiltOnceByWhoeverComesFirst) {
  const std::string text = "Several threads ask for the tokenizer at once, \xC3\xA9 and all.";
  const Model other = golden(GetParam());
  const auto ids = other.tokenizer().encode(text);
  std::vector<std::vector<std::int32_t>> got(8);
  at_once(8, [&](std::size_t i) { got[i] = model_.tokenizer().encode(text); });
  for (const auto& g : got) EXPECT_EQ(g, ids);
}

TEST_P(Threads, ModelsLoadInSeveralThreads) {
  const Answer alone = answer(model_, 5, 1);
  std::vector<Answer> got(4);
  at_once(4, [&](std::size_t i) { got[i] = answer(golden(GetParam()), 5, 1); });
  for (const Answer& a : got) EXPECT_TRUE(a == alone);
}

TEST_P(Threads, CancelFromAnotherThreadAtAnyMoment) {
  const auto ids = random_tokens(60, model_.config().vocab_size, 1);
  const auto truth = logits_in_chunks(model_, ids, 60, 1);
  Session session(model_, {.n_ctx = 80, .chunk = 5, .n_threads = 2});
  int cancelled = 0;
  std::atomic<bool> cancel{false};
  for (int round = 0; round < 30; ++round) {
    session.reset();
    cancel = false;
    std::thread other([&cancel, round] {
      std::this_thread::sleep_for(std::chrono::microseconds(100 * round));
      cancel = true;
    });
    try {
      session.prefill(ids, {.cancel = &cancel});
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), EngineErrorCode::kCancelled);
      ++cancelled;
    }
    other.join();
    // whole chunks are kept, and later results are the same as without cancelling
    EXPECT_EQ(session.n_past() % 5, 0u);
    session.prefill(ids);
    EXPECT_TRUE(std::equal(session.logits().begin(), session.logits().end(),
                           truth.end() - static_cast<std::ptrdiff_t>(session.logits().size())));
  }
  EXPECT_GT(cancelled, 0);
}

TEST_P(Threads, CancelEndsAGeneration) {
  Session session(model_, {.n_ctx = 8000, .n_threads = 2});
  session.prefill(random_tokens(10, model_.config().vocab_size, 1));
  std::atomic<bool> running{false}, cancel{false};
  std::thread other([&] {
    while (!running.load()) std::this_thread::yield();
    cancel = true;
  });
  GenerateOptions options{.max_tokens = 7000, .ignore_end = true, .cancel = &cancel};
  options.on_token = [&](const GeneratedToken&) {
    running = true;
    return true;
  };
  Sampler sampler({.temperature = 1.0f, .seed = 1});
  const GenerateResult r = session.generate(sampler, options);
  other.join();
  EXPECT_EQ(r.reason, StopReason::kCancelled);
  EXPECT_GE(r.tokens.size(), 1u);
}

/// Different threads may use a workspace one after another.
TEST_P(Threads, ASessionMayMoveBetweenThreads) {
  const auto ids = random_tokens(30, model_.config().vocab_size, 4);
  const auto truth = logits_in_chunks(model_, ids, 30, 1);
  std::optional<Session> session(std::in_place, model_, SessionOptions{.n_ctx = 40, .n_threads = 2});
  for (const std::int32_t id : ids) std::thread([&] { session->append({&id, 1}); }).join();
  EXPECT_TRUE(std::equal(session->logits().begin(), session->logits().end(),
                         truth.end() - static_cast<std::ptrdiff_t>(session->logits().size())));
}

INSTANTIATE_TEST_SUITE_P(Models, Threads, testing::Values("nano-gemma3.F32.gguf", "tiny-llama3.Q4_K_M.gguf"),
                         [](const auto& param) {
                           std::string name = param.param;
                           for (char& c : name) {
                             if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
                           }
                           return name;
                         });

/// Runs `child` in a forked process; returns its status, or -1 if it has not ended within `seconds`.
int in_child(unsigned seconds, const std::function<bool()>& child) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::alarm(seconds);
    ::_exit(child() ? 0 : 1);
  }
  int status = 0;
  return ::waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// OpenMP's threads do not exist in a forked process (e.g. of Python's multiprocessing): it computes with one
// thread and gives the same bits.
TEST(Fork, AChildComputesTheSameBits) {
  const Model model = golden("nano-gemma-mqa.F32.gguf");
  const Answer wanted = answer(model, 3, 1);
  EXPECT_EQ(in_child(60, [&] { return answer(model, 3, 2) == wanted; }), 0) << "forked before any team";
  Session session(model, {.n_ctx = 80, .chunk = 16, .n_threads = 2});
  session.prefill(random_tokens(10, model.config().vocab_size, 0));
  EXPECT_EQ(answer(model, 3, 2), wanted);
  EXPECT_EQ(in_child(60, [&] { return answer(model, 3, 2) == wanted; }), 0) << "a session of the child's own";
  EXPECT_EQ(in_child(60,
                     [&] {
                       const std::int32_t token = 5;
                       session.append({&token, 1});
                       return session.n_past() == 11;
                     }),
            0)
      << "the parent's session";
  EXPECT_EQ(answer(model, 3, 2), wanted) << "the parent goes on as before";
}

}  // namespace
}  // namespace gemma::test
