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
struct BatchedOptions {
  std::vector<std::size_t> pp, tg, pl;
  std::vector<unsigned> threads;
  std::size_t chunk;        // tokens of one forward, all sequences together
  KvType kv;                // how keys and values are stored
  bool shared;              // one prompt, whose keys and values all sequences share
  std::size_t max_memory;   // bytes of the model's file and a test; 0: no limit
  std::size_t repetitions;  // of each; medians count
  bool warmup;              // some tokens first that are not timed
};

/// Runs the tests. JSON has llama-batched-bench's fields, and: model_filename, isa. What does not fit is
/// refused before anything is measured. Throws Error{kOutOfMemory} when a test takes more than max_memory,
/// {kInvalidArgument} when it does not fit into the model's context or is empty.
void run_batched(const Model& model, const BatchedOptions& options, Report& report);

}  // namespace gemma::bench
