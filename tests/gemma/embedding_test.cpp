// Embeddings: EmbeddingGemma against a float64 reference and an oracle, law 1 by bits, and embeddings of
// decoders.
#include <cmath>
#include <map>
#include <numeric>
#include <ostream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "gemma/batch.hpp"
#include "gemma/embedder.hpp"
#include "gemma/engine_error_code.hpp"
#include "gemma/session.hpp"
#include "tests/gemma/golden_models.hpp"
#include "tests/gemma/model_file.hpp"
#include "tests/gemma/oracle.hpp"
#include "tests/gemma/run.hpp"
#include "tests/refusal.hpp"

namespace gemma::test {
namespace {

using Ids = std::vector<std::int32_t>;
using Vectors = std::vector<std::vector<float>>;

Model load_golden(const std::string& name, const ModelOptions& options = {}) {
  return Model::load(golden_model(name), options);
}

std::vector<float> embedding_of(const Model& model, const Ids& ids, const EmbedderOptions& options = {}) {
  return Embedder(model, options).embed_ids(std::span(&ids, 1)).front();
}

double length_of(const std::vector<float>& v) {
  return std::sqrt(
      std::inner_product(v.begin(), v.end(), v.begin(), 0.0, std::plus<>(),
                         [](float a, float b) { return static_cast<double>(a) * static_cast<double>(b); }));
}

std::vector<float> unit(std::span<const float> v) {
  std::vector<float> out(v.begin(), v.end());
  const double length = length_of(out);
  for (float& x : out) x = static_cast<float>(static_cast<double>(x) / length);
  return out;
}

/// Texts whose lengths are and are not multiples of tiles, blocks and chunks.
std::vector<Ids> texts_for(const Model& model) {
  std::vector<Ids> texts;
  for (const std::size_t n : {1u, 2u, 31u, 32u, 65u, 100u}) {
    texts.push_back(random_tokens(n, model.config().vocab_size, n));
  }
  return texts;
}

TEST(Embedding, MatchesTheReferenceOnEveryInstructionSet) {
  const std::vector<float> truth = read_floats(golden_dir() / "nano-embedding.F32.embedding.f32");
  for (const kernels::KernelTable* table : kernels::available_tables()) {
    const Model model = load_golden("nano-embedding.F32", {.kernels = table});
    const std::vector<float> e = embedding_of(model, golden_tokens());
    const double error = nmse(e, truth);
    std::printf("nano-embedding.F32, %s: NMSE %.3g\n", std::string(table->name).c_str(), error);
    EXPECT_LE(error, 1e-9);
    EXPECT_NEAR(length_of(e), 1.0, 1e-6);
    EXPECT_LE(nmse(embedding_of(model, golden_tokens(), {.kv_type = KvType::kF16}), truth), 1e-5);
  }
}

struct TraceCheck : detail::Trace {
  explicit TraceCheck(std::map<std::string, std::vector<double>> t) : truth(std::move(t)) {}
  void value(const char* name, std::size_t layer, const float* rows, std::size_t n,
             std::size_t width) override {
    auto expected = truth.find(name);
    if (expected == truth.end()) expected = truth.find(std::string(name) + "-" + std::to_string(layer));
    if (expected == truth.end()) return;
    const double error = nmse(std::vector<float>(rows, rows + n * width), expected->second);
    ++compared;
    if (!(error <= 1e-10) && first_wrong.empty()) {
      first_wrong = expected->first + ": NMSE " + std::to_string(error);
    }
  }
  std::map<std::string, std::vector<double>> truth;
  std::string first_wrong;
  std::size_t compared = 0;
};

TEST(Embedding, EachIntermediateMatchesTheReference) {
  const Model model = load_golden("nano-embedding.F32");
  TraceCheck check(read_npz(golden_dir() / "nano-embedding.F32.trace.npz"));
  const Ids ids = golden_tokens();
  Embedder(model, {.n_threads = 2}).embed_ids(std::span(&ids, 1), nullptr, &check);
  EXPECT_EQ(check.first_wrong, "");
  EXPECT_EQ(check.compared, check.truth.size());
  EXPECT_TRUE(check.truth.contains("dense_3"));
}

struct Case {
  std::string name;
  Shape shape;
};
void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

Shape embedding_shape(std::size_t window, std::vector<std::size_t> dense, DType type = DType::kF32) {
  Shape s;
  s.architecture = "gemma-embedding";
  s.n_layers = 7;
  s.n_heads = 3;
  s.n_kv_heads = 1;
  s.head_dim = 32;
  s.window = window;
  s.rms_eps = 1e-6f;
  s.dense = std::move(dense);
  s.type = type;
  return s;
}
Shape ollama(Shape s) {
  s.ollama = true;
  s.rope_base = 5e5f;
  return s;
}

class EmbeddingShapes : public testing::TestWithParam<Case> {};
TEST_P(EmbeddingShapes, AreAsInDoublePrecision) {
  const Shape& s = GetParam().shape;
  const ModelFile file = make_model(s);
  const Oracle oracle(s, file);
  for (const kernels::KernelTable* table : kernels::available_tables()) {
    SCOPED_TRACE(std::string(table->name));
    const MemoryModel model(file, {.kernels = table});
    for (const std::size_t n : {1u, 40u, 200u}) {
      const Ids ids = random_tokens(n, s.vocab_size, n);
      EXPECT_LE(nmse(embedding_of(*model, ids), oracle.embedding(ids)), s.type == DType::kF32 ? 1e-9 : 2e-3)
          << n << " tokens";
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Models, EmbeddingShapes,
                         testing::Values(Case{"Window16", embedding_shape(16, {96, 64})},
                                         Case{"Window129", embedding_shape(129, {})},
                                         Case{"Window1", embedding_shape(1, {96, 64})},
                                         Case{"OneDense", embedding_shape(64, {32})},
                                         Case{"Wide", embedding_shape(100000, {64, 64})},
                                         Case{"Ollama", ollama(embedding_shape(32, {96, 64}))},
                                         Case{"Q8_0", embedding_shape(32, {96, 64}, DType::kQ8_0)}),
                         [](const testing::TestParamInfo<Case>& p) { return p.param.name; });

/// Compares by bits each text alone on one thread with all texts together, with other numbers of threads and
/// chunk sizes.
void expect_one_answer(const Model& model, EmbedderOptions options) {
  const std::vector<Ids> texts = texts_for(model);
  options.n_ctx = 100;
  options.n_threads = 1;
  Vectors alone;
  for (const Ids& ids : texts) alone.push_back(embedding_of(model, ids, options));
  for (const auto& [threads, chunk] : {std::pair{1u, 512u}, {2u, 512u}, {3u, 512u}, {2u, 64u}, {1u, 7u}}) {
    options.n_threads = threads;
    options.chunk = chunk;
    EXPECT_TRUE(Embedder(model, options).embed_ids(texts) == alone)
        << threads << " threads, chunks of " << chunk;
  }
  options = {.n_ctx = 100, .chunk = 80, .n_threads = 2, .pooling = options.pooling};
  std::vector<Ids> others(texts.rbegin(), texts.rend());
  others.insert(others.begin() + 3, random_tokens(77, model.config().vocab_size, 5));
  Vectors reversed = Embedder(model, options).embed_ids(others);
  reversed.erase(reversed.begin() + 3);
  EXPECT_TRUE(Vectors(reversed.rbegin(), reversed.rend()) == alone) << "among others";
}

TEST(EmbeddingLaws, OneAnswerOfAnEmbeddingModel) {
  for (const Pooling pooling : {Pooling::kMean, Pooling::kLast, Pooling::kFirst, Pooling::kNone}) {
    expect_one_answer(load_golden("nano-embedding.F32"), {.pooling = pooling});
  }
  const MemoryModel quantized(make_model(embedding_shape(24, {96, 64}, DType::kQ8_0)));
  expect_one_answer(*quantized, {});
}

TEST(EmbeddingLaws, OneAnswerOfADecoder) {
  for (const Pooling pooling : {Pooling::kLast, Pooling::kMean, Pooling::kNone}) {
    expect_one_answer(load_golden("nano-gemma3.F32"), {.pooling = pooling});
  }
  expect_one_answer(load_golden("tiny-gemma2.Q4_K_M"), {.pooling = Pooling::kMean});
  expect_one_answer(load_golden("nano-gemma4-e.F32"), {.pooling = Pooling::kMean});
}

TEST(EmbeddingLaws, MoreTextsThanGoThroughTheLinearLayersAtATime) {
  const Model model = load_golden("nano-embedding.F32");
  std::vector<Ids> texts;
  for (std::size_t i = 0; i < 2 * detail::kPooledRows + 3; ++i) texts.push_back(random_tokens(3, 320, i));
  const Vectors all = Embedder(model, {.n_ctx = 3, .chunk = 20}).embed_ids(texts);
  for (std::size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(all[i], embedding_of(model, texts[i])) << i;
}

TEST(Embedding, TheLastHiddenStateOfADecoder) {
  for (const char* name : {"nano-gemma3.F32", "nano-llama3.F32", "tiny-gemma-mqa.Q4_K_M"}) {
    const Model model = load_golden(name);
    const Ids ids = golden_tokens();
    EXPECT_EQ(model.config().embedding.pooling, Pooling::kLast);
    for (const KvType type : {KvType::kF16, KvType::kF32}) {
      Session session(model, {.n_ctx = 64, .kv_type = type, .chunk = 5});
      session.prefill(ids);
      EXPECT_EQ(embedding_of(model, ids, {.kv_type = type}), unit(session.hidden_state()));
      if (type == KvType::kF16) {
        EXPECT_EQ(embedding_of(model, ids), unit(session.hidden_state())) << "by default";
      }
    }
  }
}

TEST(Embedding, TheMeanAndTheStatesThemselves) {
  for (const char* name : {"nano-gemma3.F32", "nano-embedding.F32"}) {
    const Model model = load_golden(name);
    const Ids ids = golden_tokens();
    const std::size_t d = model.config().d_model;
    const std::vector<float> states = embedding_of(model, ids, {.pooling = Pooling::kNone});
    ASSERT_EQ(states.size(), ids.size() * d);
    EXPECT_NE(states, unit(states));
    if (!model.weights().dense.empty()) continue;
    std::vector<double> mean(d);
    for (std::size_t i = 0; i < states.size(); ++i) mean[i % d] += static_cast<double>(states[i]) / 48;
    const std::vector<float> rounded(mean.begin(), mean.end());
    EXPECT_LE(nmse(embedding_of(model, ids, {.pooling = Pooling::kMean}), unit(rounded)), 1e-13);
    EXPECT_EQ(embedding_of(model, ids), unit(std::span(states).last(d)));
  }
}

TEST(Embedding, TheFilesPooling) {
  Shape s;
  s.architecture = "qwen3";
  ModelFile file = make_model(s);
  for (const auto& [number, pooling] : std::map<std::uint32_t, Pooling>{
           {0, Pooling::kLast}, {1, Pooling::kMean}, {3, Pooling::kLast}, {4, Pooling::kLast}}) {
    file.set("qwen3.pooling_type", number);
    const MemoryModel model(file);
    EXPECT_EQ(Embedder(*model).pooling(), pooling) << number;
  }
}

TEST(Embedding, CutVectorsHaveLengthOneAgain) {
  const Model model = load_golden("nano-embedding.F32");
  const std::vector<float> whole = embedding_of(model, golden_tokens());
  ASSERT_EQ(whole.size(), 64u);
  for (const std::size_t dims : {1u, 32u, 63u, 64u}) {
    const std::vector<float> cut = embedding_of(model, golden_tokens(), {.dims = dims});
    ASSERT_EQ(cut.size(), dims);
    EXPECT_LE(nmse(cut, unit(std::span(whole).first(dims))), 1e-12);
    EXPECT_NEAR(length_of(cut), 1.0, 1e-6);
  }
  EXPECT_EQ(code_of([&] { Embedder(model, {.dims = 65}); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of([&] { Embedder(model, {.pooling = Pooling::kNone, .dims = 3}); }),
            ErrorCode::kInvalidArgument);
}

TEST(Embedding, OfTextWithBosAndEos) {
  const Model model = load_golden("nano-embedding.F32");
  Embedder embedder(model, {.n_ctx = 100});
  EXPECT_EQ(embedder.encode(""), (Ids{2, 1}));
  EXPECT_EQ(embedder.encode("a"), (Ids{2, 101, 1}));
  EXPECT_EQ(embedder.encode("<eos>").size(), 7u) << "control tokens are text";
  const Ids query = embedder.encode("t5", EmbedPrompt::kQuery);
  EXPECT_EQ(query, embedder.encode("task: search result | query: t5"));
  EXPECT_EQ(embedder.encode("t5", EmbedPrompt::kDocument), embedder.encode("title: none | text: t5"));
  const std::vector<std::string> texts = {"", "a", "t5 t6 t7"};
  const Vectors all = embedder.embed(texts);
  EXPECT_EQ(all, model.embed(texts));
  for (std::size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(all[i], embedding_of(model, embedder.encode(texts[i])));
    EXPECT_EQ(all[i], model.embed(texts[i]));
  }
  EXPECT_EQ(model.embed("t5", EmbedPrompt::kQuery), embedding_of(model, query));
  EXPECT_TRUE(model.embed(std::vector<std::string>{}).empty());
}

TEST(Embedding, TextsThatAreTooLong) {
  const Model model = load_golden("nano-embedding.F32");
  const std::string text(100, 'a');
  Embedder strict(model, {.n_ctx = 20});
  EXPECT_EQ(code_of([&] { strict.encode(text); }), EngineErrorCode::kContextFull);
  EXPECT_EQ(code_of([&] { strict.embed_ids(std::vector<Ids>{Ids(21, 5)}); }), EngineErrorCode::kContextFull);
  EXPECT_EQ(code_of([&] { model.embed(std::string(20000, 'a')); }), EngineErrorCode::kContextFull);
  const Ids cut = Embedder(model, {.n_ctx = 20, .truncate = true}).encode(text);
  ASSERT_EQ(cut.size(), 20u);
  EXPECT_EQ(cut.front(), 2);
  EXPECT_EQ(cut.back(), 1) << "EOS stays last";
  EXPECT_EQ(cut[18], 101);
  EXPECT_EQ(Embedder(model, {.n_ctx = 2, .truncate = true}).encode(text), (Ids{2, 1}));
}

TEST(Embedding, WhatIsRefused) {
  const Model model = load_golden("nano-embedding.F32");
  const Model decoder = load_golden("nano-gemma3.F32");
  Embedder embedder(model);
  EXPECT_EQ(code_of([&] { embedder.embed_ids(std::vector<Ids>{Ids{}}); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of([&] { embedder.embed_ids(std::vector<Ids>{Ids{1, 320}}); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of([&] { embedder.embed_ids(std::vector<Ids>{Ids{-1}}); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of([&] { Embedder(decoder, {.pooling = Pooling::kFirst}); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of([&] { Embedder(decoder).encode("a", EmbedPrompt::kQuery); }),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of([&] { Embedder(model, {.n_ctx = std::size_t{1} << 40}); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of([&] { Embedder(model, {.max_memory = 900'000}); }), ErrorCode::kOutOfMemory);
  const std::atomic<bool> cancel{true};
  EXPECT_EQ(code_of([&] {
              embedder.embed_ids(std::vector<Ids>{Ids{2, 1}}, &cancel);
            }),
            EngineErrorCode::kCancelled);
  EXPECT_EQ(embedder.embed_ids(std::vector<Ids>{Ids{2, 1}}).size(), 1u);
}

TEST(Embedding, AModelThatOnlyEmbedsHasNoLogits) {
  const Model model = load_golden("nano-embedding.F32");
  EXPECT_EQ(code_of([&] { Session s(model); }), ErrorCode::kUnsupported);
  EXPECT_EQ(code_of([&] { Batch b(model); }), ErrorCode::kUnsupported);
  KvCache cache = model.make_cache({.n_ctx = 8, .max_chunk = 8});
  Workspace ws = model.make_workspace({.max_tokens = 8, .max_logit_rows = 0, .max_hidden_rows = 8});
  const Ids ids = {2, 5, 1};
  const Chunk chunk{ids, &cache, Logits::kAll};
  EXPECT_EQ(code_of([&] { model.forward({&chunk, 1}, ws); }), ErrorCode::kUnsupported);
  EXPECT_EQ(model.forward_hidden({&chunk, 1}, ws).size(), 3 * 64u);
  EXPECT_EQ(code_of([&] {
              model.forward_hidden({&chunk, 1}, ws);
            }),
            ErrorCode::kInvalidArgument)
      << "one chunk is the whole text";
  EXPECT_FALSE(cache.can_truncate(2));
  cache.truncate(0);
  EXPECT_EQ(model.forward_hidden({&chunk, 1}, ws).size(), 3 * 64u);
}

TEST(Embedding, HiddenStatesAreThoseBehindTheLogits) {
  const Model model = load_golden("nano-gemma3.F32");
  const Ids ids = golden_tokens();
  KvCache a = model.make_cache({.n_ctx = 48}), b = model.make_cache({.n_ctx = 48});
  Workspace with = model.make_workspace({.max_tokens = 48, .max_logit_rows = 48});
  Workspace without = model.make_workspace({.max_tokens = 48, .max_logit_rows = 0, .max_hidden_rows = 48});
  EXPECT_LT(without.size_bytes(), with.size_bytes());
  const Chunk first{ids, &a, Logits::kAll}, second{ids, &b, Logits::kAll};
  model.forward({&first, 1}, with);
  const auto truth = model.hidden_states(with, 48);
  const auto rows = model.forward_hidden({&second, 1}, without);
  EXPECT_TRUE(std::equal(rows.begin(), rows.end(), truth.begin(), truth.end()));
  const Chunk more{std::span(ids).first(1), &a, Logits::kLast};
  a.truncate(0);
  EXPECT_EQ(code_of([&] { model.forward({&more, 1}, without); }), ErrorCode::kInvalidArgument);
}

TEST(Embedding, ACacheHoldsOneLayer) {
  const Model model = load_golden("nano-embedding.F32");
  // 64 positions of one head of 16, keys and values, in 4 bytes
  EXPECT_EQ(KvCache::bytes_for(model.config(), {.n_ctx = 64, .type = KvType::kF32}), 64 * 16 * 2 * 4u);
  const MemoryPlan plan = plan_embedder(model, {.n_threads = 2});
  EXPECT_EQ(plan.n_ctx, model.config().max_seq_len);
  const Embedder embedder(model, {.n_threads = 2});
  EXPECT_EQ(embedder.memory_bytes(), plan.kv_bytes + plan.workspace_bytes);
  const std::size_t cap = plan.total_bytes() - 1;
  const Embedder capped(model, {.n_threads = 2, .max_memory = cap});
  EXPECT_LT(capped.n_ctx(), plan.n_ctx);
  EXPECT_LE(capped.memory_bytes() + plan.file_bytes, cap);
}

}  // namespace
}  // namespace gemma::test
