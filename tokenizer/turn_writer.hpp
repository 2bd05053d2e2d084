// Writes a conversation in a dialect's turns. Invariant: what was said is marked as literal, and nothing that
// the dialect does not hold is written.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../gguf/error.hpp"
#include "dialects/dialect.hpp"
#include "text_range.hpp"
#include "token_types.hpp"

namespace gemma {

/// One turn. role: "system", "user" or "assistant".
struct Message {
  std::string role;               // who speaks
  std::string content;            // UTF-8; never read as control tokens
  std::vector<TokenId> ids = {};  // of an answer, as generated: encode() takes them in place of `content`
};

/// A conversation as text.
struct RenderedChat {
  std::string text;                // with the turns' markers, BOS included where the template prints it
  std::vector<TextRange> literal;  // ascending: the contents of the messages
  /// Ascending: what lies between the place where an answer begins and its end, of messages with `ids`.
  std::vector<TextRange> answers;
};

/// How a conversation is written.
struct ChatOptions {
  bool add_generation_prompt = true;  // end where the assistant's answer begins
  bool merge_system = false;  // a template without a system turn gets it in front of the first user turn
};

namespace detail {

/// Without white space at the beginning or the end, as Python's str.strip and Jinja's trim.
inline std::string_view strip(std::string_view text, bool left = true, bool right = true) {
  constexpr std::array<std::string_view, 29> kSpaces = {
      "\t",           "\n",           "\v",           "\f",           "\r",
      "\x1c",         "\x1d",         "\x1e",         "\x1f",         " ",
      "\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x81",
      "\xe2\x80\x82", "\xe2\x80\x83", "\xe2\x80\x84", "\xe2\x80\x85", "\xe2\x80\x86",
      "\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89", "\xe2\x80\x8a", "\xe2\x80\xa8",
      "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80"};
  for (bool found = true; found;) {
    found = false;
    for (const std::string_view space : kSpaces) {
      if (left && text.starts_with(space)) text.remove_prefix(space.size()), found = true;
      if (right && text.ends_with(space)) text.remove_suffix(space.size()), found = true;
    }
  }
  return text;
}

/// The spelling of the special tokens that stand for "{bos}" and "{eos}" in a dialect's facts.
struct SpecialTexts {
  std::string_view bos, eos;
};

/// Writes one conversation. For one call; the facts and the messages must outlive it.
class TurnWriter {
 public:
  TurnWriter(const Turns& turns, SpecialTexts specials, const ChatOptions& options)
      : turns_(turns), specials_(specials), options_(options), place_(turns.system_place) {}

  /// Throws Error{kInvalidArgument} with the template's own message for a conversation that it refuses.
  RenderedChat write(std::span<const Message> messages) {
    if (messages.empty()) throw Error(ErrorCode::kInvalidArgument, "a conversation without messages");
    mark(turns_.begin);
    messages = take_system(messages);
    check_roles(messages);
    for (std::size_t i = 0; i < messages.size(); ++i) write_message(messages[i], i, messages.size());
    if (options_.add_generation_prompt || turns_.always_generation) mark(turns_.generation);
    return std::move(chat_);
  }

 private:
  /// Deals with a leading system message; returns the messages that are left to write as they are.
  std::span<const Message> take_system(std::span<const Message> messages) {
    const bool given = messages[0].role == "system";
    if (place_ == SystemPlace::kTurn) {
      if (turns_.system_head.empty() && (given || turns_.system_default.empty())) return messages;
      mark(turns_.system.open);
      mark(turns_.system_head);
      if (given) {
        say(messages[0].content, turns_.system.trim);
      } else {
        mark(turns_.system_default);
      }
      mark(turns_.system.close);
      return given ? messages.subspan(1) : messages;
    }
    if (!given) return messages;
    if (place_ == SystemPlace::kRefused) {
      if (!options_.merge_system) {
        throw Error(
            ErrorCode::kInvalidArgument,
            std::string(turns_.system_refusal.empty() ? turns_.order_refusal : turns_.system_refusal));
      }
      place_ = SystemPlace::kFirstUser;
    }
    system_ = &messages[0];
    return messages.subspan(1);
  }

  void check_roles(std::span<const Message> turns) const {
    for (std::size_t i = 0; i < turns.size(); ++i) {
      const std::string& role = turns[i].role;
      const bool alternates = (role == "user") == (i % 2 == 0);
      if (!turns_.order_refusal.empty() && !alternates) {
        throw Error(ErrorCode::kInvalidArgument, std::string(turns_.order_refusal));
      }
      const bool known =
          role == "user" || role == "assistant" || (role == "system" && place_ == SystemPlace::kTurn);
      if (!known) throw Error(ErrorCode::kInvalidArgument, "a message of the role " + gemma::quoted(role));
    }
  }

  void write_message(const Message& m, std::size_t index, std::size_t count) {
    const bool assistant = m.role == "assistant";
    const Turn& turn = assistant ? turns_.assistant : m.role == "system" ? turns_.system : turns_.user;
    // an answer begins where the generation prompt ends, which may be before the turn's own opening
    const std::size_t answer_begin = chat_.text.size() + turns_.generation.size();
    mark(turn.open);
    const std::size_t system_at = place_ == SystemPlace::kLastUser ? count - 1 : 0;
    if (system_ != nullptr && index == system_at && !assistant) {
      write_joined(m.content, turn.trim);
    } else {
      say(m.content, turn.trim);
    }
    if (assistant && !m.ids.empty()) chat_.answers.push_back({answer_begin, chat_.text.size()});
    mark(turn.close);
  }

  /// A message with the system text in front of it.
  void write_joined(std::string_view content, bool trim) {
    mark(turns_.system.open);
    say(system_->content, false);
    if (!turns_.trim_joined) {
      mark(turns_.system.close);
      say(content, trim);
      return;
    }
    content = strip(content, false, true);
    mark(content.empty() ? strip(turns_.system.close, false, true) : turns_.system.close);
    say(content, false);
  }

  /// What the template writes.
  void mark(std::string_view text) {
    while (!text.empty()) {
      const std::size_t at = std::min(text.find('{'), text.size());
      chat_.text += text.substr(0, at);
      text.remove_prefix(at);
      if (text.empty()) return;
      const bool bos = text.starts_with("{bos}");
      const bool eos = text.starts_with("{eos}");
      chat_.text += bos ? specials_.bos : eos ? specials_.eos : text.substr(0, 1);
      text.remove_prefix(bos || eos ? 5 : 1);
    }
  }
  /// What somebody said.
  void say(std::string_view content, bool trim) {
    if (trim) content = strip(content);
    if (content.empty()) return;
    chat_.literal.push_back({chat_.text.size(), chat_.text.size() + content.size()});
    chat_.text += content;
  }

  const Turns& turns_;
  SpecialTexts specials_;
  const ChatOptions& options_;
  SystemPlace place_;
  const Message* system_ = nullptr;  // goes into another message
  RenderedChat chat_;
};

}  // namespace detail

}  // namespace gemma
