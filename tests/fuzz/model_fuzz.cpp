// Loading a model and one forward: what loads must run, and give logits of the promised number.
#include <cstdint>
#include <string>

#include "gemma/model.hpp"
#include "kernels/kernel_table.hpp"
#include "tests/fuzz/targets.hpp"
#include "tests/gemma/model_file.hpp"

namespace gemma::fuzz {
namespace model_target {  // named: these units are compiled together

void step(const Model& model) {
  const auto last = static_cast<std::int32_t>(model.config().vocab_size - 1);
  const std::int32_t tokens[] = {0, last, last / 2};
  const KvCacheOptions cache_options{.n_ctx = 4, .type = KvType::kF16, .max_chunk = 2};
  const WorkspaceOptions workspace_options{.max_tokens = 2, .max_logit_rows = 2, .n_threads = 1};
  const MemoryPlan plan = model.plan(cache_options, workspace_options);
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
  // both the reference kernels and the fastest see every kind of file; which one, the file itself decides
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

Input small(const std::string& architecture, bool vocabulary) {
  test::Shape s;
  s.architecture = architecture;
  s.n_layers = architecture == "gemma3" ? 6 : 1;
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
  for (std::size_t i = 0; i < s.n_layers; ++i) {  // 16 columns are no whole block
    s.types["blk." + std::to_string(i) + ".attn_output.weight"] = DType::kBF16;
  }
  return test::make_model(s).bytes();
}

/// A layer whose matrices are of `type`.
Input of_type(DType type) {
  test::Shape s;
  s.n_layers = 1;
  s.d_model = 256;
  s.d_ff = 256;
  s.n_heads = 1;
  s.n_kv_heads = 1;
  s.head_dim = 16;
  s.vocab_size = 4;
  s.type = type;
  s.types["blk.0.attn_output.weight"] = DType::kF16;
  return test::make_model(s).bytes();
}

std::vector<Input> seeds() {
  std::vector<Input> out;
  for (const char* architecture : {"gemma", "gemma2", "gemma3", "llama"}) {
    out.push_back(small(architecture, false));
  }
  out.push_back(small("gemma", true));
  for (const DType type : {DType::kQ4_K, DType::kQ6_K, DType::kQ5_K, DType::kQ4_0, DType::kIQ4_XS}) {
    out.push_back(of_type(type));
  }
  for (const Input& seed : out) step(Model::from(gguf::File::from_memory(seed, "seed")));  // none is refused
  return out;
}

}  // namespace model_target

const Target kModel{"model", model_target::run, model_target::seeds, true};

}  // namespace gemma::fuzz
