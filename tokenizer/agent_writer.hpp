// Writes a conversation in the turns of a dialect with thoughts and tools.
// Invariant: byte for byte the output of the published Gemma 4 templates; messages may come in any order.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "../gguf/error.hpp"
#include "chat_text.hpp"
#include "dialects/dialect.hpp"
#include "message.hpp"
#include "tool_writer.hpp"

namespace gemma::detail {

/// Removes the thoughts from `text`. The text is split at each `end`, and only the text before the first
/// `begin` of each part is kept. An unclosed thought extends to the end of its part; an `end` without a
/// `begin` is removed.
inline std::string without_thoughts(std::string_view text, std::string_view begin, std::string_view end) {
  std::string out;
  while (true) {
    const std::size_t at = text.find(end);
    const std::string_view part = text.substr(0, at);
    out += part.substr(0, part.find(begin));
    if (at == text.npos) return out;
    text.remove_prefix(at + end.size());
  }
}

/// Writes one conversation. For one call; the facts and the messages must outlive it.
class AgentWriter {
 public:
  AgentWriter(const Turns& turns, SpecialTexts specials, const ChatOptions& options)
      : turns_(turns), facts_(*turns.agent), options_(options), out_(specials), tools_(facts_, out_) {}

  /// Throws Error{kInvalidArgument} for an empty conversation, and for messages that no template could write.
  RenderedChat write(std::span<const Message> messages) {
    if (messages.empty()) detail::refuse(ErrorCode::kInvalidArgument, "a conversation without messages");
    out_.mark(turns_.begin);
    messages_ = messages;
    write_system();
    for (std::size_t i = 0; i < messages_.size(); ++i) {
      if (messages_[i].role == "user") last_user_ = i;
    }
    for (std::size_t i = 0; i < messages_.size(); ++i) {
      if (facts_.first_form || messages_[i].role != "tool") write_message(i);
    }
    if (options_.add_generation_prompt) write_generation();
    return out_.take();
  }

 private:
  enum class Last { kOther, kCall, kResponse };  // what the last message ended with

  void write_system() {
    const bool given = messages_[0].role == "system" || messages_[0].role == "developer";
    if (!given && !options_.thinking && options_.tools.empty()) return;
    out_.mark(facts_.open);
    out_.mark("system\n");
    if (options_.thinking) out_.mark(facts_.think);
    if (given) {
      out_.say(messages_[0].content, true);
      messages_ = messages_.subspan(1);
    }
    for (const Value& tool : options_.tools) tools_.declaration(tool);
    out_.mark(facts_.close);
  }

  void write_generation() {
    // the turn is still open
    if (last_ == Last::kResponse || (last_ == Last::kCall && !facts_.first_form)) return;
    out_.mark(turns_.generation);
    if (!options_.thinking) out_.mark(facts_.no_thought);
  }

  void write_message(std::size_t index) {
    const Message& m = messages_[index];
    const bool model = m.role == "assistant" || m.role == "model";
    last_ = Last::kOther;
    if (!model || facts_.first_form || !follows_assistant(index)) open_turn(m.role, model);
    const std::size_t begin = out_.size();
    if (!facts_.first_form && !m.thinking.empty() && !m.tool_calls.empty() &&
        (!last_user_ || index > *last_user_)) {
      out_.mark(facts_.thought_begin);
      out_.mark(facts_.thought_head);
      out_.say(m.thinking, false);
      out_.mark("\n");
      out_.mark(facts_.thought_end);
    }
    for (const ToolCall& call : m.tool_calls) tools_.call(call);
    if (!m.tool_calls.empty()) last_ = Last::kCall;
    const bool answered = write_responses(index);
    if (answered) last_ = Last::kResponse;
    if (model) {
      out_.say(without_thoughts(m.content, facts_.thought_begin, facts_.thought_end), true);
    } else {
      out_.say(m.content, true);
    }
    if (model && !m.ids.empty()) out_.answer(begin);
    if (last_ == Last::kCall && !facts_.first_form) {
      out_.mark(facts_.response_open);
    } else if (!answered || !m.content.empty()) {
      out_.mark(facts_.close);
    }
  }

  void open_turn(std::string_view role, bool model) {
    out_.mark(facts_.open);
    if (model) {
      out_.mark("model");
    } else if (role == "user" || role == "system" || role == "developer" || role == "tool") {
      out_.mark(role);
    } else {
      out_.say(role, false);
    }
    out_.mark("\n");
  }

  /// Whether the last message before `index` whose role is not "tool" is the assistant's.
  bool follows_assistant(std::size_t index) const {
    while (index > 0 && messages_[index - 1].role == "tool") --index;
    return index > 0 && messages_[index - 1].role == "assistant";
  }

  /// Writes the tools' answers to the calls of a message; returns whether there are any.
  bool write_responses(std::size_t index) {
    const Message& m = messages_[index];
    for (const ToolResponse& r : m.tool_responses)
      tools_.response(r.name.empty() ? "unknown" : r.name, r.value);
    if (!m.tool_responses.empty()) return true;
    if (facts_.first_form || m.tool_calls.empty()) return false;
    bool any = false;
    for (std::size_t i = index + 1; i < messages_.size() && messages_[i].role == "tool"; ++i) {
      const Message& answer = messages_[i];
      const bool text = answer.response.is(Value::Kind::kNull);
      tools_.response(tool_of(m, answer), text ? Value::text(answer.content) : answer.response);
      any = true;
    }
    return any;
  }
  static std::string_view tool_of(const Message& asked, const Message& answer) {
    std::string_view name = answer.name;
    for (const ToolCall& call : asked.tool_calls) {
      if (call.id == answer.tool_call_id) name = call.name;
    }
    if (name.empty()) {
      detail::refuse(ErrorCode::kInvalidArgument,
                     "a tool message needs the tool_call_id of a call before it, or a name");
    }
    return name;
  }

  const Turns& turns_;
  const AgentTurns& facts_;
  const ChatOptions& options_;
  std::span<const Message> messages_;
  std::optional<std::size_t> last_user_;
  Last last_ = Last::kOther;
  ChatText out_;
  ToolWriter tools_;
};

}  // namespace gemma::detail
