// Whole models against a float64 reference: the logits of every golden model, and for float32 models the
// named intermediate results.
#include <algorithm>
#include <map>
#include <ostream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "gemma/model.hpp"
#include "tests/gemma/golden_models.hpp"

namespace gemma::test {
namespace {

struct Golden {
  std::string name;
  double bound;  // NMSE of the logits
};
void PrintTo(const Golden& g, std::ostream* out) {
  *out << g.name;
}

std::vector<float> all_logits(const Model& model, const std::vector<std::int32_t>& tokens, KvType kv,
                              detail::Trace* trace = nullptr) {
  KvCache cache = model.make_cache({.n_ctx = tokens.size(), .type = kv});
  Workspace ws =
      model.make_workspace({.max_tokens = tokens.size(), .max_logit_rows = tokens.size(), .n_threads = 2});
  const Chunk chunk{tokens, &cache, Logits::kAll};
  const auto logits = model.forward({&chunk, 1}, ws, nullptr, trace);
  return {logits.begin(), logits.end()};
}

/// The file in the repository, else in ../shared; empty when it is in neither.
std::filesystem::path find_golden(const std::string& file) {
  for (const auto& dir : {golden_dir(), shared_dir() / "goldens"}) {
    if (std::filesystem::exists(dir / file)) return dir / file;
  }
  return {};
}

class Goldens : public testing::TestWithParam<std::tuple<Golden, const kernels::KernelTable*>> {
 protected:
  void check(KvType kv, double bound) {
    const auto& [golden, table] = GetParam();
    const auto path = find_golden(golden.name + ".gguf");
    if (path.empty()) GTEST_SKIP() << golden.name << ".gguf is neither here nor in ../shared";
    const Model model = Model::load(path.string(), {.kernels = table});
    logits_ = all_logits(model, golden_tokens(), kv);
    const double error = nmse(logits_, read_floats(find_golden(golden.name + ".logits.f32")));
    RecordProperty("nmse", std::to_string(error));
    std::printf("%s, %s, %s cache: NMSE %.3g (bound %.3g)\n", golden.name.c_str(),
                std::string(table->name).c_str(), std::string(kernels::kv_type_info(kv).name).c_str(), error,
                bound);
    EXPECT_LE(error, bound);
  }

