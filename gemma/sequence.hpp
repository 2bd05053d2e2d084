// One sequence: its tokens, their keys and values, the logits after the last of them; and a generation that
// is under way. What Session and Batch are made of. Invariant: tokens() begins with the cache's positions;
// those after them are waiting to be computed.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "draft.hpp"
#include "generation.hpp"
#include "kv_cache.hpp"

namespace gemma {

/// A sequence at one moment: its pages of keys and values, tokens, logits. Owns copies; move-only. Immutable,
/// so any number of sequences may be restored from it, also at once in many threads.
class Snapshot {
 public:
  Snapshot(Snapshot&&) noexcept = default;
  Snapshot& operator=(Snapshot&&) noexcept = default;
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;
  ~Snapshot() = default;

  /// The tokens of the sequence.
  std::span<const std::int32_t> tokens() const noexcept { return tokens_; }
  /// How many of them keys and values are kept for: all, but for a last one that nothing asked for.
  std::size_t n_computed() const noexcept { return cache_.n_past(); }
  /// Bytes that it takes: the pages that the sequence held, tokens and logits.
  std::size_t size_bytes() const noexcept {
    return cache_.size_bytes() + tokens_.capacity() * sizeof(std::int32_t) +
           (logits_.capacity() + hidden_.capacity()) * sizeof(float);
  }

  /// The saved keys and values.
  const KvCache& cache() const noexcept { return cache_; }
  /// Logits [vocab_size] after the last token, or empty.
  std::span<const float> logits() const noexcept { return logits_; }
  /// The final hidden state [d_model] of the last token, or empty.
  std::span<const float> hidden_state() const noexcept { return hidden_; }

  /// For who restores one from elsewhere (session_file.hpp). Throws Error{kInvalidArgument} unless the cache
  /// holds as many positions as there are tokens, or one less.
  Snapshot(KvCache cache, std::vector<std::int32_t> tokens, std::vector<float> logits,
           std::vector<float> hidden);

 private:
  KvCache cache_;
  std::vector<std::int32_t> tokens_;
  std::vector<float> logits_;
  std::vector<float> hidden_;
};

/// Move-only; one thread at a time. Which model its tokens belong to is known to who computes it.
class Sequence {
 public:
  /// An empty sequence, whose pages come from `pool`. Throws std::bad_alloc.
  explicit Sequence(std::shared_ptr<KvPool> pool);

  /// The tokens, computed or waiting; valid until the next call that changes them.
  std::span<const std::int32_t> tokens() const noexcept { return tokens_; }
  /// Number of tokens in the sequence.
  std::size_t n_past() const noexcept { return tokens_.size(); }
  /// Maximum number of tokens in the sequence.
  std::size_t n_ctx() const noexcept { return cache_.n_ctx(); }
  /// Those that are not computed yet.
  std::span<const std::int32_t> waiting() const noexcept {
    return std::span(tokens_).subspan(cache_.n_past());
  }

  /// Whether logits() and hidden_state() are there: after a forward that wanted them, until the next.
  bool has_logits() const noexcept { return !logits_.empty(); }
  /// Logits [vocab_size] after the last token. Throws Error{kInvalidArgument} when there are none.
  std::span<const float> logits() const;
  /// The final hidden state [d_model] of the last token, after the output norm. Throws as logits().
  std::span<const float> hidden_state() const;

  /// Whether truncate(n) is possible.
  bool can_truncate(std::size_t n) const noexcept;
  /// Forgets all but the first n tokens, and the logits. Throws Error{kInvalidArgument} when a sliding window
  /// has given back pages that this needs.
  void truncate(std::size_t n);

  /// A copy of the sequence as it is. Throws Error{kOutOfMemory}.
  Snapshot snapshot() const;
  /// Makes the sequence equal to that of `from`, except for its logits. Throws Error{kInvalidArgument} for
  /// one of another model or other options, and then nothing has changed; {kOutOfMemory} when the pool has
  /// too few pages, and then it is empty.
  void restore(const Snapshot& from);

  // ---- for who computes it ----
  /// The cache of keys and values.
  KvCache& cache() noexcept { return cache_; }
  /// The cache of keys and values.
  const KvCache& cache() const noexcept { return cache_; }
  /// Tokens join and wait; they are known to be in the vocabulary and to fit. Allocates nothing.
  void add(std::span<const std::int32_t> tokens) {
    tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  }
  /// Tokens from the n-th on that still wait leave.
  void drop_waiting(std::size_t n) noexcept {
    if (n < tokens_.size()) tokens_.resize(n < cache_.n_past() ? cache_.n_past() : n);
  }
  /// Where the last token's logits and hidden state are until the next forward; empty: nowhere.
  void set_logits(std::span<const float> logits, std::span<const float> hidden) noexcept {
    logits_ = logits;
    hidden_ = hidden;
  }
  /// The cache has the first n tokens of another's sequence, which shares their pages. The tokens are this
  /// sequence's first n already. Throws as KvCache::share().
  void share(const KvCache& other, std::size_t n);

