// The agreement of the ranks before the first step, and the run of a whole job on each of them.
#pragma once

#include "examples/pipeline/flags.hpp"
#include "examples/pipeline/mailbox.hpp"

namespace gemma::app {

/// A rank's place among the others.
struct Place {
  int rank = 0, n_ranks = 1;
  unsigned threads = 1;  // if the flags do not say
  std::string host;
};

/// Runs the whole job of this rank, in the computing thread. Returns 0, or the exit status after rank 0 has
/// printed the reason in one line. Throws Error for failures that must end all ranks.
int run_rank(const PipelineFlags& flags, const Place& place, Mailbox& mailbox);

}  // namespace gemma::app
