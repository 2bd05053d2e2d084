// Refusals: tensors that do not match the metadata, arguments out of range, memory limits, and weights that
// are NaN or infinite.
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "gemma/engine_error_code.hpp"
#include "gemma/session.hpp"
#include "gguf/half.hpp"
#include "tests/gemma/golden_models.hpp"
#include "tests/gemma/model_file.hpp"
#include "tests/gemma/run.hpp"
#include "tests/gguf/raw_builder.hpp"
#include "tests/refusal.hpp"
#include "tests/temporary_folder.hpp"

namespace gemma::test {
namespace {

Shape small(const std::string& architecture = "llama") {
  Shape s;
  s.architecture = architecture;
  s.window = architecture == "gemma3" ? 16 : 0;
  s.separate_output = architecture == "llama";
  s.rope_factors = architecture == "llama";
  return s;
}

// ---- tensors ----------------------------------------------------------------------------------------------

TEST(ModelErrors, EveryTensorIsNeeded) {
  for (const char* architecture : {"gemma", "gemma2", "gemma3", "llama"}) {
    const ModelFile good = make_model(small(architecture));
    for (const ModelFile::Tensor& t : good.tensors()) {
      // without an output matrix a model is tied; rope_freqs is optional
      if (t.name == "output.weight" || t.name == "rope_freqs.weight") continue;
      SCOPED_TRACE(t.name);
      ModelFile file = good;
      file.erase_tensor(t.name);
      expect_error(ErrorCode::kMissingTensor, {"test.gguf: ", "'" + t.name + "'"},
                   [&] { MemoryModel model(file); });
    }
  }
}

TEST(ModelErrors, EveryShapeIsChecked) {
  for (const char* architecture : {"gemma3", "llama"}) {
    const ModelFile good = make_model(small(architecture));
    for (const ModelFile::Tensor& t : good.tensors()) {
      const std::size_t row = t.shape.back() * sizeof(float);
      for (const bool rows : {true, false}) {
        SCOPED_TRACE(t.name + (rows ? ", more rows" : ", fewer columns"));
        ModelFile file = good;
        ModelFile::Tensor& bad = file.tensor(t.name);
        if (rows && t.shape.size() == 1) {
          bad.shape = {2, t.shape[0]};
          bad.data.resize(2 * row);
        } else if (rows) {
          ++bad.shape[0];
          bad.data.resize(bad.data.size() + row);
        } else {
          --bad.shape.back();
          bad.data.resize(bad.data.size() / row * (row - sizeof(float)));
        }
        // more embedding rows mean a larger vocabulary, which must match the output matrix, if any
        if (rows && t.name == "token_embd.weight") {
          if (std::string(architecture) == "llama")
            expect_error(EngineErrorCode::kBadShape, {"'output.weight'"}, [&] { MemoryModel model(file); });
          continue;
        }
        expect_error(EngineErrorCode::kBadShape, {"test.gguf: ", "'" + t.name + "'", "(at byte ", "asks for"},
                     [&] { MemoryModel model(file); });
      }
    }
  }
}

TEST(ModelErrors, MetadataThatContradictsTheTensors) {
  auto edited = [](const char* key, std::uint32_t value) {
    ModelFile file = make_model(small());
    file.set(key, value);
    return file;
  };
  const auto load = [](const ModelFile& file) { return [&file] { MemoryModel model(file); }; };
  ModelFile file = edited("llama.attention.head_count", 8);
  expect_error(EngineErrorCode::kBadShape, {"'rope_freqs.weight'"}, load(file));
  file = edited("llama.attention.head_count_kv", 4);
  expect_error(EngineErrorCode::kBadShape, {"'blk.0.attn_k.weight'", "[32, 64]", "[64, 64]"}, load(file));
  file = edited("llama.feed_forward_length", 97);
  expect_error(EngineErrorCode::kBadShape, {"'blk.0.ffn_gate.weight'", "[96, 64]", "[97, 64]"}, load(file));
  file = edited("llama.embedding_length", 128);
  expect_error(EngineErrorCode::kBadShape, {"'token_embd.weight'", "[317, 64]", "[317, 128]"}, load(file));
  file = edited("llama.block_count", 3);
  expect_error(ErrorCode::kMissingTensor, {"'blk.2.attn_norm.weight'"}, load(file));
  file = edited("llama.attention.key_length", 32);
  expect_error(EngineErrorCode::kBadShape, {"'rope_freqs.weight'"}, load(file));
}

TEST(ModelErrors, FewerLayersThanTheFileHoldsAreRun) {
  ModelFile file = make_model(small());
  file.set("llama.block_count", std::uint32_t{1});
  EXPECT_EQ(MemoryModel(file)->config().n_layers(), 1u);  // extra tensors are normal
}

TEST(ModelErrors, ATensorTwice) {
  const ModelFile file = make_model(small());
  std::vector<std::byte> bytes = file.bytes();
  // the writer refuses it, so rename one in place
  const std::string_view all(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::size_t at = all.find("blk.1.attn_q.weight");
  ASSERT_NE(at, std::string_view::npos);
  bytes[at + 4] = std::byte{'0'};
  expect_error(ErrorCode::kMalformed, {"'blk.0.attn_q.weight'", "twice"},
               [&] { Model::from(gguf::File::from_memory(bytes, "test.gguf")); });
}

TEST(ModelErrors, TypesThatDoNotRun) {
  const ModelFile file = make_model(small());
  std::vector<std::byte> bytes = file.bytes();
  const std::string_view all(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::string name = "blk.1.attn_q.weight";
  const std::size_t type_at = all.find(name) + name.size() + 4 + 2 * 8;
  ASSERT_EQ(bytes[type_at], std::byte{0});  // F32
  const auto refused = [&](std::uint8_t type, const std::string& why) {
    bytes[type_at] = std::byte{type};
    expect_error(ErrorCode::kUnsupported, {"'" + name + "'", why},
                 [&] { Model::from(gguf::File::from_memory(bytes, "test.gguf")); });
  };
  refused(133, "q6_0 (133) is ik_llama.cpp's own");
  refused(4, "Q4_2 (4) was removed");
  refused(26, "I32 (26) is not one of weights");
  refused(99, "unknown (99) is not known");
}

TEST(ModelErrors, ScalesThatAreNoFactor) {
  const auto load = [](const ModelFile& file) { return [&file] { MemoryModel model(file); }; };
  ModelFile two = make_model(small());
  two.add_floats("blk.0.attn_q.scale", {2}, {1.0f, 1.0f});
  expect_error(EngineErrorCode::kBadShape, {"'blk.0.attn_q.scale'"}, load(two));
  ModelFile infinite = make_model(small());
  infinite.add_floats("blk.0.ffn_up.scale", {1}, {std::numeric_limits<float>::infinity()});
  expect_error(ErrorCode::kMalformed, {"'blk.0.ffn_up.scale'"}, load(infinite));
  ModelFile embedding = make_model(small());
  embedding.add_floats("token_embd.scale", {1}, {1.0f});
  expect_error(ErrorCode::kUnsupported, {"'token_embd.scale'"}, load(embedding));
}

TEST(ModelErrors, TensorsThatWouldChangeTheAnswer) {
  for (const char* name : {"blk.1.attn_q.bias", "blk.0.ffn_down.bias", "output.bias",
                           "blk.0.attn_q_norm.weight", "blk.1.post_ffw_norm.weight"}) {
    ModelFile file = make_model(small());
    file.add_floats(name, {64}, std::vector<float>(64, 1.0f));
    expect_error(ErrorCode::kUnsupported, {"'" + std::string(name) + "'"}, [&] { MemoryModel model(file); });
  }
  ModelFile file = make_model(small());  // other values have no effect
  file.add_floats("blk.0.attn_rot_embd.weight", {64}, std::vector<float>(64, 1.0f));
  file.add_floats("mtp.0.weight", {3}, {1, 2, 3});
  EXPECT_NO_THROW(MemoryModel model(file));
}

TEST(ModelErrors, NormsAndRotaryFactorsThatAreNoNumbers) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  auto put = [](ModelFile file, const char* name, std::size_t i, float x) {
    std::memcpy(file.tensor(name).data.data() + i * sizeof(float), &x, sizeof(float));
    return file;
  };
  for (const float x : {nan, inf, -inf}) {
    for (const char* name :
         {"blk.1.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight", "rope_freqs.weight"}) {
      const ModelFile file = put(make_model(small()), name, 3, x);
      expect_error(ErrorCode::kMalformed, {"'" + std::string(name) + "'", "element 3", "at byte "},
                   [&] { MemoryModel model(file); });
    }
  }
  for (const float x : {0.0f, -1.0f}) {
    const ModelFile file = put(make_model(small()), "rope_freqs.weight", 0, x);
    expect_error(ErrorCode::kMalformed, {"'rope_freqs.weight'", "at byte ", "element 0", "positive"},
                 [&] { MemoryModel model(file); });
  }
}

TEST(ModelErrors, VocabularyOfAnotherSize) {
  Shape s = small();
  s.vocabulary = true;
  ModelFile file = make_model(s);
  add_vocabulary(file, 316);
  expect_error(EngineErrorCode::kBadShape, {"'token_embd.weight'", "317", "'tokenizer.ggml.tokens'", "316"},
               [&] { MemoryModel model(file); });
}

TEST(ModelErrors, AModelWithoutAVocabularyRunsOnIds) {
  const MemoryModel model(make_model(small()));
  expect_error(ErrorCode::kMissingKey, {"test.gguf", "'tokenizer.ggml.model'"}, [&] { model->tokenizer(); });
  Session session(*model, {.n_ctx = 8});
  const std::int32_t ids[] = {1, 2, 3};
  session.prefill(ids);
  EXPECT_EQ(session.logits().size(), 317u);
}

TEST(ModelErrors, FilesThatAreNoModels) {
  const TemporaryFolder folder;
  expect_error(ErrorCode::kIo, {folder.path("none.gguf")}, [&] { Model::load(folder.path("none.gguf")); });
  const std::string text = folder.write("text.gguf", std::string_view("a text file"));
  expect_error(ErrorCode::kBadMagic, {text}, [&] { Model::load(text); });
  const std::string empty = folder.write("empty.gguf", std::string_view());
  expect_error(ErrorCode::kTruncated, {empty}, [&] { Model::load(empty); });
  const std::vector<std::byte> bytes = make_model(small()).bytes();
  const std::string cut = folder.write("cut.gguf", std::span(bytes).first(bytes.size() / 2));
  expect_error(ErrorCode::kTruncated, {cut, "tensor "}, [&] { Model::load(cut); });
}

TEST(ModelErrors, ABadFileLeavesNothingOpen) {
  const TemporaryFolder folder;
  ModelFile file = make_model(small());
  file.erase_tensor("blk.1.ffn_down.weight");
  const std::string path = folder.write("bad.gguf", file.bytes());
  auto descriptors = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                         std::filesystem::directory_iterator());
  };
  const auto before = descriptors();
  for (int i = 0; i < 20; ++i) EXPECT_THROW(Model::load(path), Error);
  EXPECT_EQ(descriptors(), before);
}

// ---- arguments of forward() and Session -------------------------------------------------------------------

class Arguments : public testing::Test {
 protected:
  MemoryModel model_{make_model(small())};
  KvCache cache_ = model_->make_cache({.n_ctx = 8, .type = KvType::kF32, .max_chunk = 4});
  Workspace ws_ = model_->make_workspace({.max_tokens = 6, .max_logit_rows = 2, .n_threads = 1});

