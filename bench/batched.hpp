// gemma-bench's test of many sequences at once, with llama-batched-bench's flags, fields and phases: all
// prompts first, then one token of every sequence a step. Both phases are Model::forward over one chunk a
// sequence; a Batch would let sequences whose prompts are done go on while others still read theirs, and no
// phase could be timed alone.
#pragma once

#include <cstddef>
#include <vector>

#include <nlohmann/json.hpp>

#include "gemma/gemma.hpp"

namespace gemma::bench {

/// `pl` sequences of `pp` prompt tokens each, then `tg` more of each.
struct BatchedTest {
  std::size_t pp, tg, pl;
  unsigned threads;
  std::size_t chunk;         // tokens of one forward, all sequences together, as asked for
  KvType kv = KvType::kF16;  // how keys and values are stored

  /// Tokens in all caches at the end: nothing of the prompts is shared.
  std::size_t n_kv() const noexcept { return pl * (pp + tg); }
  /// Tokens of one forward at most: a step needs room for all sequences.
  std::size_t n_batch() const noexcept { return chunk < pl ? pl : chunk; }
};

/// Seconds of both phases. Speeds are in tokens of all sequences a second; 0 where there were none.
struct BatchedResult {
  BatchedTest test;
  double t_pp = 0, t_tg = 0;

  double t() const noexcept { return t_pp + t_tg; }
  double speed_pp() const noexcept { return rate(test.pl * test.pp, t_pp); }
  double speed_tg() const noexcept { return rate(test.pl * test.tg, t_tg); }
  double speed() const noexcept { return rate(test.n_kv(), t()); }

 private:
  static double rate(std::size_t tokens, double seconds) noexcept {
    return tokens == 0 ? 0 : static_cast<double>(tokens) / seconds;
  }
};

/// The tests of three lists, in llama-batched-bench's order: pl changes fastest.
std::vector<BatchedTest> batched_tests(const std::vector<std::size_t>& pp, const std::vector<std::size_t>& tg,
                                       const std::vector<std::size_t>& pl, unsigned threads,
                                       std::size_t chunk, KvType kv);

/// Throws Error{kOutOfMemory} when a test takes more than max_memory bytes with the model's file (0: no
/// limit), {kInvalidArgument} when it does not fit into the model's context.
void check_batched(const Model& model, const BatchedTest& test, std::size_t max_memory);

/// Runs a test `repetitions` times; the medians of both phases. `warmup`: some tokens first that no clock
/// sees. Token ids are drawn at random. Throws Error{kOutOfMemory}.
BatchedResult run_batched(const Model& model, const BatchedTest& test, std::size_t repetitions, bool warmup);

/// llama-batched-bench's fields, and ours: model_filename, isa.
nlohmann::ordered_json to_json(const Model& model, const BatchedResult& r);

/// The head of a Markdown table, two lines, and a result's line in it.
void print_batched_head(const Model& model);
void print(const BatchedResult& r);

}  // namespace gemma::bench
