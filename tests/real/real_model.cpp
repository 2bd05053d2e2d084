// Prints results of a real model on real text, as lines that can be compared with those of another engine:
//   real_model greedy MODEL PROMPTS [N]   N (32) greedy tokens after each line of PROMPTS, JSON strings
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "gemma/gemma.hpp"

namespace {

using namespace gemma;
using nlohmann::ordered_json;

/// The difference of the log probabilities of the best token and the second best, in nats.
double margin_of(std::span<const float> logits) {
  float best = -INFINITY, second = -INFINITY;
  for (const float logit : logits) {
    if (logit > best)
      second = std::exchange(best, logit);
    else
      second = std::max(second, logit);
  }
  return static_cast<double>(best) - static_cast<double>(second);
}

int greedy(const Model& model, const char* file, std::size_t n) {
  Session session(model, SessionOptions{.n_ctx = 2048});
  std::ifstream prompts(file);
  if (!prompts) throw Error(ErrorCode::kIo, fmt::format("{}: cannot be opened", file));
  for (std::string line; std::getline(prompts, line);) {
    const std::string prompt = ordered_json::parse(line);
    const std::vector<TokenId> ids = model.tokenizer().encode(prompt, {.parse_special = true});
    session.reset();
    session.prefill(ids);
    std::vector<TokenId> made;
    std::vector<double> margins;
    while (made.size() < n) {
      const TokenId id = argmax(session.logits());
      if (model.vocab().is_stop(id)) break;
      margins.push_back(std::round(1000 * margin_of(session.logits())) / 1000);
      made.push_back(id);
      session.append({&id, 1});
    }
    const std::string text = model.tokenizer().decode(made, {.continues = true});
    fmt::print("{}\n",
               ordered_json{{"prompt", ids}, {"ids", made}, {"margins", margins}, {"text", text}}.dump(
                   -1, ' ', false, ordered_json::error_handler_t::replace));
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::string what = argc > 3 ? argv[1] : "";
    const std::size_t n = argc > 4 ? std::strtoul(argv[4], nullptr, 10) : 0;
    if (what == "greedy") return greedy(Model::load(argv[2]), argv[3], n != 0 ? n : 32);
    fmt::print(stderr, "real_model: greedy MODEL PROMPTS [N]\n");
  } catch (const std::exception& error) {
    fmt::print(stderr, "real_model: {}\n", error.what());
  }
  return 1;
}
