// mistral-demo was trained with a window of 256, which its file states. Its answers to prompts of more than
// 256 tokens must equal the reference's answers with that window, which differ from those without.
//
// tests/golden/models/mistral-demo.window.txt: for each of four prompts (a passage of our own and a question,
// plain layout of examples/models/README.md) three lines: its ids; the greedy answer, without the </s> that
// ends it; the first ids of the greedy answer with --window 0. mistral-demo.window.logits.f32: logits after
// each prompt, [4, 4096]. Made with
//   tests/golden/reference.py examples/models/mistral-demo.Q4_K_M.gguf IDS --out logits.f32 [--window 0]
// whose last "greedy" id is the next token; again with it appended until that is 2.
#include <cstdint>
#include <cstdio>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "gemma/session.hpp"
#include "tests/gemma/golden_models.hpp"

namespace gemma::test {
namespace {

struct Prompt {
  std::vector<std::int32_t> ids, answer, answer_without_window;
  std::vector<float> logits;
};

std::vector<std::int32_t> ids_of(const std::string& line) {
  std::vector<std::int32_t> ids;
  std::istringstream in(line);
  for (std::string id; std::getline(in, id, ',');) ids.push_back(std::stoi(id));
  return ids;
}

std::vector<Prompt> prompts() {
  std::istringstream in(read_bytes(golden_dir() / "mistral-demo.window.txt"));
  const std::vector<float> logits = read_floats(golden_dir() / "mistral-demo.window.logits.f32");
  std::vector<Prompt> out;
  for (std::string a, b, c; std::getline(in, a) && std::getline(in, b) && std::getline(in, c);) {
    const auto at = logits.begin() + static_cast<std::ptrdiff_t>(out.size() * 4096);
    out.push_back({ids_of(a), ids_of(b), ids_of(c), {at, at + 4096}});
  }
  return out;
}

TEST(MistralDemo, AnswersLongPromptsAsTheReferenceDoes) {
  const auto all = prompts();
  ASSERT_EQ(all.size(), 4u);
  for (const kernels::KernelTable* table : kernels::available_tables()) {
    if (table->isa == kernels::Isa::kScalar) continue;  // would take minutes and test no other code
    SCOPED_TRACE(std::string(table->name));
    const Model model = Model::load(demo_model("mistral"), {.kernels = table});
    EXPECT_EQ(model.config().layers[0].attention.window, 256u);
    for (const Prompt& p : all) {
      ASSERT_GT(p.ids.size(), 256u);
      Session session(model, {.n_ctx = 512, .chunk = 100, .n_threads = 2});
      session.prefill(p.ids);
      const double error = nmse(session.logits(), p.logits);
      // 8-bit activations cost 1e-5 to 3e-5; without the window it is 1.5e-3 to 4.7e-3
      EXPECT_LE(error, 1e-4);
      std::printf("%zu tokens, %s: NMSE %.2g\n", p.ids.size(), std::string(table->name).c_str(), error);
      Sampler greedy;
      const GenerateResult result = session.generate(greedy, {.max_tokens = 12});
      EXPECT_EQ(result.tokens, p.answer);
      EXPECT_EQ(result.reason, StopReason::kEndOfTurn);
    }
  }
}

TEST(MistralDemo, AnswersOtherwiseWithoutItsWindow) {
  const Model model = Model::load(demo_model("mistral"), {.window = 0});
  for (const Prompt& p : prompts()) {
    Session session(model, {.n_ctx = 512, .n_threads = 2});
    session.prefill(p.ids);
    EXPECT_GT(nmse(session.logits(), p.logits), 1e-3);
    Sampler greedy;
    const GenerateResult result = session.generate(greedy, {.max_tokens = p.answer_without_window.size()});
    EXPECT_EQ(result.tokens, p.answer_without_window);
    EXPECT_NE(result.tokens, p.answer);
  }
}

}  // namespace
}  // namespace gemma::test
