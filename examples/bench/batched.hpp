// gemma-bench's test of many sequences at once, with llama-batched-bench's flags, fields and phases: all
// prompts first, then one token of every sequence per step. Both phases call Model::forward with one chunk
// per sequence. A Batch cannot be used: it decodes sequences whose prompts are complete while it still
// computes the prompts of others, so no phase could be timed alone.
#pragma once

#include <cstddef>
#include <vector>

#include "examples/bench/report.hpp"

namespace gemma::bench {

/// What to run: the tests of three lists, in llama-batched-bench's order (pl changes fastest).
struct BatchedTests {
  std::vector<std::size_t> pp, tg, pl;
  bool shared = false;  // one prompt, whose keys and values all sequences share
};

/// Runs the tests and reports the medians of the repetitions. JSON has llama-batched-bench's fields, and:
/// model_filename, isa. All tests are checked before anything is measured. Throws Error{kOutOfMemory} when a
/// test takes more than max_memory, {kInvalidArgument} when it does not fit into the model's context or is
/// empty.
void run_batched(const Model& model, const BatchedTests& lists, const Setup& setup, Report& report);

}  // namespace gemma::bench
