// The work of every rank on a step: runs its own layers, then sends the rows to the next rank or the result
// to rank 0.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "examples/pipeline/mailbox.hpp"
#include "examples/pipeline/step.hpp"
#include "gemma/sampler.hpp"
#include "gemma/stage.hpp"

namespace gemma::app {

/// A rank's stage and, on the last rank, the samplers of all sequences. Used by one thread.
class Worker {
 public:
  /// Throws Error as Stage does.
  Worker(const Model& model, const StageOptions& options, const SamplerOptions& sampler, int rank,
         Mailbox& mailbox);

  /// Runs the step's layers and sends the result. Throws Error as Stage::forward().
  void run(const Step& step, const std::atomic<bool>& cancel);

  const Stage& stage() const { return stage_; }
  /// The statistics so far.
  Stats stats() const;

 private:
  void finish(const Step& step, std::span<const float> logits);

  Stage stage_;
  std::vector<Sampler> samplers_;  // [n_sequences] on the last rank, else empty
  std::vector<bool> answering_;    // likewise: whether a token of the answer was chosen
  int rank_;
  Mailbox& mailbox_;
  double busy_seconds_ = 0;
};

}  // namespace gemma::app
