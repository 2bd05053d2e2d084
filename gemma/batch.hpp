// Many sequences in one forward: they join and leave between steps (continuous batching, Yu et al. 2022), and
// share the keys and values of what they begin with in common. Invariant: a sequence's tokens have the same
// bits as they would have alone in a Session with the same options and sampler (law 1), whatever shares the
// forward or the beginning with it; all memory is reserved when the batch is made.
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
  std::size_t n_steps = 0;      // forwards
  std::size_t n_computed = 0;   // tokens computed
  std::size_t n_reused = 0;     // tokens of prompts whose keys and values were there already
  std::size_t n_generated = 0;  // tokens chosen
  std::size_t n_drafted = 0;    // of those computed, guesses (EngineOptions::draft)
  std::size_t n_accepted = 0;   // guesses that were chosen
};

/// Owns a pool of pages, one workspace, and a sequence for each slot. Move-only; one thread at a time. Shares
/// the model.
class Batch {
 public:
  /// Names a sequence for as long as the batch lives; never given twice.
  using Id = std::uint64_t;

  /// Reserves what plan_batch(model, options) says; pages take memory when they are first used. Throws
  /// Error{kInvalidArgument} for options out of range, {kOutOfMemory} also when max_memory does not allow it.
  explicit Batch(Model model, const BatchOptions& options = {});

  /// The model that the batch runs.
  const Model& model() const noexcept { return model_; }
  /// Tokens that each sequence can hold.
  std::size_t n_ctx() const noexcept { return n_ctx_; }
  /// Options of the caches of its sequences.
  const KvCacheOptions& kv_options() const noexcept { return pool_->layout().options; }
  /// Maximum number of concurrent sequences.
  std::size_t max_sequences() const noexcept { return slots_.size(); }
  /// Sequences that have a slot: running, or ended and not yet taken.
  std::size_t n_sequences() const noexcept;
  /// Number of sequences that have not ended: step() computes tokens for them.
  std::size_t n_running() const noexcept;
  /// Bytes of all pages, the workspace and what guesses are made with, as planned.
  std::size_t memory_bytes() const noexcept {
    return workspace_.size_bytes() + pool_->size_bytes() + (drafter_ == nullptr ? 0 : drafter_->size_bytes());
  }
  /// Bytes of the pages that hold something, kept prefixes included; shared ones count once.
  std::size_t used_kv_bytes() const noexcept { return pool_->used_bytes(); }
  /// Counters since the batch was made.
  const BatchStats& stats() const noexcept { return stats_; }

  /// A sequence joins: `prompt` is computed by the next steps, as far as its beginning is not there already
  /// (of a running sequence, or kept from one that left); then tokens are chosen by `pick` (its own for each
  /// sequence) until something ends it. Throws Error{kContextFull} when the prompt does not fit,
  /// {kInvalidArgument} for an empty prompt, ids outside the vocabulary, or when every slot is taken,
  /// {kOutOfMemory}.
  Id add(std::span<const std::int32_t> prompt, PickToken pick, const GenerateOptions& options = {});
  /// Overload that takes a sampler, which the sequence keeps.
  Id add(std::span<const std::int32_t> prompt, Sampler sampler, const GenerateOptions& options = {});
  /// A sequence joins that chooses no token: its result is the natural logarithm of each probability of
  /// `continuation` after `prompt`, as Session::score() gives it: GenerateResult::log_probabilities, with
  /// `tokens` the continuation and no text. Throws as add(); both must fit into the context.
  Id add_score(std::span<const std::int32_t> prompt, std::span<const std::int32_t> continuation);
  /// A sequence that has ended goes on with `tokens` after what it holds, in the same slot. Throws as add(),
  /// {kInvalidArgument} while it is running.
  void resume(Id id, std::span<const std::int32_t> tokens, PickToken pick,
              const GenerateOptions& options = {});

  /// One forward: a token for every sequence that is past its prompt, several where guesses were right
  /// (EngineOptions::draft), and as much of the prompts as EngineOptions::chunk and max_prompt_tokens leave
  /// room for, the oldest first. Calls the sequences'
  /// callbacks. Returns whether any sequence is still running. `cancel`, when set by any thread, stops within
  /// a layer: throws Error{kCancelled}, with all sequences as before the step.
  /// What a callback or a sampler throws, and {kOutOfMemory} when an answer finds no more room, ends its
  /// sequence (kCallback) and is thrown on when the others have had their token.
  bool step(const std::atomic<bool>* cancel = nullptr);
  /// Steps until no sequence is running.
  void run(const std::atomic<bool>* cancel = nullptr) {
    while (step(cancel)) {
    }
  }

