// A batch that many threads share: requests wait in a queue and run together, and each caller reads its
// answer at its own pace.
// Invariant: the scheduler's own thread computes; a caller that reads slowly, stops reading or disconnects
// does not delay others; each answer has the bits that it would have alone (law 1).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "batch.hpp"
#include "log_probability.hpp"

namespace gemma {

/// A generation request.
struct Request {
  std::vector<std::int32_t> prompt = {};  // ids, as Session::set_tokens() takes them
  SamplerOptions sampler = {};  // how tokens are chosen unless `pick` is set; penalties see the prompt
  PickToken pick = {};          // replaces the sampler; called by the scheduler's thread
  /// Options of the generation. Its callbacks are called by the scheduler's thread too and delay every other
  /// request, so they must be fast. `cancel` is ignored: use PendingAnswer::cancel().
  GenerateOptions options = {};
  std::size_t n_top = 0;  // number of likeliest tokens reported with each token (AnswerPiece::top)
};

/// Output of one decoding step of a request.
struct AnswerPiece {
  std::int32_t id = GeneratedToken::kNone;  // the token, or kNone for text that was held back
  std::string text;                         // text that may be shown now, often ""
  double log_probability = 0;               // of id, if GenerateOptions::log_probabilities is set
  std::vector<TokenProbability> top = {};   // the likeliest tokens, by the model's own logits
};

/// State of a request.
enum class RequestState : std::uint8_t { kQueued, kRunning, kDone };

/// Times and token counts of a request.
struct RequestTimes {
  double queued_seconds = 0;       // from submit() until it got a slot
  double first_token_seconds = 0;  // from submit() to the first token
  double seconds = 0;              // from submit() to the end
  std::size_t n_prompt = 0;        // tokens of the prompt
  std::size_t n_reused = 0;        // how many of them already had keys and values
};

namespace detail {
struct RequestRecord;
struct SchedulerState;
}  // namespace detail

/// The caller's handle of an answer. Copies refer to the same answer; thread-safe. When the last copy is
/// destroyed, the request is cancelled.
class PendingAnswer {
 public:
  static constexpr double kNoLimit = 1e8;  // in seconds: about three years
  /// Outcome of a wait.
  enum class Wait : std::uint8_t { kPiece, kEnd, kTimeout };

  /// Waits for the next piece, for at most `seconds`. kEnd: there are no more. Throws the error that ended
  /// the request: an exception of a picker, a processor or a callback, or Error.
  Wait next(AnswerPiece& piece, double seconds = kNoLimit);
  /// Waits for the end and drops pieces that were not read. Throws as next().
  GenerateResult wait();
  /// Ends the request: after the running step, or at once if it is in the queue.
  void cancel() noexcept;
  /// The current state of the request.
  RequestState state() const;
  /// Times and counts; they are final once the request is done.
  RequestTimes times() const;

 private:
  friend class Scheduler;
  struct Holder;
  explicit PendingAnswer(std::shared_ptr<Holder> holder) : holder_(std::move(holder)) {}
  std::shared_ptr<Holder> holder_;
};

/// Counters of a scheduler. A request is counted as ended before its answer reports the end.
struct SchedulerStats {
  std::size_t n_queued = 0;    // requests that wait for a slot
  std::size_t n_running = 0;   // requests that have a slot
  std::size_t n_done = 0;      // requests that have ended
  std::size_t kv_bytes = 0;    // bytes of pages in use
  std::size_t n_prefixes = 0;  // kept prefixes of sequences
  BatchStats batch;            // counters of the batch
};

/// Options of a Scheduler.
struct SchedulerOptions {
  EngineOptions engine = {.max_prompt_tokens = 128};  // options of the batch
  std::size_t max_queue = 4096;                       // maximum number of waiting requests
};

/// Owns a batch and the thread that runs it. Neither copyable nor movable; every function is thread-safe.
class Scheduler {
 public:
  /// Allocates the memory that plan_batch(model, options.engine) reports, and starts the thread. Throws Error
  /// as Batch.
  explicit Scheduler(Model model, const SchedulerOptions& options = {});
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;
  /// Cancels every request and waits for the thread. PendingAnswers stay valid.
  ~Scheduler();

  /// The model that the scheduler runs.
  const Model& model() const noexcept { return model_; }
  /// Tokens that each sequence can hold.
  std::size_t n_ctx() const noexcept { return n_ctx_; }
  /// Maximum number of concurrent sequences.
  std::size_t max_sequences() const noexcept { return max_sequences_; }
  /// Bytes of all pages and the workspace, as planned.
  std::size_t memory_bytes() const noexcept { return memory_bytes_; }

  /// Adds a request to the queue. Throws Error{kContextFull} if the prompt does not fit, {kInvalidArgument}
  /// for an empty prompt, ids outside the vocabulary, or sampler options out of range, {kOutOfMemory} also if
  /// the queue is full.
  PendingAnswer submit(Request request);

  /// The current counters.
  SchedulerStats stats() const;

 private:
  Model model_;
  std::size_t n_ctx_ = 0;
  std::size_t max_sequences_ = 0;
  std::size_t memory_bytes_ = 0;
  std::unique_ptr<detail::SchedulerState> state_;
};

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "scheduler.inl"
#endif
