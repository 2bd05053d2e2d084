// Families: the meaning of metadata for each architecture, the values of missing keys, and every value that
// is refused, with its key.
#include "gemma/config.hpp"

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "gemma/families/registry.hpp"
#include "gemma/weights.hpp"
#include "tests/gemma/model_file.hpp"
#include "tests/refusal.hpp"

namespace gemma::test {
namespace {

using u32 = std::uint32_t;

ModelConfig config_of(const ModelFile& file, const families::Overrides& overrides = {}) {
  const std::vector<std::byte> bytes = file.bytes();
  return families::read_config(gguf::File::from_memory(bytes, "test.gguf"), overrides);
}

/// A file with the metadata of a published model and a few tiny tensors.
ModelFile published(const Shape& s) {
  ModelFile file;
  add_metadata(file, s);
  file.add_floats("token_embd.weight", {s.vocab_size, 1}, std::vector<float>(s.vocab_size));
  for (std::size_t i = 0; i < s.n_layers; ++i) file.add_floats("extra." + std::to_string(i), {1}, {0.0f});
  return file;
}

Shape gemma_7b() {
  return {.architecture = "gemma",
          .n_layers = 28,
          .d_model = 3072,
          .d_ff = 24576,
          .n_heads = 16,
          .n_kv_heads = 16,
          .head_dim = 256,
          .vocab_size = 256,
          .context = 8192,
          .rms_eps = 1e-6f};
}
Shape gemma2_9b() {
  Shape s = gemma_7b();
  s.architecture = "gemma2";
  s.n_layers = 42;
  s.d_model = 3584;
  s.d_ff = 14336;
  s.n_kv_heads = 8;
  return s;
}
Shape gemma3_4b() {
  Shape s = gemma_7b();
  s.architecture = "gemma3";
  s.n_layers = 34;
  s.d_model = 2560;
  s.d_ff = 10240;
  s.n_heads = 8;
  s.n_kv_heads = 4;
  s.context = 131072;
  s.window = 1024;
  s.rope_base = 1e6f;
  s.rope_factor = 8;
  return s;
}
Shape embedding_300m() {
  Shape s = gemma3_4b();
  s.architecture = "gemma-embedding";
  s.n_layers = 24;
  s.d_model = 768;
  s.d_ff = 1152;
  s.n_heads = 3;
  s.n_kv_heads = 1;
  s.context = 2048;
  s.window = 512;
  s.rope_factor = 1;
  return s;
}
Shape llama3_8b() {
  return {.architecture = "llama",
          .n_layers = 32,
          .d_model = 4096,
          .d_ff = 14336,
          .n_heads = 32,
          .n_kv_heads = 8,
          .head_dim = 128,
          .vocab_size = 256,
          .context = 8192,
          .rope_base = 500000.0f};
}

TEST(Families, Gemma7B) {
  const ModelConfig c = config_of(published(gemma_7b()));
  EXPECT_EQ(c.architecture, "gemma");
  EXPECT_EQ(c.n_layers(), 28u);
  EXPECT_EQ(c.d_model, 3072u);
  EXPECT_EQ(c.layers[0].feed_forward.d_ff, 24576u);
  EXPECT_EQ(c.layers[0].attention.n_heads, 16u);
  EXPECT_EQ(c.layers[0].attention.n_kv_heads, 16u);
  EXPECT_EQ(c.layers[0].attention.head_dim, 256u);  // not 3072 / 16 = 192
  EXPECT_EQ(c.layers[0].attention.q_width(), 4096u);
  EXPECT_EQ(c.vocab_size, 256u);
  EXPECT_EQ(c.max_seq_len, 8192u);
  EXPECT_EQ(c.rms_eps, 1e-6f);
  EXPECT_FLOAT_EQ(c.embedding_scale, 55.4256258f);  // sqrt(3072), not rounded
  EXPECT_EQ(c.layers[0].attention.scale, 1.0f / 16);
  EXPECT_EQ(c.layers[0].attention.softcap, 0.0f);
  EXPECT_EQ(c.logit_softcap, 0.0f);
  EXPECT_EQ(c.layers[0].feed_forward.activation, Activation::kGeluTanh);
  EXPECT_EQ(c.rope_pairing, RopePairing::kHalf);
  EXPECT_FALSE(c.layers[0].attention.qk_norm);
  EXPECT_FALSE(c.post_norms);
  ASSERT_EQ(c.ropes.size(), 1u);
  EXPECT_EQ(c.ropes[0], (RopeConfig{10000.0f, 1.0f, 256}));
  for (const LayerConfig& l : c.layers) EXPECT_EQ(l.attention.window, 0u);
}

TEST(Families, GemmaEmbeddingScaleRoundedToBfloat16WhenAsked) {
  EXPECT_EQ(config_of(published(gemma_7b()), {.bf16_embedding_scale = true}).embedding_scale, 55.5f);
  Shape s = gemma_7b();
  s.d_model = 2048;
  EXPECT_EQ(config_of(published(s), {.bf16_embedding_scale = true}).embedding_scale, 45.25f);
  EXPECT_FLOAT_EQ(config_of(published(s)).embedding_scale, 45.254834f);
  // llama files have no embedding scale
  EXPECT_EQ(config_of(published(llama3_8b()), {.bf16_embedding_scale = true}).embedding_scale, 1.0f);
}

TEST(Families, Gemma2DefaultsWhenKeysAreMissing) {
  const ModelConfig c = config_of(published(gemma2_9b()));
  EXPECT_EQ(c.layers[0].attention.softcap, 50.0f);
  EXPECT_EQ(c.logit_softcap, 30.0f);
  EXPECT_EQ(c.layers[0].attention.scale, 1.0f / 16);
  EXPECT_FLOAT_EQ(c.embedding_scale, std::sqrt(3584.0f));
  EXPECT_TRUE(c.post_norms);
  EXPECT_FALSE(c.layers[0].attention.qk_norm);
  EXPECT_EQ(c.layers[0].feed_forward.activation, Activation::kGeluTanh);
  EXPECT_EQ(c.rope_pairing, RopePairing::kHalf);
  ASSERT_EQ(c.layers.size(), 42u);
  for (std::size_t i = 0; i < 42; ++i) EXPECT_EQ(c.layers[i].attention.window, i % 2 == 0 ? 4096u : 0u) << i;
  ASSERT_EQ(c.ropes.size(), 1u);
  EXPECT_EQ(c.ropes[0], (RopeConfig{10000.0f, 1.0f, 256}));
}

TEST(Families, Gemma2KeysOfTheFile) {
  Shape s = gemma2_9b();
  s.attention_softcap = 40;
  s.logit_softcap = 20;
  s.window = 16;
  const ModelConfig c = config_of(published(s));
  EXPECT_EQ(c.layers[0].attention.softcap, 40.0f);
  EXPECT_EQ(c.logit_softcap, 20.0f);
  EXPECT_EQ(c.layers[0].attention.window, 16u);
  EXPECT_EQ(c.layers[1].attention.window, 0u);
  // a softcap of 0 means none, and is not divided by
  ModelFile none = published(s);
  none.set("gemma2.attn_logit_softcapping", 0.0f);
  EXPECT_EQ(config_of(none).layers[0].attention.softcap, 0.0f);
}

TEST(Families, ScaleOf27BModels) {
  Shape s = gemma2_9b();
  s.n_layers = 46;
  s.d_model = 4608;
  s.n_heads = 32;
  s.n_kv_heads = 16;
  s.head_dim = 128;
  EXPECT_EQ(config_of(published(s)).layers[0].attention.scale, 1.0f / 12);  // sqrt(144), not sqrt(128)
  s = gemma3_4b();
  s.n_layers = 62;
  s.d_model = 5376;
  s.n_heads = 32;
  s.n_kv_heads = 16;
  s.head_dim = 128;
  EXPECT_FLOAT_EQ(config_of(published(s)).layers[0].attention.scale, 1.0f / std::sqrt(168.0f));
}

TEST(Families, Gemma3) {
  const ModelConfig c = config_of(published(gemma3_4b()));
  EXPECT_TRUE(c.layers[0].attention.qk_norm);
  EXPECT_TRUE(c.post_norms);
  EXPECT_EQ(c.layers[0].attention.softcap, 0.0f);
  EXPECT_EQ(c.logit_softcap, 0.0f);
  EXPECT_EQ(c.layers[0].attention.scale, 1.0f / 16);
  EXPECT_EQ(c.max_seq_len, 131072u);
  for (std::size_t i = 0; i < c.n_layers(); ++i) {
    const bool global = i % 6 == 5;
    EXPECT_EQ(c.layers[i].attention.window, global ? 0u : 1024u) << i;
    EXPECT_EQ(c.ropes[c.layers[i].attention.rope],
              global ? (RopeConfig{1e6f, 0.125f, 256}) : (RopeConfig{1e4f, 1.0f, 256}))
        << i;
  }
  EXPECT_EQ(c.ropes.size(), 2u);
}

TEST(Families, Gemma3DefaultsWhenKeysAreMissing) {
  Shape s = gemma3_4b();  // like the 1B file: no scaling, no rope base
  s.context = 32768;
  s.rope_base = 0;
  s.rope_factor = 0;
  const ModelConfig c = config_of(published(s));
  EXPECT_EQ(c.ropes[c.layers[5].attention.rope], (RopeConfig{1e6f, 1.0f, 256}));
  EXPECT_EQ(c.ropes[c.layers[0].attention.rope], (RopeConfig{1e4f, 1.0f, 256}));
  ModelFile file = published(s);
  file.set("gemma3.rope.freq_base_swa", 20000.0f);
  const ModelConfig local = config_of(file);
  EXPECT_EQ(local.ropes[local.layers[0].attention.rope], (RopeConfig{2e4f, 1.0f, 256}));
}

TEST(Families, SlidingPatternsOfTheFile) {
  Shape s = gemma3_4b();
  s.n_layers = 4;
  ModelFile period = published(s);
  period.set("gemma3.attention.sliding_window_pattern", u32{2});
  ModelFile each = published(s);
  each.set_array("gemma3.attention.sliding_window_pattern", std::vector<bool>{false, true, true, false});
  auto windows = [](const ModelConfig& c) {
    std::vector<std::size_t> w;
    for (const LayerConfig& l : c.layers) w.push_back(l.attention.window);
    return w;
  };
  EXPECT_EQ(windows(config_of(published(s))), (std::vector<std::size_t>{1024, 1024, 1024, 1024}));
  EXPECT_EQ(windows(config_of(period)), (std::vector<std::size_t>{1024, 0, 1024, 0}));
  EXPECT_EQ(windows(config_of(each)), (std::vector<std::size_t>{0, 1024, 1024, 0}));
}

TEST(Families, Llama3) {
  const ModelConfig c = config_of(published(llama3_8b()));
  EXPECT_EQ(c.architecture, "llama");
  EXPECT_EQ(c.layers[0].attention.head_dim, 128u);  // no key: 4096 / 32
  EXPECT_EQ(c.layers[0].attention.n_kv_heads, 8u);
  EXPECT_EQ(c.layers[0].attention.kv_width(), 1024u);
  EXPECT_EQ(c.rms_eps, 1e-5f);
  EXPECT_EQ(c.embedding_scale, 1.0f);
  EXPECT_FLOAT_EQ(c.layers[0].attention.scale, 1.0f / std::sqrt(128.0f));
  EXPECT_EQ(c.layers[0].feed_forward.activation, Activation::kSilu);
  EXPECT_EQ(c.rope_pairing, RopePairing::kPairs);
  EXPECT_EQ(c.ropes.at(0), (RopeConfig{500000.0f, 1.0f, 128}));
  EXPECT_EQ(c.layers[0].attention.softcap, 0.0f);
  EXPECT_FALSE(c.post_norms);
  for (const LayerConfig& l : c.layers) EXPECT_EQ(l.attention.window, 0u);
}

TEST(Families, MistralsWindowIsTheFilesOrTheCallers) {
  Shape s = llama3_8b();
  s.rope_base = 0;  // no such key: 10,000 is used
  s.context = 32768;
  EXPECT_EQ(config_of(published(s)).layers[31].attention.window, 0u);
  EXPECT_EQ(config_of(published(s)).ropes.at(0).base, 10000.0f);
  EXPECT_EQ(config_of(published(s), {.window = 4096}).layers[31].attention.window, 4096u);
  s.window = 256;
  EXPECT_EQ(config_of(published(s)).layers[0].attention.window, 256u);
  EXPECT_EQ(config_of(published(s), {.window = 64}).layers[0].attention.window, 64u);
  EXPECT_EQ(config_of(published(s), {.window = 0}).layers[0].attention.window, 0u);
}

TEST(Families, CallersWindowLeavesGlobalLayersAlone) {
  const ModelConfig g2 = config_of(published(gemma2_9b()), {.window = 8});
  EXPECT_EQ(g2.layers[0].attention.window, 8u);
  EXPECT_EQ(g2.layers[1].attention.window, 0u);
  const ModelConfig g3 = config_of(published(gemma3_4b()), {.window = 8});
  EXPECT_EQ(g3.layers[4].attention.window, 8u);
  EXPECT_EQ(g3.layers[5].attention.window, 0u);
}

TEST(Families, AWindowLongerThanAnyContextIsNone) {
  ModelFile file = published(llama3_8b());
  file.set("llama.attention.sliding_window", std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(config_of(file).layers[0].attention.window, 0u);
}

TEST(Families, RopeScaling) {
  auto scale = [](const std::function<void(ModelFile&)>& edit) {
    ModelFile file = published(llama3_8b());
    edit(file);
    return config_of(file).ropes.at(0).scale;
  };
  EXPECT_EQ(scale([](ModelFile&) {}), 1.0f);
  EXPECT_EQ(scale([](ModelFile& f) { f.set("llama.rope.scaling.factor", 4.0f); }), 0.25f);
  EXPECT_EQ(scale([](ModelFile& f) { f.set("llama.rope.scaling.factor", 0.0f); }), 1.0f);
  EXPECT_EQ(scale([](ModelFile& f) { f.set("llama.rope.scale_linear", 2.0f); }), 0.5f);  // its former name
  EXPECT_EQ(scale([](ModelFile& f) {
              f.set("llama.rope.scaling.type", "linear").set("llama.rope.scaling.factor", 8.0f);
            }),
            0.125f);
  EXPECT_EQ(scale([](ModelFile& f) {
              f.set("llama.rope.scaling.type", "none").set("llama.rope.scaling.factor", 8.0f);
            }),
            1.0f);
}

TEST(Families, IntegersOfAnyWidthAndDoublesAreTaken) {
  ModelFile file = published(llama3_8b());
  file.set("llama.block_count", std::uint64_t{32});
  file.set("llama.attention.head_count", std::int32_t{32});
  file.set("llama.attention.head_count_kv", std::uint8_t{8});
  file.set("llama.attention.layer_norm_rms_epsilon", 1e-5);
  const ModelConfig c = config_of(file);
  EXPECT_EQ(c.n_layers(), 32u);
  EXPECT_EQ(c.layers[0].attention.n_kv_heads, 8u);
  EXPECT_EQ(c.rms_eps, 1e-5f);
}

TEST(Families, ArraysOfOneValueForEachLayer) {
  ModelFile file = published(llama3_8b());
  file.set_array("llama.attention.head_count", std::vector<u32>(32, 32));
  file.set_array("llama.attention.head_count_kv", std::vector<u32>(32, 8));
  file.set_array("llama.feed_forward_length", std::vector<u32>(32, 14336));
  const ModelConfig c = config_of(file);
  EXPECT_EQ(c.layers[0].attention.n_heads, 32u);
  EXPECT_EQ(c.layers[0].attention.n_kv_heads, 8u);
  EXPECT_EQ(c.layers[0].feed_forward.d_ff, 14336u);
}

TEST(Families, LayersMayDiffer) {
  ModelFile file = published(llama3_8b());
  std::vector<u32> d_ff(32, 14336), kv(32, 8);
  d_ff[3] = 4096;
  kv[5] = 4;
  file.set_array("llama.feed_forward_length", d_ff).set_array("llama.attention.head_count_kv", kv);
  const ModelConfig c = config_of(file);
  EXPECT_EQ(c.layers[2].feed_forward.d_ff, 14336u);
  EXPECT_EQ(c.layers[3].feed_forward.d_ff, 4096u);
  EXPECT_EQ(c.layers[5].attention.n_kv_heads, 4u);
  EXPECT_EQ(c.layers[6].attention.n_kv_heads, 8u);
  EXPECT_EQ(c.largest_d_ff(), 14336u);
  EXPECT_EQ(c.largest_kv_width(), 1024u);
}

TEST(Families, ALayerThatCannotRunIsNamed) {
  ModelFile file = published(llama3_8b());
  std::vector<u32> kv(32, 8);
  kv[5] = 3;
  file.set_array("llama.attention.head_count_kv", kv);
  expect_error(ErrorCode::kMalformed, {"llama.attention.head_count_kv' is 3", "layer 5"},
               [&] { config_of(file); });
}

TEST(Families, HeadCountKvDefaultsToHeadCount) {
  ModelFile file = published(llama3_8b());
  file.erase("llama.attention.head_count_kv");
  EXPECT_EQ(config_of(file).layers[0].attention.n_kv_heads, 32u);
}

TEST(Families, UnknownKeysAndTensorsAreNormal) {
  ModelFile file = published(gemma_7b());
  file.set("gemma.something.new", "text").set("general.name", "a name").set("other.block_count", u32{3});
  EXPECT_EQ(config_of(file).name, "a name");
}

// ---- refusals ---------------------------------------------------------------------------------------------

struct Refusal {
  std::string name;
  std::string architecture;
  std::function<void(ModelFile&)> edit;
  ErrorCode code;
  std::vector<std::string> says;  // parts of the message
};

Shape shape_of(const std::string& architecture) {
  if (architecture == "gemma") return gemma_7b();
  if (architecture == "gemma2") return gemma2_9b();
  if (architecture == "gemma3") return gemma3_4b();
  if (architecture == "gemma-embedding") return embedding_300m();
  return llama3_8b();
}

/// Each edit must be refused with the code and a message that contains all of `says`.
void expect_refused(const std::vector<Refusal>& refusals) {
  for (const Refusal& r : refusals) {
    SCOPED_TRACE(r.name);
    ModelFile file = published(shape_of(r.architecture));
    ASSERT_NO_THROW(config_of(file));  // the unedited file is valid
    r.edit(file);
    expect_error(r.code, r.says, [&] { config_of(file); });
    EXPECT_TRUE(error_of([&] { config_of(file); })->message().starts_with("test.gguf: "));
  }
}

const float kNan = std::numeric_limits<float>::quiet_NaN();
const float kInf = std::numeric_limits<float>::infinity();

/// Refusals of each required or numeric key of a family.
std::vector<Refusal> refusals_of(const std::string& arch) {
  std::vector<Refusal> all;
  auto add = [&](const std::string& name, const std::string& key, auto edit, ErrorCode code) {
    const std::string full = arch + "." + key;
    const bool missing = code == ErrorCode::kMissingKey;
    all.push_back({full + ": " + name,
                   arch,
                   [full, edit](ModelFile& f) { edit(f, full); },
                   code,
                   {"'" + full + "'", missing ? "is missing" : "at byte "}});
  };
  auto set = [](auto value) { return [value](ModelFile& f, const std::string& key) { f.set(key, value); }; };
  std::vector<std::string> required = {"block_count", "embedding_length", "feed_forward_length",
                                       "attention.head_count", "context_length"};
  std::vector<std::string> sizes = required;
  sizes.insert(sizes.end(), {"attention.head_count_kv", "attention.key_length"});
  if (arch == "llama") required.push_back("attention.layer_norm_rms_epsilon");
  if (arch == "gemma3") required.push_back("attention.sliding_window");
  for (const auto& key : required) {
    add(
        "missing", key, [](ModelFile& f, const std::string& k) { f.erase(k); }, ErrorCode::kMissingKey);
  }
  for (const auto& key : sizes) {
    add("zero", key, set(u32{0}), ErrorCode::kMalformed);
    add("negative", key, set(std::int32_t{-1}), ErrorCode::kWrongType);
    add("huge", key, set(u32{0xFFFFFFFF}), ErrorCode::kMalformed);
    add("huge64", key, set(std::uint64_t{1} << 63), ErrorCode::kMalformed);
    add("float", key, set(16.0f), ErrorCode::kWrongType);
    add("text", key, set("16"), ErrorCode::kWrongType);
  }
  for (const char* key : {"attention.layer_norm_rms_epsilon", "rope.freq_base"}) {
    for (const float x : {0.0f, -1.0f, kNan, kInf}) {
      add(std::to_string(x), key, set(x), ErrorCode::kMalformed);
    }
    add("integer", key, set(u32{1}), ErrorCode::kWrongType);
    add("double", key, set(1e300), ErrorCode::kWrongType);  // not a float
  }
  for (const float x : {-8.0f, kNan, kInf, 1e-42f}) {
    add(std::to_string(x) + "x", "rope.scaling.factor", set(x), ErrorCode::kMalformed);
  }
  add("yarn", "rope.scaling.type", set("yarn"), ErrorCode::kUnsupported);
  add("longrope", "rope.scaling.type", set("longrope"), ErrorCode::kUnsupported);
  add("number", "rope.scaling.type", set(u32{1}), ErrorCode::kWrongType);
  add("other", "attention.value_length", set(u32{64}), ErrorCode::kUnsupported);
  add("partial", "rope.dimension_count", set(u32{64}), ErrorCode::kUnsupported);
  add("text", "vocab_size", set("all"), ErrorCode::kWrongType);
  add("no_divisor", "attention.head_count_kv", set(u32{3}), ErrorCode::kMalformed);
  add("more_than_heads", "attention.head_count_kv", set(u32{64}), ErrorCode::kMalformed);
  add(
      "array_too_short", "attention.head_count",
      [](ModelFile& f, const std::string& k) { f.set_array(k, std::vector<u32>(3, 16)); },
      ErrorCode::kMalformed);
  add(
      "empty_array", "feed_forward_length",
      [](ModelFile& f, const std::string& k) { f.set_array(k, std::vector<u32>{}); }, ErrorCode::kMalformed);
  add(
      "zero_in_one_layer", "feed_forward_length",
      [n = shape_of(arch).n_layers](ModelFile& f, const std::string& k) {
        std::vector<u32> each(n, 1024);
        each.back() = 0;
        f.set_array(k, each);
      },
      ErrorCode::kMalformed);
  add(
      "array_of_floats", "attention.head_count",
      [n = shape_of(arch).n_layers](ModelFile& f, const std::string& k) {
        f.set_array(k, std::vector<float>(n, 16));
      },
      ErrorCode::kWrongType);
  add(
      "array", "embedding_length",
      [](ModelFile& f, const std::string& k) { f.set_array(k, std::vector<u32>{16}); },
      ErrorCode::kWrongType);
  add("text", "attention.sliding_window", set("all"), ErrorCode::kWrongType);
  add("negative", "attention.sliding_window", set(std::int32_t{-1}), ErrorCode::kWrongType);
  if (arch == "gemma2" || arch == "gemma3" || arch == "gemma-embedding") {
    for (const char* key : {"attn_logit_softcapping", "final_logit_softcapping"}) {
      for (const float x : {-1.0f, kNan, kInf}) add(std::to_string(x), key, set(x), ErrorCode::kMalformed);
    }
    add("zero", "attention.sliding_window_pattern", set(u32{0}), ErrorCode::kMalformed);
    add(
        "short_array", "attention.sliding_window_pattern",
        [](ModelFile& f, const std::string& k) { f.set_array(k, std::vector<bool>{true}); },
        ErrorCode::kMalformed);
    add(
        "array_of_numbers", "attention.sliding_window_pattern",
        [n = shape_of(arch).n_layers](ModelFile& f, const std::string& k) {
          f.set_array(k, std::vector<u32>(n, 1));
        },
        ErrorCode::kWrongType);
    add("nan", "rope.freq_base_swa", set(kNan), ErrorCode::kMalformed);
  }
  return all;
}

TEST(Refusals, OfGemma) {
  expect_refused(refusals_of("gemma"));
}
TEST(Refusals, OfGemma2) {
  expect_refused(refusals_of("gemma2"));
}
TEST(Refusals, OfGemma3) {
  expect_refused(refusals_of("gemma3"));
}
TEST(Refusals, OfEmbeddingGemma) {
  std::vector<Refusal> all = refusals_of("gemma-embedding");
  std::erase_if(all, [](const Refusal& r) {  // no soft caps; 3 heads may have separate keys
    return r.name.find("softcapping") != std::string::npos || r.name.ends_with("no_divisor");
  });
  all.push_back({"pooling: none is known",
                 "gemma-embedding",
                 [](ModelFile& f) { f.set("gemma-embedding.pooling_type", u32{77}); },
                 ErrorCode::kUnsupported,
                 {"'gemma-embedding.pooling_type'"}});
  all.push_back({"pooling: a text",
                 "gemma-embedding",
                 [](ModelFile& f) { f.set("gemma-embedding.pooling_type", "mean"); },
                 ErrorCode::kWrongType,
                 {"'gemma-embedding.pooling_type'"}});
  expect_refused(all);
}
TEST(Refusals, OfLlama) {
  expect_refused(refusals_of("llama"));
}

TEST(Refusals, OfOneFamilyOrNone) {
  expect_refused(
      {Refusal{"NoArchitecture",
               "gemma",
               [](ModelFile& f) { f.erase("general.architecture"); },
               ErrorCode::kMissingKey,
               {"'general.architecture'"}},
       Refusal{"ArchitectureIsANumber",
               "gemma",
               [](ModelFile& f) { f.set("general.architecture", u32{1}); },
               ErrorCode::kWrongType,
               {"'general.architecture'", "at byte "}},
       Refusal{"UnknownArchitecture",
               "gemma",
               [](ModelFile& f) { f.set("general.architecture", "mamba"); },
               ErrorCode::kUnsupported,
               {"'mamba'", "gemma, gemma2, gemma3, gemma3n, gemma4, gemma-embedding, llama, qwen3"}},
       Refusal{"ArchitectureInOtherLetters",
               "gemma",
               [](ModelFile& f) { f.set("general.architecture", "Gemma"); },
               ErrorCode::kUnsupported,
               {"'Gemma'"}},
       Refusal{"ArchitectureWithControlCharacters",
               "gemma",
               [](ModelFile& f) { f.set("general.architecture", "gem\nma"); },
               ErrorCode::kUnsupported,
               {"'gem\\x0ama'"}},
       Refusal{"MixtureOfExperts",
               "llama",
               [](ModelFile& f) { f.set("llama.expert_count", u32{8}); },
               ErrorCode::kUnsupported,
               {"'llama.expert_count'", "mixture of experts"}},
       Refusal{"NoEmbedding",
               "llama",
               [](ModelFile& f) { f.erase_tensor("token_embd.weight"); },
               ErrorCode::kMissingTensor,
               {"'token_embd.weight'"}},
       Refusal{"MoreLayersThanTensors",
               "llama",
               [](ModelFile& f) { f.set("llama.block_count", u32{34}); },
               ErrorCode::kMalformed,
               {"'llama.block_count' is 34", "33 tensors"}},
       Refusal{"HeadsThatDoNotDivideTheModel",
               "llama",
               [](ModelFile& f) {
                 f.set("llama.attention.head_count", u32{24}).set("llama.embedding_length", u32{4100});
               },
               ErrorCode::kMalformed,
               {"'llama.attention.head_count' is 24", "4100"}},
       Refusal{"OddHead",
               "gemma",
               [](ModelFile& f) { f.set("gemma.attention.key_length", u32{255}); },
               ErrorCode::kMalformed,
               {"attention.key_length"}},
       Refusal{"HeadsTimesHeadSize",
               "gemma",
               [](ModelFile& f) { f.set("gemma.attention.key_length", u32{1u << 24}); },
               ErrorCode::kMalformed,
               {"attention.key_length"}},
       Refusal{"NameIsANumber",
               "llama",
               [](ModelFile& f) { f.set("general.name", u32{1}); },
               ErrorCode::kWrongType,
               {"'general.name'"}}});
}

TEST(ModelConfig, HandMadeOnesAreHeldToTheSameRules) {
  const ModelConfig good = config_of(published(gemma3_4b()));
  good.validate("it");
  auto refused = [&](const std::function<void(ModelConfig&)>& edit) {
    ModelConfig bad = good;
    edit(bad);
    EXPECT_THROW(bad.validate("it"), Error);
  };
  refused([](ModelConfig& c) { c.layers.clear(); });
  refused([](ModelConfig& c) { c.d_model = 0; });
  refused([](ModelConfig& c) { c.layers[3].feed_forward.d_ff = ModelConfig::kMostSize + 1; });
  refused([](ModelConfig& c) { c.layers[3].attention.n_heads = 0; });
  refused([](ModelConfig& c) { c.layers[3].attention.n_kv_heads = 3; });
  refused([](ModelConfig& c) { c.layers[3].attention.head_dim = 63; });
  refused([](ModelConfig& c) { c.vocab_size = 0; });
  refused([](ModelConfig& c) { c.max_seq_len = 0; });
  refused([](ModelConfig& c) { c.rms_eps = kNan; });
  refused([](ModelConfig& c) { c.embedding_scale = 0; });
  refused([](ModelConfig& c) { c.layers[3].attention.scale = kInf; });
  refused([](ModelConfig& c) { c.layers[3].attention.softcap = -1; });
  refused([](ModelConfig& c) { c.logit_softcap = kNan; });
  refused([](ModelConfig& c) { c.ropes[0].base = -1; });
  refused([](ModelConfig& c) { c.ropes[1].scale = 0; });
  refused([](ModelConfig& c) { c.layers[3].attention.rope = 2; });
  refused([](ModelConfig& c) { c.layers[3].attention.window = ~std::size_t{0}; });
  refused([](ModelConfig& c) { c.layers[3].attention.kv_layer = 4; });  // a later one
  refused([](ModelConfig& c) { c.ropes[0].head_dim = 128; });
  // a layer may use only keys and values of a layer of the same kind that owns them
  ModelConfig shared = good;
  shared.layers[7].attention.kv_layer = 6;
  shared.validate("it");
  EXPECT_EQ(shared.last_kv_layer(), good.n_layers() - 1);
  shared.layers[8].attention.kv_layer = 7;
  EXPECT_THROW(shared.validate("it"), Error);
  shared.layers[8].attention.kv_layer = 5;  // layer 5 has no window, layer 8 has one
  EXPECT_THROW(shared.validate("it"), Error);
}

}  // namespace
}  // namespace gemma::test