  /// Whether the sequence has ended. Throws Error{kInvalidArgument} for an id that has no slot (as all
  /// below).
  bool ended(Id id) const { return !slot(id).running(); }
  /// The result of a sequence up to now.
  const GenerateResult& result(Id id) const { return slot(id).result(); }
  /// What its picker, processor or a callback threw, which ended it; nullptr: nothing.
  std::exception_ptr error(Id id) const { return slot(id).error; }
  /// Tokens of its prompt whose keys and values were there already.
  std::size_t n_reused(Id id) const { return slot(id).n_reused; }
  /// The sequence itself: its tokens and what is computed of them; valid until the next call.
  const Sequence& sequence(Id id) const { return slot(id).sequence; }
  /// A snapshot of a sequence as it is now, without its logits.
  Snapshot snapshot(Id id) const { return slot(id).sequence.snapshot(); }
  /// A sequence that has ended forgets all but its first n tokens. Throws Error{kInvalidArgument} while it is
  /// running, or where a sliding window has given back what that needs.
  void truncate(Id id, std::size_t n);
  /// The sequence ends as kCancelled; its callbacks are shown what had been held back.
  void cancel(Id id);
  /// Its result; it leaves, its slot is free, and what was computed may be reused. A sequence still running
  /// ends as kCancelled.
  GenerateResult take(Id id);

  /// Keeps what a snapshot holds, for sequences that begin alike. Throws Error{kInvalidArgument} for one of
  /// another model or other options, {kOutOfMemory} when no pages are free.
  void remember(const Snapshot& snapshot);
  /// Number of prefixes kept for later sequences.
  std::size_t n_prefixes() const noexcept { return prefixes_.size(); }
  /// Drops all kept prefixes and frees their pages.
  void forget_prefixes() noexcept { prefixes_.clear(); }

 private:
  /// A sequence whose continuation is scored: from is the number of its first token.
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
    std::size_t n_prompt = 0;  // tokens of the prompt, and of what came before it
    std::optional<detail::Generating> generating;
    std::optional<Scoring> scoring;
    std::exception_ptr error;
    std::size_t n_reused = 0;
    Id donor = 0;             // whose keys and values this sequence begins with; 0: nobody's
    std::size_t n_donor = 0;  // so many tokens of them, which the donor may still have to compute
  };

  Batch(Model model, const BatchOptions& options, const MemoryPlan& plan);

  Slot& slot(Id id) { return const_cast<Slot&>(std::as_const(*this).slot(id)); }
  const Slot& slot(Id id) const;
  Slot* find(Id id) noexcept;
  void check_prompt(std::span<const std::int32_t> prompt, std::size_t before) const;
  Slot& free_slot();
  void join(Slot& s, std::span<const std::int32_t> tokens);
  /// Looks for a sequence or an entry to begin with.
  void find_donor(Slot& s);
  /// Takes what the donor has. False: it is worth waiting for what the donor is about to compute.
  bool take_from_donor(Slot& s);
  void share(Slot& s, const KvCache& from, std::size_t n);
  bool join_chosen(Slot& s, std::exception_ptr& first);
  void collect(std::exception_ptr& first, const std::atomic<bool>* cancel);
  /// Guesses join the chunks of sequences that generate. Returns how many.
  std::size_t collect_guesses(const std::atomic<bool>* cancel);
  void collect_prompts(std::size_t& rows);
  void add_chunk(Slot& s, std::size_t n, Logits which);
  void collect_scores(std::size_t rows);
  /// Reserves the pages that the next forward pass writes.
  void make_room();
  /// Keeps a prompt that was just read, where the sequence itself will not have it for long.
  void keep_prompt(const Slot& s);
  void choose(Slot& s, std::span<const float> logits);
  /// Chooses by the rows of a token and its guesses, as long as these are right.
  void choose_all(Slot& s, std::size_t n_guesses, std::span<const float> logits);
  void take_scores(Slot& s, std::size_t begin, std::span<const float> logits);

  Model model_;
  std::size_t n_ctx_;
  std::size_t max_prompt_tokens_;
  Workspace workspace_;
  std::shared_ptr<KvPool> pool_;
  PrefixCache prefixes_;
  std::vector<Slot> slots_;
  std::shared_ptr<Drafter> drafter_;  // nullptr: none
  std::size_t most_guesses_;          // of one sequence and step
  std::vector<DraftQuery> queries_;
  std::vector<Chunk> chunks_;      // of the next forward
  std::vector<Slot*> chunk_slot_;  // whose they are
  std::size_t room_ = 0;           // tokens that still go into it
  Id next_id_ = 1;
  BatchStats stats_;
};

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "batch.inl"
#endif
