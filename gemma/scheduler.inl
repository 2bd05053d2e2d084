// Definitions of scheduler.hpp.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "../gguf/linkage.hpp"
#include "engine_error_code.hpp"

namespace gemma {

namespace detail {

/// A request, as shared by the caller and the scheduler's thread.
struct RequestRecord {
  // set by the caller; not changed after submit()
  std::vector<std::int32_t> prompt;
  PickToken pick;
  GenerateOptions options;
  std::size_t n_top = 0;
  Stopwatch since_submit;
  std::atomic<bool> cancelled{false};

  // used by the scheduler's thread only
  Batch::Id id = 0;
  std::vector<TokenProbability> top;  // likeliest tokens for the position that is being chosen

  mutable std::mutex mutex;  // guards the members below
  std::condition_variable changed;
  std::deque<AnswerPiece> pieces;
  RequestState state = RequestState::kQueued;
  GenerateResult result;
  std::exception_ptr error;
  RequestTimes times;

  void push(AnswerPiece piece) {
    const std::lock_guard lock(mutex);
    if (times.first_token_seconds == 0) times.first_token_seconds = since_submit.seconds();
    pieces.push_back(std::move(piece));
    changed.notify_all();
  }
  void end(GenerateResult r, std::exception_ptr e) noexcept {
    const std::lock_guard lock(mutex);
    result = std::move(r);
    error = std::move(e);
    times.seconds = since_submit.seconds();
    state = RequestState::kDone;
    changed.notify_all();
  }
  void end_cancelled() noexcept {
    GenerateResult r;
    r.reason = StopReason::kCancelled;
    end(std::move(r), nullptr);
  }
};

using RecordPointer = std::shared_ptr<RequestRecord>;

/// The queue, and the thread that serves it.
struct SchedulerState {
  SchedulerState(const Model& model, const SchedulerOptions& options)
      : batch(model, options.engine), max_queue(options.max_queue) {}

  void run() noexcept;
  /// Waits for work. Returns false if the scheduler must end.
  bool wait_for_work();
  /// Moves requests from the queue to free slots of the batch.
  void admit();
  void start(const RecordPointer& record);
  /// Runs one step of the batch and removes requests that ended.
  void step() noexcept;
  void finish() noexcept;
  void fail_all(const std::exception_ptr& error) noexcept;
  /// Removes running request i from the batch, counts it, and ends it.
  void end_running(std::size_t i, std::exception_ptr error) noexcept;
  /// Updates the counters that stats() returns, and adds n_ended to the number of ended requests.
  void publish(std::size_t n_ended = 0) noexcept;

  Batch batch;                         // used by the thread only
  std::vector<RecordPointer> running;  // used by the thread only
  std::atomic<bool> stop{false};

  mutable std::mutex mutex;  // guards what follows
  std::condition_variable work;
  std::list<RecordPointer> queue;
  SchedulerStats stats;
  std::size_t max_queue;

