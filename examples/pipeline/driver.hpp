// Rank 0's view of the pipeline: steps go in, results come out in the same order, and as many are under way
// as keep all ranks busy.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "examples/pipeline/worker.hpp"

namespace gemma::app {

/// Who gets results. Called by the thread that issues steps.
struct Results {
  virtual ~Results() = default;
  /// A row of logits [vocab_size] of the oldest step under way, in the order of its parts and tokens.
  virtual void row(const Step& step, std::span<const std::byte> logits) = 0;
  /// The step is through; one token for each part whose logits were wanted, if tokens were.
  virtual void result(const Step& step, std::span<const std::int32_t> tokens) = 0;
};

/// One thread.
class Driver {
 public:
  Driver(Worker& own, Mailbox& mailbox, int n_ranks, const std::atomic<bool>& cancel)
      : own_(own), mailbox_(mailbox), most_(2 * static_cast<std::size_t>(n_ranks)), cancel_(cancel) {}

  /// Computes the step's first layers and sends it on; before that takes results while too many steps are
  /// under way. Throws Error as Worker::run() and Mailbox::receive().
  void issue(Step step, Results& to);
  /// Waits for the oldest step's result.
  void take(Results& to);
  /// Waits for all.
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

/// Token ids of many sequences in, a file of logits out: [n_tokens, vocab_size], one sequence after another.
void write_logits(Driver& driver, std::span<const std::vector<std::int32_t>> sequences, std::size_t chunk,
                  const std::string& path);

}  // namespace gemma::app
