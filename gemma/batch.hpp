// Many sequences in one forward: they join and leave between steps (continuous batching, Yu et al. 2022).
// Invariant: a sequence's tokens have the same bits as they would have alone in a Session with the same
// options and sampler (law 1), whatever shares the forward with it; all memory is taken when the batch is
// made.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "generation.hpp"
#include "log_probability.hpp"
#include "model.hpp"
#include "sampler.hpp"

namespace gemma {

/// Owns one cache for each place and one workspace. Move-only; one thread at a time, except cancel(). The
/// Model must outlive it, in one place.
class Batch {
 public:
  /// Names a sequence for as long as the batch lives; never given twice.
  using Id = std::uint64_t;

  /// Allocates what Model::plan_batch(options) says. Throws Error{kInvalidArgument} for options out of range,
  /// {kOutOfMemory} also when max_memory does not allow it.
  explicit Batch(const Model& model, const BatchOptions& options = {})
      : Batch(model, options, model.plan_batch(options)) {}

  /// Tokens that each sequence can hold.
  std::size_t n_ctx() const noexcept { return n_ctx_; }
  /// Places.
  std::size_t max_sequences() const noexcept { return places_.size(); }
  /// Sequences that have a place: running, or ended and not yet taken.
  std::size_t n_sequences() const noexcept;
  /// Sequences that step() still works on.
  std::size_t n_running() const noexcept;
  /// Bytes of all caches and the workspace, as planned.
  std::size_t memory_bytes() const noexcept;

  /// A sequence joins: `prompt` is computed by the next steps, then tokens are chosen by `pick` (its own for
  /// each sequence) until something ends it. Throws Error{kContextFull} when the prompt does not fit,
  /// {kInvalidArgument} for an empty prompt, ids outside the vocabulary, or when every place is taken,
  /// {kOutOfMemory}.
  Id add(std::span<const std::int32_t> prompt, PickToken pick, const GenerateOptions& options = {});
  /// The same with a sampler, which the sequence keeps.
  Id add(std::span<const std::int32_t> prompt, Sampler sampler, const GenerateOptions& options = {}) {
    auto pick = [s = std::move(sampler)](std::span<const float> logits) mutable { return s.sample(logits); };
    return add(
        prompt,
        detail::or_out_of_memory("no memory for a sampler", [&] { return PickToken(std::move(pick)); }),
        options);
  }

  /// One forward: a token for every sequence that is past its prompt, and as much of the prompts as
  /// BatchOptions::chunk leaves room for, the oldest first. Calls the sequences' callbacks. Returns whether
  /// any sequence is still running.
  /// Throws Error{kCancelled} after cancel(), with all sequences as before the step. What a callback or a
  /// sampler throws, and {kOutOfMemory} when an answer finds no more room, ends its sequence (kCallback) and
  /// is thrown on when the others have had their token.
  bool step();
  /// Steps until no sequence is running.
  void run() {
    while (step()) {
    }
  }

  /// Whether the sequence has ended. Throws Error{kInvalidArgument} for an id that has no place (as result()
  /// and take()).
  bool ended(Id id) const { return place(id).generation->done(); }
  /// What it has generated up to now.
  const GenerateResult& result(Id id) const { return place(id).generation->result(); }
  /// Its result; it leaves and its place is free. A sequence still running ends as kCancelled.
  GenerateResult take(Id id);

  /// From any thread: the running step stops as soon as it can, and further ones at once, until
  /// clear_cancel().
  void cancel() noexcept { cancelled_->store(true, std::memory_order_relaxed); }
  /// Lets the batch work again.
  void clear_cancel() noexcept { cancelled_->store(false, std::memory_order_relaxed); }

 private:
  using Clock = std::chrono::steady_clock;

  struct Place {
    explicit Place(KvCache c) : cache(std::move(c)) {}
    bool taken() const noexcept { return generation.has_value(); }
    bool running() const noexcept { return taken() && !generation->done(); }
    /// Tokens not yet in the cache: the rest of the prompt, later the last token chosen.
    std::span<const std::int32_t> waiting() const noexcept {
      return std::span(tokens).subspan(cache.n_past());
    }

    KvCache cache;
    Id id = 0;
    std::vector<std::int32_t> tokens;  // prompt and what was generated
    std::size_t n_prompt = 0;
    PickToken pick;
    std::optional<detail::Generation> generation;
    Clock::time_point begin;
  };

  Batch(const Model& model, const BatchOptions& options, const MemoryPlan& plan);

  Place& place(Id id) { return const_cast<Place&>(std::as_const(*this).place(id)); }
  const Place& place(Id id) const {
    for (const Place& p : places_) {
      if (p.taken() && p.id == id) return p;
    }
    detail::refuse(ErrorCode::kInvalidArgument,
                   [&] { return "there is no sequence " + std::to_string(id) + " in the batch"; });
  }
  void collect();
  void choose(Place& p, std::span<const float> logits);
  static void end(Place& p, StopReason reason);

