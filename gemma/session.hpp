// One sequence and its generation, with its own workspace.
// Invariant: tokens() are the cache's positions and at most one token after them, which the next call
// computes; a failed or cancelled call adds only whole chunks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "draft.hpp"
#include "generation.hpp"
#include "model.hpp"
#include "plan.hpp"
#include "sampler.hpp"
#include "sequence.hpp"

namespace gemma {

/// Time and token counts of computing a prompt.
struct PrefillResult {
  std::size_t n_reused = 0;    // tokens already in the cache
  std::size_t n_computed = 0;  // tokens computed
  double seconds = 0;          // time to compute them
};

class TokenStream;

/// A session. Move-only; used by one thread at a time. Shares the model.
class Session {
 public:
  /// Allocates the memory that plan_session(model, options) reports. Throws Error{kInvalidArgument} for
  /// options out of range, {kOutOfMemory} also if max_memory is too small.
  explicit Session(Model model, const SessionOptions& options = {});

  /// The model that the session runs.
  const Model& model() const noexcept { return model_; }
  /// The tokens of the sequence; valid until the next call that changes it.
  std::span<const std::int32_t> tokens() const noexcept { return sequence_.tokens(); }
  /// Number of tokens in the sequence.
  std::size_t n_past() const noexcept { return sequence_.n_past(); }
  /// Number of computed tokens: all, or all but the last.
  std::size_t n_computed() const noexcept { return sequence_.cache().n_past(); }
  /// Maximum number of tokens.
  std::size_t n_ctx() const noexcept { return sequence_.n_ctx(); }
  /// Options of the cache of keys and values.
  const KvCacheOptions& kv_options() const noexcept { return sequence_.cache().layout().options; }
  /// Number of threads that compute.
  unsigned n_threads() const noexcept { return workspace_.options().n_threads; }
  /// Bytes of the cache, the workspace and the drafter, as planned.
  std::size_t memory_bytes() const noexcept {
    return sequence_.cache().size_bytes() + workspace_.size_bytes() +
           (drafter_ == nullptr ? 0 : drafter_->size_bytes());
  }

  /// Logits [vocab_size] after the last token, valid until the next call that adds tokens. Computes that
  /// token if a generation that ended by max_tokens left it waiting; allocates nothing. Throws
  /// Error{kInvalidArgument} before the first token and after truncate(); otherwise as append().
  std::span<const float> logits();
  /// The final hidden state [d_model] of the last token, after the output norm: an embedding of the sequence.
  /// logits() are its product with the output matrix. Validity, computation and errors are those of logits().
  std::span<const float> hidden_state();

  /// Makes the sequence equal to `tokens`: the prefix that the cache already holds is kept, the rest is
  /// computed. Throws Error as Model::forward(); kContextFull and kInvalidArgument before anything is
  /// changed; on kCancelled the completed chunks are kept.
  PrefillResult set_tokens(std::span<const std::int32_t> tokens, const RunOptions& run = {});
  /// The name of set_tokens() in version 0.1.
  PrefillResult prefill(std::span<const std::int32_t> tokens, const RunOptions& run = {}) {
    return set_tokens(tokens, run);
  }

  /// Adds tokens to the sequence. Throws Error as Model::forward(); kContextFull and kInvalidArgument before
  /// anything is changed; on kCancelled the completed chunks are kept.
  void append(std::span<const std::int32_t> tokens, const RunOptions& run = {});

  /// append() of at most SessionOptions::logit_rows tokens in one forward pass, which returns the logits
  /// after each of them: [n_tokens, vocab_size], valid until the next call that adds tokens. Throws as
  /// append(), and Error{kInvalidArgument} for no tokens or too many, or while a token waits (see logits()).
  std::span<const float> append_for_logits(std::span<const std::int32_t> tokens, const RunOptions& run = {});
  /// After append_for_logits(): keeps only the first n of its tokens, at least one. logits() are then those
  /// after the n-th, which are not computed again. Throws Error{kInvalidArgument} for n out of range, or
  /// after any other call that changed the sequence.
  void keep(std::size_t n);

  /// The natural logarithm of the probability of each token of `continuation`, given the sequence and the
  /// tokens of the continuation before it. Adds them to the sequence, so that logits() are those after the
  /// last one; truncate() or a Snapshot undoes that. Computes SessionOptions::logit_rows tokens at a time.
  /// Throws Error as append(), {kInvalidArgument} before the first token, {kNotFinite} as log_sum_exp();
  /// tokens computed before the error stay.
  std::vector<double> score(std::span<const std::int32_t> continuation, const RunOptions& run = {});

  /// Whether truncate(n) is possible.
  bool can_truncate(std::size_t n) const noexcept { return sequence_.can_truncate(n); }
  /// Drops all but the first n tokens; there are no logits until the next append. Throws
  /// Error{kInvalidArgument} if a sliding window has already released pages that this needs.
  void truncate(std::size_t n);
  /// Removes all tokens from the sequence.
  void reset() { truncate(0); }

