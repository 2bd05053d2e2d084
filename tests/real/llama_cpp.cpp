// llama.cpp's side of tests/real/real_model.cpp: the same commands, the same lines. Not part of the build: it
// needs llama.cpp's headers and libraries, which docs/evaluation.md tells how to get.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include <ggml-backend.h>
#include <llama.h>
#include <nlohmann/json.hpp>

namespace {

using nlohmann::ordered_json;

constexpr int kWindow = 512;

struct Engine {
  llama_model* model = nullptr;
  llama_context* context = nullptr;
  const llama_vocab* vocab = nullptr;
  int vocab_size = 0;
};

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "llama_cpp: %s\n", what);
  std::exit(1);
}

Engine load(const char* file, int n_ctx) {
  Engine engine;
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  const char* folder = std::getenv("LLAMA_CPP_LIBRARIES");
  folder != nullptr ? ggml_backend_load_all_from_path(folder) : ggml_backend_load_all();
  engine.model = llama_model_load_from_file(file, llama_model_default_params());
  if (engine.model == nullptr) fail("the model cannot be loaded");
  llama_context_params params = llama_context_default_params();
  params.n_ctx = static_cast<std::uint32_t>(n_ctx);
  params.n_batch = params.n_ubatch = static_cast<std::uint32_t>(kWindow);
  params.n_threads = params.n_threads_batch = 2;
  engine.context = llama_init_from_model(engine.model, params);
  if (engine.context == nullptr) fail("no context");
  engine.vocab = llama_model_get_vocab(engine.model);
  engine.vocab_size = llama_vocab_n_tokens(engine.vocab);
  return engine;
}

std::vector<llama_token> encode(const Engine& engine, const std::string& text, bool parse_special) {
  std::vector<llama_token> ids(text.size() + 8);
  const int n = llama_tokenize(engine.vocab, text.data(), static_cast<int>(text.size()), ids.data(),
                               static_cast<int>(ids.size()), true, parse_special);
  if (n < 0) fail("tokenizing");
  ids.resize(static_cast<std::size_t>(n));
  return ids;
}

/// Computes `n` tokens from `ids` at `position`; logits of those from `first` on.
void decode(const Engine& engine, const llama_token* ids, int n, int position, int first) {
  llama_batch batch = llama_batch_init(n, 0, 1);
  batch.n_tokens = n;
  for (int i = 0; i < n; ++i) {
    batch.token[i] = ids[i];
    batch.pos[i] = position + i;
    batch.n_seq_id[i] = 1;
    batch.seq_id[i][0] = 0;
    batch.logits[i] = static_cast<std::int8_t>(i >= first);
  }
  if (llama_decode(engine.context, batch) != 0) fail("decoding");
  llama_batch_free(batch);
}

int perplexity(const char* model, const char* file, int n_windows) {
  const Engine engine = load(model, kWindow);
  std::ifstream in(file, std::ios::binary);
  std::vector<llama_token> ids = encode(engine, std::string(std::istreambuf_iterator<char>(in), {}), false);
  n_windows = std::min(n_windows, static_cast<int>(ids.size()) / kWindow);
  double sum = 0;
  long count = 0;
  for (int w = 0; w < n_windows; ++w) {
    llama_token* window = ids.data() + w * kWindow;
    if (llama_vocab_get_add_bos(engine.vocab)) window[0] = llama_vocab_bos(engine.vocab);
    llama_memory_clear(llama_get_memory(engine.context), true);
    decode(engine, window, kWindow, 0, kWindow / 2 - 1);
    for (int i = kWindow / 2 - 1; i + 1 < kWindow; ++i) {
      const float* logits = llama_get_logits_ith(engine.context, i);
      const float most = *std::max_element(logits, logits + engine.vocab_size);
      double total = 0;
      for (int v = 0; v < engine.vocab_size; ++v) total += std::exp(static_cast<double>(logits[v] - most));
      sum -= static_cast<double>(logits[window[i + 1]] - most) - std::log(total);
      ++count;
    }
    if ((w + 1) % 16 == 0 || w + 1 == n_windows) {
      std::printf("windows %d perplexity %.4f\n", w + 1, std::exp(sum / static_cast<double>(count)));
      std::fflush(stdout);
    }
  }
  return 0;
}

int greedy(const char* model, const char* file, std::size_t n) {
  const Engine engine = load(model, 2048);
  std::ifstream prompts(file);
  for (std::string line; std::getline(prompts, line);) {
    const std::vector<llama_token> ids = encode(engine, ordered_json::parse(line), true);
    llama_memory_clear(llama_get_memory(engine.context), true);
    const int length = static_cast<int>(ids.size());
    for (int done = 0; done < length; done += kWindow) {
      const int part = std::min(kWindow, length - done);
      decode(engine, ids.data() + done, part, done, part - 1);
    }
    std::vector<llama_token> made;
    std::vector<double> margins;
    std::string text;
    while (made.size() < n) {
      const float* logits = llama_get_logits_ith(engine.context, -1);
      float best = -INFINITY, second = -INFINITY;
      llama_token id = 0;
      for (int v = 0; v < engine.vocab_size; ++v) {
        if (logits[v] > best)
          second = std::exchange(best, logits[v]), id = v;
        else
          second = std::max(second, logits[v]);
      }
      if (llama_vocab_is_eog(engine.vocab, id)) break;
      made.push_back(id);
      margins.push_back(std::round(1000 * static_cast<double>(best - second)) / 1000);
      char piece[256];
      const int size = llama_token_to_piece(engine.vocab, id, piece, sizeof piece, 0, false);
      text.append(piece, static_cast<std::size_t>(std::max(size, 0)));
      decode(engine, &id, 1, length + static_cast<int>(made.size()) - 1, 0);
    }
    const ordered_json out = {{"prompt", ids}, {"ids", made}, {"margins", margins}, {"text", text}};
    std::printf("%s\n", out.dump(-1, ' ', false, ordered_json::error_handler_t::replace).c_str());
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 3 ? argv[1] : "";
  const int n = argc > 4 ? std::atoi(argv[4]) : 0;
  if (what == "perplexity") return perplexity(argv[2], argv[3], n > 0 ? n : 64);
  if (what == "greedy") return greedy(argv[2], argv[3], n > 0 ? static_cast<std::size_t>(n) : 32);
  std::fprintf(stderr, "llama_cpp: perplexity MODEL TEXT [WINDOWS], or greedy MODEL PROMPTS [N]\n");
  return 1;
}
