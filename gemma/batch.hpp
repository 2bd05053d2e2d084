// Many sequences in one forward pass: they join and leave between steps (continuous batching, Yu et al.
// 2022), and share the keys and values of common prefixes. Invariant: a sequence's tokens have the same bits
// as they would have alone in a Session with the same options and sampler (law 1), whatever sequences share
// its forward pass or its prefix; all memory is reserved when the batch is made.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "draft.hpp"
#include "generation.hpp"
#include "model.hpp"
#include "plan.hpp"
#include "prefix_cache.hpp"
#include "sampler.hpp"
#include "sequence.hpp"

namespace gemma {

/// Counters of a batch since its construction.
struct BatchStats {
  std::size_t n_steps = 0;      // forward passes
  std::size_t n_computed = 0;   // tokens computed
  std::size_t n_reused = 0;     // tokens of prompts whose keys and values were reused
  std::size_t n_generated = 0;  // tokens chosen
  std::size_t n_drafted = 0;    // computed tokens that were guesses (EngineOptions::draft)
  std::size_t n_accepted = 0;   // guesses that were chosen
};

/// Owns a pool of pages, one workspace, and a sequence for each slot. Move-only; one thread at a time. Shares
/// the model.
class Batch {
 public:
  /// Identifies a sequence; a batch never uses an id twice.
  using Id = std::uint64_t;

  /// Reserves the memory that plan_batch(model, options) reports; pages take memory when they are first used.
  /// Throws Error{kInvalidArgument} for options out of range, {kOutOfMemory} also if max_memory is too
  /// small.
  explicit Batch(Model model, const BatchOptions& options = {});

  /// The model that the batch runs.
  const Model& model() const noexcept { return model_; }
  /// Tokens that each sequence can hold.
  std::size_t n_ctx() const noexcept { return n_ctx_; }
  /// Options of the caches of the batch's sequences.
  const KvCacheOptions& kv_options() const noexcept { return pool_->layout().options; }
  /// Maximum number of concurrent sequences.
  std::size_t max_sequences() const noexcept { return slots_.size(); }
  /// Number of sequences that have a slot: running, or ended and not yet removed by take().
  std::size_t n_sequences() const noexcept;
  /// Number of sequences that have not ended: step() computes tokens for them.
  std::size_t n_running() const noexcept;
  /// Bytes of all pages, the workspace and the drafter, as planned.
  std::size_t memory_bytes() const noexcept {
    return workspace_.size_bytes() + pool_->size_bytes() + (drafter_ == nullptr ? 0 : drafter_->size_bytes());
  }
  /// Bytes of the pages in use, kept prefixes included; shared pages count once.
  std::size_t used_kv_bytes() const noexcept { return pool_->used_bytes(); }
  /// Counters since the batch was made.
  const BatchStats& stats() const noexcept { return stats_; }

  /// Adds a sequence. The next steps compute `prompt`, except for a prefix that a running sequence or a kept
  /// prefix already has; then tokens are chosen by `pick` (one for each sequence) until the generation ends.
  /// Throws Error{kContextFull} when the prompt does not fit, {kInvalidArgument} for an empty prompt, ids
  /// outside the vocabulary, or when every slot is taken, {kOutOfMemory}.
  Id add(std::span<const std::int32_t> prompt, PickToken pick, const GenerateOptions& options = {});
  /// Overload that takes a sampler, which the sequence keeps and whose repeat penalty sees the prompt.
  Id add(std::span<const std::int32_t> prompt, Sampler sampler, const GenerateOptions& options = {});
  /// Adds a sequence that is scored instead of generated: GenerateResult::log_probabilities are the natural
  /// logarithms of the probabilities of the tokens of `continuation` after `prompt`, as Session::score()
  /// gives them; `tokens` is the continuation, and there is no text. Throws as add(); prompt and continuation
  /// must fit into the context.
  Id add_score(std::span<const std::int32_t> prompt, std::span<const std::int32_t> continuation);
  /// Continues a sequence that has ended: appends `tokens` to it and generates again, in the same slot.
  /// Throws as add(), {kInvalidArgument} while it is running.
  void resume(Id id, std::span<const std::int32_t> tokens, PickToken pick,
              const GenerateOptions& options = {});

  /// One forward pass: a token for every sequence that is past its prompt, several where guesses were right
  /// (EngineOptions::draft), and as much of the prompts as EngineOptions::chunk and max_prompt_tokens leave
  /// room for, the oldest first. Calls the sequences' callbacks. Returns whether any sequence is still
  /// running. `cancel`, when set by any thread, stops within a layer: throws Error{kCancelled}, with all
  /// sequences as before the step. An exception of a callback or a sampler, and {kOutOfMemory} when an answer
  /// cannot grow, ends its sequence (kCallback) and is rethrown after the other sequences have their token.
  bool step(const std::atomic<bool>* cancel = nullptr);
  /// Steps until no sequence is running.
  void run(const std::atomic<bool>* cancel = nullptr) {
    while (step(cancel)) {
    }
  }

