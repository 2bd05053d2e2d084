// One sequence and its generation: what is computed with a workspace of its own. Invariant: tokens() are the
// cache's positions and at most one token after them, which the next call computes; a failed or cancelled
// call leaves what was there before whole chunks were added (nothing half-written counts).
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
  double seconds = 0;          // of computing them
};

class TokenStream;

/// Move-only; one thread at a time. Shares the model.
class Session {
 public:
  /// Reserves what plan_session(model, options) says. Throws Error{kInvalidArgument} for options out of
  /// range, {kOutOfMemory} also when max_memory does not allow it.
  explicit Session(Model model, const SessionOptions& options = {});

  /// The model that the session runs.
  const Model& model() const noexcept { return model_; }
  /// The tokens of the sequence; valid until the next call that changes it.
  std::span<const std::int32_t> tokens() const noexcept { return sequence_.tokens(); }
  /// Number of tokens in the sequence.
  std::size_t n_past() const noexcept { return sequence_.n_past(); }
  /// How many of them are computed: all, or all but the last.
  std::size_t n_computed() const noexcept { return sequence_.cache().n_past(); }
  /// Maximum number of tokens.
  std::size_t n_ctx() const noexcept { return sequence_.n_ctx(); }
  /// Options of the cache of keys and values.
  const KvCacheOptions& kv_options() const noexcept { return sequence_.cache().layout().options; }
  /// Number of threads that compute.
  unsigned n_threads() const noexcept { return workspace_.options().n_threads; }
  /// Bytes of the cache, the workspace and what guesses are made with, as planned.
  std::size_t memory_bytes() const noexcept {
    return sequence_.cache().size_bytes() + workspace_.size_bytes() +
           (drafter_ == nullptr ? 0 : drafter_->size_bytes());
  }

  /// Logits [vocab_size] after the last token, valid until the next call that adds tokens. Computes that
  /// token where a generation left it waiting (it ended by max_tokens); allocates nothing. Throws
  /// Error{kInvalidArgument} before the first token and after truncate(), as append() otherwise.
  std::span<const float> logits();
  /// The final hidden state [d_model] of the last token, after the output norm: an embedding of the sequence
  /// as the model's last layer sees it. logits() are its product with the output matrix. Valid, computes and
  /// throws as logits().
  std::span<const float> hidden_state();

  /// Makes the sequence equal to `tokens`: what the cache already holds of it is kept, the rest is computed.
  /// Throws Error: as Model::forward; kContextFull and kInvalidArgument before anything is changed; on
  /// kCancelled the chunks done are kept.
  PrefillResult set_tokens(std::span<const std::int32_t> tokens, const RunOptions& run = {});
  /// set_tokens() by its name of version 0.1.
  PrefillResult prefill(std::span<const std::int32_t> tokens, const RunOptions& run = {}) {
    return set_tokens(tokens, run);
  }

  /// Adds tokens to the sequence. Throws Error as Model::forward, kContextFull and kInvalidArgument before
  /// anything is changed; on kCancelled the chunks done are kept.
  void append(std::span<const std::int32_t> tokens, const RunOptions& run = {});

  /// append() of at most SessionOptions::logit_rows tokens in one forward, with the logits after each of
  /// them: [n_tokens, vocab_size], valid until the next call that adds tokens. Throws as append(), and
  /// Error{kInvalidArgument} for none or more tokens, or while a token waits (see logits()).
  std::span<const float> append_for_logits(std::span<const std::int32_t> tokens, const RunOptions& run = {});
  /// After append_for_logits(): of its tokens only the first n stay, one at least. logits() are then those
  /// after the n-th, which need not be computed again. Throws Error{kInvalidArgument} for another n, or after
  /// any other call that changed the sequence.
  void keep(std::size_t n);

  /// Natural logarithms of the probability of each token of `continuation`, given the sequence and the tokens
  /// of the continuation before it. They join the sequence, so that logits() are those after the last; go
  /// back by truncate() or a Snapshot. SessionOptions::logit_rows tokens are computed at a time.
  /// Throws Error as append(), {kInvalidArgument} before the first token, {kNotFinite} for NaN logits; what
  /// was computed before stays.
  std::vector<double> score(std::span<const std::int32_t> continuation, const RunOptions& run = {});

