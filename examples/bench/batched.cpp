#include "examples/bench/batched.hpp"

#include <algorithm>
#include <string>

#include <fmt/format.h>

#include "examples/bench/sequences.hpp"

namespace gemma::bench {
namespace {

/// One test: `pl` sequences of `pp` prompt tokens each, to each of which `tg` tokens are then added.
struct BatchedTest {
  std::size_t pp, tg, pl;
  unsigned threads;
  std::size_t chunk;  // tokens of one forward pass, of all sequences together, as requested
  KvType kv;
  bool shared;  // one prompt, whose keys and values all sequences share

  /// Number of prompt tokens that are computed.
  std::size_t n_read() const noexcept { return shared ? pp : pl * pp; }
  /// Number of tokens in all caches at the end; shared tokens count once.
  std::size_t n_kv() const noexcept { return n_read() + pl * tg; }
  /// Maximum number of tokens of one forward pass: a step needs room for all sequences.
  std::size_t n_batch() const noexcept { return chunk < pl ? pl : chunk; }
};

/// Seconds of both phases. Speeds are in tokens per second of all sequences together; 0 without tokens.
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

BatchOptions batch_options(const BatchedTest& test, std::size_t max_memory) {
  return {.max_sequences = test.pl,
          .n_ctx = test.pp + test.tg,
          .kv_type = test.kv,
          .chunk = test.n_batch(),
          .n_threads = test.threads,
          .max_memory = max_memory};
}

std::vector<BatchedTest> batched_tests(const BatchedTests& lists, const Setup& setup) {
  std::vector<BatchedTest> tests;
  for (const unsigned threads : setup.threads) {
    for (const std::size_t p : lists.pp) {
      for (const std::size_t t : lists.tg) {
        for (const std::size_t n : lists.pl) {
          tests.push_back({p, t, n, threads, setup.chunk, setup.kv, lists.shared});
        }
      }
    }
  }
  return tests;
}

BatchedResult run_batched_test(const Model& model, const BatchedTest& test, std::size_t repetitions,
                               bool warmup) {
  Sequences sequences(model, {.count = test.pl,
                              .n_ctx = test.pp + test.tg,
                              .chunk = test.n_batch(),
                              .total = test.n_kv(),
                              .kv = test.kv,
                              .threads = test.threads});
  if (warmup) sequences.read_prompts(std::min<std::size_t>(test.pp, 16), test.shared);
  std::vector<double> t_pp, t_tg;
  for (std::size_t r = 0; r < repetitions; ++r) {
    sequences.clear();
    t_pp.push_back(seconds_of([&] { sequences.read_prompts(test.pp, test.shared); }));
    t_tg.push_back(seconds_of([&] {
      for (std::size_t i = 0; i < test.tg; ++i) sequences.step();
    }));
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

std::string to_line(const BatchedResult& r) {
  const BatchedTest& t = r.test;
  return fmt::format("| {} | {} | {} | {} | {} | {:.3f} | {:.2f} | {:.3f} | {:.2f} | {:.3f} | {:.2f} |", t.pp,
                     t.tg, t.pl, t.n_kv(), t.threads, r.t_pp, r.speed_pp(), r.t_tg, r.speed_tg(), r.t(),
                     r.speed());
}

}  // namespace

void run_batched(const Model& model, const BatchedTests& lists, const Setup& setup, Report& report) {
  if (std::ranges::count(lists.pp, 0u) + std::ranges::count(lists.pl, 0u) != 0) {
    throw Error(ErrorCode::kInvalidArgument, "--npp and --npl require numbers of at least 1");
  }
  const std::vector<BatchedTest> tests = batched_tests(lists, setup);
  for (const BatchedTest& test : tests) plan_batch(model, batch_options(test, setup.max_memory));
  report.set_columns(
      "| PP | TG | B | N_KV | threads | T_PP s | S_PP t/s | T_TG s | S_TG t/s | T s | S t/s |\n"
      "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
  for (const BatchedTest& test : tests) {
    const BatchedResult r = run_batched_test(model, test, setup.repetitions, setup.warmup);
    report.add(to_json(model, r), to_line(r));
  }
}

}  // namespace gemma::bench
