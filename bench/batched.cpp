#include "bench/batched.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "bench/statistics.hpp"

namespace gemma::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

/// `pl` sequences of `pp` prompt tokens each, then `tg` more of each.
struct BatchedTest {
  std::size_t pp, tg, pl;
  unsigned threads;
  std::size_t chunk;  // tokens of one forward, all sequences together, as asked for
  KvType kv;          // how keys and values are stored
  bool shared;        // one prompt, whose keys and values all sequences share

  /// Tokens of prompts that are read.
  std::size_t n_read() const noexcept { return shared ? pp : pl * pp; }
  /// Tokens in all caches at the end; shared ones count once.
  std::size_t n_kv() const noexcept { return n_read() + pl * tg; }
  /// Tokens of one forward at most: a step needs room for all sequences.
  std::size_t n_batch() const noexcept { return chunk < pl ? pl : chunk; }
};

/// Seconds of both phases. Speeds are in tokens of all sequences a second; 0 where there were none.
struct BatchedResult {
  BatchedTest test;
  double t_pp = 0, t_tg = 0;

  double t() const noexcept { return t_pp + t_tg; }
  double speed_pp() const noexcept { return rate(test.n_read(), t_pp); }
  double speed_tg() const noexcept { return rate(test.pl * test.tg, t_tg); }
  double speed() const noexcept { return rate(test.n_kv(), t()); }

 private:
  static double rate(std::size_t tokens, double seconds) noexcept {
    return tokens == 0 ? 0 : static_cast<double>(tokens) / seconds;
  }
};

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
    const auto pool = std::make_shared<KvPool>(
        KvLayout(model.config(), {.n_ctx = test.pp + test.tg, .type = test.kv, .max_chunk = test.n_batch()}),
        test.pl);
    for (std::size_t i = 0; i < test.pl; ++i) caches_.emplace_back(pool);
    ids_.resize(test.pl * std::max<std::size_t>(test.pp, 1));
  }

  void clear() noexcept {
    for (KvCache& cache : caches_) cache.truncate(0);
  }

  /// All prompts, one after another, each forward as full as it can be; the logits of each prompt's end. Or
  /// the first only, which the others share.
  void read_prompts(std::size_t pp, bool shared) {
    const std::size_t total = shared ? pp : caches_.size() * pp;
    draw(total);
    for (std::size_t done = 0; done < total;) {
      chunks_.clear();
      std::size_t room = ws_.options().max_tokens;
      while (room != 0 && done < total) {
        const std::size_t size = std::min(room, pp - done % pp);
        const bool last = done % pp + size == pp;
        chunks_.push_back(
            {std::span(ids_).subspan(done, size), &caches_[done / pp], last ? Logits::kLast : Logits::kNone});
        room -= size;
        done += size;
      }
      model_.forward(chunks_, ws_);
    }
    for (std::size_t i = 1; shared && i < caches_.size(); ++i) caches_[i].share(caches_[0], pp);
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

std::vector<BatchedTest> batched_tests(const BatchedOptions& o) {
  std::vector<BatchedTest> tests;
  for (const unsigned threads : o.threads) {
    for (const std::size_t p : o.pp) {
      for (const std::size_t t : o.tg) {
        for (const std::size_t n : o.pl) tests.push_back({p, t, n, threads, o.chunk, o.kv, o.shared});
      }
    }
  }
  return tests;
}

BatchedResult run_batched_test(const Model& model, const BatchedTest& test, std::size_t repetitions,
                               bool warmup) {
  Sequences sequences(model, test);
  if (warmup) {
    sequences.read_prompts(std::min<std::size_t>(test.pp, 16), test.shared);
    sequences.clear();
  }
  std::vector<double> t_pp, t_tg;
  for (std::size_t r = 0; r < repetitions; ++r) {
    sequences.clear();
    const auto begin = Clock::now();
    sequences.read_prompts(test.pp, test.shared);
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
          {"is_pp_shared", t.shared ? 1 : 0},
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

}  // namespace

void run_batched(const Model& model, const BatchedOptions& options) {
  if (std::ranges::count(options.pp, 0u) + std::ranges::count(options.pl, 0u) != 0) {
    throw Error(ErrorCode::kInvalidArgument, "--npp and --npl want numbers from 1 on");
  }
  const std::vector<BatchedTest> tests = batched_tests(options);
  for (const BatchedTest& test : tests) plan_batch(model, batch_options(test, options.max_memory));
  Json rows = Json::array();
  if (!options.json) print_batched_head(model);
  for (const BatchedTest& test : tests) {
    const BatchedResult r = run_batched_test(model, test, options.repetitions, options.warmup);
    if (options.json) {
      rows.push_back(to_json(model, r));
    } else {
      print(r);
      std::fflush(stdout);
    }
  }
  if (options.json) fmt::print("{}\n", rows.dump(2));
}

}  // namespace gemma::bench
