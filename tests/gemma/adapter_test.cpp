// LoRA adapters applied while a model runs: results equal those of merged weights and do not depend on
// threads, chunks and batches; plans count adapters, saved sequences record them, and unsuitable ones are
// refused.
#include "gemma/adapter.hpp"

#include <cmath>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "gemma/batch.hpp"
#include "gemma/engine_error_code.hpp"
#include "gemma/plan.hpp"
#include "gemma/quantizer.hpp"
#include "gemma/session.hpp"
#include "gemma/session_file.hpp"
#include "tests/gemma/golden_models.hpp"
#include "tests/gemma/run.hpp"
#include "tests/refusal.hpp"
#include "tests/temporary_folder.hpp"

namespace gemma::test {
namespace {

using Ids = std::vector<std::int32_t>;
using Adapters = std::vector<std::shared_ptr<const Adapter>>;

/// An adapter file with random changes to matrices of a model. The output of each change is about `size`
/// times that of the matrix.
class AdapterFile {
 public:
  explicit AdapterFile(const gguf::File& base, std::uint64_t seed = 5, DType type = DType::kF32)
      : base_(base), random_(seed), type_(type) {
    file_.set("general.type", "adapter").set("adapter.type", "lora").set("adapter.lora.alpha", 12.0f);
    file_.set("general.architecture", base.get<std::string>("general.architecture"));
  }
  AdapterFile& change(const std::string& name, std::size_t rank) {
    const TensorView& t = base_.tensor(name);
    add(name + ".lora_a", rank, t.cols);
    return add(name + ".lora_b", t.rows, rank);
  }
  AdapterFile& set(const std::string& key, const char* value) {
    file_.set(key, value);
    return *this;
  }
  /// Adds a change of an embedding in the layout of llama.cpp.
  AdapterFile& change_rows(const std::string& name, std::size_t rank) {
    const TensorView& t = base_.tensor(name);
    add(name + ".lora_a", t.rows, rank);
    return add(name + ".lora_b", t.cols, rank);
  }
  /// Adds changes to the matrices with these names in all layers.
  AdapterFile& change_layers(const std::vector<std::string>& parts, std::size_t rank) {
    for (const TensorView& t : base_.tensors()) {
      for (const std::string& part : parts)
        if (t.name.starts_with("blk.") && t.name.ends_with("." + part + ".weight"))
          change(std::string(t.name), rank);
    }
    return *this;
  }
  AdapterFile& add(const std::string& name, std::size_t rows, std::size_t cols) {
    const double deviation = 0.3 / std::sqrt(static_cast<double>(cols));
    file_.add_tensor(name, type_, {rows, cols}, random_weights(type_, rows * cols, deviation, random_));
    return *this;
  }
  /// The adapter; it keeps its bytes alive.
  std::shared_ptr<const Adapter> adapter(float scale = 1) const {
    struct Both {
      std::vector<std::byte> bytes;
      Adapter adapter;
    };
    auto bytes = file_.bytes();
    Adapter adapter = Adapter::from(gguf::File::from_memory(bytes, "lora.gguf"), scale);
    const auto both = std::make_shared<const Both>(Both{std::move(bytes), std::move(adapter)});
    return {both, &both->adapter};
  }

