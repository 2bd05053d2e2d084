// One sequence and its generation: a cache, a workspace, the tokens so far, and the logits after the last of
// them. Invariant: tokens() are exactly the cache's positions; a failed or cancelled call leaves what was
// there before whole chunks were added (nothing half-written counts).
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../tokenizer/tokenizer.hpp"
#include "generation.hpp"
#include "log_probability.hpp"
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
  explicit Session(const Model& model, const SessionOptions& options = {})
      : Session(model, options, model.plan(options)) {}

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
  std::span<const float> logits() const {
    if (logits_.empty())
      throw Error(ErrorCode::kInvalidArgument, "there are no logits before the first token");
    return logits_;
  }
  /// The final hidden state [d_model] of the last token, after the output norm: an embedding of the sequence
  /// as the model's last layer sees it. logits() are its product with the output matrix. Valid and throws as
  /// logits().
  std::span<const float> hidden_state() const {
    logits();
    return hidden_;
  }

  /// Makes the sequence equal to `tokens`: what the cache already holds of it is kept, the rest is computed.
  /// Throws Error: as Model::forward; kContextFull and kInvalidArgument before anything is changed.
  PrefillResult prefill(std::span<const std::int32_t> tokens, const Progress& progress = {}) {
    if (tokens.empty()) throw Error(ErrorCode::kInvalidArgument, "a prompt without tokens");
    if (tokens.size() > cache_.n_ctx()) {
      detail::refuse(ErrorCode::kContextFull, [&] {
        return "a prompt of " + std::to_string(tokens.size()) + " tokens; the context holds " +
               std::to_string(cache_.n_ctx());
      });
    }
    check_tokens(tokens);
    const auto begin = Clock::now();
    std::size_t keep = static_cast<std::size_t>(
        std::mismatch(tokens.begin(), tokens.end(), tokens_.begin(), tokens_.end()).first - tokens.begin());
    if (keep == tokens.size() && keep == tokens_.size() && !logits_.empty()) return {keep, 0, 0.0};
    keep = std::min(keep, tokens.size() - 1);  // the last token is computed again for its logits
    if (!cache_.can_truncate(keep)) keep = 0;  // a window has moved on: from the start
    truncate(keep);
    append(tokens.subspan(keep), progress);
    return {keep, tokens.size() - keep, seconds_since(begin)};
  }

  /// Adds tokens to the sequence. Throws Error as Model::forward, kContextFull and kInvalidArgument before
  /// anything is changed; on kCancelled the chunks done are kept.
  void append(std::span<const std::int32_t> tokens, const Progress& progress = {}) {
    check_room(tokens.size());
    check_tokens(tokens);
    const std::size_t most = workspace_.options().max_tokens;
    for (std::size_t done = 0; done < tokens.size();) {
      const auto part = tokens.subspan(done, std::min(most, tokens.size() - done));
      const bool last = done + part.size() == tokens.size();
      advance(part, last ? Logits::kLast : Logits::kNone);
      done += part.size();
      if (progress) progress(done, tokens.size());
    }
  }

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
  void truncate(std::size_t n) {
    cache_.truncate(n);
    tokens_.resize(n);
    forget_logits();
  }
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
  using Clock = std::chrono::steady_clock;
  static double seconds_since(Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
  }
  static std::size_t chunk(const SessionOptions& o) { return std::max<std::size_t>(o.chunk, 1); }

  Session(const Model& model, const SessionOptions& options, const MemoryPlan& plan)
      : model_(&model),
        cache_(model.make_cache({plan.n_ctx, options.kv_type, chunk(options)})),
        workspace_(model.make_workspace({std::min(chunk(options), plan.n_ctx),
                                         std::min({options.logit_rows, chunk(options), plan.n_ctx}),
                                         options.n_threads})) {
    detail::or_out_of_memory("no memory for a session", [&] {
      cancelled_ = std::make_unique<std::atomic<bool>>(false);
      tokens_.reserve(plan.n_ctx);
    });
  }

  void check_room(std::size_t n) const {
    if (n > cache_.n_ctx() - cache_.n_past()) cache_.refuse_more(n);
  }
  void check_tokens(std::span<const std::int32_t> tokens) const {
    for (const std::int32_t token : tokens) model_->check_token(token);
  }
  void forget_logits() noexcept {
    logits_ = {};
    hidden_ = {};
  }
  /// One forward. Returns the logits of `part` that were asked for; logits() are the last row of them.
  std::span<const float> advance(std::span<const std::int32_t> part, Logits which) {
    const Chunk chunk{part, &cache_, which};
    std::span<const float> rows;
    try {
      rows = model_->forward({&chunk, 1}, workspace_, cancelled_.get());
    } catch (const Error& e) {
      if (e.code() == ErrorCode::kCancelled) forget_logits();  // the only error after work has begun
      throw;
    }
    forget_logits();
    tokens_.insert(tokens_.end(), part.begin(), part.end());
    if (!rows.empty()) {
      logits_ = rows.last(model_->config().vocab_size);
      const std::size_t n = rows.size() / model_->config().vocab_size;
      hidden_ = model_->hidden_states(workspace_, n).last(model_->config().d_model);
    }
    return rows;
  }

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
  TokenStream(Session& session, PickToken pick, const GenerateOptions& options)
      : session_(&session), pick_(std::move(pick)), generation_(session.model().tokenizer(), options) {}

  bool step();
  bool end_with(StopReason reason) {
    generation_.end(reason);
    generation_.result().seconds = Session::seconds_since(begin_);
    return !generation_.last().text.empty();
  }

  Session* session_;
  PickToken pick_;
  detail::Generation generation_;
  Session::Clock::time_point begin_ = Session::Clock::now();
  std::optional<std::int32_t> pending_;  // told, not yet in the sequence
};