  const Model* model_;
  std::size_t n_ctx_;
  Workspace workspace_;
  std::vector<Place> places_;
  std::vector<Chunk> chunks_;        // of the next forward
  std::vector<Place*> chunk_place_;  // whose they are
  Id next_id_ = 1;
  std::unique_ptr<std::atomic<bool>> cancelled_;
};

inline Batch::Batch(const Model& model, const BatchOptions& options, const MemoryPlan& plan)
    : model_(&model),
      n_ctx_(plan.n_ctx),
      workspace_(model.make_workspace(
          {std::min(std::max(options.chunk, options.max_sequences), options.max_sequences * plan.n_ctx),
           options.max_sequences, options.n_threads})) {
  detail::or_out_of_memory("no memory for a batch", [&] {
    const KvCacheOptions cache{n_ctx_, options.kv_type, std::max(options.chunk, options.max_sequences)};
    places_.reserve(options.max_sequences);
    for (std::size_t i = 0; i < options.max_sequences; ++i) {
      places_.emplace_back(model.make_cache(cache)).tokens.reserve(n_ctx_);
    }
    chunks_.reserve(options.max_sequences);
    chunk_place_.reserve(options.max_sequences);
    cancelled_ = std::make_unique<std::atomic<bool>>(false);
  });
}

inline std::size_t Batch::n_sequences() const noexcept {
  return static_cast<std::size_t>(
      std::count_if(places_.begin(), places_.end(), [](const Place& p) { return p.taken(); }));
}
inline std::size_t Batch::n_running() const noexcept {
  return static_cast<std::size_t>(
      std::count_if(places_.begin(), places_.end(), [](const Place& p) { return p.running(); }));
}
inline std::size_t Batch::memory_bytes() const noexcept {
  std::size_t sum = workspace_.size_bytes();
  for (const Place& p : places_) sum += p.cache.size_bytes();
  return sum;
}

inline Batch::Id Batch::add(std::span<const std::int32_t> prompt, PickToken pick,
                            const GenerateOptions& options) {
  if (prompt.empty()) throw Error(ErrorCode::kInvalidArgument, "a prompt without tokens");
  if (prompt.size() > n_ctx_) {
    detail::refuse(ErrorCode::kContextFull, [&] {
      return "a prompt of " + std::to_string(prompt.size()) + " tokens; the context holds " +
             std::to_string(n_ctx_);
    });
  }
  for (const std::int32_t token : prompt) model_->check_token(token);
  const auto free = std::find_if(places_.begin(), places_.end(), [](const Place& p) { return !p.taken(); });
  if (free == places_.end()) {
    detail::refuse(ErrorCode::kInvalidArgument, [&] {
      return "all " + std::to_string(places_.size()) + " places of the batch are taken";
    });
  }
  Place& p = *free;
  detail::or_out_of_memory("no memory for a generation",
                           [&] { p.generation.emplace(model_->tokenizer(), options); });
  p.cache.truncate(0);
  p.tokens.assign(prompt.begin(), prompt.end());
  p.n_prompt = prompt.size();
  p.pick = std::move(pick);
  p.id = next_id_++;
  p.begin = Clock::now();
  if (p.generation->full()) end(p, StopReason::kMaxTokens);  // max_tokens = 0
  return p.id;
}

inline GenerateResult Batch::take(Id id) {
  Place& p = place(id);
  if (p.running()) end(p, StopReason::kCancelled);
  GenerateResult out = std::move(p.generation->result());
  p.generation.reset();
  p.pick = nullptr;
  return out;
}

inline void Batch::end(Place& p, StopReason reason) {
  p.generation->end(reason);
  p.generation->result().seconds = std::chrono::duration<double>(Clock::now() - p.begin).count();
}

/// Fills chunks_: first one token of each sequence that is past its prompt, then prompts, oldest first.
inline void Batch::collect() {
  chunks_.clear();
  chunk_place_.clear();
  std::size_t room = workspace_.options().max_tokens;
  const auto add_chunk = [&](Place& p, std::size_t n) {
    const bool complete = n == p.waiting().size();
    chunks_.push_back({p.waiting().first(n), &p.cache, complete ? Logits::kLast : Logits::kNone});
    chunk_place_.push_back(&p);
    room -= n;
  };
  for (Place& p : places_) {
    if (p.running() && p.cache.n_past() >= p.n_prompt) add_chunk(p, 1);
  }
  for (Id after = 0; room != 0;) {
    Place* oldest = nullptr;
    for (Place& p : places_) {
      const bool reads = p.running() && p.cache.n_past() < p.n_prompt && p.id > after;
      if (reads && (oldest == nullptr || p.id < oldest->id)) oldest = &p;
    }
    if (oldest == nullptr) break;
    add_chunk(*oldest, std::min(room, oldest->waiting().size()));
    after = oldest->id;
  }
}

inline void Batch::choose(Place& p, std::span<const float> logits) {
  detail::Generation& g = *p.generation;
  const std::int32_t token = p.pick(logits);
  if (g.result().tokens.empty()) {
    g.result().first_token_seconds = std::chrono::duration<double>(Clock::now() - p.begin).count();
  }
  const double log_p = g.wants_log_probabilities() ? log_probability(logits, token) : 0.0;
  if (!g.take(token, log_p)) {
    end(p, g.result().reason);  // for its time
  } else if (p.tokens.size() == n_ctx_) {
    end(p, StopReason::kContextFull);
  } else if (g.full()) {
    end(p, StopReason::kMaxTokens);
  } else {
    p.tokens.push_back(token);  // within the reserved n_ctx
  }
}

inline bool Batch::step() {
  collect();
  if (chunks_.empty()) return false;
  const auto rows = model_->forward(chunks_, workspace_, cancelled_.get());
  const std::size_t vocab = model_->config().vocab_size;
  std::exception_ptr first;
  std::size_t row = 0;
  for (std::size_t i = 0; i < chunks_.size(); ++i) {
    if (chunks_[i].logits == Logits::kNone) continue;
    Place& p = *chunk_place_[i];
    try {
      choose(p, rows.subspan(row * vocab, vocab));
    } catch (...) {
      if (first == nullptr) first = std::current_exception();
      p.generation->abandon();
      end(p, StopReason::kCallback);
    }
    ++row;
  }
  if (first != nullptr) std::rethrow_exception(first);
  return n_running() != 0;
}

}  // namespace gemma
