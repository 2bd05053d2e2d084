// Law 1, one answer: the bits of a token's logits do not depend on threads, chunk sizes, batches or reuse.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <omp.h>

#include "gemma/model.hpp"
#include "gemma/session.hpp"
#include "tests/gemma/golden_models.hpp"
#include "tests/gemma/model_file.hpp"
#include "tests/gemma/run.hpp"

namespace gemma::test {
namespace {

class OneAnswer : public testing::TestWithParam<std::tuple<std::string, const kernels::KernelTable*>> {
 protected:
  Model model_ = Model::load(golden_model(std::get<0>(GetParam())), {.kernels = std::get<1>(GetParam())});
  std::size_t vocab_ = model_.config().vocab_size;
  /// Whether a layer from `cut` on reads the keys and values of one before it.
  bool reads_across(std::size_t cut) const {
    const auto& layers = model_.config().layers;
    return std::any_of(layers.begin() + static_cast<std::ptrdiff_t>(cut), layers.end(),
                       [cut](const LayerConfig& l) { return l.attention.kv_layer < cut; });
  }

  // far past every sliding window
  std::vector<std::int32_t> ids_ = random_tokens(150, vocab_, 7);
};

TEST_P(OneAnswer, WhateverTheChunkSizeAndThreads) {
  const auto truth = logits_in_chunks(model_, ids_, 512, 1);
  ASSERT_EQ(truth.size(), ids_.size() * vocab_);
  for (const std::size_t chunk : {1, 7, 32, 150}) {
    for (const unsigned threads : {1u, 2u, 3u}) {
      if (chunk == 1 && threads == 3) continue;  // more threads than cores are slow and test nothing new
      EXPECT_EQ(logits_in_chunks(model_, ids_, chunk, threads), truth)
          << "chunks of " << chunk << ", " << threads << " threads";
    }
  }
}

TEST_P(OneAnswer, WithKeysAndValuesOf8Bits) {
  const auto truth = logits_in_chunks(model_, ids_, 512, 1, KvType::kQ8);
  EXPECT_NE(truth, logits_in_chunks(model_, ids_, 512, 1));
  for (const std::size_t chunk : {1, 7, 150}) {
    EXPECT_EQ(logits_in_chunks(model_, ids_, chunk, 2, KvType::kQ8), truth) << "chunks of " << chunk;
  }
  // several sequences at once with a shared prefix, and one step of each
  std::vector<KvCache> caches;
  const auto pool = std::make_shared<KvPool>(
      KvLayout(model_.config(), {.n_ctx = 160, .type = KvType::kQ8, .max_chunk = 150}), 2);
  for (int i = 0; i < 2; ++i) caches.emplace_back(pool);
  Workspace ws = model_.make_workspace({.max_tokens = 150, .max_logit_rows = 2, .n_threads = 2});
  const Chunk first{std::span(ids_).first(100), &caches[0], Logits::kNone};
  model_.forward({&first, 1}, ws);
  caches[1].share(caches[0], 100);
  const Chunk rest[] = {{std::span(ids_).subspan(100), &caches[0], Logits::kLast},
                        {std::span(ids_).subspan(100, 20), &caches[1], Logits::kLast}};
  const auto got = model_.forward(rest, ws);
  const auto row = [&](std::size_t i) { return truth.begin() + static_cast<std::ptrdiff_t>(i * vocab_); };
  EXPECT_TRUE(std::equal(got.begin(), got.begin() + static_cast<std::ptrdiff_t>(vocab_), row(149)));
  EXPECT_TRUE(std::equal(got.begin() + static_cast<std::ptrdiff_t>(vocab_), got.end(), row(119)));
}

TEST_P(OneAnswer, AloneOrInABatch) {
  const std::vector<std::vector<std::int32_t>> prompts = {
      random_tokens(40, vocab_, 1), random_tokens(3, vocab_, 2), random_tokens(75, vocab_, 3)};
  std::vector<KvCache> caches;
  std::vector<Chunk> chunks;
  for (std::size_t i = 0; i < prompts.size(); ++i) caches.push_back(model_.make_cache({.n_ctx = 100}));
  for (std::size_t i = 0; i < prompts.size(); ++i) chunks.push_back({prompts[i], &caches[i], Logits::kAll});
  Workspace ws = model_.make_workspace({.max_tokens = 118, .max_logit_rows = 118, .n_threads = 2});
  const auto logits = model_.forward(chunks, ws);
  std::vector<float> batch(logits.begin(), logits.end());
  std::vector<float> alone;
  for (const auto& p : prompts) {
    const auto part = logits_in_chunks(model_, p, 512, 1);
    alone.insert(alone.end(), part.begin(), part.end());
  }
  EXPECT_EQ(batch, alone);
  // and one more step of all three at once: batched decoding
  const std::int32_t next[] = {5, 6, 7};
  for (std::size_t i = 0; i < prompts.size(); ++i) chunks[i] = {{&next[i], 1}, &caches[i], Logits::kLast};
  const auto step = model_.forward(chunks, ws);
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    auto longer = prompts[i];
    longer.push_back(next[i]);
    const auto part = logits_in_chunks(model_, longer, 512, 1);
    EXPECT_TRUE(std::equal(part.end() - static_cast<std::ptrdiff_t>(vocab_), part.end(),
                           step.begin() + static_cast<std::ptrdiff_t>(i * vocab_)))
        << "sequence " << i;
  }
}

TEST_P(OneAnswer, OfLayersRunPartByPart) {
  const auto truth = logits_in_chunks(model_, ids_, 512, 1);
  const std::size_t n_layers = model_.config().n_layers(), n = ids_.size();
  for (const Logits logits : {Logits::kAll, Logits::kLast}) {
    for (std::size_t cut = 1; cut < n_layers; ++cut) {
      KvCache low = model_.make_cache({.n_ctx = n}), high = model_.make_cache({.n_ctx = n});
      Workspace first = model_.make_workspace({.max_tokens = n, .max_logit_rows = n, .n_threads = 2});
      Workspace second = model_.make_workspace({.max_tokens = n, .max_logit_rows = n, .n_threads = 1});
      const Chunk lower{ids_, &low, logits}, upper{ids_, &high, logits};
      const std::size_t wanted = logits == Logits::kAll ? n : 1;
      const auto rows = model_.forward_layers({&lower, 1}, first, {0, cut, {}});
      EXPECT_EQ(rows.size(),
                (cut > model_.config().last_kv_layer() ? wanted : n) * model_.config().hidden_width());
      if (reads_across(cut)) {
        EXPECT_THROW(model_.forward_layers({&upper, 1}, second, {cut, n_layers, rows}), Error);
        continue;
      }
      const auto got = model_.forward_layers({&upper, 1}, second, {cut, n_layers, rows});
      ASSERT_EQ(got.size(), wanted * vocab_);
      EXPECT_TRUE(std::equal(got.begin(), got.end(), truth.end() - static_cast<std::ptrdiff_t>(got.size())))
          << "cut before layer " << cut;
    }
  }
}

TEST_P(OneAnswer, WithLogitsOfTheLastTokenOnly) {
  const auto truth = logits_in_chunks(model_, ids_, 512, 1);
  Session session(model_, {.n_ctx = 160, .chunk = 64, .n_threads = 2});
  session.prefill(ids_);
  EXPECT_TRUE(std::equal(session.logits().begin(), session.logits().end(),
                         truth.end() - static_cast<std::ptrdiff_t>(vocab_)));
}

TEST_P(OneAnswer, WithAReusedPrefix) {
  Session session(model_, {.n_ctx = 200, .chunk = 50, .n_threads = 2});
  const auto first = random_tokens(120, vocab_, 4);
  session.prefill(first);
  auto second = first;
  second.resize(110);
  second.insert(second.end(), {1, 2, 3, 4});
  session.prefill(second);
  const auto truth = logits_in_chunks(model_, second, 512, 1);
  EXPECT_TRUE(std::equal(session.logits().begin(), session.logits().end(),
                         truth.end() - static_cast<std::ptrdiff_t>(vocab_)));
  // a long truncation: windows have released pages, so the session starts again
  second.resize(5);
  session.prefill(second);
  const auto far = logits_in_chunks(model_, second, 512, 1);
  EXPECT_TRUE(std::equal(session.logits().begin(), session.logits().end(),
                         far.end() - static_cast<std::ptrdiff_t>(vocab_)));
}

TEST_P(OneAnswer, InsideACallersParallelRegion) {
  const auto truth = logits_in_chunks(model_, ids_, 64, 1);
  std::vector<std::vector<float>> got(2);
#pragma omp parallel num_threads(2)
  {
#pragma omp for
    // one worker does all the work that was planned for two or five, whose feed-forward blocks are uneven
    for (unsigned i = 0; i < 2; ++i) got[i] = logits_in_chunks(model_, ids_, 64, 2 + 3 * i);
  }
  EXPECT_EQ(got[0], truth);
  EXPECT_EQ(got[1], truth);
}

std::string name_of(const testing::TestParamInfo<OneAnswer::ParamType>& param) {
  std::string name = std::get<0>(param.param) + "_" + std::string(std::get<1>(param.param)->name);
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name;
}

// the scalar kernels are too slow for the larger files; the float32 files cover the same paths
INSTANTIATE_TEST_SUITE_P(Scalar, OneAnswer,
                         testing::Combine(testing::Values("nano-gemma-mha.F32", "nano-gemma3.F32",
                                                          "nano-gemma4-e.F32", "nano-gemma4-m.F32"),
                                          testing::Values(kernels::find_table("scalar"))),
                         name_of);

std::vector<const kernels::KernelTable*> vector_tables() {
  const auto all = kernels::available_tables();
  return {all.begin(), all.end() - 1};  // scalar is the last
}
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(OneAnswer);
INSTANTIATE_TEST_SUITE_P(
    Simd, OneAnswer,
    testing::Combine(testing::Values("nano-gemma-mha.F32", "nano-gemma3.F32", "tiny-gemma-mqa.Q4_K_M",
                                     "tiny-gemma2.Q4_K_M", "tiny-llama3.Q4_K_M", "nano-gemma4-d.F32",
                                     "nano-gemma3n.F32", "tiny-gemma4-e.Q4_K_M", "tiny-gemma4-m.Q4_K_M"),
                     testing::ValuesIn(vector_tables())),
    name_of);

}  // namespace
}  // namespace gemma::test
