// What a real model makes of real text, as lines that can be compared with those of another engine:
//   real_model perplexity MODEL TEXT [WINDOWS]   of the first WINDOWS (64) windows of 512 tokens of a text
//   real_model greedy MODEL PROMPTS [N]          N (32) greedy tokens after each line of PROMPTS, JSON
//   strings
// Perplexity is counted as llama.cpp's own program does: each window is computed alone, begins with BOS where
// the vocabulary adds one, and its second half is scored.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "gemma/gemma.hpp"

namespace {

using namespace gemma;
using nlohmann::ordered_json;

constexpr std::size_t kWindow = 512;

std::string text_of(const char* file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw Error(ErrorCode::kIo, fmt::format("{}: cannot be opened", file));
  return std::string(std::istreambuf_iterator<char>(in), {});
}

int perplexity(const Model& model, const char* file, std::size_t n_windows) {
  const bool add_bos = model.vocab().add_bos();
  std::vector<TokenId> ids = model.tokenizer().encode(text_of(file), {.add_bos = add_bos});
  n_windows = std::min(n_windows, ids.size() / kWindow);
  SessionOptions options;
  options.n_ctx = kWindow;
  options.kv_type = KvType::kF32;
  options.logit_rows = kWindow / 4;
  Session session(model, options);
  double sum = 0;
  std::size_t count = 0;
  for (std::size_t w = 0; w < n_windows; ++w) {
    const std::span<TokenId> window = std::span(ids).subspan(w * kWindow, kWindow);
    if (add_bos) window[0] = *model.vocab().bos();
    session.reset();
    session.prefill(window.first(kWindow / 2));
    for (const double value : session.score(window.subspan(kWindow / 2))) sum -= value, ++count;
    if ((w + 1) % 16 == 0 || w + 1 == n_windows) {
      fmt::print("windows {} perplexity {:.4f}\n", w + 1, std::exp(sum / static_cast<double>(count)));
      std::fflush(stdout);
    }
  }
  return 0;
}

/// How much likelier the best token is than the second, in nats.
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
    const std::vector<TokenId> ids =
        model.tokenizer().encode(prompt, {.parse_special = true, .add_bos = model.vocab().add_bos()});
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
    if (what == "perplexity") return perplexity(Model::load(argv[2]), argv[3], n != 0 ? n : 64);
    if (what == "greedy") return greedy(Model::load(argv[2]), argv[3], n != 0 ? n : 32);
    fmt::print(stderr, "real_model: perplexity MODEL TEXT [WINDOWS], or greedy MODEL PROMPTS [N]\n");
  } catch (const std::exception& error) {
    fmt::print(stderr, "real_model: {}\n", error.what());
  }
  return 1;
}
