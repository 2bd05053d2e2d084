// The exchange between ranks before the first step, and the whole work of each rank.
#pragma once

#include "examples/pipeline/flags.hpp"
#include "examples/pipeline/mailbox.hpp"

namespace gemma::app {

/// A rank's place among the others.
struct Place {
  int rank = 0, n_ranks = 1;
  unsigned threads = 1;  // used if the flags do not set it
  std::string host;
};

/// Runs the whole job of this rank, in the computing thread. Returns 0, or the exit status after rank 0 has
/// printed the reason in one line. Throws Error for failures that must end all ranks.
int run_rank(const PipelineFlags& flags, const Place& place, Mailbox& mailbox);

}  // namespace gemma::app
