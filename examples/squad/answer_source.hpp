// The evaluator's interface to a model: answers to prompts, with times. engine_source.cpp implements it by
// the engine; tests use fakes.
// Invariant: an answer depends on the prompt and the sampling alone, never on other questions, on threads, or
// on whether a passage's prefill was shared.
#pragma once

#include <atomic>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "examples/squad/prompts.hpp"

namespace gemma::squad {

/// A model to ask: the user's name for it, and its file.
struct ModelSpec {
  std::string name;
  std::filesystem::path file;
  std::string chat_template = {};  // name of the template; "": the file's
  // sliding attention window that replaces the file's, in tokens; 0: none
  std::optional<std::size_t> window = std::nullopt;
  std::vector<std::string> adapters = {};  // LoRA adapters added to it: FILE[:SCALE]
};

struct Prompt {
  std::string text;
  bool chat = true;  // whether the text is a user's message for the model's template, or the whole prompt
};

struct Query {
  Prompt prompt;
  Sampling sampling;
};

/// Times of an answer, in seconds of wall-clock time.
struct Timing {
  double total_s = 0;             // the whole call, including the prompt: the article's divisor
  double prefill_s = 0;           // computing the prompt; 0 if forward passes were shared
  double first_token_s = 0;       // from the call to the first token
  double decode_s = 0;            // computing the generated tokens; 0 if forward passes were shared
  std::size_t cached_tokens = 0;  // tokens of the prompt that were not computed again
  // Answers that were computed together have no separate speed: total_s and first_token_s include the others'
  // work. A forward pass and its time are divided equally among the answers that it computed.
  std::size_t batch = 1;                  // most answers computed together
  double share_s = 0;                     // its share of the run's time; total_s if computed alone
  double forwards = 0;                    // its share of the forward passes that computed its tokens
  std::size_t drafted = 0, accepted = 0;  // guessed tokens; those that were right
};

struct Answer {
  std::string text;
  std::string stop;               // why it ended: end_of_turn, max_tokens, context_full, cancelled, ...
  std::size_t prompt_tokens = 0;  // including BOS and template
  std::size_t tokens = 0;         // generated tokens, without the one that ends the turn
  Timing timing;
};

/// Facts about a loaded model, for the settings and the report.
struct ModelFacts {
  std::string description;                   // e.g. "gemma, 6 layers, Q4_K_M"
  std::size_t context_limit = 0;             // the model's own context, in tokens
  std::string turns = {};                    // name of the template of chat prompts, e.g. "gemma"
  std::string note = {};                     // note for the user about that choice, or ""
  std::vector<std::string> file_notes = {};  // notes about its file (Model::notes)
};

/// A loaded model. Used by one thread at a time.
class AnswerSource {
 public:
  virtual ~AnswerSource() = default;

  virtual ModelFacts facts() const = 0;

  /// Number of tokens of the prompt, as ask() would compute it.
  virtual std::size_t count_tokens(const Prompt& prompt) const = 0;

  /// How many answers of `n` positions, including prompts, can be computed together efficiently in the
  /// available memory: at least 1.
  virtual std::size_t most_at_once(std::size_t n) const = 0;

  /// Reserves memory for `batch` answers at once, of `n` positions each. Called before the first ask() or
  /// log_likelihood() (which needs a batch of 1), and again for another size. Throws gemma::Error.
  virtual void reserve(std::size_t n, std::size_t batch) = 0;

  /// Answers all queries; calls `done(i, answer)` with each answer when it is complete, in any order if
  /// several are computed at once. With `share`, a common beginning of prompts is not computed again (common
  /// with the query before, or with those computed at the same time); without it, which needs a batch of 1,
  /// everything is computed. Once `cancel` is set it returns without the incomplete answers. Throws
  /// gemma::Error (context_full) if a prompt does not fit, and what `done` throws.
  virtual void ask(std::span<const Query> queries, bool share, const std::atomic<bool>& cancel,
                   const std::function<void(std::size_t i, Answer answer)>& done) = 0;

  /// Natural logarithm of the probability that the model continues `prompt` with `continuation`: the sum over
  /// its tokens. For the gguf judge. Throws gemma::Error.
  virtual double log_likelihood(const Prompt& prompt, std::string_view continuation) = 0;
};

/// Loads a model, which stays loaded as long as the source exists. Throws gemma::Error.
using SourceFactory = std::function<std::unique_ptr<AnswerSource>(const ModelSpec&)>;

}  // namespace gemma::squad