 private:
  const gguf::File& base_;
  ModelFile file_;
  Random random_;
  DType type_;
};

const std::vector<std::string> kAll = {"attn_q", "attn_k",   "attn_v",   "attn_output", "ffn_gate",
                                       "ffn_up", "ffn_down", "inp_gate", "proj"};

Model load(const std::string& path, const Adapters& adapters) {
  ModelOptions options;
  options.adapters = adapters;
  return Model::load(path, options);
}

/// The model with the adapters merged, by quantising to F32.
Model merged(const std::string& path, const Adapters& adapters, const TemporaryFolder& folder) {
  const gguf::File file = gguf::File::open(path);
  QuantizeOptions options;
  options.recipe = find_recipe("F32");
  for (const auto& adapter : adapters) options.adapters.push_back(adapter.get());
  Quantizer(file, options).write(folder.path("merged"));
  return Model::load(folder.path("merged"));
}

class Families : public testing::TestWithParam<const char*> {
 protected:
  std::string path_ = golden_model(GetParam());
  Model base_ = Model::load(path_);
  Ids ids_ = random_tokens(25, base_.config().vocab_size, 3);
};

TEST_P(Families, GiveWhatTheMergedModelGives) {
  const TemporaryFolder folder;
  const Adapters two = {
      AdapterFile(base_.file()).change_layers(kAll, 3).adapter(0.5f),
      AdapterFile(base_.file(), 9).change_layers({"attn_q", "ffn_down"}, 8).adapter(-0.75f)};
  const auto got = all_logits(load(path_, two), ids_, KvType::kF32);
  const auto wanted = all_logits(merged(path_, two, folder), ids_, KvType::kF32);
  EXPECT_LT(nmse(got, wanted), 1e-9);
  EXPECT_GT(nmse(all_logits(base_, ids_, KvType::kF32), wanted), 1e-4);  // the adapter has an effect
}
TEST_P(Families, GiveTheSameBitsHoweverTheyAreRun) {
  const Model model = load(
      path_, {AdapterFile(base_.file()).change_layers(kAll, 5).change("token_embd.weight", 2).adapter()});
  const auto truth = logits_in_chunks(model, ids_, 512, 1);
  EXPECT_EQ(logits_in_chunks(model, ids_, 1, 1), truth);
  EXPECT_EQ(logits_in_chunks(model, ids_, 7, 2), truth);
  EXPECT_EQ(logits_in_chunks(model, ids_, 25, 2), truth);
}
INSTANTIATE_TEST_SUITE_P(Adapters, Families,
                         testing::Values("nano-gemma-mqa.F32", "nano-gemma2.F32", "nano-gemma3.F32",
                                         "nano-gemma3n.F32", "nano-gemma4-d.F32", "nano-gemma4-e.F32",
                                         "nano-gemma4-m.F32", "nano-llama3.F32", "nano-mistral.F32"));

/// A base model whose matrices are multiplied by 8-bit activations that are laid out.
class QuantizedBase : public testing::Test {
 protected:
  std::string path_ = golden_model("tiny-gemma3.Q4_K_M");
  Model base_ = Model::load(path_);
  std::size_t vocab_ = base_.config().vocab_size;
  Ids ids_ = random_tokens(90, vocab_, 3);
  std::shared_ptr<const Adapter> adapter_ = AdapterFile(base_.file()).change_layers(kAll, 4).adapter();
};

TEST_F(QuantizedBase, GivesTheSameBitsHoweverItIsRun) {
  const Model model = load(path_, {adapter_});
  const auto truth = logits_in_chunks(model, ids_, 512, 1);
  EXPECT_GT(nmse(truth, all_logits(base_, ids_)), 1e-4);
  for (const std::size_t chunk : {1, 33, 90})
    EXPECT_EQ(logits_in_chunks(model, ids_, chunk, 2), truth) << chunk;
}
TEST_F(QuantizedBase, GivesTheSameBitsInABatchAndWithASharedPrefix) {
  const Model model = load(path_, {adapter_});
  Batch batch(model, {.max_sequences = 3, .n_ctx = 100, .n_threads = 2});
  Session session(model, {.n_ctx = 100, .n_threads = 1});
  for (std::size_t n : {90u, 40u, 70u}) {
    const Ids ids(ids_.begin(), ids_.begin() + static_cast<std::ptrdiff_t>(n));
    const Ids next = {4, 9};
    const auto id = batch.add_score(ids, next);
    batch.run();
    session.set_tokens(ids);
    EXPECT_EQ(batch.take(id).log_probabilities, session.score(next)) << n;
  }
}
TEST_F(QuantizedBase, HasNoneWhereTheScaleIsZero) {
  const auto none = load(path_, {AdapterFile(base_.file()).change_layers(kAll, 4).adapter(0)});
  EXPECT_EQ(all_logits(none, ids_), all_logits(base_, ids_));
}
TEST_F(QuantizedBase, TakesAdaptersOfAnyType) {
  for (const DType type : {DType::kF16, DType::kBF16, DType::kQ8_0}) {
    AdapterFile file(base_.file(), 5, type);
    file.change_layers({"attn_q", "ffn_up", "ffn_down"}, 32);
    // the decoded weights as float32
    const auto stored = file.adapter();
    ModelFile floats;
    floats.set("general.type", "adapter").set("adapter.lora.alpha", 12.0f);
    for (const TensorView& t : stored->file().tensors()) {
      std::vector<float> x(t.rows * t.cols);
      for (std::size_t r = 0; r < t.rows; ++r)
        base_.kernels().dequantize[static_cast<std::size_t>(t.type)](t.row(r), t.cols, x.data() + r * t.cols);
      floats.add_floats(std::string(t.name), {t.rows, t.cols}, x);
    }
    const auto bytes = floats.bytes();
    const auto plain = std::make_shared<const Adapter>(Adapter::from(gguf::File::from_memory(bytes, "f32")));
    EXPECT_LT(nmse(all_logits(load(path_, {stored}), ids_), all_logits(load(path_, {plain}), ids_)), 1e-9)
        << info(type).name;
  }
}

TEST(AdapterOf, TheEmbeddingIsMergedWhereItIsTheOutputToo) {
  const std::string path = golden_model("nano-gemma3.F32");
  const Model base = Model::load(path);
  ASSERT_EQ(base.file().find_tensor("output.weight"), nullptr);
  const Ids ids = random_tokens(20, base.config().vocab_size, 3);
  for (const bool by_rows : {false, true}) {
    const TemporaryFolder folder;
    AdapterFile file(base.file());
    const Adapters adapters = {by_rows ? file.change_rows("token_embd.weight", 3).adapter()
                                       : file.change("token_embd.weight", 3).adapter()};
    const Model model = load(path, adapters), truth = merged(path, adapters, folder);
    EXPECT_LT(nmse(all_logits(model, ids, KvType::kF32), all_logits(truth, ids, KvType::kF32)), 1e-9);
    std::vector<float> row(base.config().d_model), wanted = row, before = row;
    model.token_embedding(7, row);
    truth.token_embedding(7, wanted);
    base.token_embedding(7, before);
    EXPECT_LT(nmse(row, wanted), 1e-12);
    EXPECT_GT(nmse(before, wanted), 1e-4);
  }
}
TEST(AdapterOf, TheOutputAloneIsMerged) {
  const ModelFile file = make_model({.architecture = "llama", .separate_output = true});
  const TemporaryFolder folder;
  const auto bytes = file.bytes();
  std::ofstream(folder.path("m"), std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  const Model base = Model::load(folder.path("m"));
  const Adapters adapters = {AdapterFile(base.file()).change("output.weight", 4).adapter(),
                             AdapterFile(base.file(), 8).change_rows("token_embd.weight", 4).adapter()};
  const Ids ids = random_tokens(20, base.config().vocab_size, 3);
  const auto got = all_logits(load(folder.path("m"), adapters), ids, KvType::kF32);
  EXPECT_LT(nmse(got, all_logits(merged(folder.path("m"), adapters, folder), ids, KvType::kF32)), 1e-9);
}

TEST(Adapters, ThatDoNotFitAreRefused) {
  const std::string path = golden_model("nano-gemma4-m.F32");
  const gguf::File base = gguf::File::open(path);
  const gguf::File other = gguf::File::open(golden_model("nano-llama3.F32"));
  const auto refused = [&](const AdapterFile& file) {
    return code_of([&] { load(path, {file.adapter()}); });
  };
  EXPECT_EQ(refused(AdapterFile(other).change("blk.0.attn_q.weight", 2)), ErrorCode::kUnsupported);
  EXPECT_EQ(
      refused(
          AdapterFile(base).add("blk.0.attn_q.weight.lora_a", 2, 8).add("blk.0.attn_q.weight.lora_b", 8, 2)),
      EngineErrorCode::kBadShape);
  EXPECT_EQ(refused(AdapterFile(base)
                        .add("blk.77.attn_q.weight.lora_a", 2, 8)
                        .add("blk.77.attn_q.weight.lora_b", 8, 2)),
            ErrorCode::kMissingTensor);
  EXPECT_EQ(refused(AdapterFile(base)
                        .add("blk.0.attn_norm.weight.lora_a", 2, 64)
                        .add("blk.0.attn_norm.weight.lora_b", 1, 2)),
            EngineErrorCode::kBadShape);
  for (const auto& [key, value] :
       {std::pair("adapter.type", "dora"), std::pair("adapter.alora.invocation_tokens", "1")})
    EXPECT_EQ(refused(AdapterFile(base).change("blk.0.attn_q.weight", 2).set(key, value)),
              ErrorCode::kUnsupported)
        << key;
  // quantising merges these changes, but they cannot be applied while the model runs
  EXPECT_EQ(refused(AdapterFile(base).change("blk.0.ffn_gate_inp.weight", 2)), ErrorCode::kUnsupported);
  EXPECT_EQ(code_of([&] { load(path, {nullptr}); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of([&] { AdapterFile(base).change("blk.0.attn_q.weight", 2).adapter(NAN); }),
            ErrorCode::kInvalidArgument);
}

TEST(Adapters, AreCountedInPlansAndTheirFilesToo) {
  const std::string path = golden_model("nano-gemma3.F32");
  const Model base = Model::load(path);
  const auto adapter = AdapterFile(base.file()).change_layers(kAll, 4).adapter();
  const Model model = load(path, {adapter, adapter});
  const MemoryPlan before = plan_session(base), after = plan_session(model);
  EXPECT_EQ(after.file_bytes, before.file_bytes + 2 * adapter->file().size_bytes());
  // 3 * 2 * 4 ranks of q, k and v for each token, and a block for each thread
  const std::size_t floats = 512 * 24 + physical_core_count() * 512 * detail::kRowUnit;
  EXPECT_EQ(after.workspace_bytes, before.workspace_bytes + floats * sizeof(float));
  EXPECT_EQ(model.make_workspace({}).size_bytes(), plan_forward(model, {.n_ctx = 1}, {}).workspace_bytes);
  // a workspace of the model without adapters is refused
  Workspace ws = base.make_workspace({});
  KvCache cache = model.make_cache({.n_ctx = 4});
  const Ids ids = {1};
  const Chunk chunk{ids, &cache};
  EXPECT_EQ(code_of([&] { model.forward({&chunk, 1}, ws); }), ErrorCode::kInvalidArgument);
}

TEST(Adapters, BelongToSavedSequences) {
  const std::string path = golden_model("nano-gemma3.F32");
  const Model base = Model::load(path);
  const AdapterFile file = std::move(AdapterFile(base.file()).change("blk.0.attn_v.weight", 4));
  const Model model = load(path, {file.adapter()}), same = load(path, {file.adapter()});
  Session session(model, {.n_ctx = 30});
  session.set_tokens(Ids{3, 4, 5});
  std::vector<std::byte> bytes;
  write_snapshot(session.snapshot(), model, [&](std::span<const std::byte> part) {
    bytes.insert(bytes.end(), part.begin(), part.end());
  });
  const auto read = [&](const Model& m) { read_snapshot(bytes, m, session.kv_options(), "saved"); };
  EXPECT_NO_THROW(read(same));
  EXPECT_EQ(code_of([&] { read(base); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of([&] { read(load(path, {file.adapter(0.5f)})); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of([&] {
              read(load(path, {file.adapter(), file.adapter()}));
            }),
            ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace gemma::test