  void refused(ErrorCode code, const std::vector<std::string>& says, std::span<const Chunk> chunks) {
    const std::size_t before = cache_.n_past();
    expect_error(code, says, [&] { model_->forward(chunks, ws_); });
    EXPECT_EQ(cache_.n_past(), before);
  }
  void refused(ErrorCode code, const std::vector<std::string>& says, std::vector<std::int32_t> tokens,
               Logits logits = Logits::kLast) {
    const Chunk chunk{tokens, &cache_, logits};
    refused(code, says, {&chunk, 1});
  }
};

TEST_F(Arguments, TokensOutsideTheVocabulary) {
  for (const std::int32_t id :
       {-1, 317, std::numeric_limits<std::int32_t>::max(), std::numeric_limits<std::int32_t>::min()}) {
    refused(ErrorCode::kInvalidArgument, {"token id " + std::to_string(id), "317"}, {1, id});
  }
  const std::int32_t edges[] = {0, 316};
  const Chunk chunk{edges, &cache_, Logits::kLast};
  EXPECT_NO_THROW(model_->forward({&chunk, 1}, ws_));
}

TEST_F(Arguments, EmptyOrTooLargeBatches) {
  refused(ErrorCode::kInvalidArgument, {"no tokens"}, std::vector<std::int32_t>{});
  refused(ErrorCode::kInvalidArgument, {}, std::span<const Chunk>{});
  refused(ErrorCode::kInvalidArgument, {"5 tokens", "takes 4"}, {1, 2, 3, 4, 5});
  refused(ErrorCode::kInvalidArgument, {"3 rows of logits"}, {1, 2, 3}, Logits::kAll);
  KvCache other = model_->make_cache({.n_ctx = 8, .max_chunk = 4});
  const std::int32_t ids[] = {1, 2, 3, 4};
  const Chunk two[] = {{ids, &cache_, Logits::kLast}, {ids, &other, Logits::kLast}};
  refused(ErrorCode::kInvalidArgument, {"8 tokens"}, two);
  EXPECT_EQ(other.n_past(), 0u);
  const Chunk same[] = {{std::span(ids).first(1), &cache_, Logits::kLast},
                        {std::span(ids).first(1), &cache_, Logits::kLast}};
  refused(ErrorCode::kInvalidArgument, {"share one cache"}, same);
  const Chunk none{ids, nullptr, Logits::kLast};
  refused(ErrorCode::kInvalidArgument, {"no cache"}, {&none, 1});
}

TEST_F(Arguments, ContextOverflow) {
  const std::int32_t ids[] = {1, 2, 3, 4};
  const Chunk chunk{std::span(ids).first(3), &cache_, Logits::kLast};
  model_->forward({&chunk, 1}, ws_);
  model_->forward({&chunk, 1}, ws_);
  refused(EngineErrorCode::kContextFull, {"context of 8", "6 are used", "3 more"}, {1, 2, 3});
  const Chunk last{std::span(ids).first(2), &cache_, Logits::kLast};
  EXPECT_NO_THROW(model_->forward({&last, 1}, ws_));  // exactly full
  refused(EngineErrorCode::kContextFull, {"8 are used", "1 more"}, {1});
}

TEST_F(Arguments, CachesOfOtherModels) {
  for (const auto& edit : std::vector<std::function<void(Shape&)>>{
           [](Shape& s) { s.n_layers = 1; }, [](Shape& s) { s.n_kv_heads = 4; },
           [](Shape& s) { s.head_dim = 32; }, [](Shape& s) { s.n_layers = 3; }}) {
    Shape s = small();
    edit(s);
    const MemoryModel other(make_model(s));
    KvCache cache = other->make_cache({.n_ctx = 8, .type = KvType::kF32, .max_chunk = 4});
    const std::int32_t id = 1;
    const Chunk chunk{{&id, 1}, &cache, Logits::kLast};
    refused(ErrorCode::kInvalidArgument, {"another shape"}, {&chunk, 1});
    EXPECT_EQ(cache.n_past(), 0u);
  }
}

/// A cache with too few pages for the model's window would give wrong answers.
TEST_F(Arguments, CacheOfTheSameModelWithAnotherWindow) {
  const ModelFile file = make_model(small());
  const MemoryModel narrow(file, {.window = 16});
  KvCache cache = narrow->make_cache({.n_ctx = 1000, .type = KvType::kF32, .max_chunk = 4});
  const std::int32_t id = 1;
  const Chunk chunk{{&id, 1}, &cache, Logits::kLast};
  refused(ErrorCode::kInvalidArgument, {"another shape"}, {&chunk, 1});
}

TEST_F(Arguments, WorkspacesOfOtherModels) {
  Shape s = small();
  s.d_ff = 32;
  const MemoryModel other(make_model(s));
  Workspace ws = other->make_workspace({.max_tokens = 6, .max_logit_rows = 2, .n_threads = 1});
  const std::int32_t id = 1;
  const Chunk chunk{{&id, 1}, &cache_, Logits::kLast};
  expect_error(ErrorCode::kInvalidArgument, {"workspace"}, [&] { model_->forward({&chunk, 1}, ws); });
}

TEST_F(Arguments, SizesThatCannotBe) {
  const auto cache = [&](KvCacheOptions o) { return [this, o] { model_->make_cache(o); }; };
  const auto workspace = [&](WorkspaceOptions o) { return [this, o] { model_->make_workspace(o); }; };
  expect_error(ErrorCode::kInvalidArgument, {"n_ctx is 0; it must be from 1 to "}, cache({.n_ctx = 0}));
  expect_error(ErrorCode::kInvalidArgument, {"max_chunk is 0; it must be at least 1"},
               cache({.n_ctx = 1, .max_chunk = 0}));
  expect_error(ErrorCode::kInvalidArgument, {}, cache({.n_ctx = ~std::size_t{0}}));
  expect_error(ErrorCode::kInvalidArgument, {"max_tokens is 0; it must be from 1 to "},
               workspace({.max_tokens = 0}));
  expect_error(ErrorCode::kInvalidArgument, {}, workspace({.max_tokens = ~std::size_t{0}}));
  expect_error(ErrorCode::kInvalidArgument, {}, workspace({.max_tokens = 1, .max_logit_rows = 2}));
  expect_error(ErrorCode::kInvalidArgument, {"n_threads is 5000; it must be from 0 to 4096"},
               workspace({.max_tokens = 1, .n_threads = 5000}));
  // a plan is refused like the session itself
  expect_error(ErrorCode::kInvalidArgument, {},
               [&] { plan_forward(*model_, {.n_ctx = 0}, {.max_tokens = 1}); });
  expect_error(ErrorCode::kInvalidArgument, {},
               [&] { plan_forward(*model_, {.n_ctx = 1}, {.max_tokens = ~std::size_t{0}}); });
}

TEST_F(Arguments, PromptsOfSessions) {
  Session session(*model_, {.n_ctx = 8, .chunk = 4, .n_threads = 1});
  expect_error(ErrorCode::kInvalidArgument, {}, [&] { session.prefill({}); });
  expect_error(ErrorCode::kInvalidArgument, {}, [&] { session.logits(); });
  const std::vector<std::int32_t> nine(9, 1);
  expect_error(EngineErrorCode::kContextFull, {"9 tokens", "8"}, [&] { session.prefill(nine); });
  EXPECT_EQ(session.n_past(), 0u);
  const std::int32_t bad[] = {1, 317};
  expect_error(ErrorCode::kInvalidArgument, {"317"}, [&] { session.prefill(bad); });
  const std::int32_t good[] = {1, 2};
  session.prefill(good);
  expect_error(EngineErrorCode::kContextFull, {"7 more"}, [&] { session.append(std::span(nine).first(7)); });
  EXPECT_EQ(session.n_past(), 2u);
  expect_error(ErrorCode::kInvalidArgument, {"3"}, [&] { session.truncate(3); });
}

// ---- memory caps ------------------------------------------------------------------------------------------

TEST(MemoryCap, IsKeptOrRefusedWithTheLargestContextThatFits) {
  const MemoryModel model(make_model(small()));
  SessionOptions o{.n_ctx = 2048, .chunk = 32, .n_threads = 2};
  const std::size_t needed = plan_session(*model, o).total_bytes();
  o.max_memory = needed;
  EXPECT_EQ(plan_session(*model, o).n_ctx, 2048u);
  EXPECT_NO_THROW(Session(*model, o));
  o.max_memory = needed - 1;
  std::size_t fits = 0;
  try {
    Session session(*model, o);
    ADD_FAILURE() << "a cap was not kept";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kOutOfMemory);
    const std::string message(e.message());
    const std::string before = "the largest that fits is ";
    const std::size_t at = message.find(before);
    ASSERT_NE(at, std::string::npos) << message;
    fits = std::stoul(message.substr(at + before.size()));
  }
  ASSERT_LT(fits, 2048u);
  o.n_ctx = fits;
  EXPECT_LE(plan_session(*model, o).total_bytes(), o.max_memory);
  EXPECT_NO_THROW(Session(*model, o));
  o.n_ctx = fits + 1;
  EXPECT_THROW(Session(*model, o), Error);
  o.n_ctx = 0;  // "what fits"
  EXPECT_EQ(Session(*model, o).n_ctx(), fits);
}

