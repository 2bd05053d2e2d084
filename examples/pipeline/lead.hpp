// What the ranks agree on before the first step, and the run of a whole job on each of them.
#pragma once

#include "examples/pipeline/flags.hpp"
#include "examples/pipeline/mailbox.hpp"

namespace gemma::app {

/// Where a rank stands among the others.
struct Place {
  int rank = 0, n_ranks = 1;
  unsigned threads = 1;  // where the flags do not say
  std::string host;
};

/// The whole job on this rank, in the thread that computes: 0, or the exit status after rank 0 has said why
/// in one line. Throws Error for what ends all ranks.
int run_rank(const PipelineFlags& flags, const Place& place, Mailbox& mailbox);

}  // namespace gemma::app
