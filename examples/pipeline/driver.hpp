// Rank 0's interface to the pipeline: steps are issued and results returned in the same order, with as many
// steps running as keep all ranks busy.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "examples/pipeline/worker.hpp"

namespace gemma::app {

/// Receiver of results. Called by the thread that issues steps.
struct Results {
  virtual ~Results() = default;
  /// The bytes of a row of logits, float32 [vocab_size], of the oldest running step, in the order of its
  /// parts and tokens.
  virtual void row(const Step& step, std::span<const std::byte> logits) = 0;
  /// The step is complete. `tokens`: a chosen token for each requested row of logits; empty if the step
  /// returns the logits.
  virtual void result(const Step& step, std::span<const std::int32_t> tokens) = 0;
};

/// Issues steps. Used by one thread.
class Driver {
 public:
  Driver(Worker& own, Mailbox& mailbox, int n_ranks, const std::atomic<bool>& cancel)
      : own_(own), mailbox_(mailbox), most_(2 * static_cast<std::size_t>(n_ranks)), cancel_(cancel) {}

  /// Computes the step's first layers and sends the rows to the next rank; before that it takes results while
  /// too many steps are running. Throws Error as Worker::run() and Mailbox::receive().
  void issue(Step step, Results& to);
  /// Waits for the oldest step's result.
  void take(Results& to);
  /// Waits for the results of all steps.
  void finish(Results& to) {
    while (!under_way_.empty()) take(to);
  }

 private:
  Worker& own_;
  Mailbox& mailbox_;
  std::size_t most_;
  const std::atomic<bool>& cancel_;
  std::deque<Step> under_way_;
};

/// Computes the logits of many sequences and writes them to a file: [n_tokens, vocab_size], one sequence
/// after another.
void write_logits(Driver& driver, std::span<const std::vector<std::int32_t>> sequences, std::size_t chunk,
                  const std::string& path);

}  // namespace gemma::app