TEST(MemoryCap, TooSmallForAnything) {
  const MemoryModel model(make_model(small()));
  for (const std::size_t cap : {std::size_t{1}, model->file().size_bytes()}) {
    for (const std::size_t n_ctx : {0, 16}) {
      expect_error(ErrorCode::kOutOfMemory, {"test.gguf", "not even one token fits"},
                   [&] { Session(*model, {.n_ctx = n_ctx, .max_memory = cap}); });
    }
  }
}

// ---- weights that are not numbers -------------------------------------------------------------------------

/// Any weight may make logits NaN or infinite; sampling must then report it instead of choosing a token.
TEST(NotFinite, WeightsAnywhereAreReportedNotSampled) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  struct Kind {
    const char* architecture;
    DType type;
  };
  // gemma2: softcaps and post-norms must not turn it into a finite number
  for (const auto& [architecture, type] :
       {Kind{"llama", DType::kF32}, Kind{"llama", DType::kF16}, Kind{"llama", DType::kQ8_0},
        Kind{"llama", DType::kQ4_K}, Kind{"gemma2", DType::kF32}, Kind{"gemma2", DType::kQ4_K},
        Kind{"gemma3", DType::kF32}}) {
    Shape s = small(architecture);
    s.d_model = s.d_ff = 256;
    s.head_dim = 64;
    s.n_kv_heads = 4;
    s.n_layers = 1;
    s.type = type;
    const ModelFile good = make_model(s);
    const auto ids = random_tokens(5, s.vocab_size, 3);
    for (const kernels::KernelTable* table : kernels::available_tables()) {
      for (const ModelFile::Tensor& t : good.tensors()) {
        if (t.shape.size() == 1) continue;  // norms are refused when the model is loaded
        for (const float x : {nan, inf}) {
          // a row of the output matrix gives the logit of one token; -inf there only excludes that token
          if (t.name == "output.weight" && x == inf) continue;
          SCOPED_TRACE(std::string(architecture) + " " + std::string(gemma::info(type).name) + " " + t.name +
                       " " + std::to_string(x) + " " + std::string(table->name));
          ModelFile file = good;
          std::byte* data = file.tensor(t.name).data.data();
          const std::uint16_t half = f32_to_f16(x);
          // the first element of the row that the last token reads, or of the first row
          const std::size_t row = t.name == "token_embd.weight" ? static_cast<std::size_t>(ids.back()) : 0;
          std::byte* at = data + row * row_bytes(type, 256);
          if (type == DType::kF32) std::memcpy(at, &x, sizeof(x));
          if (type != DType::kF32) std::memcpy(at, &half, sizeof(half));
          const MemoryModel model(file, {.kernels = table});
          // a cache of 16 bits would hold the largest half instead of an infinity
          Session session(*model, {.n_ctx = 16, .kv_type = KvType::kF32, .n_threads = 1});
          session.prefill(ids);
          Sampler greedy;
          Sampler warm({.temperature = 1.0f});
          expect_error(EngineErrorCode::kNotFinite, {}, [&] { greedy.sample(session.logits()); });
          expect_error(EngineErrorCode::kNotFinite, {}, [&] { warm.sample(session.logits()); });
        }
      }
    }
  }
}

}  // namespace
}  // namespace gemma::test
