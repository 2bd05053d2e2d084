// Model::forward: which logits are returned, their order, and the state between calls.
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "gemma/engine_error_code.hpp"
#include "gemma/model.hpp"
#include "gemma/session.hpp"
#include "tests/gemma/model_file.hpp"
#include "tests/gemma/run.hpp"
#include "tests/refusal.hpp"

namespace gemma::test {
namespace {

Shape sliding() {
  Shape s;
  s.architecture = "gemma3";
  s.n_layers = 7;
  s.window = 8;
  return s;
}

std::vector<float> row_of(std::span<const float> logits, std::size_t row, std::size_t vocab) {
  const auto part = logits.subspan(row * vocab, vocab);
  return {part.begin(), part.end()};
}

class Forward : public testing::Test {
 protected:
  MemoryModel model_{make_model(sliding())};
  std::size_t vocab_ = model_->config().vocab_size;
  std::vector<std::int32_t> ids_ = random_tokens(50, vocab_, 2);
  std::vector<float> truth_ = logits_in_chunks(*model_, ids_, 512, 1);
};

TEST_F(Forward, GivesTheLogitsThatWereAskedForInOrder) {
  const auto other = random_tokens(9, vocab_, 3);
  const std::vector<float> others = logits_in_chunks(*model_, other, 512, 1);
  std::vector<KvCache> caches;
  for (int i = 0; i < 3; ++i) caches.push_back(model_->make_cache({.n_ctx = 64}));
  Workspace ws = model_->make_workspace({.max_tokens = 128, .max_logit_rows = 60, .n_threads = 2});
  const Chunk chunks[] = {{ids_, &caches[0], Logits::kLast},
                          {other, &caches[1], Logits::kAll},
                          {ids_, &caches[2], Logits::kNone}};
  const auto logits = model_->forward(chunks, ws);
  ASSERT_EQ(logits.size(), (1 + other.size()) * vocab_);
  EXPECT_EQ(row_of(logits, 0, vocab_), row_of(truth_, 49, vocab_));
  for (std::size_t i = 0; i < other.size(); ++i)
    EXPECT_EQ(row_of(logits, 1 + i, vocab_), row_of(others, i, vocab_)) << i;
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(caches[i].n_past(), i == 1 ? 9u : 50u);
}

TEST_F(Forward, WithoutLogitsStillFillsTheCache) {
  KvCache cache = model_->make_cache({.n_ctx = 64});
  Workspace ws = model_->make_workspace({.max_tokens = 64, .max_logit_rows = 1, .n_threads = 2});
  const Chunk most{std::span(ids_).first(49), &cache, Logits::kNone};
  EXPECT_TRUE(model_->forward({&most, 1}, ws).empty());
  EXPECT_EQ(cache.n_past(), 49u);
  const Chunk last{std::span(ids_).last(1), &cache, Logits::kLast};
  EXPECT_EQ(row_of(model_->forward({&last, 1}, ws), 0, vocab_), row_of(truth_, 49, vocab_));
}

TEST_F(Forward, AWorkspaceWithoutLogitRowsServesPromptsOnly) {
  KvCache cache = model_->make_cache({.n_ctx = 64});
  Workspace ws = model_->make_workspace({.max_tokens = 64, .max_logit_rows = 0, .n_threads = 1});
  const Chunk silent{ids_, &cache, Logits::kNone};
  EXPECT_TRUE(model_->forward({&silent, 1}, ws).empty());
  const Chunk wants{std::span(ids_).first(1), &cache, Logits::kLast};
  EXPECT_THROW(model_->forward({&wants, 1}, ws), Error);
}

/// Caches are not cleared when they are created, reset or truncated: the content of slots that no token has
/// written must have no effect, even if it is NaN (0 x NaN is NaN).
TEST_F(Forward, WhatLiesInUnwrittenSlotsNeverShows) {
  for (const KvType kv : {KvType::kF16, KvType::kF32, KvType::kQ8}) {
    const std::vector<float> truth = logits_in_chunks(*model_, ids_, 512, 1, kv);
    for (const std::size_t chunk : {1, 5, 50}) {
      const KvCacheOptions options{.n_ctx = 200, .type = kv, .max_chunk = chunk};
      AlignedBuffer<std::byte> memory(KvCache::bytes_for(model_->config(), options), "memory");
      std::memset(memory.data(), 0xFF, memory.size());  // NaN as floats and as scales
      KvCache cache(model_->config(), options, {memory.data(), memory.size()});
      Workspace ws = model_->make_workspace({.max_tokens = chunk, .max_logit_rows = chunk, .n_threads = 1});
      std::vector<float> got;
      for (std::size_t i = 0; i < ids_.size(); i += chunk) {
        const Chunk c{std::span(ids_).subspan(i, chunk), &cache, Logits::kAll};
        const auto logits = model_->forward({&c, 1}, ws);
        got.insert(got.end(), logits.begin(), logits.end());
      }
      EXPECT_TRUE(got == truth) << "chunks of " << chunk;
    }
  }
}

TEST_F(Forward, GoesBackAndOnAsIfItHadNeverBeenElsewhere) {
  KvCache cache = model_->make_cache({.n_ctx = 64, .max_chunk = 10});
  Workspace ws = model_->make_workspace({.max_tokens = 10, .max_logit_rows = 1, .n_threads = 1});
  auto add = [&](std::span<const std::int32_t> part, Logits which) {
    const Chunk c{part, &cache, which};
    const auto logits = model_->forward({&c, 1}, ws);
    return std::vector<float>(logits.begin(), logits.end());
  };
  for (std::size_t i = 0; i < 40; i += 10) add(std::span(ids_).subspan(i, 10), Logits::kNone);
  const auto wrong = random_tokens(5, vocab_, 77);  // like a rejected draft
  add(wrong, Logits::kNone);
  cache.truncate(40);
  EXPECT_EQ(add(std::span(ids_).subspan(40, 10), Logits::kLast), row_of(truth_, 49, vocab_));
}

TEST_F(Forward, CopiedCachesGoTheirOwnWays) {
  KvCache a = model_->make_cache({.n_ctx = 64, .max_chunk = 50});
  KvCache b = model_->make_cache({.n_ctx = 64, .max_chunk = 50});
  Workspace ws = model_->make_workspace({.max_tokens = 50, .max_logit_rows = 1, .n_threads = 1});
  const Chunk prefix{std::span(ids_).first(30), &a, Logits::kNone};
  model_->forward({&prefix, 1}, ws);
  b.copy_from(a);
  const auto elsewhere = random_tokens(20, vocab_, 8);
  const Chunk other{elsewhere, &a, Logits::kNone};
  model_->forward({&other, 1}, ws);
  const Chunk rest{std::span(ids_).subspan(30), &b, Logits::kLast};
  EXPECT_EQ(row_of(model_->forward({&rest, 1}, ws), 0, vocab_), row_of(truth_, 49, vocab_));
}

TEST_F(Forward, CancelledBeforeItBeginsChangesNothing) {
  KvCache cache = model_->make_cache({.n_ctx = 64});
  Workspace ws = model_->make_workspace({.max_tokens = 50, .max_logit_rows = 1, .n_threads = 2});
  std::atomic<bool> cancel{true};
  const Chunk all{ids_, &cache, Logits::kLast};
  EXPECT_EQ(code_of([&] { model_->forward({&all, 1}, ws, &cancel); }), EngineErrorCode::kCancelled);
  EXPECT_EQ(cache.n_past(), 0u);
  cancel = false;  // the workspace can be used again
  EXPECT_EQ(row_of(model_->forward({&all, 1}, ws, &cancel), 0, vocab_), row_of(truth_, 49, vocab_));
}

/// Cancels the pass after the middle layer.
struct CancelInLayer : detail::Trace {
  std::atomic<bool> cancel{false};
  std::size_t layers_seen = 0;
  void value(const char* name, std::size_t layer, const float*, std::size_t, std::size_t) override {
    if (std::string(name) == "l_out") layers_seen = layer + 1;
    if (layers_seen == 3) cancel = true;
  }
};

TEST_F(Forward, CancelledInTheMiddleStopsWithinALayer) {
  KvCache cache = model_->make_cache({.n_ctx = 64, .max_chunk = 25});
  Workspace ws = model_->make_workspace({.max_tokens = 25, .max_logit_rows = 1, .n_threads = 2});
  const Chunk first{std::span(ids_).first(25), &cache, Logits::kNone};
  model_->forward({&first, 1}, ws);
  CancelInLayer trace;
  const Chunk second{std::span(ids_).subspan(25), &cache, Logits::kLast};
  EXPECT_THROW(model_->forward({&second, 1}, ws, &trace.cancel, &trace), Error);
  EXPECT_EQ(trace.layers_seen, 3u);
  EXPECT_EQ(cache.n_past(), 25u);
  EXPECT_EQ(row_of(model_->forward({&second, 1}, ws), 0, vocab_), row_of(truth_, 49, vocab_));
}

TEST_F(Forward, PositionsBeyondTheTrainedContextAreComputed) {
  Shape s = sliding();
  s.context = 16;  // the file's context; the caller's cache may be larger
  const MemoryModel model(make_model(s));
  EXPECT_EQ(model->config().max_seq_len, 16u);
  EXPECT_TRUE(logits_in_chunks(*model, ids_, 512, 1) == truth_);
}

TEST_F(Forward, AMovedModelAnswersAsBefore) {
  const std::vector<std::byte> bytes = make_model(sliding()).bytes();
  Model a = Model::from(gguf::File::from_memory(bytes, "test.gguf"));
  KvCache cache = a.make_cache({.n_ctx = 64});
  Workspace ws = a.make_workspace({.max_tokens = 64, .max_logit_rows = 1, .n_threads = 1});
  const Model b = std::move(a);
  const Chunk all{ids_, &cache, Logits::kLast};
  EXPECT_EQ(row_of(b.forward({&all, 1}, ws), 0, vocab_), row_of(truth_, 49, vocab_));
}

}  // namespace
}  // namespace gemma::test
