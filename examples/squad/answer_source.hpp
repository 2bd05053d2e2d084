// What the evaluator needs of a model: answers to prompts, with times. The engine fills it in
// (engine_source.cpp); tests fill it in with fakes. Invariant: an answer depends on the prompt and the
// sampling alone, never on what was asked before or beside it, on threads, or on whether a passage's prefill
// was shared.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gemma::squad {

/// A model to ask: a name of the user's own and its file.
struct ModelSpec {
  std::string name;
  std::filesystem::path file;
  std::string chat_template = {};  // name of the turns to use; "": the file's
  // sliding attention window in place of the file's, tokens; 0: none
  std::optional<std::size_t> window = std::nullopt;
  std::vector<std::string> adapters = {};  // LoRA adapters added to it: FILE[:SCALE]
};

struct Prompt {
  std::string text;
  bool chat =
      true;  // the text is a user's message, to be put into the model's own template; else it is all there is
};

struct Sampling {
  double temperature = 0;  // 0: greedy
  int top_k = 0;           // 0: all
  double top_p = 1;
  double repeat_penalty = 1;  // over the last 64 tokens, the prompt's included
  std::size_t max_tokens = 256;
  std::uint64_t seed = 0;
};

/// A question as a model is asked it.
struct Query {
  Prompt prompt;
  Sampling sampling;
};

/// Seconds are of a clock on the wall.
struct Timing {
  double total_s = 0;             // the whole call, prompt included: what the article divides by
  double prefill_s = 0;           // computing the prompt; 0 where forwards were shared
  double first_token_s = 0;       // from the call to the first token
  double decode_s = 0;            // computing the generated tokens; 0 where forwards were shared
  std::size_t cached_tokens = 0;  // tokens of the prompt that were not computed again
  // Answers that were computed together have no speed of their own: total_s and first_token_s hold the
  // others' work too. A forward and its time belong in equal parts to all answers that it worked on.
  std::size_t batch = 1;                  // as many answers could be computed together
  double share_s = 0;                     // of the run's time; total_s when alone
  double forwards = 0;                    // passes over the model that worked on its tokens
  std::size_t drafted = 0, accepted = 0;  // tokens that were guessed; of them, those that were right
};

struct Answer {
  std::string text;
  std::string stop;               // why it ended: end_of_turn, max_tokens, context_full, cancelled, ...
  std::size_t prompt_tokens = 0;  // BOS and template included
  std::size_t tokens = 0;         // generated, without the one that ends the turn
  Timing timing;
};

/// What is known of a loaded model, for the settings and the report.
struct ModelFacts {
  std::string description;                   // e.g. "gemma, 6 layers, Q4_K_M"
  std::size_t context_limit = 0;             // positions it was made for
  std::string turns = {};                    // whose turns a chat prompt is written in, e.g. "gemma"
  std::string note = {};                     // what a user should know about that choice, or ""
  std::vector<std::string> file_notes = {};  // what its file lacks or gets wrong (Model::notes)
};

/// One loaded model. One thread at a time.
class AnswerSource {
 public:
  virtual ~AnswerSource() = default;

  virtual ModelFacts facts() const = 0;

  /// Tokens of the prompt as ask() would compute them.
  virtual std::size_t count_tokens(const Prompt& prompt) const = 0;

  /// How many answers of `n` positions, prompts included, can well be computed together in the memory that
  /// there is: 1 or more.
  virtual std::size_t most_at_once(std::size_t n) const = 0;

  /// Plans room for `batch` answers at once, of `n` positions each; called before the first ask() or
  /// log_likelihood() (which needs a batch of 1), and again for another size. Throws gemma::Error.
  virtual void reserve(std::size_t n, std::size_t batch) = 0;

  /// Answers all queries; `done(i, answer)` is called with each as it is whole, in any order where several
  /// are computed at once. With `share`, tokens that prompts begin with in common are not computed again (of
  /// the query before, or of those beside it); without it, which needs a batch of 1, everything is. Once
  /// `cancel` is set it returns without the answers that are not whole. Throws gemma::Error (context_full)
  /// when a prompt does not fit, and what `done` throws.
  virtual void ask(std::span<const Query> queries, bool share, const std::atomic<bool>& cancel,
                   const std::function<void(std::size_t i, Answer answer)>& done) = 0;

  /// Natural logarithm of the probability that the model goes on from `prompt` with `continuation`: the sum
  /// over its tokens. For the gguf judge. Throws gemma::Error.
  virtual double log_likelihood(const Prompt& prompt, std::string_view continuation) = 0;
};

/// Loads a model, which stays loaded as long as the source lives. Throws gemma::Error.
using SourceFactory = std::function<std::unique_ptr<AnswerSource>(const ModelSpec&)>;

}  // namespace gemma::squad
