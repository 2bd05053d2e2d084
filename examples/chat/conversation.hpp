// A conversation with a model: turns in, answers out, one cache for all of it.
// Invariant: the tokens of a turn are those of the whole conversation in the model's template, with each
// answer as it was generated (its text, where a stop string cut it), so what comes depends on these, the
// sampling options and the seed alone; the cache only saves time. A turn that fails leaves the conversation
// as it was.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gemma/gemma.hpp"

namespace gemma::app {

struct ConversationOptions {
  SessionOptions session;
  SamplerOptions sampler;
  std::size_t max_tokens = 1024;          // of one answer
  std::vector<std::string> stop_strings;  // an answer ends before the first of these
  std::string system;                     // "": none
  std::string chat_template;              // name of the turns to use; "": the file's
  bool thinking = false;                  // the model is asked to think before it answers
  bool raw = false;                       // no template: each message is a text of its own to go on with
};

/// One answer and what it took. Seconds and tokens.
struct Answer {
  std::string text;
  std::string thinking;         // thoughts, which are no part of `text`; "": none
  std::vector<TokenId> tokens;  // generated, thoughts included, without the one that ended the turn
  StopReason reason = StopReason::kEndOfTurn;
  std::size_t n_prompt = 0;        // tokens of the whole prompt
  std::size_t n_reused = 0;        // of these, what the cache already held
  double prefill_seconds = 0;      // computing the others
  double first_token_seconds = 0;  // from the message to the first token; 0 when there was none
  double decode_seconds = 0;       // from the first token to the end
  std::size_t n_decoded = 0;       // tokens computed in decode_seconds
  double total_seconds = 0;

  double prefill_tokens_per_second() const noexcept {
    return prefill_seconds > 0 ? static_cast<double>(n_prompt - n_reused) / prefill_seconds : 0;
  }
  double decode_tokens_per_second() const noexcept {
    return decode_seconds > 0 ? static_cast<double>(n_decoded) / decode_seconds : 0;
  }
};

/// One thread at a time, except session().cancel(). The Model must outlive it.
class Conversation {
 public:
  /// Throws Error as Session, Sampler and ChatTemplate do.
  Conversation(const Model& model, ConversationOptions options);

  struct Watch {
    std::function<void(std::string_view)> on_text;     // each piece of the answer, whole characters
    std::function<void(std::string_view)> on_thought;  // the same of the thoughts before it
    Session::Progress on_prompt;                       // while the prompt is computed
  };
  /// The answer to `message`, which joins the conversation with it. Cancelled before the first token (or when
  /// it throws), the message does not join. Throws Error: kContextFull when the conversation is longer than
  /// the context, and as Session does.
  Answer ask(const std::string& message, const Watch& watch = {});

  /// Forgets the turns; the system text stays, and the sampler starts again from its seed.
  void reset();
  void set_system(std::string text) { options_.system = std::move(text); }
  const std::string& system() const noexcept { return options_.system; }
  /// Whether the model is asked to think from the next message on. Throws Error{kUnsupported} where its turns
  /// have no place for thoughts.
  void set_thinking(bool on);

  /// The conversation as JSON: {"model", "system", "messages": [{"role", "content", "ids" of an answer}]}.
  std::string to_json() const;
  /// Takes a conversation that to_json() made in place of this one. Throws Error{kMalformed} naming `source`,
  /// and then nothing has changed.
  void from_json(const std::string& text, const std::string& source);

  /// Turns of both sides.
  std::size_t n_messages() const noexcept { return messages_.size(); }
  /// What a user should know about the turns, or "".
  std::string note() const;
  const ConversationOptions& options() const noexcept { return options_; }
  Session& session() noexcept { return session_; }
  const Session& session() const noexcept { return session_; }

 private:
  std::vector<TokenId> prompt_tokens(const std::string& message) const;
  bool spell(std::span<const TokenId> ids, std::string_view text) const;
  const AgentTurns* agent() const { return template_ ? template_->dialect().turns.agent : nullptr; }
  std::span<const TokenId> without_thoughts(std::span<const TokenId> ids) const;

  const Model& model_;
  ConversationOptions options_;
  std::optional<ChatTemplate> template_;  // unless raw
  Session session_;
  Sampler sampler_;
  std::vector<Message> messages_;  // user, assistant, user, ...
};

}  // namespace gemma::app