  std::vector<float> logits_;  // that check() compared, [n_tokens, vocab_size]
};

std::string name_of(const testing::TestParamInfo<Goldens::ParamType>& param) {
  std::string name = std::get<0>(param.param).name + "_" + std::string(std::get<1>(param.param)->name);
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name;
}

auto tables() {
  return testing::ValuesIn(kernels::available_tables().begin(), kernels::available_tables().end());
}

using Float32Goldens = Goldens;
TEST_P(Float32Goldens, LogitsWithFloat32Cache) {
  check(KvType::kF32, 1e-9);
  const auto greedy = read_ids(golden_dir() / (std::get<0>(GetParam()).name + ".greedy.txt"));
  const std::size_t vocab_size = logits_.size() / greedy.size();
  for (std::size_t i = 0; i < greedy.size(); ++i) {
    const float* row = logits_.data() + i * vocab_size;
    EXPECT_EQ(std::max_element(row, row + vocab_size) - row, greedy[i]) << "after token " << i;
  }
}
TEST_P(Float32Goldens, LogitsWithFloat16Cache) {
  check(KvType::kF16, 1e-5);
}
TEST_P(Float32Goldens, LogitsWith8BitCache) {
  // if rounding changes the choice of experts or of sparse gate rows, the error jumps
  const std::string& name = std::get<0>(GetParam()).name;
  const bool has_steps = name.starts_with("nano-gemma4-m") || name.starts_with("nano-gemma3n");
  check(KvType::kQ8, has_steps ? 5e-3 : 5e-4);
}
INSTANTIATE_TEST_SUITE_P(
    Models, Float32Goldens,
    testing::Combine(testing::Values(Golden{"nano-gemma-mqa.F32", 1e-9}, Golden{"nano-gemma-mha.F32", 1e-9},
                                     Golden{"nano-gemma2.F32", 1e-9}, Golden{"nano-gemma3.F32", 1e-9},
                                     Golden{"nano-llama3.F32", 1e-9}, Golden{"nano-mistral.F32", 1e-9},
                                     Golden{"nano-gemma4-e.F32", 1e-9}, Golden{"nano-gemma4-d.F32", 1e-9},
                                     Golden{"nano-gemma4-m.F32", 1e-9}, Golden{"nano-gemma3n.F32", 1e-8}),
                     tables()),
    name_of);

// bounds: the better of two public engines, see tests/golden/README.md, plus 5%
using QuantizedGoldens = Goldens;
TEST_P(QuantizedGoldens, LogitsNoWorseThanTheBetterPeer) {
  check(KvType::kF16, 1.05 * std::get<0>(GetParam()).bound);
}
INSTANTIATE_TEST_SUITE_P(
    Models, QuantizedGoldens,
    testing::Combine(
        testing::Values(Golden{"tiny-gemma-mqa.Q4_K_M", 1.7e-4}, Golden{"tiny-gemma-mha.Q4_K_M", 1.7e-4},
                        Golden{"tiny-gemma2.Q4_K_M", 7.4e-4}, Golden{"tiny-gemma3.Q4_K_M", 4.7e-4},
                        Golden{"tiny-llama3.Q4_K_M", 3.7e-4}, Golden{"tiny-mistral.Q4_K_M", 3.7e-4},
                        Golden{"tiny-gemma-mqa.Q8_0", 1.5e-4}, Golden{"tiny-gemma-mha.Q8_0", 1.5e-4},
                        Golden{"tiny-gemma2.Q8_0", 7.1e-4}, Golden{"tiny-gemma3.Q8_0", 4.1e-4},
                        Golden{"tiny-llama3.Q8_0", 4.1e-4}, Golden{"tiny-mistral.Q8_0", 3.9e-4},
                        Golden{"tiny-gemma4-e.Q4_K_M", 6.9e-4}, Golden{"tiny-gemma4-e.Q8_0", 3.9e-4},
                        Golden{"tiny-gemma4-d.Q4_K_M", 2.3e-4}, Golden{"tiny-gemma4-d.Q8_0", 2.2e-4},
                        Golden{"tiny-gemma4-m.Q4_K_M", 3.1e-4}, Golden{"tiny-gemma4-m.Q8_0", 2.8e-4}),
        tables()),
    name_of);

/// Compares every named intermediate result of the layers in the reference's trace, and records the first
/// wrong one.
struct TraceCheck : detail::Trace {
  explicit TraceCheck(std::map<std::string, std::vector<double>> t) : truth(std::move(t)) {}
  void value(const char* name, std::size_t layer, const float* rows, std::size_t n,
             std::size_t width) override {
    const std::string plain = name;
    const bool once =
        plain == "embd" || plain == "result_norm" || plain == "altup_init" || plain == "altup_merge";
    const std::string key = once ? plain : plain + "-" + std::to_string(layer);
    const auto expected = truth.find(key);
    if (expected == truth.end()) return;
    const double error = nmse(std::vector<float>(rows, rows + n * width), expected->second);
    ++compared;
    if (!(error <= 1e-10) && first_wrong.empty()) {
      std::ostringstream what;
      what << key << ": NMSE " << error;
      first_wrong = what.str();
    }
  }
  std::map<std::string, std::vector<double>> truth;
  std::string first_wrong;
  std::size_t compared = 0;
};

class Intermediates : public testing::TestWithParam<std::string> {};
TEST_P(Intermediates, EachOneMatchesTheReference) {
  const Model model = Model::load(golden_model(GetParam()));
  TraceCheck check(read_npz(golden_dir() / (GetParam() + ".trace.npz")));
  all_logits(model, golden_tokens(), KvType::kF32, &check);
  EXPECT_EQ(check.first_wrong, "");
  EXPECT_EQ(check.compared, check.truth.size());
}
INSTANTIATE_TEST_SUITE_P(Models, Intermediates,
                         testing::Values("nano-gemma-mqa.F32", "nano-gemma-mha.F32", "nano-gemma2.F32",
                                         "nano-gemma3.F32", "nano-llama3.F32", "nano-mistral.F32",
                                         "nano-gemma4-e.F32", "nano-gemma4-d.F32", "nano-gemma4-m.F32",
                                         "nano-gemma3n.F32"));

}  // namespace
}  // namespace gemma::test
