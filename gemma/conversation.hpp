// A conversation with a model: turns in, answers out, one cache for all of it.
// Invariant: the tokens of a turn are those of the whole conversation in the model's template, with each
// answer as it was generated (its text, where a stop string cut it), so what comes depends on these, the
// sampling options and the seed alone; the cache only saves time. A turn that fails leaves the conversation
// as it was.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "../tokenizer/chat_template.hpp"
#include "grammar.hpp"
#include "sampler.hpp"
#include "session.hpp"

namespace gemma {

/// Options of a Conversation.
struct ConversationOptions {
  SessionOptions session;                 // of its session
  SamplerOptions sampler;                 // how tokens are chosen
  std::size_t max_tokens = 1024;          // of one answer
  std::vector<std::string> stop_strings;  // an answer ends before the first of these
  std::string system;                     // "": none
  std::string chat_template;              // name of the turns to use; "": the file's
  bool thinking = false;                  // the model is asked to think before it answers
  bool raw = false;                       // no template: each message is a text of its own to go on with
  std::optional<Grammar> grammar;         // what every answer must be
};

/// One answer, and the time and tokens that it took.
struct Answer {
  std::string text;             // what was said
  std::string thinking;         // thoughts, which are no part of `text`; "": none
  std::vector<TokenId> tokens;  // generated, thoughts included, without the one that ended the turn
  StopReason reason = StopReason::kEndOfTurn;  // why it ended
  std::size_t n_prompt = 0;                    // tokens of the whole prompt
  std::size_t n_reused = 0;                    // of these, what the cache already held
  double prefill_seconds = 0;                  // computing the others
  double first_token_seconds = 0;              // from the message to the first token; 0 when there was none
  double decode_seconds = 0;                   // from the first token to the end
  std::size_t n_decoded = 0;                   // tokens computed in decode_seconds
  double total_seconds = 0;                    // from the message to the end
  std::size_t n_steps = 0;                     // forward passes that computed n_decoded
  std::size_t n_drafted = 0;   // guesses that these passes computed beside (SessionOptions::draft)
  std::size_t n_accepted = 0;  // guesses that were right

  /// Tokens of the prompt computed in a second; 0 when there were none.
  double prefill_tokens_per_second() const noexcept {
    return prefill_seconds > 0 ? static_cast<double>(n_prompt - n_reused) / prefill_seconds : 0;
  }
  /// Tokens computed in a second after the first; 0 when there were none.
  double decode_tokens_per_second() const noexcept {
    return decode_seconds > 0 ? static_cast<double>(n_decoded) / decode_seconds : 0;
  }
};

/// Callbacks during an answer, and the flag that cancels it.
struct ConversationWatch {
  std::function<void(std::string_view)> on_text = {};            // each piece of the answer, whole characters
  std::function<void(std::string_view)> on_thought = {};         // the same of the thoughts before it
  std::function<void(std::size_t, std::size_t)> on_prompt = {};  // while the prompt is computed: done, in all
  const std::atomic<bool>* cancel = nullptr;  // the caller's flag, which any thread may set
  LogitsProcessor process = {};               // see GenerateOptions::process
};

/// Turns with a model in one session. Move-only; one thread at a time. Shares the model.
class Conversation {
 public:
  /// Throws Error as Session, Sampler and ChatTemplate do.
  Conversation(Model model, ConversationOptions options);

  /// The answer to `message`, which joins the conversation with it. Cancelled before the first token (or when
  /// it throws), the message does not join. Throws Error: kContextFull when the conversation is longer than
  /// the context, and as Session does.
  Answer ask(const std::string& message, const ConversationWatch& watch = {});

  /// Forgets the turns; the system text stays, and the sampler starts again from its seed.
  void reset();
  /// How the model is to behave, from the next message on; "": as it likes.
  void set_system(std::string text) { options_.system = std::move(text); }
  /// The system message.
  const std::string& system() const noexcept { return options_.system; }
  /// Whether the model is asked to think from the next message on. Throws Error{kUnsupported} where its turns
  /// have no place for thoughts.
  void set_thinking(bool on);

  /// The turns, user and assistant in turn; answers carry the ids that were generated.
  std::span<const Message> messages() const noexcept { return messages_; }
  /// Takes other turns in place of these. Ids that do not spell their answer (another vocabulary, an edited
  /// text) are left out. The cache stays: what it begins with in common is not computed again. Throws
  /// Error{kInvalidArgument} for turns out of order or a last one without an answer, and then nothing has
  /// changed.
  void set_messages(std::vector<Message> messages);

  /// Number of messages, of the user and of the model together.
  std::size_t n_messages() const noexcept { return messages_.size(); }
  /// What a user should know about the choice of turns, or "" (ChatTemplate::note()).
  std::string note() const { return template_ ? template_->note() : ""; }
  /// The options given to the constructor, with later changes.
  const ConversationOptions& options() const noexcept { return options_; }
  /// The session that holds the conversation's tokens.
  Session& session() noexcept { return session_; }
  /// The session that holds the conversation's tokens.
  const Session& session() const noexcept { return session_; }

 private:
  std::vector<TokenId> prompt_tokens(const std::string& message) const;
  bool spell(std::span<const TokenId> ids, std::string_view text) const;
  const AgentTurns* agent() const { return template_ ? template_->dialect().turns.agent : nullptr; }
  std::span<const TokenId> without_thoughts(std::span<const TokenId> ids) const;
  /// Of the session, held by the grammar where there is one.
  GenerateResult generate(const GenerateOptions& options);
  /// Appends both turns to the conversation.
  void add_turns(const std::string& message, const Answer& answer);

  Model model_;
  ConversationOptions options_;
  std::optional<ChatTemplate> template_;  // unless raw
  Session session_;
  Sampler sampler_;
  std::optional<GrammarMask> mask_;  // at the beginning of an answer
  std::vector<Message> messages_;    // user, assistant, user, ...
};

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "conversation.inl"
#endif
