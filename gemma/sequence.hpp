// One sequence: its tokens, their keys and values, the logits after the last of them, and a running
// generation. Session and Batch are built on it.
// Invariant: tokens() begins with the cache's positions; those after them are waiting to be computed.
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

/// A saved state of a sequence: copies of its pages of keys and values, tokens, logits. Move-only. Immutable,
/// so many sequences can be restored from it, also at the same time in several threads.
class Snapshot {
 public:
  Snapshot(Snapshot&&) noexcept = default;
  Snapshot& operator=(Snapshot&&) noexcept = default;
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;
  ~Snapshot() = default;

  /// The tokens of the sequence.
  std::span<const std::int32_t> tokens() const noexcept { return tokens_; }
  /// Number of tokens with keys and values: all, or all but the last.
  std::size_t n_computed() const noexcept { return cache_.n_past(); }
  /// Size in bytes: the pages that the sequence held, tokens and logits.
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

  /// Makes a snapshot from its parts, for restoring (session_file.hpp); `logits` is [vocab_size] and `hidden`
  /// [d_model], or they are empty, which is not checked. Throws Error{kInvalidArgument} unless the tokens fit
  /// the context and the cache holds as many positions as there are tokens, or one less.
  Snapshot(KvCache cache, std::vector<std::int32_t> tokens, std::vector<float> logits,
           std::vector<float> hidden);

 private:
  KvCache cache_;
  std::vector<std::int32_t> tokens_;
  std::vector<float> logits_;
  std::vector<float> hidden_;
};

/// The sequence. Move-only; used by one thread at a time. It does not know its model; the object that
/// computes it does.
class Sequence {
 public:
  /// An empty sequence that takes its pages from `pool`. Throws std::bad_alloc.
  explicit Sequence(std::shared_ptr<KvPool> pool);

  /// The tokens, computed or waiting; valid until the next call that changes them.
  std::span<const std::int32_t> tokens() const noexcept { return tokens_; }
  /// Number of tokens in the sequence.
  std::size_t n_past() const noexcept { return tokens_.size(); }
  /// Maximum number of tokens in the sequence.
  std::size_t n_ctx() const noexcept { return cache_.n_ctx(); }
  /// The tokens that are not computed yet.
  std::span<const std::int32_t> waiting() const noexcept {
    return std::span(tokens_).subspan(cache_.n_past());
  }

  /// Whether logits() and hidden_state() are available: from the forward pass that computed them until the
  /// next.
  bool has_logits() const noexcept { return !logits_.empty(); }
  /// Logits [vocab_size] after the last token. Throws Error{kInvalidArgument} unless has_logits().
  std::span<const float> logits() const;
  /// The final hidden state [d_model] of the last token, after the output norm. Throws as logits().
  std::span<const float> hidden_state() const;

  /// Whether truncate(n) is possible.
  bool can_truncate(std::size_t n) const noexcept;
  /// Drops all but the first n tokens, and the logits. Throws Error{kInvalidArgument} if a sliding window has
  /// released pages that this needs.
  void truncate(std::size_t n);

  /// A copy of the sequence as it is. Throws Error{kOutOfMemory}.
  Snapshot snapshot() const;
  /// Makes the sequence equal to the saved one, but without its logits. Throws Error{kInvalidArgument} for
  /// another model or other options, and then nothing has changed; {kOutOfMemory} if the pool has too few
  /// pages, and then the sequence is empty.
  void restore(const Snapshot& from);

  // ---- for the object that computes the sequence ----
  /// The cache of keys and values.
  KvCache& cache() noexcept { return cache_; }
  /// The cache of keys and values.
  const KvCache& cache() const noexcept { return cache_; }
  /// Adds waiting tokens, which the caller has checked to be in the vocabulary and to fit. Allocates nothing.
  void add(std::span<const std::int32_t> tokens) {
    tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  }
  /// Removes waiting tokens from index n on.
  void drop_waiting(std::size_t n) noexcept {
    if (n < tokens_.size()) tokens_.resize(n < cache_.n_past() ? cache_.n_past() : n);
  }
  /// Sets where the last token's logits and hidden state are, valid until the next forward pass; empty spans:
  /// none.
  void set_logits(std::span<const float> logits, std::span<const float> hidden) noexcept {
    logits_ = logits;
    hidden_ = hidden;
  }
  /// Makes the cache share the pages of the first n tokens of another sequence's cache. They must equal this
  /// sequence's first n tokens. Throws as KvCache::share().
  void share(const KvCache& other, std::size_t n);

