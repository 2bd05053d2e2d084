#include "bench/batched.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>

#include <fmt/format.h>

#include "bench/statistics.hpp"

namespace gemma::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}
BatchOptions batch_options(const BatchedTest& test, std::size_t max_memory) {
  return {.max_sequences = test.pl,
          .n_ctx = test.pp + test.tg,
          .kv_type = test.kv,
          .chunk = test.n_batch(),
          .n_threads = test.threads,
          .max_memory = max_memory};
}

/// The sequences of one test: a cache each, and the workspace that they share.
class Sequences {
 public:
  Sequences(const Model& model, const BatchedTest& test)
      : model_(model),
        ws_(model.make_workspace({.max_tokens = std::min(test.n_batch(), test.n_kv()),
                                  .max_logit_rows = test.pl,
                                  .n_threads = test.threads})) {
    for (std::size_t i = 0; i < test.pl; ++i)
      caches_.push_back(
          model.make_cache({.n_ctx = test.pp + test.tg, .type = test.kv, .max_chunk = test.n_batch()}));
    ids_.resize(test.pl * std::max<std::size_t>(test.pp, 1));
  }

  void clear() noexcept {
    for (KvCache& cache : caches_) cache.truncate(0);
  }

  /// All prompts, one after another, each forward as full as it can be; the logits of each prompt's end.
  void read_prompts(std::size_t pp) {
    draw(caches_.size() * pp);
    for (std::size_t done = 0; done < caches_.size() * pp;) {
      chunks_.clear();
      std::size_t room = ws_.options().max_tokens;
      while (room != 0 && done < caches_.size() * pp) {
        const std::size_t size = std::min(room, pp - done % pp);
        const bool last = done % pp + size == pp;
        chunks_.push_back(
            {std::span(ids_).subspan(done, size), &caches_[done / pp], last ? Logits::kLast : Logits::kNone});
        room -= size;
        done += size;
      }
      model_.forward(chunks_, ws_);
    }
  }

  /// A token of each.
  void step() {
    draw(caches_.size());
    chunks_.clear();
    for (std::size_t i = 0; i < caches_.size(); ++i)
      chunks_.push_back({std::span(ids_).subspan(i, 1), &caches_[i], Logits::kLast});
    model_.forward(chunks_, ws_);
  }

 private:
  void draw(std::size_t n) {
    for (std::size_t i = 0; i < n; ++i)
      ids_[i] = static_cast<std::int32_t>(random_.next() % model_.config().vocab_size);
  }

  const Model& model_;
  Workspace ws_;
  std::vector<KvCache> caches_;
  std::vector<std::int32_t> ids_;
  std::vector<Chunk> chunks_;
  SplitMix64 random_{1};
};

}  // namespace

std::vector<BatchedTest> batched_tests(const std::vector<std::size_t>& pp, const std::vector<std::size_t>& tg,
                                       const std::vector<std::size_t>& pl, unsigned threads,
                                       std::size_t chunk, KvType kv) {
  std::vector<BatchedTest> tests;
  for (const std::size_t p : pp) {
    for (const std::size_t t : tg) {
      for (const std::size_t n : pl) tests.push_back({p, t, n, threads, chunk, kv});
    }
  }
  return tests;
}

void check_batched(const Model& model, const BatchedTest& test, std::size_t max_memory) {
  plan_batch(model, batch_options(test, max_memory));
}

BatchedResult run_batched(const Model& model, const BatchedTest& test, std::size_t repetitions, bool warmup) {
  Sequences sequences(model, test);
  if (warmup) {
    sequences.read_prompts(std::min<std::size_t>(test.pp, 16));
    sequences.clear();
  }
  std::vector<double> t_pp, t_tg;
  for (std::size_t r = 0; r < repetitions; ++r) {
    sequences.clear();
    const auto begin = Clock::now();
    sequences.read_prompts(test.pp);
    t_pp.push_back(seconds_since(begin));
    const auto middle = Clock::now();
    for (std::size_t i = 0; i < test.tg; ++i) sequences.step();
    t_tg.push_back(seconds_since(middle));
  }
  return {test, median(t_pp), median(t_tg)};
}

Json to_json(const Model& model, const BatchedResult& r) {
  const BatchedTest& t = r.test;
  return {{"model_filename", model.file().path()},
          {"isa", std::string(model.kernels().name)},
          {"n_kv_max", t.n_kv()},
          {"n_batch", t.n_batch()},
          {"n_ubatch", t.n_batch()},
          {"is_pp_shared", 0},
          {"n_threads", t.threads},
          {"n_threads_batch", t.threads},
          {"pp", t.pp},
          {"tg", t.tg},
          {"pl", t.pl},
          {"n_kv", t.n_kv()},
          {"t_pp", r.t_pp},
          {"speed_pp", r.speed_pp()},
          {"t_tg", r.t_tg},
          {"speed_tg", r.speed_tg()},
          {"t", r.t()},
          {"speed", r.speed()}};
}

void print_batched_head(const Model& model) {
  fmt::print(
      "{} on {}\n\n"
      "| PP | TG | B | N_KV | threads | T_PP s | S_PP t/s | T_TG s | S_TG t/s | T s | S t/s |\n"
      "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
      model.config().name, model.kernels().name);
}

void print(const BatchedResult& r) {
  const BatchedTest& t = r.test;
  fmt::print("| {} | {} | {} | {} | {} | {:.3f} | {:.2f} | {:.3f} | {:.2f} | {:.3f} | {:.2f} |\n", t.pp, t.tg,
             t.pl, t.n_kv(), t.threads, r.t_pp, r.speed_pp(), r.t_tg, r.speed_tg(), r.t(), r.speed());
}

}  // namespace gemma::bench
