// What every rank does with a step: its own layers; then the next rank has it, or rank 0 the result.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "examples/pipeline/mailbox.hpp"
#include "examples/pipeline/step.hpp"
#include "gemma/sampler.hpp"
#include "gemma/stage.hpp"

namespace gemma::app {

/// A rank's stage and, on the last rank, the samplers of all sequences. One thread.
class Worker {
 public:
  /// Throws Error as Stage does.
  Worker(const Model& model, const StageOptions& options, const SamplerOptions& sampler, int rank,
         Mailbox& mailbox);

  /// Runs the step's layers, and sends what comes out on. Throws Error as Stage::forward().
  void run(const Step& step, const std::atomic<bool>& cancel);

  const Stage& stage() const { return stage_; }
  /// So far.
  Stats stats() const;

 private:
  void finish(const Step& step, std::span<const float> logits);

  Stage stage_;
  std::vector<Sampler> samplers_;  // [n_sequences] of the last rank
  int rank_;
  Mailbox& mailbox_;
  double busy_seconds_ = 0;
};

}  // namespace gemma::app
