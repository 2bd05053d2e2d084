// From sampled tokens to text: when an answer ends, which text may be shown, and when callbacks are called.
// Invariant: text passed on is whole UTF-8 characters and never part of a stop string; joined, it is
// GenerateResult::text.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../tokenizer/tokenizer.hpp"

namespace gemma {

/// Reason why a generation ended.
enum class StopReason : std::uint8_t {
  kEndOfTurn,    // the model chose an end token
  kStopString,   // one of GenerateOptions::stop_strings appeared
  kMaxTokens,    // GenerateOptions::max_tokens
  kContextFull,  // the cache is full
  kCallback,     // a callback returned false
  kCancelled     // GenerateOptions::cancel, or Batch::cancel()
};

/// The reason's name, e.g. "end_of_turn".
constexpr std::string_view to_string(StopReason reason) noexcept {
  switch (reason) {
    case StopReason::kEndOfTurn:
      return "end_of_turn";
    case StopReason::kStopString:
      return "stop_string";
    case StopReason::kMaxTokens:
      return "max_tokens";
    case StopReason::kContextFull:
      return "context_full";
    case StopReason::kCallback:
      return "callback";
    case StopReason::kCancelled:
      return "cancelled";
  }
  return "unknown";
}

/// Any way to choose the next token: receives its logits [vocab_size], returns its id. A value that is not
/// an id of the vocabulary ends the generation with Error{kInvalidArgument}.
using PickToken = std::function<std::int32_t(std::span<const float> logits)>;

/// Changes a copy of a sequence's logits [vocab_size] before a token is chosen: biases, penalties, masks
/// (-infinity forbids a token). `tokens` is the sequence so far: the prompt and the generated tokens.
using LogitsProcessor = std::function<void(std::span<float> logits, std::span<const std::int32_t> tokens)>;

/// One step of a generation.
struct GeneratedToken {
  /// Value of `id` in a last step that has no token, only text that had been held back.
  static constexpr std::int32_t kNone = -1;

  std::int32_t id = kNone;     // the token, or kNone
  std::string_view text;       // text that may be shown now, often ""; valid until the next step
  double log_probability = 0;  // of id, if GenerateOptions::log_probabilities is set
};

/// Options of a generation: its length, what ends it, and its callbacks.
struct GenerateOptions {
  std::size_t max_tokens = 512;                // maximum number of sampled tokens
  std::vector<std::string> stop_strings = {};  // generation ends before the first of these
  bool ignore_end = false;                     // continue after end-of-turn tokens
  /// Called with each piece of text, always whole UTF-8 characters of valid text; return false to stop.
  std::function<bool(std::string_view)> on_text = {};
  /// Called with each token, also if it completes no text yet, and once with id kNone if text was held back
  /// at the end; return false to stop.
  std::function<bool(const GeneratedToken&)> on_token = {};
  /// Whether to compute the natural logarithm of each token's probability from the model's own logits
  /// (temperature 1, no penalty). Costs one exp() for each token of the vocabulary per step.
  bool log_probabilities = false;
  /// Called before each choice. Callbacks and log_probabilities still see the model's own logits.
  LogitsProcessor process = {};
  /// The caller's flag, which any thread or signal handler may set: the generation then ends (kCancelled); a
  /// running forward pass ends within a layer if it computes this sequence alone. nullptr: none.
  const std::atomic<bool>* cancel = nullptr;
  /// Whether tokens are guessed and verified several at a time, if the engine was made with a draft
  /// (EngineOptions::draft). The answer is the same with and without.
  bool draft = true;
};

/// Result of one generation.
struct GenerateResult {
  std::string text;                            // all text that was passed on
  std::vector<std::int32_t> tokens;            // without the token that ended the turn
  StopReason reason = StopReason::kMaxTokens;  // why it ended
  double seconds = 0;                          // duration of the call
  double first_token_seconds = 0;              // from the call to the first sampled token
  std::vector<double> log_probabilities;       // [tokens.size()] if requested, else empty
  std::size_t n_steps = 0;     // forward passes that computed tokens of the answer, not of the prompt
  std::size_t n_drafted = 0;   // guessed tokens that these passes computed
  std::size_t n_accepted = 0;  // guessed tokens that were chosen
};

namespace detail {

/// A stopwatch: seconds since its construction.
class Stopwatch {
 public:
  Stopwatch() noexcept : begin_(now()) {}
  double seconds() const noexcept { return static_cast<double>(now() - begin_) * 1e-9; }

 private:
  static std::int64_t now() noexcept;  // nanoseconds of a monotonic clock
  std::int64_t begin_;
};

/// Filters the text of an answer: holds back what may be the beginning of a stop string.
class StopFilter {
 public:
  explicit StopFilter(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  /// Adds text; returns what may be shown now. After stopped() it returns nothing.
  std::string push(std::string_view text);
  std::string flush() { return std::exchange(held_, {}); }
  bool stopped() const noexcept { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

/// Turns tokens into an answer, for sessions and batches alike.
class Generation {
 public:
  Generation(const Tokenizer& tokenizer, GenerateOptions options);

  bool done() const noexcept { return done_; }
  /// Whether no further token may be sampled.
  bool full() const noexcept { return n_left() == 0; }
  /// Maximum number of tokens that may still be sampled.
  std::size_t n_left() const noexcept {
    return options_.max_tokens - std::min(options_.max_tokens, result_.tokens.size());
  }
  /// Whether a token would end the turn.
  bool would_end(std::int32_t token) const noexcept { return !options_.ignore_end && vocab_->is_stop(token); }
  bool wants_log_probabilities() const noexcept { return options_.log_probabilities; }
  const GenerateResult& result() const noexcept { return result_; }
  GenerateResult& result() noexcept { return result_; }
  /// The step of the last take() or end().
  const GeneratedToken& last() const noexcept { return last_; }

  /// Adds the next token. Returns false if it ended the generation; the token then does not join the
  /// sequence. Throws Error{kInvalidArgument} for an id that is not in the vocabulary, before anything
  /// changes; {kOutOfMemory}, and then the generation has ended.
  bool take(std::int32_t token, double log_probability);

  /// Ends the generation without calling any callback, after a callback threw.
  void abandon() noexcept;
  /// Ends the generation and passes on the text that was held back. Does nothing if it has ended before.
  void end(StopReason reason);

 private:
  /// Adds the token to the result and sets text_ to the text that may be shown.
  void join(std::int32_t token, double log_probability);
  bool tell(const GeneratedToken& token);

  const Vocab* vocab_;
  GenerateOptions options_;
  StreamDecoder decoder_;
  StopFilter filter_;
  GenerateResult result_;
  GeneratedToken last_;
  std::string text_;  // the memory of last_.text
  std::string held_;
  bool done_ = false;
  bool muted_ = false;
};

}  // namespace detail
}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "generation.inl"
#endif
