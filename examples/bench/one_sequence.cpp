#include "examples/bench/one_sequence.hpp"

#include <fmt/format.h>

#include "examples/bench/sequences.hpp"
#include "examples/engine_flags.hpp"
#include "gemma/aligned_buffer.hpp"
#include "kernels/machine_limits.hpp"

namespace gemma::bench {
namespace {

using kernels::MachineLimits;
using kernels::MachineMeter;

/// Bytes of memory for measuring the machine's limits.
constexpr std::size_t kMeasuredBytes = kernels::kMeasuredWords * sizeof(std::uint64_t);

/// One line of the report: after `depth` tokens, n_prompt tokens at once or n_gen one by one (the other
/// number is 0).
struct Test {
  std::size_t n_prompt, n_gen, depth;
  unsigned threads;

  bool prompt() const { return n_prompt != 0; }
  /// Number of tokens in the cache at the end.
  std::size_t tokens() const { return n_prompt + n_gen + depth; }
};

std::vector<Test> tests_of(const OneSequenceTests& lists, unsigned threads) {
  std::vector<Test> tests;
  for (const std::size_t d : lists.depth) {
    for (const std::size_t p : lists.n_prompt) {
      if (p != 0) tests.push_back({p, 0, d, threads});
    }
    for (const std::size_t n : lists.n_gen) {
      if (n != 0) tests.push_back({0, n, d, threads});
    }
  }
  return tests;
}

struct Result {
  Test test;
  Runs runs;
  std::vector<MachineLimits> limits;  // measured before and after each run

  /// One of the limits for each run: the mean of the measurements before and after it.
  std::vector<double> limit(double MachineLimits::*of) const {
    std::vector<double> out;
    for (std::size_t i = 1; i < limits.size(); ++i) out.push_back((limits[i - 1].*of + limits[i].*of) / 2);
    return out;
  }
};

Result run_test(const Model& model, const Test& test, const Setup& setup, const MachineMeter& machine) {
  Sequences sequence(model, {.count = 1,
                             .n_ctx = test.tokens(),
                             .chunk = setup.chunk,
                             .total = test.tokens(),
                             .kv = setup.kv,
                             .threads = test.threads});
  Result result{test, {static_cast<double>(test.n_prompt + test.n_gen), {}}, {}};
  if (setup.warmup) {
    sequence.read_prompts(test.n_prompt);
    if (!test.prompt()) sequence.step();
  }
  for (std::size_t r = 0; r < setup.repetitions; ++r) {
    sequence.clear();
    sequence.read_prompts(test.depth);
    if (r == 0) result.limits.push_back(machine.measure());
    result.runs.seconds.push_back(seconds_of([&] {
      sequence.read_prompts(test.n_prompt);
      for (std::size_t i = 0; i < test.n_gen; ++i) sequence.step();
    }));
    result.limits.push_back(machine.measure());
  }
  return result;
}

/// Number of weights by which each token of a prompt is multiplied: those of all layers, without the
/// embedding and the head.
std::size_t layer_weights(const Model& model) {
  std::size_t sum = 0;
  for (const auto& l : model.weights().layers) {
    l.for_each_matrix([&](const Matrix& m) { sum += m.rows * m.cols; });
  }
  return sum;
}

/// Share of the machine's limit: of the integer peak for a prompt, of the read bandwidth for decoding. The
/// median of the runs, each by the limits measured before and after it.
double roofline_share(const Model& model, const Result& r) {
  const double each = r.test.prompt() ? 2 * static_cast<double>(layer_weights(model))
                                      : static_cast<double>(model.weights().step_bytes(model.config()));
  std::vector<double> shares = r.runs.speeds();
  const auto limit = r.limit(r.test.prompt() ? &MachineLimits::integer_ops_per_second
                                             : &MachineLimits::read_bytes_per_second);
  for (std::size_t i = 0; i < shares.size(); ++i) shares[i] *= each / limit[i];
  return median(shares);
}

Json to_json(const Model& model, const Result& r, const Setup& setup) {
  const std::string kv = app::kv_name(setup.kv);
  Json row = file_fields(model);
  row.update({{"model_n_params", model.file().n_elements()},
              {"n_batch", setup.chunk},
              {"n_ubatch", setup.chunk},
              {"n_threads", r.test.threads},
              {"type_k", kv},
              {"type_v", kv},
              {"kv_bytes", KvCache::bytes_for(model.config(), {r.test.tokens(), setup.kv, setup.chunk})},
              {"n_prompt", r.test.n_prompt},
              {"n_gen", r.test.n_gen},
              {"n_depth", r.test.depth}});
  row.update(time_fields(model, r.runs));
  row.update({{"roofline_share", roofline_share(model, r)},
              {"read_bytes_per_second", median(r.limit(&MachineLimits::read_bytes_per_second))},
              {"integer_ops_per_second", median(r.limit(&MachineLimits::integer_ops_per_second))}});
  return row;
}

std::string to_line(const Model& model, const Result& r) {
  const Test& t = r.test;
  const std::string name = t.prompt() ? fmt::format("pp{}", t.n_prompt) : fmt::format("tg{}", t.n_gen);
  const std::string limit = t.prompt()
                                ? fmt::format("{:.2f} Tops/s (integer dot)",
                                              median(r.limit(&MachineLimits::integer_ops_per_second)) / 1e12)
                                : fmt::format("{:.1f} GB/s (reading)",
                                              median(r.limit(&MachineLimits::read_bytes_per_second)) / 1e9);
  return fmt::format("| {}{} | {} | {} | {:.0f}% of {} |", name,
                     t.depth == 0 ? std::string() : fmt::format(" @ d{}", t.depth), t.threads,
                     r.runs.speed_text(), 100 * roofline_share(model, r), limit);
}

/// Throws if there is nothing to measure, or if a test takes more memory than allowed.
void check(const Model& model, const OneSequenceTests& lists, const Setup& setup) {
  if (tests_of(lists, 1).empty())
    throw Error(ErrorCode::kInvalidArgument, "--n-prompt and --n-gen are 0: there is nothing to measure");
  for (const unsigned threads : setup.threads) {
    for (const Test& test : tests_of(lists, threads)) {
      plan_session(model, {.n_ctx = test.tokens(),
                           .kv_type = setup.kv,
                           .chunk = setup.chunk,
                           .n_threads = threads,
                           .max_memory = setup.max_memory});
    }
  }
  const std::size_t least = model.file().size_bytes() + kMeasuredBytes;
  if (setup.max_memory != 0 && setup.max_memory < least) {
    throw Error(
        ErrorCode::kOutOfMemory,
        fmt::format("measuring the machine's limits takes {} bytes beside the model's file, {} in all, "
                    "more than the limit of {}",
                    kMeasuredBytes, least, setup.max_memory));
  }
}

}  // namespace

void run_one_sequence(const Model& model, const OneSequenceTests& lists, const Setup& setup, Report& report) {
  check(model, lists, setup);
  report.set_columns(
      "| test | threads | tokens/s | of the machine's limit |\n"
      "| --- | ---: | ---: | --- |\n");
  AlignedBuffer<std::uint64_t> memory(kernels::kMeasuredWords, "the bandwidth measurement");
  memory.prefer_huge_pages();
  for (const unsigned threads : setup.threads) {
    const MachineMeter machine(model.kernels(), threads, {memory.data(), memory.size()});
    for (const Test& test : tests_of(lists, threads)) {
      const Result r = run_test(model, test, setup, machine);
      report.add(to_json(model, r, setup), to_line(model, r));
    }
  }
}

}  // namespace gemma::bench
