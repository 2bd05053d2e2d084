// From sampled tokens to text: what ends an answer, which text may be shown yet, what the caller is told.
// Invariant: text handed out is whole UTF-8 characters and never part of a stop string; put together it is
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
  kEndOfTurn,    // the model said so
  kStopString,   // one of GenerateOptions::stop_strings
  kMaxTokens,    // GenerateOptions::max_tokens
  kContextFull,  // the cache holds no further token
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

/// Any way of choosing the next token: gets its logits [vocab_size], returns its id. What is not an id of the
/// vocabulary ends the generation with Error{kInvalidArgument}.
using PickToken = std::function<std::int32_t(std::span<const float> logits)>;

/// Changes a sequence's own copy of its logits [vocab_size] before a token is chosen: biases, penalties,
/// masks
/// (-infinity forbids a token). `tokens` is the sequence so far: the prompt and what was generated.
using LogitsProcessor = std::function<void(std::span<float> logits, std::span<const std::int32_t> tokens)>;

/// One step of a generation.
struct GeneratedToken {
  /// `id` of the step that only brings out text which had been held back.
  static constexpr std::int32_t kNone = -1;

  std::int32_t id = kNone;     // the token, or kNone
  std::string_view text;       // what may be shown now, often "" ; valid until the next step
  double log_probability = 0;  // of id, when GenerateOptions::log_probabilities asks for it
};

/// Options of a generation: its length, what ends it, and its callbacks.
struct GenerateOptions {
  std::size_t max_tokens = 512;                // sampled, at most
  std::vector<std::string> stop_strings = {};  // generation ends before the first of these
  bool ignore_end = false;                     // go on past end-of-turn tokens
  /// Called with each piece of text, always whole UTF-8 characters of valid text; return false to stop.
  std::function<bool(std::string_view)> on_text = {};
  /// Called with each token, also when it completes no text yet, and once with id kNone when text was held
  /// back at the end; return false to stop.
  std::function<bool(const GeneratedToken&)> on_token = {};
  /// Natural logarithm of each token's probability by the model's own logits (temperature 1, no penalty).
  /// One exp() for each token of the vocabulary and step.
  bool log_probabilities = false;
  /// Called before each choice; what the callbacks and log_probabilities tell is by the model's own logits.
  LogitsProcessor process = {};
  /// The caller's flag, which any thread or signal handler may set: the generation ends (kCancelled), a
  /// running forward of it alone within a layer. nullptr: none.
  const std::atomic<bool>* cancel = nullptr;
  /// Whether tokens are guessed and verified several at a time, where the engine was made with a draft
  /// (EngineOptions::draft). The answer is the same with and without.
  bool draft = true;
};

/// Result of one generation.
struct GenerateResult {
  std::string text;                            // all that was shown
  std::vector<std::int32_t> tokens;            // without the token that ended the turn
  StopReason reason = StopReason::kMaxTokens;  // why it ended
  double seconds = 0;                          // from the call to its return
  double first_token_seconds = 0;              // from the call to the first sampled token
  std::vector<double> log_probabilities;       // of tokens, when asked for; else empty
  std::size_t n_steps = 0;     // forwards that computed tokens of the answer; the prompt's do not count
  std::size_t n_drafted = 0;   // tokens that were guessed and computed in these forwards
  std::size_t n_accepted = 0;  // of them, those that were chosen
};

namespace detail {

/// A stopwatch: seconds since its construction.
class Stopwatch {
 public:
  Stopwatch() noexcept : begin_(now()) {}
  double seconds() const noexcept { return static_cast<double>(now() - begin_) * 1e-9; }

 private:
  static std::int64_t now() noexcept;  // nanoseconds of a clock that never goes back
  std::int64_t begin_;
};

/// Text on its way out: holds back what may be the beginning of a stop string.
class StopFilter {
 public:
  explicit StopFilter(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  /// Adds text; returns what may be shown now. After stopped() nothing more is let through.
  std::string push(std::string_view text);
  std::string flush() { return std::exchange(held_, {}); }
  bool stopped() const noexcept { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

/// The one place that turns tokens into an answer, for sessions and batches alike.
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
  /// The step that the last take() or end() made.
  const GeneratedToken& last() const noexcept { return last_; }

  /// The next token. False: it ended the generation and does not join the sequence.
  /// Throws Error{kInvalidArgument} for an id that is not in the vocabulary, before anything changes;
  /// {kOutOfMemory}, and then the generation has ended.
  bool take(std::int32_t token, double log_probability);

  /// Ends the generation and calls nobody: after a callback threw.
  void abandon() noexcept;
  /// Ends the generation; text that was held back comes out. What ended before stays as it was.
  void end(StopReason reason);

 private:
  /// The token joins the result; text_ is what it brings out.
  void join(std::int32_t token, double log_probability);
  bool tell(const GeneratedToken& token);

  const Vocab* vocab_;
  GenerateOptions options_;
  StreamDecoder decoder_;
  StopFilter filter_;
  GenerateResult result_;
  GeneratedToken last_;
  std::string text_;  // what last_.text shows
  std::string held_;
  bool done_ = false;
  bool muted_ = false;
};

}  // namespace detail
}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "generation.inl"
#endif
