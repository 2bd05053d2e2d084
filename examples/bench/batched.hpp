// gemma-bench's test of many sequences at once, with llama-batched-bench's flags, fields and phases: all
// prompts first, then one token of every sequence a step. Both phases are Model::forward over one chunk a
// sequence; a Batch would let sequences whose prompts are done go on while others still read theirs, and no
// phase could be timed alone.
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

/// Runs the tests. JSON has llama-batched-bench's fields, and: model_filename, isa. What does not fit is
/// refused before anything is measured; of the repetitions medians count. Throws Error{kOutOfMemory} when a
/// test takes more than max_memory, {kInvalidArgument} when it does not fit into the model's context or is
/// empty.
void run_batched(const Model& model, const BatchedTests& lists, const Setup& setup, Report& report);

}  // namespace gemma::bench
