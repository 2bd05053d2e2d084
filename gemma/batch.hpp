// Many sequences in one forward: they join and leave between steps (continuous batching, Yu et al. 2022).
// Invariant: a sequence's tokens have the same bits as they would have alone in a Session with the same
// options and sampler (law 1), whatever shares the forward with it; all memory is taken when the batch is
// made.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "generation.hpp"
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
  explicit Batch(const Model& model, const BatchOptions& options = {});

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
  Id add(std::span<const std::int32_t> prompt, Sampler sampler, const GenerateOptions& options = {});

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
    detail::Stopwatch since_begin;
  };

  Batch(const Model& model, const BatchOptions& options, const MemoryPlan& plan);

  Place& place(Id id) { return const_cast<Place&>(std::as_const(*this).place(id)); }
  const Place& place(Id id) const;
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

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "batch.inl"
#endif