  /// Whether truncate(n) is possible.
  bool can_truncate(std::size_t n) const noexcept { return sequence_.can_truncate(n); }
  /// Forgets all but the first n tokens; there are no logits until the next append.
  /// Throws Error{kInvalidArgument} when a sliding window has already given back what that needs.
  void truncate(std::size_t n);
  /// Removes all tokens from the sequence.
  void reset() { truncate(0); }

  /// A copy of the sequence as it is, also of its logits. Throws Error{kOutOfMemory}.
  Snapshot snapshot() const { return sequence_.snapshot(); }
  /// Makes the sequence equal to that of `from`, taken from a session of the same model, context, kv_type and
  /// chunk. Throws Error{kInvalidArgument} otherwise, and then nothing has changed.
  void restore(const Snapshot& from);

  /// Samples tokens after the sequence until something ends it; they join the sequence. With
  /// EngineOptions::draft several are guessed and computed at a time; which are chosen, and what is told and
  /// left when it ends, does not change. A token whose
  /// callback returned false, the one that completed a stop string and the one that ended the turn do not.
  /// Nothing is computed after the last of max_tokens.
  /// Throws Error{kInvalidArgument} without a prompt, {kNotFinite} for NaN logits, {kOutOfMemory} when the
  /// answer finds no more room; what was generated before stays in the sequence. An exception of a callback
  /// passes through.
  GenerateResult generate(Sampler& sampler, const GenerateOptions& options = {});
  /// Overload that takes a custom token picker.
  GenerateResult generate(PickToken pick, const GenerateOptions& options = {});

  /// The same as a range, one step at a time:
  ///   for (const GeneratedToken& token : session.stream(sampler)) print(token.text);
  /// The session and the sampler must outlive it; use the session otherwise only after the loop.
  TokenStream stream(Sampler& sampler, const GenerateOptions& options = {});
  /// Overload that takes a custom token picker.
  TokenStream stream(PickToken pick, const GenerateOptions& options = {});

 private:
  friend class TokenStream;

  Session(Model model, const SessionOptions& options, const MemoryPlan& plan);

  void check_room(std::size_t n) const;
  void check_tokens(std::span<const std::int32_t> tokens) const;
  /// Adds tokens that have been checked, and computes all that wait.
  void feed(std::span<const std::int32_t> tokens, const RunOptions& run);
  /// Computes what a generation left waiting.
  void compute_waiting(const std::atomic<bool>* cancel);
  /// The same with guesses behind it, where the generation may guess; nothing where a guess was right and is
  /// computed already.
  void compute_next(detail::Generating& g);
  /// One forward of `tokens`: the first that wait, or all of them and guesses. Returns the logits that were
  /// asked for; logits() are the last row of them.
  std::span<const float> advance(std::span<const std::int32_t> tokens, Logits which,
                                 const std::atomic<bool>* cancel);
  /// logits() are this row of the last forward.
  void show_row(std::size_t row);
  /// Rows of guesses that were not right, or are not known to be, leave.
  void drop_guessed() noexcept;

  Model model_;
  Sequence sequence_;
  Workspace workspace_;
  std::shared_ptr<Drafter> drafter_;  // nullptr: none
  std::size_t most_guesses_;          // of one step
  std::size_t n_rows_ = 0;            // tokens of append_for_logits(), whose rows the workspace still holds
  std::size_t n_ahead_ = 0;  // guesses computed behind the sequence, whose rows the workspace still holds
};

/// A generation under way, made by Session::stream(): an input range of GeneratedToken. Stays where it is.
class TokenStream {
 public:
  /// Input iterator; what it points at is valid until the next increment.
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

  /// Once: the first token is sampled here. Throws as Session::generate().
  Iterator begin() { return Iterator(*this); }
  /// Compares equal when the generation has ended.
  std::default_sentinel_t end() const noexcept { return {}; }

  /// The next token, or nullptr at the end; for loops of other shapes than begin() and end().
  const GeneratedToken* next() { return step() ? &generating_.last() : nullptr; }
  /// What was generated up to now; reason and seconds are final after the last token.
  const GenerateResult& result() const noexcept { return generating_.result(); }

 private:
  friend class Session;
  TokenStream(Session& session, PickToken pick, const GenerateOptions& options);

  /// False at the end; otherwise generating_.last() is what to show.
  bool step();
  bool take_step();

  Session* session_;
  detail::Generating generating_;
};

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "session.inl"
#endif
