// A conversation with a model in one session: messages in, answers out.
// Invariant: the prompt of a turn is the whole conversation in the model's template, with each answer as it
// was generated (or its text, where a stop string cut it), so answers depend only on the prompt, the
// sampling options and the seed; the cache only saves time. A turn that fails leaves the conversation
// unchanged.
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
  SessionOptions session;                 // options of the session
  SamplerOptions sampler;                 // how tokens are chosen
  std::size_t max_tokens = 1024;          // maximum for one answer
  std::vector<std::string> stop_strings;  // an answer ends before the first of these that occurs
  std::string system;                     // "": none
  std::string chat_template;              // name of the dialect to use; "": the file's
  bool thinking = false;                  // the model is asked to think before it answers
  bool raw = false;                       // no template: each message is a text that the model continues
  std::optional<Grammar> grammar;         // the grammar that every answer follows
};

/// One answer, and the time and tokens that it took.
struct Answer {
  std::string text;             // the answer, without thoughts
  std::string thinking;         // the thoughts before it; "": none
  std::vector<TokenId> tokens;  // generated tokens, thoughts included, without the token that ended the turn
  StopReason reason = StopReason::kEndOfTurn;  // why it ended
  std::size_t n_prompt = 0;                    // tokens of the whole prompt
  std::size_t n_reused = 0;                    // tokens of the prompt that the cache already held
  double prefill_seconds = 0;                  // time to compute the other tokens of the prompt
  double first_token_seconds = 0;              // from the message to the first token; 0 when there was none
  double decode_seconds = 0;                   // from the first token to the end
  std::size_t n_decoded = 0;                   // tokens computed in decode_seconds
  double total_seconds = 0;                    // from the message to the end
  std::size_t n_steps = 0;                     // forward passes that computed these tokens
  std::size_t n_drafted = 0;   // guesses that these passes computed as well (SessionOptions::draft)
  std::size_t n_accepted = 0;  // guesses that were chosen

  /// Tokens of the prompt computed per second; 0 if there were none.
  double prefill_tokens_per_second() const noexcept {
    return prefill_seconds > 0 ? static_cast<double>(n_prompt - n_reused) / prefill_seconds : 0;
  }
  /// Tokens computed per second after the first; 0 if there were none.
  double decode_tokens_per_second() const noexcept {
    return decode_seconds > 0 ? static_cast<double>(n_decoded) / decode_seconds : 0;
  }
};

/// Callbacks during an answer, and the flag that cancels it.
struct AskOptions {
  std::function<void(std::string_view)> on_text = {};     // gets each piece of the answer, whole characters
  std::function<void(std::string_view)> on_thought = {};  // the same for the thoughts before it
  std::function<void(std::size_t, std::size_t)> on_prompt = {};  // tokens of the prompt done, total
  const std::atomic<bool>* cancel = nullptr;  // the caller's flag, which any thread may set
  LogitsProcessor process = {};               // see GenerateOptions::process
};

/// A conversation. Move-only; used by one thread at a time. Shares the model.
class Conversation {
 public:
  /// Throws Error as Session, Sampler and ChatTemplate do.
  Conversation(Model model, ConversationOptions options);

  /// Answers `message`; message and answer are added to the conversation. If the call is cancelled before the
  /// first token, or throws, the conversation does not change. Throws Error: kContextFull when the
  /// conversation is longer than the context, and as Session does.
  Answer ask(const std::string& message, const AskOptions& given = {});

  /// Forgets the turns; the system text stays, and the sampler starts again from its seed.
  void reset();
  /// Sets the system prompt, from the next message on; "": none.
  void set_system(std::string text) { options_.system = std::move(text); }
  /// The system prompt.
  const std::string& system() const noexcept { return options_.system; }
  /// Sets whether the model is asked to think, from the next message on. Throws Error{kUnsupported} for a
  /// dialect without thoughts.
  void set_thinking(bool on);

  /// The messages, of user and assistant alternating; answers carry the ids that were generated.
  std::span<const Message> messages() const noexcept { return messages_; }
  /// Replaces the messages. Ids that do not spell their answer (another vocabulary, an edited text) are
  /// dropped. The cache stays, and a common prefix is not computed again. Throws Error{kInvalidArgument} for
  /// roles out of order or a last message without an answer, and then nothing has changed.
  void set_messages(std::vector<Message> messages);

  /// Number of messages, of the user and of the model together.
  std::size_t n_messages() const noexcept { return messages_.size(); }
  /// A note on the choice of the dialect for users, or "" (ChatTemplate::note()).
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
  /// Generates in the session, constrained by the grammar if there is one.
  GenerateResult generate(const GenerateOptions& options);
  /// Appends both turns to the conversation.
  void add_turns(const std::string& message, const Answer& answer);

  Model model_;
  ConversationOptions options_;
  std::optional<ChatTemplate> template_;  // unless raw
  Session session_;
  Sampler sampler_;
  std::optional<GrammarMask> mask_;  // the grammar's mask at the beginning of an answer
  std::vector<Message> messages_;    // user, assistant, user, ...
};

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "conversation.inl"
#endif
