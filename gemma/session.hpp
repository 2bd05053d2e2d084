// One sequence and its generation: a cache, a workspace, the tokens so far, and the logits after the last of
// them. Invariant: tokens() are exactly the cache's positions; a failed or cancelled call leaves what was
// there before whole chunks were added (nothing half-written counts).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "generation.hpp"
#include "model.hpp"
#include "sampler.hpp"

namespace gemma {

/// What Session::prefill() did.
struct PrefillResult {
  std::size_t n_reused = 0;    // tokens already in the cache
  std::size_t n_computed = 0;  // tokens computed
  double seconds = 0;          // of computing them
};

/// A sequence at one moment: its keys and values, tokens, logits. Owns copies; move-only. Immutable, so any
/// number of sessions may be restored from it, also at once in many threads.
class Snapshot {
 public:
  Snapshot(Snapshot&&) noexcept = default;
  Snapshot& operator=(Snapshot&&) noexcept = default;
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;
  ~Snapshot() = default;

  /// The tokens of the sequence.
  std::span<const std::int32_t> tokens() const noexcept { return tokens_; }
  /// Bytes reserved: a whole cache. Memory that the sequence does not reach is not touched.
  std::size_t size_bytes() const noexcept {
    return cache_.size_bytes() + tokens_.capacity() * sizeof(std::int32_t) +
           (logits_.capacity() + hidden_.capacity()) * sizeof(float);
  }

 private:
  friend class Session;
  explicit Snapshot(KvCache cache) : cache_(std::move(cache)) {}

  KvCache cache_;
  std::vector<std::int32_t> tokens_;
  std::vector<float> logits_;  // [vocab_size], or empty
  std::vector<float> hidden_;  // [d_model], or empty
};

class TokenStream;

/// Move-only; one thread at a time, except cancel(). The Model must outlive it, in one place.
class Session {
 public:
  /// Called after each chunk of a prompt with the tokens done and in all.
  using Progress = std::function<void(std::size_t done, std::size_t total)>;

  /// Allocates what Model::plan(options) says. Throws Error{kInvalidArgument} for options out of range,
  /// {kOutOfMemory} also when max_memory does not allow it.
  explicit Session(const Model& model, const SessionOptions& options = {});

  /// The model it belongs to.
  const Model& model() const noexcept { return *model_; }
  /// The tokens of the sequence; valid until the next call that changes it.
  std::span<const std::int32_t> tokens() const noexcept { return tokens_; }
  /// How many there are.
  std::size_t n_past() const noexcept { return tokens_.size(); }
  /// How many there can be.
  std::size_t n_ctx() const noexcept { return cache_.n_ctx(); }
  /// Threads that compute.
  unsigned n_threads() const noexcept { return workspace_.options().n_threads; }
  /// Bytes of the cache and the workspace, as planned.
  std::size_t memory_bytes() const noexcept { return cache_.size_bytes() + workspace_.size_bytes(); }

  /// Logits [vocab_size] after the last token, valid until the next call that adds tokens.
  /// Throws Error{kInvalidArgument} before the first and after truncate().
  std::span<const float> logits() const;
  /// The final hidden state [d_model] of the last token, after the output norm: an embedding of the sequence
  /// as the model's last layer sees it. logits() are its product with the output matrix. Valid and throws as
  /// logits().
  std::span<const float> hidden_state() const;

  /// Makes the sequence equal to `tokens`: what the cache already holds of it is kept, the rest is computed.
  /// Throws Error: as Model::forward; kContextFull and kInvalidArgument before anything is changed.
  PrefillResult prefill(std::span<const std::int32_t> tokens, const Progress& progress = {});

  /// Adds tokens to the sequence. Throws Error as Model::forward, kContextFull and kInvalidArgument before
  /// anything is changed; on kCancelled the chunks done are kept.
  void append(std::span<const std::int32_t> tokens, const Progress& progress = {});

  /// Natural logarithms of the probability of each token of `continuation`, given the sequence and the tokens
  /// of the continuation before it. They join the sequence, so that logits() are those after the last; go
  /// back by truncate() or a Snapshot. SessionOptions::logit_rows tokens are computed at a time.
  /// Throws Error as append(), {kInvalidArgument} before the first token, {kNotFinite} for NaN logits; what
  /// was computed before stays.
  std::vector<double> score(std::span<const std::int32_t> continuation);

  /// Whether truncate(n) is possible.
  bool can_truncate(std::size_t n) const noexcept { return cache_.can_truncate(n); }
  /// Forgets all but the first n tokens; there are no logits until the next append.
  /// Throws Error{kInvalidArgument} when a sliding window has already overwritten what that needs.
  void truncate(std::size_t n);
  /// Forgets all tokens.
  void reset() { truncate(0); }