  std::thread thread;  // last, since it uses all members above
};

GEMMA_INLINE void SchedulerState::run() noexcept {
  while (wait_for_work()) {
    admit();
    if (!running.empty()) step();
    publish();
  }
  fail_all(nullptr);
}

GEMMA_INLINE bool SchedulerState::wait_for_work() {
  std::unique_lock lock(mutex);
  work.wait(lock, [&] { return stop.load() || !queue.empty() || !running.empty(); });
  return !stop.load();
}

GEMMA_INLINE void SchedulerState::admit() {
  for (;;) {
    RecordPointer next;
    {
      const std::lock_guard lock(mutex);
      const auto gone = [](const RecordPointer& r) {
        if (!r->cancelled.load()) return false;
        r->end_cancelled();
        return true;
      };
      stats.n_done += queue.remove_if(gone);
      if (queue.empty() || running.size() == batch.max_sequences()) return;
      next = std::move(queue.front());
      queue.pop_front();
    }
    try {
      start(next);
    } catch (...) {
      publish(1);
      next->end({}, std::current_exception());
    }
  }
}

GEMMA_INLINE void SchedulerState::start(const RecordPointer& record) {
  RequestRecord* const r = record.get();
  GenerateOptions options = r->options;
  options.cancel = &r->cancelled;
  options.on_token = [r, user = r->options.on_token](const GeneratedToken& token) {
    r->push({token.id, std::string(token.text), token.log_probability, std::move(r->top)});
    r->top.clear();
    return !user || user(token);
  };
  if (r->n_top != 0) {
    options.process = [r, user = r->options.process](std::span<float> logits,
                                                     std::span<const std::int32_t> tokens) {
      r->top = top_log_probabilities(logits, r->n_top);
      if (user) user(logits, tokens);
    };
  }
  running.reserve(running.size() + 1);
  r->id = batch.add(r->prompt, r->pick, options);
  running.push_back(record);
  const std::lock_guard lock(r->mutex);
  r->state = RequestState::kRunning;
  r->times.queued_seconds = r->since_submit.seconds();
}

GEMMA_INLINE void SchedulerState::step() noexcept {
  try {
    batch.step(&stop);
  } catch (const Error& e) {
    // an error of one sequence is in Batch::error(); any other error is of the whole step and ends all
    // requests
    const bool of_one = std::any_of(running.begin(), running.end(),
                                    [&](const RecordPointer& r) { return batch.error(r->id) != nullptr; });
    if (!of_one)
      return fail_all(e.code() == EngineErrorCode::kCancelled ? nullptr : std::current_exception());
  } catch (...) {
    // thrown by a callback; finish() gets it from Batch::error()
  }
  finish();
}

GEMMA_INLINE void SchedulerState::finish() noexcept {
  for (std::size_t i = running.size(); i-- > 0;) {
    RequestRecord& r = *running[i];
    {
      const std::lock_guard lock(r.mutex);
      r.times.n_reused = batch.n_reused(r.id);
    }
    if (batch.ended(r.id)) end_running(i, batch.error(r.id));
  }
}

GEMMA_INLINE void SchedulerState::fail_all(const std::exception_ptr& error) noexcept {
  for (std::size_t i = running.size(); i-- > 0;) end_running(i, error);
  const std::lock_guard lock(mutex);
  if (!stop.load()) return;
  stats.n_done += queue.size();
  for (const RecordPointer& r : queue) r->end_cancelled();
  queue.clear();
}

GEMMA_INLINE void SchedulerState::end_running(std::size_t i, std::exception_ptr error) noexcept {
  const RecordPointer record = std::move(running[i]);
  running.erase(running.begin() + static_cast<std::ptrdiff_t>(i));
  GenerateResult result;
  try {
    result = batch.take(record->id);
  } catch (...) {
    error = std::current_exception();
  }
  publish(1);  // before end(), so that a caller that sees the end also sees it counted
  record->end(std::move(result), std::move(error));
}

GEMMA_INLINE void SchedulerState::publish(std::size_t n_ended) noexcept {
  const std::lock_guard lock(mutex);
  stats.n_done += n_ended;
  stats.n_running = running.size();
  stats.kv_bytes = batch.used_kv_bytes();
  stats.n_prefixes = batch.n_prefixes();
  stats.batch = batch.stats();
}

}  // namespace detail

/// Cancels the request when the last copy of its answer is destroyed.
struct PendingAnswer::Holder {
  explicit Holder(detail::RecordPointer r) : record(std::move(r)) {}
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;
  ~Holder() { record->cancelled = true; }
  detail::RecordPointer record;
};

GEMMA_INLINE PendingAnswer::Wait PendingAnswer::next(AnswerPiece& piece, double seconds) {
  const std::chrono::duration<double> timeout(std::clamp(seconds, 0.0, kNoLimit));
  detail::RequestRecord& r = *holder_->record;
  std::unique_lock lock(r.mutex);
  const auto ready = [&] { return !r.pieces.empty() || r.state == RequestState::kDone; };
  if (!r.changed.wait_for(lock, timeout, ready)) return Wait::kTimeout;
  if (!r.pieces.empty()) {
    piece = std::move(r.pieces.front());
    r.pieces.pop_front();
    return Wait::kPiece;
  }
  if (r.error != nullptr) std::rethrow_exception(r.error);
  return Wait::kEnd;
}

GEMMA_INLINE GenerateResult PendingAnswer::wait() {
  detail::RequestRecord& r = *holder_->record;
  std::unique_lock lock(r.mutex);
  r.changed.wait(lock, [&] { return r.state == RequestState::kDone; });
  r.pieces.clear();
  if (r.error != nullptr) std::rethrow_exception(r.error);
  return r.result;
}

GEMMA_INLINE void PendingAnswer::cancel() noexcept {
  holder_->record->cancelled = true;
}

GEMMA_INLINE RequestState PendingAnswer::state() const {
  const std::lock_guard lock(holder_->record->mutex);
  return holder_->record->state;
}

GEMMA_INLINE RequestTimes PendingAnswer::times() const {
  const std::lock_guard lock(holder_->record->mutex);
  return holder_->record->times;
}

GEMMA_INLINE Scheduler::Scheduler(Model model, const SchedulerOptions& options)
    : model_(std::move(model)), state_(detail::or_out_of_memory("no memory for a scheduler", [&] {
        return std::make_unique<detail::SchedulerState>(model_, options);
      })) {
  n_ctx_ = state_->batch.n_ctx();
  max_sequences_ = state_->batch.max_sequences();
  memory_bytes_ = state_->batch.memory_bytes();
  state_->thread = std::thread([state = state_.get()] { state->run(); });
}

GEMMA_INLINE Scheduler::~Scheduler() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop = true;
    state_->work.notify_all();
  }
  state_->thread.join();
}

GEMMA_INLINE PendingAnswer Scheduler::submit(Request request) {
  if (request.prompt.empty()) detail::refuse(ErrorCode::kInvalidArgument, "a prompt without tokens");
  if (request.prompt.size() > n_ctx_) {
    detail::refuse(EngineErrorCode::kContextFull, [&] {
      return "a prompt of " + std::to_string(request.prompt.size()) + " tokens; the context holds " +
             std::to_string(n_ctx_);
    });
  }
  for (const std::int32_t token : request.prompt) model_.check_token(token);
  return detail::or_out_of_memory("no memory for a request", [&] {
    auto record = std::make_shared<detail::RequestRecord>();
    record->pick = std::move(request.pick);
    if (!record->pick) {
      Sampler sampler(request.sampler);
      sampler.note(request.prompt);
      record->pick = [s = std::move(sampler)](std::span<const float> logits) mutable {
        return s.sample(logits);
      };
    }
    record->times.n_prompt = request.prompt.size();
    record->prompt = std::move(request.prompt);
    record->options = std::move(request.options);
    record->n_top = request.n_top;
    PendingAnswer answer(std::make_shared<PendingAnswer::Holder>(record));
    const std::lock_guard lock(state_->mutex);
    if (state_->queue.size() >= state_->max_queue) {
      detail::refuse(ErrorCode::kOutOfMemory, "the queue of requests is full");
    }
    state_->queue.push_back(std::move(record));
    state_->work.notify_all();
    return answer;
  });
}

GEMMA_INLINE SchedulerStats Scheduler::stats() const {
  const std::lock_guard lock(state_->mutex);
  SchedulerStats out = state_->stats;
  out.n_queued = state_->queue.size();
  return out;
}

}  // namespace gemma
