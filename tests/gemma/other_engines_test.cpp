// Files of other engines' converters, with missing, renamed or wrong keys and additional tensors, and files
// that are distributed with models but are not models. A model must run as the published one, with a note;
// other files must be refused by name.
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "gemma/engine_error_code.hpp"
#include "gemma/families/registry.hpp"
#include "gemma/session.hpp"
#include "tests/gemma/model_file.hpp"
#include "tests/gemma/run.hpp"
#include "tests/refusal.hpp"

namespace gemma::test {
namespace {

using u32 = std::uint32_t;
using Edit = std::function<void(ModelFile&)>;

const std::vector<std::int32_t> kIds = random_tokens(40, 317, 7);

/// Gemma 3 as llama.cpp's converter writes it.
ModelFile gemma3(std::size_t context = 2048, std::size_t n_layers = 7) {
  Shape s;
  s.architecture = "gemma3";
  s.n_layers = n_layers;
  s.head_dim = 32;  // not d_model / n_heads
  s.window = 16;
  s.context = context;
  s.rms_eps = 1e-6f;
  s.vocabulary = true;
  return make_model(s);
}

std::string text_of(const std::vector<std::string>& notes) {
  std::string all;
  for (const std::string& note : notes) all += note + "\n";
  return all;
}

/// Expects that `edited` gives the same bits as `good`, and that each of its notes contains the corresponding
/// text of `notes`.
void expect_same(const ModelFile& good, const ModelFile& edited, const std::vector<std::string>& notes) {
  const MemoryModel a(good), b(edited);
  EXPECT_EQ(text_of(a->notes()), "");
  EXPECT_EQ(all_logits(*a, kIds), all_logits(*b, kIds));
  ASSERT_EQ(b->notes().size(), notes.size()) << text_of(b->notes());
  for (std::size_t i = 0; i < notes.size(); ++i) {
    EXPECT_NE(b->notes()[i].find(notes[i]), std::string::npos) << b->notes()[i];
  }
}

ModelFile with(ModelFile file, const Edit& edit) {
  edit(file);
  return file;
}

void expect_load_error(const ModelFile& file, ErrorCode code, const std::vector<std::string>& says) {
  test::expect_error(code, says, [&] { MemoryModel model(file); });
}

TEST(OtherEngines, AMissingEpsilonIsGemmasOwn) {
  expect_same(gemma3(),
              with(gemma3(), [](ModelFile& f) { f.erase("gemma3.attention.layer_norm_rms_epsilon"); }),
              {"'gemma3.attention.layer_norm_rms_epsilon' is missing"});
  for (const char* architecture : {"gemma", "gemma2"}) {
    Shape s;
    s.architecture = architecture;
    s.rms_eps = 0;  // the key is omitted
    EXPECT_EQ(MemoryModel(make_model(s))->config().rms_eps, 1e-6f);
  }
  Shape s;
  s.rms_eps = 0;
  expect_load_error(make_model(s), ErrorCode::kMissingKey, {"'llama.attention.layer_norm_rms_epsilon'"});
}

TEST(OtherEngines, BasesByOllamasNames) {
  const auto ours = [](ModelFile& f) {
    f.set("gemma3.rope.freq_base", 500000.0f).set("gemma3.rope.freq_base_swa", 20000.0f);
  };
  const auto ollamas = [](ModelFile& f) {
    f.set("gemma3.rope.global.freq_base", 500000.0f).set("gemma3.rope.local.freq_base", 20000.0f);
  };
  expect_same(with(gemma3(), ours), with(gemma3(), ollamas), {});
  EXPECT_NE(all_logits(*MemoryModel(gemma3()), kIds),
            all_logits(*MemoryModel(with(gemma3(), ollamas)), kIds));
  expect_load_error(with(gemma3(), [](ModelFile& f) { f.set("gemma3.rope.local.freq_base", -1.0f); }),
                    ErrorCode::kMalformed, {"'gemma3.rope.local.freq_base'"});
}

TEST(OtherEngines, ALongContextWithoutScalingIsScaledAsPublished) {
  const std::string key = "gemma3.rope.scaling.factor";
  expect_same(with(gemma3(131072), [&](ModelFile& f) { f.set(key, 8.0f); }), gemma3(131072),
              {"'" + key + "' is missing: 8"});
  // the file's values are used: 1, 0 ("none") and "none" are not missing values
  for (const float none : {0.0f, 1.0f}) {
    const MemoryModel model(with(gemma3(131072), [&](ModelFile& f) { f.set(key, none); }));
    EXPECT_EQ(model->config().ropes.size(), 2u);
    for (const RopeConfig& rope : model->config().ropes) EXPECT_EQ(rope.scale, 1.0f);
    EXPECT_TRUE(model->notes().empty());
  }
  const MemoryModel none(
      with(gemma3(131072), [](ModelFile& f) { f.set("gemma3.rope.scaling.type", "none"); }));
  for (const RopeConfig& rope : none->config().ropes) EXPECT_EQ(rope.scale, 1.0f);
  // 1B and 270M are published without scaling; so are shorter contexts
  for (const ModelFile& file : {gemma3(131072, 26), gemma3(131072, 18), gemma3(32768)}) {
    const MemoryModel model(file);
    for (const RopeConfig& rope : model->config().ropes) EXPECT_EQ(rope.scale, 1.0f);
  }
}

TEST(OtherEngines, Gemma2sSoftcapInAFileOfGemma3) {
  const std::string key = "gemma3.final_logit_softcapping";
  expect_same(gemma3(), with(gemma3(), [&](ModelFile& f) { f.set(key, 30.0f); }), {"'" + key + "' is 30"});
  const MemoryModel other(with(gemma3(), [&](ModelFile& f) { f.set(key, 20.0f); }));
  EXPECT_EQ(other->config().logit_softcap, 20.0f);
}

TEST(OtherEngines, TheSizeOfHeadsIsThatOfTheirMatrix) {
  expect_same(gemma3(), with(gemma3(), [](ModelFile& f) { f.erase("gemma3.attention.key_length"); }), {});
}

TEST(OtherEngines, PartsForImagesInTheSameFile) {
  expect_same(gemma3(),
              with(gemma3(),
                   [](ModelFile& f) {
                     f.add_floats("v.blk.0.attn_q.weight", {8, 8}, std::vector<float>(64));
                     f.add_floats("mm.mm_input_projection.weight", {8, 8}, std::vector<float>(64));
                     f.set("gemma3.vision.block_count", u32{27});
                   }),
              {"images"});
}

TEST(OtherEngines, AVocabularySizeThatIsNotTheRows) {
  for (const u32 n : {u32{0}, u32{316}, u32{320}}) {
    expect_same(gemma3(), with(gemma3(), [n](ModelFile& f) { f.set("gemma3.vocab_size", n); }),
                {"'gemma3.vocab_size' is " + std::to_string(n) + ", not 317"});
  }
}

TEST(OtherEngines, MoreTokensThanRows) {
  const ModelFile more = with(gemma3(), [](ModelFile& f) {
    add_vocabulary(f, 318);
    f.set("tokenizer.ggml.eot_token_id", u32{317});
  });
  expect_same(gemma3(), more,
              {"has 318 tokens for the embedding's 317 rows", "'tokenizer.ggml.eot_token_id'"});
  const MemoryModel model(more);
  EXPECT_EQ(model->vocab().size(), 317u);
  for (const std::int32_t id : model->tokenizer().encode(" t317")) EXPECT_LT(id, 317);
  EXPECT_NO_THROW(model->tokenizer().decode(std::vector<std::int32_t>{316}));
  EXPECT_THROW(model->tokenizer().decode(std::vector<std::int32_t>{317}), Error);
  // a far larger number means another model
  expect_load_error(with(gemma3(), [](ModelFile& f) { add_vocabulary(f, 317 + 65); }),
                    EngineErrorCode::kBadShape, {"'token_embd.weight'", "317", "382"});
}

TEST(OtherEngines, EmbeddingGemmaUnderAnotherName) {
  const MemoryModel model(with(gemma3(), [](ModelFile& f) {
    f.erase("gemma3.attention.layer_norm_rms_epsilon");
    f.add_floats("dense.0.weight", {8, 64}, std::vector<float>(8 * 64));
  }));
  EXPECT_FALSE(model->config().has_head);
  EXPECT_EQ(model->config().embedding_width(), 8u);
  EXPECT_NE(text_of(model->notes()).find("layer_norm_rms_epsilon"), std::string::npos);
  EXPECT_THROW(Session session(*model), Error);
}

TEST(OtherEngines, FilesBesideAModelAreToldForWhatTheyAre) {
  const std::vector<std::pair<std::string, Edit>> kinds = {
      {"a LoRA adapter", [](ModelFile& f) { f.set("general.type", "adapter").set("adapter.type", "lora"); }},
      {"a LoRA adapter",
       [](ModelFile& f) {
         f.tensors().clear();
         f.add_floats("blk.0.attn_q.weight.lora_a", {4, 8}, std::vector<float>(32));
         f.erase("gemma3.block_count");
       }},
      {"an adapter", [](ModelFile& f) { f.set("general.type", "adapter"); }},
      {"mmproj", [](ModelFile& f) { f.set("general.type", "mmproj").set("general.architecture", "clip"); }},
      {"mmproj", [](ModelFile& f) { f.set("general.architecture", "clip"); }},
      {"imatrix", [](ModelFile& f) { f.set("general.type", "imatrix").erase("general.architecture"); }},
      {"imatrix", [](ModelFile& f) { f.set("imatrix.chunk_count", u32{1}).erase("general.architecture"); }},
      {"a control vector", [](ModelFile& f) { f.set("general.architecture", "controlvector"); }},
  };
  for (const auto& [what, edit] : kinds) {
    SCOPED_TRACE(what);
    const ModelFile file = with(gemma3(), edit);
    expect_load_error(file, ErrorCode::kUnsupported, {"test.gguf: this is ", what, "not a model"});
    const ModelFile no_vocabulary = with(file, [](ModelFile& f) { f.erase("tokenizer.ggml.model"); });
    const std::vector<std::byte> bytes = no_vocabulary.bytes();
    try {
      Vocab::from(gguf::File::from_memory(bytes, "test.gguf"));
      ADD_FAILURE() << "no error";
    } catch (const Error& e) {
      EXPECT_NE(e.message().find(what), std::string::npos) << e.message();
    }
  }
  // a general.type that is not a text, or is "model", is no reason to refuse
  EXPECT_NO_THROW(MemoryModel(with(gemma3(), [](ModelFile& f) { f.set("general.type", u32{7}); })));
  EXPECT_NO_THROW(MemoryModel(with(gemma3(), [](ModelFile& f) { f.set("general.type", "model"); })));
}

}  // namespace
}  // namespace gemma::test