  /// A copy of the sequence as it is, also of its logits. Throws Error{kOutOfMemory}.
  Snapshot snapshot() const;
  /// Makes the sequence equal to that of `from`, taken from a session of the same model, context, kv_type and
  /// chunk. Throws Error{kInvalidArgument} otherwise, and then nothing has changed.
  void restore(const Snapshot& from);

  /// Samples tokens after the sequence until something ends it; they join the sequence. A token whose
  /// callback returned false, the one that completed a stop string and the one that ended the turn do not.
  /// Throws Error{kInvalidArgument} without a prompt, {kNotFinite} for NaN logits, {kOutOfMemory} when the
  /// answer finds no more room; what was generated before stays in the sequence. An exception of a callback
  /// passes through.
  GenerateResult generate(Sampler& sampler, const GenerateOptions& options = {});
  /// The same with a way of one's own to choose tokens.
  GenerateResult generate(PickToken pick, const GenerateOptions& options = {});

  /// The same as a range, one step at a time:
  ///   for (const GeneratedToken& token : session.stream(sampler)) print(token.text);
  /// The session and the sampler must outlive it; use the session otherwise only after the loop.
  TokenStream stream(Sampler& sampler, const GenerateOptions& options = {});
  /// The same with a way of one's own to choose tokens.
  TokenStream stream(PickToken pick, const GenerateOptions& options = {});

  /// From any thread: the running prefill, append or generate stops as soon as it can. The flag stays until
  /// clear_cancel().
  void cancel() noexcept { cancelled_->store(true, std::memory_order_relaxed); }
  /// Lets the session work again.
  void clear_cancel() noexcept { cancelled_->store(false, std::memory_order_relaxed); }
  /// The flag itself, for signal handlers; lives as long as the session.
  std::atomic<bool>& cancel_flag() noexcept { return *cancelled_; }

 private:
  friend class TokenStream;

  Session(const Model& model, const SessionOptions& options, const MemoryPlan& plan);

  void check_room(std::size_t n) const;
  void check_tokens(std::span<const std::int32_t> tokens) const;
  void forget_logits() noexcept {
    logits_ = {};
    hidden_ = {};
  }
  /// Adds tokens that have been checked.
  void feed(std::span<const std::int32_t> tokens, const Progress& progress);
  /// One forward. Returns the logits of `part` that were asked for; logits() are the last row of them.
  std::span<const float> advance(std::span<const std::int32_t> part, Logits which);

  const Model* model_;
  KvCache cache_;
  Workspace workspace_;
  std::vector<std::int32_t> tokens_;
  std::span<const float> logits_;  // [vocab_size] in workspace_, or empty
  std::span<const float> hidden_;  // [d_model] in workspace_, or empty
  std::unique_ptr<std::atomic<bool>> cancelled_;
};

/// A generation under way, made by Session::stream(): an input range of GeneratedToken. Stays where it is.
class TokenStream {
 public:
  /// Input iterator; what it points at is valid until the next increment.
  class Iterator {
   public:
    using value_type = GeneratedToken;       // for std::input_iterator
    using difference_type = std::ptrdiff_t;  // for std::input_iterator
    /// Takes the first step.
    explicit Iterator(TokenStream& stream) : stream_(&stream) { ++*this; }
    /// The step's token and text.
    const GeneratedToken& operator*() const noexcept { return stream_->generation_.last(); }
    /// The step's token and text.
    const GeneratedToken* operator->() const noexcept { return &**this; }
    /// The next step.
    Iterator& operator++() {
      at_end_ = !stream_->step();
      return *this;
    }
    /// The next step.
    void operator++(int) { ++*this; }
    /// Whether there is no further step.
    bool operator==(std::default_sentinel_t) const noexcept { return at_end_; }

   private:
    TokenStream* stream_;
    bool at_end_ = false;
  };

  TokenStream(const TokenStream&) = delete;
  TokenStream& operator=(const TokenStream&) = delete;
  ~TokenStream() = default;

  /// Once: the first token is sampled here. Throws as Session::generate().
  Iterator begin() { return Iterator(*this); }
  /// Compares equal when the generation has ended.
  std::default_sentinel_t end() const noexcept { return {}; }

  /// The next token, or nullptr at the end; for loops of other shapes than begin() and end().
  const GeneratedToken* next() { return step() ? &generation_.last() : nullptr; }
  /// What was generated up to now; reason and seconds are final after the last token.
  const GenerateResult& result() const noexcept { return generation_.result(); }

 private:
  friend class Session;
  TokenStream(Session& session, PickToken pick, const GenerateOptions& options);

  /// False at the end; otherwise generation_.last() is what to show.
  bool step();
  bool end_with(StopReason reason);

  Session* session_;
  PickToken pick_;
  detail::Generation generation_;
  detail::Stopwatch since_begin_;
  std::optional<std::int32_t> pending_;  // told, not yet in the sequence
};

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "session.inl"
#endif