 private:
  KvCache cache_;
  std::vector<std::int32_t> tokens_;  // capacity: n_ctx
  std::span<const float> logits_;     // [vocab_size] in a workspace, or empty
  std::span<const float> hidden_;     // [d_model] in a workspace, or empty
};

namespace detail {

/// A generation under way: the one loop of sessions and batches. One step is join(), a forward of the tokens
/// that wait, choose(). With guesses the forward computes rows() in place of the one token that waits; then
/// choose() and join() take turns, with no forward between them, as long as is_computed().
class Generating {
 public:
  /// `most_guesses`: for one step; 0: none. Throws std::bad_alloc; Error{kMissingKey} for a model without a
  /// vocabulary is the caller's.
  Generating(const Tokenizer& tokenizer, std::size_t vocab_size, PickToken pick,
             const GenerateOptions& options, std::size_t most_guesses);

  bool done() const noexcept { return generation_.done(); }
  /// Whether no further token may be chosen.
  bool full() const noexcept { return generation_.full(); }
  const GenerateResult& result() const noexcept { return generation_.result(); }
  GenerateResult& result() noexcept { return generation_.result(); }
  /// Output of the last step.
  const GeneratedToken& last() const noexcept { return generation_.last(); }
  /// Whether the caller's flag is set.
  bool is_cancelled() const noexcept {
    return cancel_ != nullptr && cancel_->load(std::memory_order_relaxed);
  }
  const std::atomic<bool>* cancel() const noexcept { return cancel_; }

  /// The token that was chosen last joins the sequence and waits. Ends the generation where the context is
  /// full, no further token may be chosen, or the caller's flag is set. False: it has ended.
  bool join(Sequence& sequence);
  /// Chooses a token by the logits [vocab_size] after the sequence. False: it ended the generation.
  /// Throws what the picker and callbacks throw, Error{kInvalidArgument} for a token outside the vocabulary,
  /// {kNotFinite}, {kOutOfMemory}.
  bool choose(const Sequence& sequence, std::span<const float> logits);
  void end(StopReason reason);
  /// Ends the generation without calling any callback.
  void abandon() noexcept;

  /// Whether the next forward may compute guesses: one token waits, which is to be followed by another.
  bool may_guess(const Sequence& sequence) const noexcept {
    return guesses_.enabled() && !done() && sequence.waiting().size() == 1;
  }
  /// Asks `drafter` how the sequence in its `slot` goes on; at most n guesses will have rows.
  DraftQuery ask(Drafter& drafter, std::size_t slot, const Sequence& sequence, std::size_t n,
                 const DraftLength::Step& step);
  /// Takes the answer; rows() are then what one forward computes.
  void take_guesses(const DraftQuery& query, std::size_t n, DraftLength::Step& step, double cost) noexcept;
  /// There are none for the next forward.
  void forget_guesses() noexcept { guesses_.clear(); }
  /// Guesses in rows().
  std::size_t n_guesses() const noexcept { return guesses_.size(); }
  /// The token that waits, and guesses behind it.
  std::span<const std::int32_t> rows() const noexcept { return guesses_.rows(); }
  /// Marks the rows as computed.
  void count_step() noexcept {
    ++result().n_steps;
    result().n_drafted += guesses_.size();
  }
  /// Whether the token that choose() has chosen was the next of rows().
  bool is_computed() const noexcept { return guesses_.right(); }
  /// How many of rows() are the sequence's, with that token.
  std::size_t n_right() const noexcept { return guesses_.n_right(); }
  /// How many of at most n guesses behind the sequence may have rows.
  std::size_t most_guesses(const Sequence& sequence, std::size_t n) const noexcept;

 private:
  PickToken pick_;
  LogitsProcessor process_;
  const std::atomic<bool>* cancel_;
  Generation generation_;
  Guesses guesses_;
  Stopwatch since_begin_;
  std::optional<std::int32_t> chosen_;  // reported to the caller, not yet in the sequence
  std::vector<float> row_;              // [vocab_size], where logits are processed
  std::size_t vocab_size_;
};

}  // namespace detail
}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "sequence.inl"
#endif
