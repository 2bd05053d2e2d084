// A session's sequence: reuse of earlier prompts, and the state after cancelling and after a full context.
// Streaming, stop strings, scores and snapshots are tested in tests/api/session_test.cpp.
#include "gemma/session.hpp"

#include <atomic>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "gemma/engine_error_code.hpp"
#include "gemma/log_probability.hpp"
#include "tests/gemma/model_file.hpp"
#include "tests/gemma/run.hpp"
#include "tests/refusal.hpp"

namespace gemma::test {
namespace {

Shape with_text() {
  Shape s;
  s.vocabulary = true;
  return s;
}
Shape sliding() {
  Shape s;
  s.architecture = "gemma3";
  s.n_layers = 7;
  s.window = 8;
  s.vocabulary = true;
  return s;
}

/// Chooses the given ids one after another.
PickToken script(std::vector<std::int32_t> ids) {
  return [ids = std::move(ids), i = std::size_t{0}](std::span<const float>) mutable { return ids.at(i++); };
}

class Sessions : public testing::TestWithParam<bool> {
 protected:
  MemoryModel model_{make_model(GetParam() ? sliding() : with_text())};
  std::size_t vocab_ = model_->config().vocab_size;

  Session session(std::size_t n_ctx = 200, std::size_t chunk = 16) const {
    return Session(*model_, {.n_ctx = n_ctx, .chunk = chunk, .n_threads = 2});
  }
  /// Expects the logits after `ids` to be those of a newly computed sequence.
  void expect_as_if_new(Session& s, const std::vector<std::int32_t>& ids) const {
    EXPECT_EQ(std::vector<std::int32_t>(s.tokens().begin(), s.tokens().end()), ids);
    const auto truth = logits_in_chunks(*model_, ids, 512, 1);
    EXPECT_TRUE(std::equal(s.logits().begin(), s.logits().end(),
                           truth.end() - static_cast<std::ptrdiff_t>(vocab_), truth.end()));
  }
};

TEST_P(Sessions, ReuseThePrefixOfAnEarlierPrompt) {
  Session s = session();
  auto ids = random_tokens(60, vocab_, 1);
  EXPECT_EQ(s.prefill(ids).n_computed, 60u);
  // the same tokens again: nothing is computed
  PrefillResult r = s.prefill(ids);
  EXPECT_EQ(r.n_reused, 60u);
  EXPECT_EQ(r.n_computed, 0u);
  // a longer sequence: only the new tokens are computed
  const auto more = random_tokens(15, vocab_, 2);
  ids.insert(ids.end(), more.begin(), more.end());
  r = s.prefill(ids);
  EXPECT_EQ(r.n_reused, 60u);
  EXPECT_EQ(r.n_computed, 15u);
  expect_as_if_new(s, ids);
  // a different end
  ids[70] = (ids[70] + 1) % static_cast<std::int32_t>(vocab_);
  r = s.prefill(ids);
  EXPECT_EQ(r.n_reused, 70u);
  EXPECT_EQ(r.n_computed, 5u);
  expect_as_if_new(s, ids);
  // a shorter sequence: its last token is computed again, for its logits
  ids.resize(68);
  r = s.prefill(ids);
  EXPECT_EQ(r.n_reused, 67u);
  expect_as_if_new(s, ids);
  // a different beginning
  ids[0] = (ids[0] + 1) % static_cast<std::int32_t>(vocab_);
  EXPECT_EQ(s.prefill(ids).n_reused, 0u);
  expect_as_if_new(s, ids);
}

TEST_P(Sessions, AWindowThatHasMovedOnStartsAgain) {
  Session s = session();
  auto ids = random_tokens(150, vocab_, 3);
  s.prefill(ids);
  ids.resize(20);
  const PrefillResult r = s.prefill(ids);
  EXPECT_EQ(r.n_reused, GetParam() ? 0u : 19u);
  EXPECT_EQ(r.n_reused + r.n_computed, 20u);
  expect_as_if_new(s, ids);
}

TEST_P(Sessions, TokenByTokenIsTheSame) {
  Session s = session();
  const auto ids = random_tokens(40, vocab_, 4);
  for (const std::int32_t id : ids) s.append({&id, 1});
  expect_as_if_new(s, ids);
}

TEST_P(Sessions, ManyTurnsOnOneCache) {
  Session s = session();
  std::vector<std::int32_t> all;
  Sampler sampler({.temperature = 1.0f, .seed = 7});
  for (std::uint64_t turn = 0; turn < 5; ++turn) {
    const auto question = random_tokens(12, vocab_, 10 + turn);
    all.insert(all.end(), question.begin(), question.end());
    EXPECT_EQ(s.prefill(all).n_computed, 12u);
    const GenerateResult r = s.generate(sampler, {.max_tokens = 9, .ignore_end = true});
    EXPECT_EQ(r.tokens.size(), 9u);
    all.insert(all.end(), r.tokens.begin(), r.tokens.end());
    expect_as_if_new(s, all);
  }
}

TEST_P(Sessions, GreedyTokensAreTheLargestLogits) {
  Session s = session();
  const auto prompt = random_tokens(10, vocab_, 5);
  s.prefill(prompt);
  Sampler greedy;
  const GenerateResult r = s.generate(greedy, {.max_tokens = 20, .ignore_end = true});
  auto ids = prompt;
  for (const std::int32_t id : r.tokens) {
    const auto logits = logits_in_chunks(*model_, ids, 512, 1);
    EXPECT_EQ(id, argmax(std::span(logits).last(vocab_)));
    ids.push_back(id);
  }
}

TEST_P(Sessions, SeedsDecideWhatIsDrawn) {
  const auto prompt = random_tokens(10, vocab_, 5);
  auto draw = [&](std::uint64_t seed) {
    Session s = session();
    s.prefill(prompt);
    Sampler sampler({.temperature = 1.0f, .top_k = 50, .seed = seed});
    return s.generate(sampler, {.max_tokens = 30, .ignore_end = true}).tokens;
  };
  EXPECT_EQ(draw(1), draw(1));
  EXPECT_NE(draw(1), draw(2));
}

TEST_P(Sessions, AFullContextEndsAndTheSequenceIsWhole) {
  Session s = session(24, 7);
  const auto prompt = random_tokens(20, vocab_, 6);
  s.prefill(prompt);
  Sampler sampler({.temperature = 1.0f, .seed = 3});
  const GenerateResult r = s.generate(sampler, {.max_tokens = 100, .ignore_end = true});
  EXPECT_EQ(r.reason, StopReason::kContextFull);
  EXPECT_EQ(r.tokens.size(), 5u);  // four fit; the fifth was sampled from the last logits
  EXPECT_EQ(s.n_past(), 24u);
  auto all = prompt;
  all.insert(all.end(), r.tokens.begin(), r.tokens.begin() + 4);
  expect_as_if_new(s, all);
  const std::int32_t one = 1;
  EXPECT_THROW(s.append({&one, 1}), Error);
  expect_as_if_new(s, all);
  s.reset();
  s.prefill(prompt);  // the session can be used again
  expect_as_if_new(s, prompt);
}

TEST_P(Sessions, APromptCancelledBetweenChunksGoesOnFromThere) {
  Session s = session();
  const auto ids = random_tokens(100, vocab_, 7);
  std::vector<std::size_t> steps;
  std::atomic<bool> cancel{false};
  auto progress = [&](std::size_t done, std::size_t total) {
    EXPECT_EQ(total, 100u);
    steps.push_back(done);
    if (done == 48) cancel = true;
  };
  EXPECT_EQ(code_of([&] { s.prefill(ids, {progress, &cancel}); }), EngineErrorCode::kCancelled);
  EXPECT_EQ(steps, (std::vector<std::size_t>{16, 32, 48}));
  EXPECT_EQ(s.n_past(), 48u);
  EXPECT_THROW(s.logits(), Error);
  EXPECT_EQ(s.prefill(ids).n_reused, 48u);
  expect_as_if_new(s, ids);
}

TEST_P(Sessions, ABadTokenInALaterChunkLeavesTheChunksBefore) {
  Session s = session();
  auto ids = random_tokens(40, vocab_, 8);
  ids[35] = -5;
  EXPECT_THROW(s.prefill(ids), Error);
  EXPECT_EQ(s.n_past() % 16, 0u);
  ids[35] = 5;
  s.prefill(ids);
  expect_as_if_new(s, ids);
}

/// A verified draft: some of k + 1 computed tokens are kept, with their logits.
TEST_P(Sessions, KeepsSomeOfTheTokensItComputed) {
  Session s(*model_, {.n_ctx = 200, .chunk = 16, .n_threads = 2, .logit_rows = 6});
  auto ids = random_tokens(50, vocab_, 3);
  s.set_tokens(ids);
  EXPECT_THROW(s.keep(1), Error);
  for (std::size_t n = 1; n <= 6; ++n) {
    const auto draft = random_tokens(6, vocab_, n);
    const auto rows = s.append_for_logits(draft);
    auto longer = ids;
    longer.insert(longer.end(), draft.begin(), draft.end());
    const auto truth = logits_in_chunks(*model_, longer, 512, 1);
    EXPECT_TRUE(std::equal(rows.begin(), rows.end(), truth.end() - static_cast<std::ptrdiff_t>(6 * vocab_)));
    EXPECT_THROW(s.keep(0), Error);
    EXPECT_EQ(refusal_of([&] { s.keep(7); }),
              "invalid_argument: the number of tokens to keep is 7; it must be from 1 to 6");
    s.keep(n);
    ids.insert(ids.end(), draft.begin(), draft.begin() + static_cast<std::ptrdiff_t>(n));
    const std::size_t computed = s.n_computed();
    expect_as_if_new(s, ids);
    EXPECT_EQ(s.n_computed(), computed) << "logits were there";
  }
  EXPECT_EQ(refusal_of([&] { s.append_for_logits(random_tokens(7, vocab_, 1)); }),
            "invalid_argument: the number of tokens (at most logit_rows) is 7; it must be from 1 to 6");
  EXPECT_THROW(s.append_for_logits({}), Error);
  s.truncate(20);
  EXPECT_THROW(s.keep(1), Error);
}

TEST_P(Sessions, NothingIsComputedAfterTheLastToken) {
  Session s = session();
  const auto prompt = random_tokens(10, vocab_, 4);
  s.set_tokens(prompt);
  const auto said = s.generate(script({7, 8, 9}), {.max_tokens = 3, .ignore_end = true});
  EXPECT_EQ(said.reason, StopReason::kMaxTokens);
  EXPECT_EQ(s.n_past(), 13u);
  EXPECT_EQ(s.n_computed(), 12u);
  EXPECT_EQ(refusal_of([&] { s.append_for_logits(std::vector<std::int32_t>{5}); }),
            "invalid_argument: call logits() first: the tokens before these are not computed yet");
  auto ids = prompt;
  ids.insert(ids.end(), {7, 8, 9});
  expect_as_if_new(s, ids);
  EXPECT_EQ(s.n_computed(), 13u) << "asked for its logits";
  s.generate(script({10}), {.max_tokens = 1, .ignore_end = true});
  ids.push_back(10);
  const auto more = random_tokens(3, vocab_, 5);
  s.append(more);
  ids.insert(ids.end(), more.begin(), more.end());
  expect_as_if_new(s, ids);
  s.generate(script({11}), {.max_tokens = 1, .ignore_end = true});
  ids.push_back(11);
  EXPECT_EQ(s.set_tokens(ids).n_computed, 1u);
  s.generate(script({12}), {.max_tokens = 1, .ignore_end = true});
  s.truncate(ids.size());
  EXPECT_EQ(s.n_computed(), ids.size());
}

TEST_P(Sessions, LogitsAreProcessedOnTheSequencesOwnRow) {
  Session s = session();
  const auto prompt = random_tokens(10, vocab_, 4);
  s.set_tokens(prompt);
  const std::vector<float> before(s.logits().begin(), s.logits().end());
  std::vector<std::size_t> seen;
  GenerateOptions options{.max_tokens = 4, .ignore_end = true, .log_probabilities = true};
  options.process = [&](std::span<float> logits, std::span<const std::int32_t> tokens) {
    EXPECT_EQ(logits.size(), vocab_);
    if (seen.empty()) {
      EXPECT_TRUE(std::equal(logits.begin(), logits.end(), before.begin()));
    }
    seen.push_back(tokens.size());
    for (float& x : logits) x = -std::numeric_limits<float>::infinity();
    logits[40 + seen.size()] = 0;
  };
  const auto said = s.generate(argmax, options);
  EXPECT_EQ(said.tokens, (std::vector<std::int32_t>{41, 42, 43, 44}));
  EXPECT_EQ(seen, (std::vector<std::size_t>{10, 11, 12, 13}));
  EXPECT_DOUBLE_EQ(said.log_probabilities[0], log_probability(before, 41)) << "by the model's own logits";
}

TEST_P(Sessions, MayBeMovedWithItsModel) {
  struct Owner {
    explicit Owner(const Model& m) : model(m), session(model, {.n_ctx = 64, .n_threads = 1}) {}
    Model model;
    Session session;
  };
  const auto prompt = random_tokens(10, vocab_, 4);
  std::vector<Owner> owners;
  for (int i = 0; i < 5; ++i) {
    owners.emplace_back(*model_);  // moves the existing elements
    owners.front().session.append(random_tokens(2, vocab_, static_cast<std::uint64_t>(i)));
  }
  owners.front().session.set_tokens(prompt);
  expect_as_if_new(owners.front().session, prompt);
}

TEST_P(Sessions, StopTokensEndAndDoNotJoin) {
  Session s = session();
  const auto prompt = random_tokens(5, vocab_, 9);
  s.prefill(prompt);
  GenerateResult r = s.generate(script({4 + 'H', 4 + 'i', 1}));
  EXPECT_EQ(r.text, "Hi");
  EXPECT_EQ(r.tokens.size(), 2u);
  EXPECT_EQ(r.reason, StopReason::kEndOfTurn);
  EXPECT_EQ(s.n_past(), 7u);
  r = s.generate(script({4 + 'H', 1, 4 + 'i', 4 + '!'}), {.max_tokens = 3, .ignore_end = true});
  EXPECT_EQ(r.tokens, (std::vector<std::int32_t>{4 + 'H', 1, 4 + 'i'}));
  EXPECT_EQ(r.reason, StopReason::kMaxTokens);
  EXPECT_EQ(s.n_past(), 10u);
}

TEST_P(Sessions, CharactersOfSeveralTokensAppearWhole) {
  Session s = session();
  const std::string text = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x8D\x80z";  // 1, 2, 3, 4, 1 bytes
  std::vector<std::int32_t> ids;
  for (const char c : text) ids.push_back(4 + static_cast<unsigned char>(c));
  s.prefill(random_tokens(5, vocab_, 9));
  std::vector<std::string> pieces;
  GenerateOptions options{.max_tokens = ids.size()};
  options.on_text = [&](std::string_view piece) {
    pieces.emplace_back(piece);
    return true;
  };
  EXPECT_EQ(s.generate(script(ids), options).text, text);
  EXPECT_EQ(pieces, (std::vector<std::string>{"a", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x8D\x80", "z"}));
}

/// Random sequences of all operations, with sliding windows.
TEST_P(Sessions, WhateverWasDoneBefore) {
  for (std::uint64_t seed = 0; seed < 3; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    Session s = session(120, 1 + random.below(24));
    std::vector<std::int32_t> ids;  // the expected sequence
    auto check = [&] {
      if (ids.empty()) return;
      s.prefill(ids);
      expect_as_if_new(s, ids);
    };
    for (int step = 0; step < 40; ++step) {
      const auto more = random_tokens(1 + random.below(40), vocab_, random.next());
      switch (random.below(6)) {
        case 0:  // append, if there is room
        case 1:
          if (s.n_past() + more.size() > s.n_ctx()) break;
          s.append(more);
          ids.insert(ids.end(), more.begin(), more.end());
          expect_as_if_new(s, ids);
          break;
        case 2: {  // truncate, as far as the windows allow
          std::size_t to = random.below(s.n_past() + 1);
          while (!s.can_truncate(to)) ++to;
          s.truncate(to);
          ids.resize(to);
          check();
          break;
        }
        case 3: {  // another prompt with a common prefix
          ids.resize(random.below(ids.size() + 1));
          if (ids.size() + more.size() <= s.n_ctx()) ids.insert(ids.end(), more.begin(), more.end());
          check();
          break;
        }
        case 4: {  // cancelled after some chunks
          if (s.n_past() + more.size() > s.n_ctx()) break;
          std::size_t chunks = random.below(4);
          std::atomic<bool> cancel{chunks == 0};
          try {
            const auto progress = [&](std::size_t, std::size_t) {
              if (--chunks == 0) cancel = true;
            };
            s.append(more, {progress, &cancel});
          } catch (const Error& e) {
            EXPECT_EQ(e.code(), EngineErrorCode::kCancelled);
          }
          ids.assign(s.tokens().begin(), s.tokens().end());
          check();
          break;
        }
        default: {  // generate
          if (ids.empty()) break;
          check();
          Sampler sampler({.temperature = 1.0f, .seed = seed});
          s.generate(sampler, {.max_tokens = random.below(10), .ignore_end = true});
          ids.assign(s.tokens().begin(), s.tokens().end());
          check();
        }
      }
    }
  }
}

TEST_P(Sessions, GenerationNeedsAPrompt) {
  Session s = session();
  Sampler greedy;
  EXPECT_EQ(code_of([&] { s.generate(greedy); }), ErrorCode::kInvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(Models, Sessions, testing::Bool(),
                         [](const auto& param) { return param.param ? "Sliding" : "Plain"; });

}  // namespace
}  // namespace gemma::test
