// gemma-bench's tests of one sequence, with llama-bench's fields: the speed of prompts and of decoding, also
// as a share of this machine's limits.
#pragma once

#include <cstddef>
#include <vector>

#include "examples/bench/report.hpp"

namespace gemma::bench {

/// The tests: each depth with each n_prompt, then with each n_gen; entries of 0 in these two are skipped.
struct OneSequenceTests {
  std::vector<std::size_t> n_prompt;  // tokens of a prompt
  std::vector<std::size_t> n_gen;     // tokens that are decoded one by one
  std::vector<std::size_t> depth;     // tokens already in the cache
};

/// Runs the tests. JSON has llama-bench's fields, and: kv_bytes, roofline_share, read_bytes_per_second,
/// integer_ops_per_second. Throws Error{kOutOfMemory} before anything is measured when a test, or measuring
/// the machine's limits, takes more than max_memory; {kInvalidArgument} when a test does not fit into the
/// model's context, or there is none.
void run_one_sequence(const Model& model, const OneSequenceTests& lists, const Setup& setup, Report& report);

}  // namespace gemma::bench