 private:
  KvCache cache_;
  std::vector<std::int32_t> tokens_;  // capacity n_ctx
  std::span<const float> logits_;     // [vocab_size] in a workspace, or empty
  std::span<const float> hidden_;     // [d_model] in a workspace, or empty
};

namespace detail {

/// A running generation: the loop that sessions and batches share. One step is join(), a forward pass
/// of the waiting tokens, choose(). With guesses the pass computes rows() instead of the one waiting token;
/// then choose() and join() alternate, without a pass between them, as long as is_computed().
class Generating {
 public:
  /// `most_guesses`: maximum number of guesses in one step; 0: none. Throws std::bad_alloc. The caller has
  /// checked that the model has a vocabulary.
  Generating(const Tokenizer& tokenizer, std::size_t vocab_size, PickToken pick,
             const GenerateOptions& options, std::size_t most_guesses);

  bool done() const noexcept { return generation_.done(); }
  /// Whether no further token may be chosen.
  bool full() const noexcept { return generation_.full(); }
  const GenerateResult& result() const noexcept { return generation_.result(); }
  GenerateResult& result() noexcept { return generation_.result(); }
  /// Output of the last step.
  const GeneratedToken& last() const noexcept { return generation_.last(); }
  /// Whether the caller's cancel flag is set.
  bool is_cancelled() const noexcept {
    return cancel_ != nullptr && cancel_->load(std::memory_order_relaxed);
  }
  const std::atomic<bool>* cancel() const noexcept { return cancel_; }

  /// Adds the token that was chosen last to the sequence, where it waits. Ends the generation if the context
  /// is full, no further token may be chosen, or the caller's flag is set. Returns false if the generation
  /// has ended.
  bool join(Sequence& sequence);
  /// Chooses a token from the logits [vocab_size] after the sequence. Returns false if the token ended the
  /// generation. Throws what the picker and callbacks throw, Error{kInvalidArgument} for a token outside the
  /// vocabulary, {kNotFinite}, {kOutOfMemory}.
  bool choose(const Sequence& sequence, std::span<const float> logits);
  void end(StopReason reason);
  /// Ends the generation without calling any callback.
  void abandon() noexcept;

  /// Whether the next forward pass may compute guesses: exactly one token waits, and the generation goes on
  /// after it.
  bool may_guess(const Sequence& sequence) const noexcept {
    return guesses_.enabled() && !done() && sequence.waiting().size() == 1;
  }
  /// Makes the query for guesses after the sequence in the drafter's `slot`; at most n guesses will have
  /// rows.
  DraftQuery ask(Drafter& drafter, std::size_t slot, const Sequence& sequence, std::size_t n,
                 const DraftLength::Step& step);
  /// Takes the answer to the query; rows() are then the tokens that one forward pass computes.
  void take_guesses(const DraftQuery& query, std::size_t n, DraftLength::Step& step, double cost) noexcept;
  /// Drops the guesses: the next forward pass computes none.
  void forget_guesses() noexcept { guesses_.clear(); }
  /// Number of guesses in rows().
  std::size_t n_guesses() const noexcept { return guesses_.size(); }
  /// The waiting token and the guesses after it.
  std::span<const std::int32_t> rows() const noexcept { return guesses_.rows(); }
  /// Counts a step in which rows() were computed.
  void count_step() noexcept {
    ++result().n_steps;
    result().n_drafted += guesses_.size();
  }
  /// Whether the token chosen by choose() was the next guess, whose row this forward pass has computed.
  bool is_computed() const noexcept { return guesses_.right(); }
  /// How many of rows() belong to the sequence, including that token.
  std::size_t n_right() const noexcept { return guesses_.n_right(); }
  /// How many guesses after the sequence may have rows, at most n.
  std::size_t most_guesses(const Sequence& sequence, std::size_t n) const noexcept;

 private:
  PickToken pick_;
  LogitsProcessor process_;
  const std::atomic<bool>* cancel_;
  Generation generation_;
  Guesses guesses_;
  Stopwatch since_begin_;
  std::optional<std::int32_t> chosen_;  // reported to the caller, not yet in the sequence
  std::vector<float> row_;              // [vocab_size], for a processor's copy of the logits
  std::size_t vocab_size_;
};

}  // namespace detail
}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "sequence.inl"
#endif
