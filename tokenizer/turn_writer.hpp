// Writes a conversation in a dialect's turns.
// Invariant: texts of messages are marked as literal; everything else comes from the dialect's facts.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "../gguf/error.hpp"
#include "chat_text.hpp"
#include "dialects/dialect.hpp"
#include "message.hpp"

namespace gemma {

namespace detail {

/// Writes one conversation. For one call; the facts and the messages must outlive it.
class TurnWriter {
 public:
  TurnWriter(const Turns& turns, SpecialTexts specials, const ChatOptions& options)
      : turns_(turns), options_(options), place_(turns.system_place), out_(specials) {}

  /// Throws Error{kInvalidArgument} with the template's own message for a conversation that it refuses.
  RenderedChat write(std::span<const Message> messages) {
    if (messages.empty()) detail::refuse(ErrorCode::kInvalidArgument, "a conversation without messages");
    refuse_tools(messages);
    out_.mark(turns_.begin);
    messages = take_system(messages);
    check_roles(messages);
    for (std::size_t i = 0; i < messages.size(); ++i) write_message(messages[i], i, messages.size());
    if (options_.add_generation_prompt || turns_.always_generation) out_.mark(turns_.generation);
    return out_.take();
  }

 private:
  /// Handles a leading system message; returns the messages that remain to be written.
  std::span<const Message> take_system(std::span<const Message> messages) {
    const bool given = messages[0].role == "system";
    if (place_ == SystemPlace::kTurn) {
      if (turns_.system_head.empty() && (given || turns_.system_default.empty())) return messages;
      out_.mark(turns_.system.open);
      out_.mark(turns_.system_head);
      if (given) {
        out_.say(messages[0].content, turns_.system.trim);
      } else {
        out_.mark(turns_.system_default);
      }
      out_.mark(turns_.system.close);
      return given ? messages.subspan(1) : messages;
    }
    if (!given) return messages;
    if (place_ == SystemPlace::kRefused) {
      if (!options_.merge_system) {
        detail::refuse(ErrorCode::kInvalidArgument, [&] {
          return std::string(turns_.system_refusal.empty() ? turns_.order_refusal : turns_.system_refusal);
        });
      }
      place_ = SystemPlace::kFirstUser;
    }
    system_ = &messages[0];
    return messages.subspan(1);
  }

  void refuse_tools(std::span<const Message> messages) const {
    bool any = !options_.tools.empty();
    for (const Message& m : messages) any = any || !m.tool_calls.empty() || !m.tool_responses.empty();
    if (any) detail::refuse(ErrorCode::kUnsupported, "the chat template does not support tools");
  }

  void check_roles(std::span<const Message> turns) const {
    for (std::size_t i = 0; i < turns.size(); ++i) {
      const std::string& role = turns[i].role;
      const bool alternates = (role == "user") == (i % 2 == 0);
      if (!turns_.order_refusal.empty() && !alternates) {
        detail::refuse(ErrorCode::kInvalidArgument, [&] { return std::string(turns_.order_refusal); });
      }
      const bool known =
          role == "user" || role == "assistant" || (role == "system" && place_ == SystemPlace::kTurn);
      if (!known)
        detail::refuse(ErrorCode::kInvalidArgument,
                       [&] { return "the chat template does not support role " + gemma::quoted(role); });
    }
  }

  void write_message(const Message& m, std::size_t index, std::size_t count) {
    const bool assistant = m.role == "assistant";
    const Turn& turn = assistant ? turns_.assistant : m.role == "system" ? turns_.system : turns_.user;
    // an answer begins where the generation prompt ends, which may be before the turn's own opening
    const std::size_t answer_begin = out_.size() + turns_.generation.size();
    out_.mark(turn.open);
    const std::size_t system_at = place_ == SystemPlace::kLastUser ? count - 1 : 0;
    if (system_ != nullptr && index == system_at && !assistant) {
      write_joined(m.content, turn.trim);
    } else {
      out_.say(m.content, turn.trim);
    }
    if (assistant && !m.ids.empty()) out_.answer(answer_begin);
    out_.mark(turn.close);
  }

  /// Writes a message with the system text in front of it.
  void write_joined(std::string_view content, bool trim) {
    out_.mark(turns_.system.open);
    out_.say(system_->content, false);
    if (!turns_.trim_joined) {
      out_.mark(turns_.system.close);
      out_.say(content, trim);
      return;
    }
    content = strip(content, false, true);
    out_.mark(content.empty() ? strip(turns_.system.close, false, true) : turns_.system.close);
    out_.say(content, false);
  }

  const Turns& turns_;
  const ChatOptions& options_;
  SystemPlace place_;
  const Message* system_ = nullptr;  // to be written into another message
  ChatText out_;
};

}  // namespace detail

}  // namespace gemma
