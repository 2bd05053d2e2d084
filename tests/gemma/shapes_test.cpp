// Models with shapes and types that the golden models lack: answers are compared with a decoder in double
// precision, and law 1 is tested by bits.
#include <cctype>
#include <cstdio>
#include <cstring>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/gemma/golden_models.hpp"
#include "tests/gemma/model_file.hpp"
#include "tests/gemma/oracle.hpp"
#include "tests/gemma/run.hpp"

namespace gemma::test {
namespace {

struct Case {
  std::string name;
  Shape shape;
  std::size_t n_tokens = 70;
  std::optional<std::size_t> callers_window = std::nullopt;
};
void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

/// Compares a sequence computed in chunks, by up to `most_threads` threads, and as one of a batch.
void expect_one_answer(const Model& model, const std::vector<std::int32_t>& ids, unsigned most_threads) {
  const std::vector<float> truth = logits_in_chunks(model, ids, 512, 1);
  struct Split {
    std::size_t chunk;
    unsigned threads;
  };
  for (const auto& [chunk, threads] : {Split{1, 1}, Split{7, 2}, Split{32, most_threads}, Split{512, 2}}) {
    EXPECT_TRUE(logits_in_chunks(model, ids, chunk, threads) == truth)
        << "chunks of " << chunk << ", " << threads << " threads";
  }
  const std::size_t vocab = model.config().vocab_size;
  const std::vector<std::int32_t> other = random_tokens(11, vocab, 99);
  std::vector<KvCache> caches;
  for (int i = 0; i < 3; ++i) {
    caches.push_back(model.make_cache({.n_ctx = ids.size(), .max_chunk = ids.size()}));
  }
  const Chunk chunks[] = {{other, &caches[0], Logits::kAll},
                          {ids, &caches[1], Logits::kAll},
                          {std::span(other).first(3), &caches[2], Logits::kLast}};
  const std::size_t n = other.size() + ids.size() + 3;
  Workspace ws = model.make_workspace({.max_tokens = n, .max_logit_rows = n, .n_threads = 2});
  const auto batch = model.forward(chunks, ws).subspan(other.size() * vocab, ids.size() * vocab);
  EXPECT_TRUE(std::equal(batch.begin(), batch.end(), truth.begin(), truth.end())) << "in a batch";
}

std::string name_of(const testing::TestParamInfo<Case>& param) {
  return param.param.name;
}

class Shapes : public testing::TestWithParam<Case> {};

TEST_P(Shapes, AnswerAsInDoublePrecision) {
  const Case& c = GetParam();
  const ModelFile file = make_model(c.shape);
  Shape effective = c.shape;
  if (c.callers_window) effective.window = *c.callers_window;
  const auto ids = random_tokens(c.n_tokens, c.shape.vocab_size, c.shape.seed + 1);
  const std::vector<double> truth = Oracle(effective, file).logits(ids);
  for (const kernels::KernelTable* table : kernels::available_tables()) {
    SCOPED_TRACE(std::string(table->name));
    const MemoryModel model(file, {.kernels = table, .window = c.callers_window});
    // float32 throughout: rounding gives about 1e-13, and errors give far more than 1e-9
    EXPECT_LE(nmse(all_logits(*model, ids, KvType::kF32), truth), 1e-9);
    EXPECT_LE(nmse(all_logits(*model, ids, KvType::kF16), truth), 1e-5);
    if (table->isa != kernels::Isa::kScalar) expect_one_answer(*model, ids, 3);
  }
}

std::vector<Case> shapes() {
  const Shape llama;  // 2 layers, 4 heads on 2, head_dim 16, vocabulary of 317
  Shape gemma = llama;
  gemma.architecture = "gemma";
  gemma.rms_eps = 1e-6f;
  auto with = [](Shape s, auto edit) {
    edit(s);
    return s;
  };
  auto heads = [&](const Shape& of, std::size_t n, std::size_t kv, std::size_t dim) {
    return with(of, [&](Shape& s) {
      s.n_heads = n;
      s.n_kv_heads = kv;
      s.head_dim = dim;
    });
  };
  auto windowed = [&](const char* arch, std::size_t layers, std::size_t window) {
    return with(gemma, [&](Shape& s) {
      s.architecture = arch;
      s.n_layers = layers;
      s.window = window;
      if (s.architecture == "gemma2") s.attention_softcap = 50, s.logit_softcap = 30;
    });
  };
  return {
      {"Llama", llama},
      {"Gemma", gemma},
      {"Qwen3", with(llama, [](Shape& s) { s.architecture = "qwen3", s.rope_base = 1e6f; })},
      {"GroupsOfThree", heads(llama, 6, 2, 16)},
      {"GroupsOfThreeInGemma", heads(gemma, 9, 3, 16)},
      {"GroupsOfFive", heads(llama, 5, 1, 24)},
      {"GroupsOfTwelve", heads(gemma, 12, 1, 8)},
      {"HeadDim2", heads(llama, 32, 32, 2)},
      {"HeadDim10", heads(gemma, 3, 3, 10)},
      {"HeadDim80", heads(llama, 4, 2, 80)},
      {"HeadDim96", heads(gemma, 4, 4, 96)},
      {"HeadDim128", heads(llama, 3, 1, 128)},
      {"HeadDim256", heads(gemma, 2, 1, 256)},
      {"NothingDividesBySixteen", with(heads(gemma, 5, 1, 14),
                                       [](Shape& s) {
                                         s.d_model = 52;
                                         s.d_ff = 101;
                                         s.vocab_size = 77;
                                       })},
      {"Smallest", with(heads(llama, 1, 1, 2),
                        [](Shape& s) {
                          s.n_layers = 1;
                          s.d_model = 2;
                          s.d_ff = 1;
                          s.vocab_size = 3;
                        })},
      {"SeparateOutput", with(llama, [](Shape& s) { s.separate_output = true; })},
      {"SeparateOutputInGemma", with(gemma, [](Shape& s) { s.separate_output = true; })},
      {"RopeBase", with(llama, [](Shape& s) { s.rope_base = 500000; })},
      {"RopeFactors", with(llama, [](Shape& s) { s.rope_factors = true; })},
      {"RopeScale", with(llama, [](Shape& s) { s.rope_factor = 4; })},
      {"Gemma2", windowed("gemma2", 4, 16), 70},
      {"Gemma2SmallCaps", with(windowed("gemma2", 2, 1000),
                               [](Shape& s) {
                                 s.attention_softcap = 1.5f;
                                 s.logit_softcap = 0.7f;
                               })},
      {"Gemma2FarPastTheWindow", windowed("gemma2", 3, 33), 300},
      {"Gemma3FarPastTheWindow", windowed("gemma3", 7, 8), 200},
      {"Gemma3WithScaledRope", with(windowed("gemma3", 13, 16),
                                    [](Shape& s) {
                                      s.rope_factor = 8;
                                      s.n_kv_heads = 1;
                                    })},
      {"WindowOfOne", with(llama, [](Shape& s) { s.window = 1; }), 40},
      {"WindowBelowABlock", with(llama, [](Shape& s) { s.window = 63; }), 200},
      {"WindowOfABlock", with(llama, [](Shape& s) { s.window = 64; }), 200},
      {"WindowAboveABlock", with(llama, [](Shape& s) { s.window = 65; }), 200},
      {"WindowOfTheCaller", llama, 150, 20},
      {"WindowOfTheFileTakenAway", with(llama, [](Shape& s) { s.window = 4; }), 40, 0},
      {"LongSequence", with(llama, [](Shape& s) { s.n_layers = 1; }), 700},
  };
}
INSTANTIATE_TEST_SUITE_P(F32, Shapes, testing::ValuesIn(shapes()), name_of);

// ---- every weight type in every matrix --------------------------------------------------------------------

/// The allowed error of the logits of a model: that of rounding, or, if any matmul has 8-bit activations,
/// twice the largest measured one (Q6_K: 9.1e-5).
double bound_of(const Model& model, double most = 2e-4) {
  bool quantized = false;
  for (const LayerWeights& l : model.weights().layers) {
    for (const Matrix* m : {&l.q, &l.k, &l.v, &l.attn_out, &l.gate, &l.up, &l.down})
      quantized |= m->kernel->quantized_activations;
  }
  quantized |= model.weights().output.kernel->quantized_activations;
  return quantized ? most : 1e-9;
}

Shape typed_shape(const std::string& architecture) {
  Shape s;
  s.architecture = architecture;
  s.n_layers = 1;
  s.d_model = s.d_ff = 256;
  s.n_heads = 4;
  s.n_kv_heads = 1;
  s.head_dim = 64;
  s.window = architecture == "gemma3" ? 16 : 0;
  s.separate_output = architecture == "llama";
  return s;
}

/// `most`: the allowed NMSE with 8-bit activations.
void check_types(const Shape& shape, const std::string& name, double most = 2e-4) {
  double worst = 0;
  const ModelFile file = make_model(shape);
  const auto ids = random_tokens(24, shape.vocab_size, 5);
  const std::vector<double> truth = Oracle(shape, file).logits(ids);
  for (const kernels::KernelTable* table : kernels::available_tables()) {
    SCOPED_TRACE(std::string(table->name));
    const MemoryModel model(file, {.kernels = table});
    const double error = nmse(all_logits(*model, ids, KvType::kF32), truth);
    EXPECT_LE(error, bound_of(*model, most));
    worst = std::max(worst, error);
    if (table->isa != kernels::Isa::kScalar) expect_one_answer(*model, ids, 1);
  }
  std::printf("%s: NMSE %.2g\n", name.c_str(), worst);
}

/// A matrix with a separate scale equals one with scaled weights; to the bit, as the scale is a power of two.
TEST(Scales, MultiplyTheProductsOfAllMatrices) {
  for (const char* architecture : {"gemma3", "llama"}) {
    Shape s = typed_shape(architecture);
    s.separate_output = true;
    const ModelFile plain = make_model(s);
    ModelFile scaled = plain, halved = plain;
    std::size_t n_scales = 0;
    for (const auto& t : plain.tensors()) {
      if (t.shape.size() < 2 || t.name == "token_embd.weight") continue;
      const std::string stem = t.name.substr(0, t.name.size() - std::string_view("weight").size());
      scaled.add_floats(n_scales++ % 3 == 0 ? t.name + ".scale" : stem + "scale", {1}, {0.5f});
      auto& data = halved.tensor(t.name).data;
      for (std::size_t at = 0; at < data.size(); at += sizeof(float)) {
        float w;
        std::memcpy(&w, data.data() + at, sizeof w);
        w *= 0.5f;
        std::memcpy(data.data() + at, &w, sizeof w);
      }
    }
    ASSERT_EQ(n_scales, 8u);  // seven in the layer, and that of the output matrix
    const auto ids = random_tokens(24, s.vocab_size, 5);
    const auto want = all_logits(*MemoryModel(halved), ids, KvType::kF32);
    EXPECT_TRUE(all_logits(*MemoryModel(scaled), ids, KvType::kF32) == want) << architecture;
    EXPECT_FALSE(all_logits(*MemoryModel(plain), ids, KvType::kF32) == want) << architecture;
  }
}

class Types : public testing::TestWithParam<DType> {};

TEST_P(Types, InEveryMatrixOfGemma3) {
  Shape s = typed_shape("gemma3");
  s.type = GetParam();
  check_types(s, std::string(gemma::info(GetParam()).name));
}

/// Each matrix has a different type, beginning with this one: 8-bit and float activations in one model.
TEST_P(Types, MixedInLlama) {
  Shape s = typed_shape("llama");
  std::size_t next = 0;
  while (kAllDTypes[next] != GetParam()) ++next;
  for (const char* name : {"blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight",
                           "blk.0.attn_output.weight", "blk.0.ffn_gate.weight", "blk.0.ffn_up.weight",
                           "blk.0.ffn_down.weight", "output.weight", "token_embd.weight"}) {
    s.types[name] = kAllDTypes[next++ % kAllDTypes.size()];
  }
  check_types(s, "from " + std::string(gemma::info(GetParam()).name) + " on");
}

TEST_P(Types, InEveryMatrixOfLlama) {
  Shape s = typed_shape("llama");
  s.type = GetParam();
  // the weights of Q8_0 are exact in 8 bits: the error of 2.0e-4 comes from the activations alone
  check_types(s, std::string(gemma::info(GetParam()).name), 2.5e-4);
}

INSTANTIATE_TEST_SUITE_P(All, Types, testing::ValuesIn(kAllDTypes),
                         [](const auto& param) { return std::string(gemma::info(param.param).name); });

}  // namespace
}  // namespace gemma::test