  /// Whether the sequence has ended. Throws Error{kInvalidArgument} for an id that has no slot, as all
  /// functions below do.
  bool ended(Id id) const { return !slot(id).running(); }
  /// The result of a sequence up to now.
  const GenerateResult& result(Id id) const { return slot(id).result(); }
  /// The exception of a picker, processor or callback that ended the sequence; nullptr: none.
  std::exception_ptr error(Id id) const { return slot(id).error; }
  /// Number of tokens of the sequence's prompt whose keys and values were reused.
  std::size_t n_reused(Id id) const { return slot(id).n_reused; }
  /// The sequence itself: its tokens and its cache; valid until the next call.
  const Sequence& sequence(Id id) const { return slot(id).sequence; }
  /// A snapshot of a sequence as it is now, without its logits.
  Snapshot snapshot(Id id) const { return slot(id).sequence.snapshot(); }
  /// Removes all but the first n tokens of a sequence that has ended. Throws Error{kInvalidArgument} while it
  /// is running, or if a sliding window has released pages that this needs.
  void truncate(Id id, std::size_t n);
  /// Ends the sequence as kCancelled; its callbacks get the text that had been held back.
  void cancel(Id id);
  /// Removes a sequence and returns its result. Its slot becomes free, and its keys and values may be reused.
  /// A sequence that is still running ends as kCancelled.
  GenerateResult take(Id id);

  /// Keeps the keys and values of a snapshot for sequences with that prefix. Throws Error{kInvalidArgument}
  /// for a snapshot of another model or other options, {kOutOfMemory} when no pages are free.
  void remember(const Snapshot& snapshot);
  /// Number of prefixes kept for later sequences.
  std::size_t n_prefixes() const noexcept { return prefixes_.size(); }
  /// Drops all kept prefixes and frees their pages.
  void forget_prefixes() noexcept { prefixes_.clear(); }

 private:
  /// State of a sequence whose continuation is scored. `from`: index of the first token of the continuation.
  struct Scoring {
    std::size_t from = 0;
    GenerateResult result;
    bool done = false;
  };
  struct Slot {
    explicit Slot(std::shared_ptr<KvPool> pool) : sequence(std::move(pool)) {}
    bool taken() const noexcept { return generating.has_value() || scoring.has_value(); }
    bool running() const noexcept {
      return generating.has_value() ? !generating->done() : scoring.has_value() && !scoring->done;
    }
    bool is_reading() const noexcept { return sequence.cache().n_past() < n_prompt; }
    const GenerateResult& result() const noexcept {
      return generating.has_value() ? generating->result() : scoring->result;
    }

    Sequence sequence;
    Id id = 0;
    std::size_t n_prompt = 0;  // tokens of the prompt and of the sequence before it
    std::optional<detail::Generating> generating;
    std::optional<Scoring> scoring;
    std::exception_ptr error;
    std::size_t n_reused = 0;
    Id donor = 0;             // the sequence whose prefix this one shares; 0: none
    std::size_t n_donor = 0;  // tokens of that prefix, which the donor may still have to compute
  };

  Batch(Model model, const BatchOptions& options, const MemoryPlan& plan);

  Slot& slot(Id id) { return const_cast<Slot&>(std::as_const(*this).slot(id)); }
  const Slot& slot(Id id) const;
  Slot* find(Id id) noexcept;
  void check_prompt(std::span<const std::int32_t> prompt, std::size_t before) const;
  Slot& free_slot();
  void join(Slot& s, std::span<const std::int32_t> tokens);
  /// Finds the running sequence or kept prefix that shares the longest prefix with s.
  void find_donor(Slot& s);
  /// Shares the donor's prefix. Returns false if the donor is still computing it and waiting for it saves
  /// time.
  bool take_from_donor(Slot& s);
  void share(Slot& s, const KvCache& from, std::size_t n);
  bool join_chosen(Slot& s, std::exception_ptr& first);
  void collect(std::exception_ptr& first, const std::atomic<bool>* cancel);
  /// Adds guesses to the chunks of generating sequences. Returns how many.
  std::size_t collect_guesses(const std::atomic<bool>* cancel);
  void collect_prompts(std::size_t& rows);
  void add_chunk(Slot& s, std::size_t n, Logits which);
  void collect_scores(std::size_t rows);
  /// Reserves the pages that the next forward pass writes.
  void make_room();
  /// Keeps a prompt that was just computed if the sequence itself will not hold all of it for long (sliding
  /// windows).
  void keep_prompt(const Slot& s);
  void choose(Slot& s, std::span<const float> logits);
  /// Chooses tokens by the rows of a token and its guesses, as long as the guesses are right.
  void choose_all(Slot& s, std::size_t n_guesses, std::span<const float> logits);
  void take_scores(Slot& s, std::size_t begin, std::span<const float> logits);

  Model model_;
  std::size_t n_ctx_;
  std::size_t max_prompt_tokens_;
  Workspace workspace_;
  std::shared_ptr<KvPool> pool_;
  detail::PrefixCache prefixes_;
  std::vector<Slot> slots_;
  std::shared_ptr<Drafter> drafter_;  // nullptr: none
  std::size_t most_guesses_;          // maximum for one sequence and step
  std::vector<DraftQuery> queries_;
  std::vector<Chunk> chunks_;      // of the next forward pass
  std::vector<Slot*> chunk_slot_;  // [chunks_.size()] the slot of each chunk
  std::size_t room_ = 0;           // tokens for which the next forward pass still has room
  Id next_id_ = 1;
  BatchStats stats_;
};

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "batch.inl"
#endif
