// Definitions of conversation.hpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

#include "../gguf/linkage.hpp"
#include "../tokenizer/thoughts.hpp"
#include "../tokenizer/utf8.hpp"
#include "constrained_pick.hpp"
#include "engine_error_code.hpp"

namespace gemma {

GEMMA_INLINE Conversation::Conversation(Model model, ConversationOptions options)
    : model_(std::move(model)),
      options_(std::move(options)),
      session_(model_, options_.session),
      sampler_(options_.sampler) {
  if (!options_.raw) template_ = ChatTemplate::from(model_.vocab(), options_.chat_template);
  if (options_.thinking) set_thinking(true);
  if (options_.grammar) mask_.emplace(*options_.grammar, PieceTrie::from(model_.tokenizer()));
}

GEMMA_INLINE GenerateResult Conversation::generate(const GenerateOptions& options) {
  if (!mask_) return session_.generate(sampler_, options);
  std::optional<ConstrainedPick::ThoughtMarks> thought;
  if (options_.thinking && agent() != nullptr) {
    const auto begin = model_.vocab().find(agent()->thought_begin);
    const auto end = model_.vocab().find(agent()->thought_end);
    if (begin && end) thought = {*begin, *end};
  }
  sampler_.note(session_.tokens());
  ConstrainedPick pick(sampler_, *mask_, thought);
  return session_.generate([&pick](std::span<const float> logits) { return pick(logits); }, options);
}

GEMMA_INLINE void Conversation::set_thinking(bool on) {
  if (on && agent() == nullptr) {
    detail::refuse(ErrorCode::kUnsupported, "the model's chat template does not support thinking");
  }
  options_.thinking = on;
}

/// The ids after the last thought; all ids if there is none.
GEMMA_INLINE std::span<const TokenId> Conversation::without_thoughts(std::span<const TokenId> ids) const {
  if (agent() == nullptr) return ids;
  const auto end = model_.vocab().find(agent()->thought_end);
  const auto last = end ? std::find(ids.rbegin(), ids.rend(), *end) : ids.rend();
  return ids.subspan(static_cast<std::size_t>(ids.rend() - last));
}

GEMMA_INLINE std::vector<TokenId> Conversation::prompt_tokens(const std::string& message) const {
  const Tokenizer& tokenizer = model_.tokenizer();
  if (options_.raw) {
    return tokenizer.encode(message, {.parse_special = true});
  }
  std::vector<Message> all;
  if (!options_.system.empty()) all.push_back({"system", options_.system});
  all.insert(all.end(), messages_.begin(), messages_.end());
  all.push_back({"user", message});
  return template_->encode(
      tokenizer, all,
      {.add_generation_prompt = true, .merge_system = true, .thinking = options_.thinking, .tools = {}});
}

/// Whether `ids` decode to exactly `text` and contain no control tokens.
GEMMA_INLINE bool Conversation::spell(std::span<const TokenId> ids, std::string_view text) const {
  const Tokenizer& tokenizer = model_.tokenizer();
  const Vocab& vocab = tokenizer.vocab();
  const auto says_something = [&](TokenId id) {
    return id >= 0 && static_cast<std::size_t>(id) < vocab.size() && vocab.type(id) != TokenType::kControl;
  };
  return std::all_of(ids.begin(), ids.end(), says_something) &&
         utf8::replace_invalid(tokenizer.decode(ids)) == text;
}

GEMMA_INLINE Answer Conversation::ask(const std::string& message, const AskOptions& given) {
  const detail::Stopwatch since_begin;
  Answer answer;
  const std::vector<TokenId> prompt = prompt_tokens(message);
  answer.n_prompt = prompt.size();
  if (prompt.size() > session_.n_ctx()) {
    detail::refuse(EngineErrorCode::kContextFull, [&] {
      return std::string(messages_.empty() ? "the prompt" : "the conversation with this message") +
             " takes " + std::to_string(prompt.size()) + " tokens, and the context holds " +
             std::to_string(session_.n_ctx());
    });
  }
  if (given.on_prompt) {  // before the first chunk, report the number of tokens to compute
    const auto known = session_.tokens();
    const auto differ = std::mismatch(prompt.begin(), prompt.end(), known.begin(), known.end()).first;
    given.on_prompt(0, static_cast<std::size_t>(prompt.end() - differ));
  }
  try {
    const PrefillResult read = session_.set_tokens(prompt, {given.on_prompt, given.cancel});
    answer.n_reused = read.n_reused;
    answer.prefill_seconds = read.seconds;
  } catch (const Error& e) {
    if (e.code() != EngineErrorCode::kCancelled) throw;
    answer.reason = StopReason::kCancelled;
    answer.total_seconds = since_begin.seconds();
    return answer;
  }
  const double before_generation = since_begin.seconds();
  GenerateOptions options;
  options.max_tokens = options_.max_tokens;
  options.stop_strings = options_.stop_strings;
  options.cancel = given.cancel;
  options.process = given.process;
  ThoughtSplitter splitter(agent());
  std::string said;
  const auto take = [&](const Thoughts& part, bool more) {
    said += part.answer;
    answer.thinking += part.thought;
    if (given.on_thought && !part.thought.empty()) given.on_thought(part.thought);
    if (given.on_text && (more || !part.answer.empty())) given.on_text(part.answer);
  };
  options.on_text = [&](std::string_view text) {
    take(splitter.push(text), true);
    return true;
  };
  GenerateResult result = generate(options);
  take(splitter.flush(), false);
  answer.text = agent() != nullptr ? std::move(said) : std::move(result.text);
  answer.tokens = std::move(result.tokens);
  answer.reason = result.reason;
  if (options.max_tokens != 0) answer.first_token_seconds = before_generation + result.first_token_seconds;
  answer.decode_seconds = result.seconds - result.first_token_seconds;
  answer.n_decoded = session_.n_computed() - prompt.size();
  answer.n_steps = result.n_steps;
  answer.n_drafted = result.n_drafted;
  answer.n_accepted = result.n_accepted;
  answer.total_seconds = since_begin.seconds();
  if (!options_.raw) add_turns(message, answer);
  return answer;
}

GEMMA_INLINE void Conversation::add_turns(const std::string& message, const Answer& answer) {
  messages_.push_back({"user", message});
  messages_.push_back({"assistant", answer.text});
  const auto ids = without_thoughts(answer.tokens);
  // a stop string may have cut the text; then the ids do not spell it
  if (spell(ids, answer.text)) messages_.back().ids.assign(ids.begin(), ids.end());
}

GEMMA_INLINE void Conversation::reset() {
  messages_.clear();
  session_.reset();
  sampler_ = Sampler(options_.sampler);
}

GEMMA_INLINE void Conversation::set_messages(std::vector<Message> messages) {
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].role != (i % 2 == 0 ? "user" : "assistant")) {
      detail::refuse(ErrorCode::kInvalidArgument,
                     [&] { return "message " + std::to_string(i + 1) + " is out of turn"; });
    }
  }
  if (messages.size() % 2 != 0) detail::refuse(ErrorCode::kInvalidArgument, "the last message has no answer");
  for (Message& m : messages) {
    if (m.role == "user" || !spell(m.ids, m.content)) m.ids.clear();
  }
  messages_ = std::move(messages);
  sampler_ = Sampler(options_.sampler);
}

}  // namespace gemma
