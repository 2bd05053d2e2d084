// gemma-bench's test of guesses: decoding is forced along a text, whatever tokens the model would choose.
// Therefore random weights suffice, and runs with and without guesses generate the same tokens.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "examples/bench/report.hpp"

namespace gemma::bench {

/// What to run.
struct TextTests {
  std::string text;
  std::vector<std::size_t> n_gen;  // numbers of tokens at the end of the text to decode, one test each
  SessionOptions session;          // its context, chunk and threads are replaced
  std::string draft;
};

/// Runs the tests. Each gives a result without guesses and, unless draft is "off", one with guesses; the runs
/// of the two alternate. JSON has llama-bench's fields where they apply, and: draft, n_steps,
/// tokens_per_step, n_drafted, n_accepted, speedup. Throws Error{kMissingKey} for a model without a
/// vocabulary, {kInvalidArgument} for a text that has too few tokens, and as Session.
void run_along_text(const Model& model, const TextTests& tests, const Setup& setup, Report& report);

}  // namespace gemma::bench