  /// A copy of the sequence, including its logits. Throws Error{kOutOfMemory}.
  Snapshot snapshot() const { return sequence_.snapshot(); }
  /// Makes the sequence equal to a saved one of a session of the same model, context, kv_type and chunk.
  /// Throws Error{kInvalidArgument} for other snapshots, and then nothing has changed.
  void restore(const Snapshot& from);

  /// Samples tokens until something ends the generation, and adds them to the sequence. With
  /// EngineOptions::draft several tokens are guessed and computed at a time; the chosen tokens, the
  /// callbacks and the final state are the same. A token whose callback returned false, the token that
  /// completed a stop string, and the token that ended the turn are not added. Nothing is computed after the
  /// last of max_tokens. Throws Error{kInvalidArgument} without a prompt, {kNotFinite} as argmax(),
  /// {kOutOfMemory} if there is no memory for the answer; tokens generated before stay in the sequence.
  /// Exceptions of callbacks pass through. The sampler's repeat penalty sees the tokens that the sequence
  /// already holds.
  GenerateResult generate(Sampler& sampler, const GenerateOptions& options = {});
  /// Overload that takes a custom token picker.
  GenerateResult generate(PickToken pick, const GenerateOptions& options = {});

  /// generate() as a range, one step at a time:
  ///   for (const GeneratedToken& token : session.stream(sampler)) print(token.text);
  /// The session and the sampler must outlive it; do not use the session otherwise before the loop has ended.
  TokenStream stream(Sampler& sampler, const GenerateOptions& options = {});
  /// Overload that takes a custom token picker.
  TokenStream stream(PickToken pick, const GenerateOptions& options = {});

 private:
  friend class TokenStream;

  Session(Model model, const SessionOptions& options, const MemoryPlan& plan);

  void check_room(std::size_t n) const;
  void check_tokens(std::span<const std::int32_t> tokens) const;
  /// Adds tokens that have been checked, and computes all waiting ones.
  void feed(std::span<const std::int32_t> tokens, const RunOptions& run);
  /// Computes the token that a generation left waiting, if there is one.
  void compute_waiting(const std::atomic<bool>* cancel);
  /// Computes the waiting token and guesses after it, if the generation may guess; nothing if the token was
  /// guessed right and is computed already.
  void compute_next(detail::Generating& g);
  /// Runs one forward pass of `tokens`: the first waiting ones, or all waiting ones and guesses. Returns the
  /// requested logits; their last row becomes logits().
  std::span<const float> advance(std::span<const std::int32_t> tokens, Logits which,
                                 const std::atomic<bool>* cancel);
  /// Makes logits() return this row of the last forward pass.
  void show_row(std::size_t row);
  /// Drops the rows of guesses that were wrong or are not known to be right.
  void drop_guessed() noexcept;

  Model model_;
  Sequence sequence_;
  Workspace workspace_;
  std::shared_ptr<Drafter> drafter_;  // nullptr: none
  std::size_t most_guesses_;          // maximum for one step
  std::size_t n_rows_ = 0;   // number of tokens of append_for_logits() whose rows are still in the workspace
  std::size_t n_ahead_ = 0;  // number of computed guesses after the sequence whose rows are still there
};

/// A running generation, made by Session::stream(): an input range of GeneratedToken. Not movable.
class TokenStream {
 public:
  /// Input iterator; the element is valid until the next increment.
  class Iterator {
   public:
    using value_type = GeneratedToken;       // for std::input_iterator
    using difference_type = std::ptrdiff_t;  // for std::input_iterator
    /// Computes the first step.
    explicit Iterator(TokenStream& stream) : stream_(&stream) { ++*this; }
    /// Token and text of the current step.
    const GeneratedToken& operator*() const noexcept { return stream_->generating_.last(); }
    /// Token and text of the current step.
    const GeneratedToken* operator->() const noexcept { return &**this; }
    /// Computes the next step.
    Iterator& operator++() {
      at_end_ = !stream_->step();
      return *this;
    }
    /// Computes the next step.
    void operator++(int) { ++*this; }
    /// Whether the generation has ended.
    bool operator==(std::default_sentinel_t) const noexcept { return at_end_; }

   private:
    TokenStream* stream_;
    bool at_end_ = false;
  };

  TokenStream(const TokenStream&) = delete;
  TokenStream& operator=(const TokenStream&) = delete;
  ~TokenStream() = default;

  /// Samples the first token; may be called once. Throws as Session::generate().
  Iterator begin() { return Iterator(*this); }
  /// Compares equal when the generation has ended.
  std::default_sentinel_t end() const noexcept { return {}; }

  /// The next token, or nullptr at the end: an alternative to begin() and end().
  const GeneratedToken* next() { return step() ? &generating_.last() : nullptr; }
  /// The result so far; reason and seconds are final after the last token.
  const GenerateResult& result() const noexcept { return generating_.result(); }

 private:
  friend class Session;
  TokenStream(Session& session, PickToken pick, const GenerateOptions& options);

  /// Runs one step. Returns false at the end; otherwise generating_.last() is the step's output.
  bool step();
  bool take_step();

  Session* session_;
  detail::Generating generating_;
};

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "session.inl"
#endif
