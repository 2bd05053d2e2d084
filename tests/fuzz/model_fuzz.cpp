// Loading a model and one forward pass: a model that loads must run and return the promised number of logits.
#include <cstdint>
#include <string>

#include "gemma/model.hpp"
#include "gemma/plan.hpp"
#include "kernels/kernel_table.hpp"
#include "tests/fuzz/targets.hpp"
#include "tests/gemma/model_file.hpp"

namespace gemma::fuzz {
namespace model_target {  // named, since these files are compiled as one unit

void step(const Model& model) {
  const auto last = static_cast<std::int32_t>(model.config().vocab_size - 1);
  const std::int32_t tokens[] = {0, last, last / 2};
  const KvCacheOptions cache_options{.n_ctx = 4, .type = KvType::kF16, .max_chunk = 2};
  const WorkspaceOptions workspace_options{.max_tokens = 2, .max_logit_rows = 2, .n_threads = 1};
  const MemoryPlan plan = plan_forward(model, cache_options, workspace_options);
  KvCache cache = model.make_cache(cache_options);
  Workspace workspace = model.make_workspace(workspace_options);
  require(cache.size_bytes() == plan.kv_bytes, "a cache is as large as planned");
  require(workspace.size_bytes() == plan.workspace_bytes, "a workspace is as large as planned");
  const Chunk prompt{std::span(tokens).first(2), &cache, Logits::kAll};
  require(model.forward({&prompt, 1}, workspace).size() == 2 * model.config().vocab_size,
          "logits for each token");
  const Chunk next{std::span(tokens).last(1), &cache, Logits::kLast};
  require(model.forward({&next, 1}, workspace).size() == model.config().vocab_size,
          "logits for the last token");
  require(cache.n_past() == 3, "a cache holds what was computed");
}

void run(Bytes input) {
  const Input exact(input.begin(), input.end());
  // every kind of file is tested with the reference kernels and with the fastest; the input chooses
  const bool scalar = exact.size() % 2 == 0;
  try {
    const Model model = Model::from(gguf::File::from_memory(exact, "fuzz"),
                                    {.kernels = scalar ? kernels::find_table("scalar") : nullptr});
    step(model);
    if (model.file().find("tokenizer.ggml.model") != nullptr) {
      model.tokenizer().decode(model.tokenizer().encode("The t1 \xff"));
    }
  } catch (const Error& e) {
    require(!e.message().empty(), "an error says what is wrong");
  }
}

test::ModelFile small(const std::string& architecture, bool vocabulary) {
  test::Shape s;
  s.architecture = architecture;
  s.n_layers = architecture == "gemma3" ? 6 : architecture.size() > 6 || architecture == "gemma4" ? 3 : 1;
  s.d_model = 32;
  s.d_ff = 32;
  s.n_heads = 2;
  s.n_kv_heads = 1;
  s.head_dim = 8;  // not d_model / n_heads
  s.vocab_size = vocabulary ? 262 : 5;
  s.window = s.is_gemma() && architecture != "gemma" ? 2 : 0;
  s.rope_factors = architecture == "llama";
  s.separate_output = architecture == "llama";
  s.vocabulary = vocabulary;
  s.type = DType::kQ8_0;
  for (std::size_t i = 0; i < s.n_layers; ++i) {  // 16 columns are not a whole block
    s.types["blk." + std::to_string(i) + ".attn_output.weight"] = DType::kBF16;
  }
  return test::make_model(s);
}

constexpr std::size_t kWidth = 32, kPerLayer = 8, kLayers = 3;

/// Adds a tensor of floats that are near `value`.
void add(test::ModelFile& file, const std::string& name, const std::vector<std::size_t>& shape,
         float value = 0.01F) {
  std::size_t n = 1;
  for (const std::size_t d : shape) n *= d;
  std::vector<float> floats(n);
  for (std::size_t i = 0; i < n; ++i) floats[i] = value * (1.0F + static_cast<float>(i % 7) / 16.0F);
  file.add_floats(name, shape, floats);
}

/// The common properties of Gemma 3n and 4: layers with and without windows, the last of which uses the keys
/// and values of another layer, and per-layer inputs.
test::ModelFile newer(const std::string& architecture) {
  test::ModelFile f = small(architecture, false);
  f.set_array(architecture + ".attention.sliding_window_pattern", std::vector<bool>{true, false, true});
  f.set(architecture + ".attention.shared_kv_layers", 1.0F);
  f.set(architecture + ".embedding_length_per_layer_input", static_cast<std::uint32_t>(kPerLayer));
  add(f, "per_layer_token_embd.weight", {5, kLayers * kPerLayer});
  add(f, "per_layer_model_proj.weight", {kLayers * kPerLayer, kWidth});
  add(f, "per_layer_proj_norm.weight", {kPerLayer}, 1.0F);
  for (std::size_t i = 0; i < kLayers; ++i) {
    const std::string b = "blk." + std::to_string(i) + ".";
    add(f, b + "inp_gate.weight", {kPerLayer, kWidth});
    add(f, b + "proj.weight", {kWidth, kPerLayer});
    add(f, b + "post_norm.weight", {kWidth}, 1.0F);
  }
  return f;
}

/// Two experts, values that are the keys in the layer without a window, and suppressed tokens.
Input gemma4() {
  test::ModelFile f = newer("gemma4");
  f.set("gemma4.expert_count", std::uint32_t{2}).set("gemma4.expert_used_count", std::uint32_t{1});
  f.set("gemma4.expert_feed_forward_length", std::uint32_t{16});
  f.set_array("tokenizer.ggml.suppress_tokens", std::vector<std::int32_t>{4});
  f.erase_tensor("blk.1.attn_v.weight");
  for (std::size_t i = 0; i < kLayers; ++i) {
    const std::string b = "blk." + std::to_string(i) + ".";
    for (const char* norm : {"pre_ffw_norm_2.weight", "ffn_gate_inp.scale", "post_ffw_norm_1.weight",
                             "post_ffw_norm_2.weight"}) {
      add(f, b + norm, {kWidth}, 1.0F);
    }
    add(f, b + "ffn_gate_inp.weight", {2, kWidth});
    add(f, b + "ffn_gate_up_exps.weight", {2, 32, kWidth});
    add(f, b + "ffn_down_exps.weight", {2, kWidth, 16});
    add(f, b + "ffn_down_exps.scale", {2}, 1.0F);
    add(f, b + "layer_output_scale.weight", {1}, 1.0F);
  }
  return f.bytes();
}

/// Two residual streams, and sparse gates in the first layer.
Input gemma3n() {
  test::ModelFile f = newer("gemma3n");
  f.set("gemma3n.altup.num_inputs", std::uint32_t{2});
  f.set_array("gemma3n.activation_sparsity_scale", std::vector<float>{1.6448533F, 0.0F, 0.0F});
  add(f, "altup_proj.weight", {kWidth, kWidth});
  add(f, "altup_unembd_proj.weight", {kWidth, kWidth});
  for (std::size_t i = 0; i < kLayers; ++i) {
    const std::string b = "blk." + std::to_string(i) + ".";
    add(f, b + "altup_router_norm.weight", {kWidth}, 1.0F);
    add(f, b + "altup_router.weight", {2, kWidth});
    add(f, b + "altup_predict_coef.weight", {4, 2});
    add(f, b + "altup_correct_coef.weight", {2, 2});
    add(f, b + "altup_correct_scale.weight", {kWidth}, 1.0F);
    add(f, b + "laurel_l.weight", {4, kWidth});
    add(f, b + "laurel_r.weight", {kWidth, 4});
    add(f, b + "laurel_post_norm.weight", {kWidth}, 1.0F);
  }
  return f.bytes();
}

/// Gemma 3 as Ollama's converter writes it: with missing and renamed keys, a superfluous token, and
/// additional tensors.
Input ollamas() {
  test::ModelFile f = small("gemma3", true);
  f.erase("gemma3.attention.layer_norm_rms_epsilon").erase("gemma3.attention.key_length");
  f.set("gemma3.context_length", std::uint32_t{131072}).set("gemma3.final_logit_softcapping", 30.0F);
  f.set("gemma3.rope.global.freq_base", 1000000.0F).set("gemma3.rope.local.freq_base", 10000.0F);
  f.set("gemma3.vocab_size", std::uint32_t{260});
  test::add_vocabulary(f, 263);
  f.set_array("tokenizer.ggml.eos_token_ids", std::vector<std::int32_t>{1, 300});
  add(f, "v.blk.0.attn_q.weight", {8, 8});
  return f.bytes();
}

/// A layer with matrices of `type` wherever rows are whole blocks. Small, since inputs that exceed the
/// fuzzer's limit would be truncated and useless.
Input of_type(DType type) {
  test::Shape s;
  s.n_layers = 1;
  s.d_model = 256;
  s.d_ff = 32;
  s.n_heads = 1;
  s.n_kv_heads = 1;
  s.head_dim = 16;
  s.vocab_size = 4;
  s.type = type;
  s.types["blk.0.attn_output.weight"] = DType::kF16;
  s.types["blk.0.ffn_down.weight"] = DType::kQ8_0;
  return test::make_model(s).bytes();
}

std::vector<Input> seeds() {
  std::vector<Input> out;
  for (const char* architecture : {"gemma", "gemma2", "gemma3", "llama", "qwen3"}) {
    out.push_back(small(architecture, false).bytes());
  }
  out.push_back(small("gemma", true).bytes());
  for (const auto& make : {gemma4, gemma3n, ollamas}) out.push_back(make());
  for (const DType type : {DType::kQ4_K, DType::kQ6_K, DType::kQ5_K, DType::kQ4_0, DType::kIQ4_XS}) {
    out.push_back(of_type(type));
  }
  for (const Input& seed : out) step(Model::from(gguf::File::from_memory(seed, "seed")));  // all are valid
  return out;
}

}  // namespace model_target

const Target kModel{"model", model_target::run, model_target::seeds, true};

}  // namespace gemma::fuzz
