// gemma-bench's test of guesses: decoding is forced along a text, whatever the model would say, so that
// random weights serve and runs with and without guesses say the same.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "examples/bench/report.hpp"

namespace gemma::bench {

/// What to run.
struct TextTests {
  std::string text;
  std::vector<std::size_t> n_gen;  // tokens at its end that are decoded, one number after another
  SessionOptions session;          // but its context, chunk and threads
  std::string draft;
};

/// Runs the tests: of each a result without guesses and, unless draft is "off", one with guesses, whose runs
/// alternate. JSON has llama-bench's fields where they apply, and: draft, n_steps, tokens_per_step,
/// n_drafted, n_accepted, speedup. Throws Error{kMissingKey} for a model without a vocabulary,
/// {kInvalidArgument} for a text that has too few tokens, and as Session.
void run_along_text(const Model& model, const TextTests& tests, const Setup& setup, Report& report);

}  // namespace gemma::bench