/// False at the end; otherwise generation_.last() is what to show.
inline bool TokenStream::step() {
  if (generation_.done()) return false;
  Session& s = *session_;
  if (pending_) {
    const std::int32_t token = *std::exchange(pending_, std::nullopt);
    if (s.n_past() == s.n_ctx()) return end_with(StopReason::kContextFull);
    try {
      s.append({&token, 1});
    } catch (const Error& e) {
      if (e.code() != ErrorCode::kCancelled) throw;
      return end_with(StopReason::kCancelled);
    }
  }
  if (generation_.full()) return end_with(StopReason::kMaxTokens);
  const std::int32_t token = pick_(s.logits());
  GenerateResult& result = generation_.result();
  if (result.tokens.empty()) result.first_token_seconds = Session::seconds_since(begin_);
  const double log_p = generation_.wants_log_probabilities() ? log_probability(s.logits(), token) : 0.0;
  const std::size_t before = result.tokens.size();
  if (generation_.take(token, log_p)) {
    pending_ = token;
    return true;
  }
  result.seconds = Session::seconds_since(begin_);
  // ended by this token: still something to show, unless it only said that the turn is over
  return result.tokens.size() != before || !generation_.last().text.empty();
}

inline TokenStream Session::stream(PickToken pick, const GenerateOptions& options) {
  return detail::or_out_of_memory("no memory for a generation",
                                  [&] { return TokenStream(*this, std::move(pick), options); });
}
inline TokenStream Session::stream(Sampler& sampler, const GenerateOptions& options) {
  return stream([&sampler](std::span<const float> logits) { return sampler.sample(logits); }, options);
}

inline GenerateResult Session::generate(PickToken pick, const GenerateOptions& options) {
  TokenStream all = stream(std::move(pick), options);
  while (all.step()) {
  }
  return std::move(all.generation_.result());
}
inline GenerateResult Session::generate(Sampler& sampler, const GenerateOptions& options) {
  return generate([&sampler](std::span<const float> logits) { return sampler.sample(logits); }, options);
}

inline std::vector<double> Session::score(std::span<const std::int32_t> continuation) {
  check_room(continuation.size());
  std::span<const float> given = logits();  // [rows, vocab_size]
  check_tokens(continuation);
  const std::size_t vocab = model_->config().vocab_size;
  const std::size_t most = workspace_.options().max_logit_rows;
  std::vector<double> out;
  detail::or_out_of_memory("no memory for scores", [&] { out.reserve(continuation.size()); });
  for (std::size_t done = 0; done < continuation.size();) {
    if (done == 0) out.push_back(log_probability(given, continuation[0]));
    const auto part = continuation.subspan(done, std::min(most, continuation.size() - done));
    given = advance(part, Logits::kAll);
    done += part.size();
    for (std::size_t row = 0; row < part.size() && out.size() < continuation.size(); ++row) {
      out.push_back(log_probability(given.subspan(row * vocab, vocab), continuation[out.size()]));
    }
  }
  return out;
}

inline Snapshot Session::snapshot() const {
  return detail::or_out_of_memory("no memory for a snapshot", [&] {
    Snapshot s(model_->make_cache({cache_.n_ctx(), cache_.type(), cache_.max_chunk()}));
    s.cache_.copy_from(cache_);
    s.tokens_.assign(tokens_.begin(), tokens_.end());
    s.logits_.assign(logits_.begin(), logits_.end());
    s.hidden_.assign(hidden_.begin(), hidden_.end());
    return s;
  });
}

inline void Session::restore(const Snapshot& from) {
  const ModelConfig& c = model_->config();
  const bool same = from.cache_.max_chunk() == cache_.max_chunk() &&
                    (from.logits_.empty() || from.logits_.size() == c.vocab_size) &&
                    (from.hidden_.empty() || from.hidden_.size() == c.d_model);
  if (!same) throw Error(ErrorCode::kInvalidArgument, "a snapshot of another model or other options");
  cache_.copy_from(from.cache_);
  tokens_.assign(from.tokens_.begin(), from.tokens_.end());  // within the reserved n_ctx
  forget_logits();
  if (from.logits_.empty()) return;
  std::copy(from.logits_.begin(), from.logits_.end(), workspace_.logits.data());
  std::copy(from.hidden_.begin(), from.hidden_.end(), workspace_.h.data());
  logits_ = workspace_.logits.span().first(c.vocab_size);
  hidden_ = workspace_.h.span().first(c.d_model);
}

}  // namespace gemma
