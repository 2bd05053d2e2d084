// Conversations as text: the turns of Gemma, Llama 3 and Mistral, rendered natively and character for
// character as their published templates do. Invariant: what a user or the model said is marked as literal in
// the rendered text, so that markers spelled in it never become control tokens.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "../gguf/error.hpp"
#include "tokenizer_base.hpp"
#include "vocab.hpp"

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

/// How one family of templates writes a conversation. Immutable; made from a vocabulary.
class ChatTemplate {
 public:
  /// From the file's own template where it has one, else by the vocabulary's markers.
  /// Throws Error{kUnsupported} when neither is of a family that is known, {kOutOfMemory}.
  static ChatTemplate from(const Vocab& vocab) {
    return detail::or_out_of_memory("no memory for a chat template", [&] { return read(vocab); });
  }

  /// Whether the file's template is one of the published ones, rendered exactly. Otherwise the turns follow
  /// the template's markers (or the vocabulary's), which is a good guess and not a promise.
  bool recognised() const noexcept { return recognised_; }

  /// Throws Error{kInvalidArgument} with the template's own message for a conversation that it refuses,
  /// {kOutOfMemory}.
  RenderedChat render(std::span<const Message> messages, const ChatOptions& options = {}) const {
    return detail::or_out_of_memory("no memory for a conversation", [&] { return write(messages, options); });
  }

  /// The ids of the rendered conversation with exactly one BOS (where the vocabulary wants one). An answer
  /// that carries its ids keeps them, and with them the prefix that a cache holds: its text would often give
  /// others, as templates trim it and sampling does not always take the longest piece.
  std::vector<TokenId> encode(const Tokenizer& tokenizer, std::span<const Message> messages,
                              const ChatOptions& options = {}) const;

 private:
  enum class System { kRefused, kTurn, kInFirstUserTurn, kInLastTurn };

  static ChatTemplate read(const Vocab& vocab);
  RenderedChat write(std::span<const Message> messages, const ChatOptions& options) const;
  void use_gemma(std::string_view source);
  void use_llama3(std::string_view source);
  void use_mistral(std::string_view source);
  void check_roles(std::span<const Message> turns) const;

  bool recognised_ = false;
  System system_ = System::kRefused;
  std::string system_refusal_;  // message for a system turn that is refused; empty: as a wrong order
  std::string order_refusal_;   // message for turns that do not alternate; empty: any order is taken
  std::string bos_;             // what the template prints first
  std::string user_open_, user_close_;
  std::string assistant_open_, assistant_close_;
  std::string generation_;          // where the answer begins
  bool always_generation_ = false;  // even when it is not asked for
  bool trim_user_ = false;
  bool trim_assistant_ = false;
};

namespace detail {

/// Without white space at both ends, as Python's str.strip and Jinja's trim.
inline std::string_view strip(std::string_view text) {
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
      if (text.starts_with(space)) text.remove_prefix(space.size()), found = true;
      if (text.ends_with(space)) text.remove_suffix(space.size()), found = true;
    }
  }
  return text;
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo).
constexpr std::uint64_t fnv1a(std::string_view text) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return hash;
}

/// Hashes of published templates, without white space at the end, that are rendered to the character.
inline constexpr std::uint64_t kPublishedTemplates[] = {
    0x5C10EE65212D93B3u,  // gemma-it
    0x690954969EC87269u,  // gemma-it-2024-02
    0xD19B6FF3A49DEEA5u,  // gemma3-it
    0x0E60067A5537498Eu,  // llama3-instruct
    0x74891E390E614AE2u,  // llama3-instruct-2024-04
    0xC730ACC029CE6EE0u,  // mistral-instruct-v0.1
    0x8C734B90B4F8D84Du,  // mistral-instruct-v0.2
    0x46EAC0BF5C765C47u,  // mistral-instruct-v0.2-system
    0x2487E6E79D6345CFu,  // mistral-instruct-v0.3
};

}  // namespace detail

inline void ChatTemplate::use_gemma(std::string_view source) {
  const bool prefix = source.find("first_user_prefix") != std::string_view::npos;
  system_ = prefix ? System::kInFirstUserTurn : System::kRefused;
  system_refusal_ = "System role not supported";
  order_refusal_ = "Conversation roles must alternate user/assistant/user/assistant/...";
  user_open_ = "<start_of_turn>user\n";
  assistant_open_ = "<start_of_turn>model\n";
  user_close_ = assistant_close_ = "<end_of_turn>\n";
  generation_ = assistant_open_;
  trim_user_ = trim_assistant_ = true;
}

inline void ChatTemplate::use_llama3(std::string_view source) {
  system_ = System::kTurn;
  user_open_ = "<|start_header_id|>user<|end_header_id|>\n\n";
  assistant_open_ = "<|start_header_id|>assistant<|end_header_id|>\n\n";
  user_close_ = assistant_close_ = "<|eot_id|>";
  generation_ = assistant_open_;
  always_generation_ = !source.empty() && source.find("add_generation_prompt") == std::string_view::npos;
  trim_user_ = trim_assistant_ = true;
}

inline void ChatTemplate::use_mistral(std::string_view source) {
  auto has = [source](std::string_view text) { return source.find(text) != std::string_view::npos; };
  const bool system = has("system_message");
  system_ = !system                               ? System::kRefused
            : has("loop.last and system_message") ? System::kInLastTurn
                                                  : System::kInFirstUserTurn;
  order_refusal_ = std::string(system ? "After the optional system message, conversation" : "Conversation") +
                   " roles must alternate user/assistant/user/assistant/...";
  const bool space_before = has("' [INST] '") || has("\" [INST] \"");
  const bool space_after = source.empty() || has("' [/INST]'") || has("\" [/INST]\"");
  user_open_ = space_before ? " [INST] " : "[INST] ";
  user_close_ = space_after ? " [/INST]" : "[/INST]";
  assistant_open_ = has("' ' + message['content']") || has("\" \" + message[\"content\"]") ? " " : "";
  assistant_close_ = source.empty() || has("eos_token + ' '") ? "</s> " : "</s>";
  trim_assistant_ = has("message[\"content\"]|trim");
}

inline ChatTemplate ChatTemplate::read(const Vocab& vocab) {
  std::string_view source = vocab.chat_template();
  while (!source.empty() && (source.back() == '\n' || source.back() == ' ')) source.remove_suffix(1);
  auto has = [source](std::string_view text) { return source.find(text) != std::string_view::npos; };
  ChatTemplate t;
  for (const std::uint64_t hash : detail::kPublishedTemplates) t.recognised_ |= hash == detail::fnv1a(source);
  if (has("<start_of_turn>") || (source.empty() && vocab.family() == VocabFamily::kGemma)) {
    t.use_gemma(source);
  } else if (has("<|start_header_id|>") || (source.empty() && vocab.family() == VocabFamily::kLlama3)) {
    t.use_llama3(source);
  } else if (has("[INST]") || (source.empty() && vocab.family() == VocabFamily::kMistral)) {
    t.use_mistral(source);
  } else {
    switch (vocab.family()) {  // a template without known markers, a vocabulary that has them
      case VocabFamily::kGemma:
        t.use_gemma({});
        break;
      case VocabFamily::kLlama3:
        t.use_llama3({});
        break;
      case VocabFamily::kMistral:
        t.use_mistral({});
        break;
      case VocabFamily::kOther:
        throw Error(
            ErrorCode::kUnsupported,
            vocab.source() + ": the chat template is of no known kind, nor has the vocabulary known turns");
    }
  }
  // files without a template: Gemma's are of the time when the template did not print BOS
  const bool prints_bos = source.empty() ? vocab.family() != VocabFamily::kGemma : has("bos_token");
  if (prints_bos && vocab.bos()) t.bos_ = vocab.piece(*vocab.bos());
  return t;
}

inline void ChatTemplate::check_roles(std::span<const Message> turns) const {
  for (std::size_t i = 0; i < turns.size(); ++i) {
    const std::string& role = turns[i].role;
    const bool alternates = (role == "user") == (i % 2 == 0);
    if (!order_refusal_.empty() && !alternates) throw Error(ErrorCode::kInvalidArgument, order_refusal_);
    const bool known =
        role == "user" || role == "assistant" || (role == "system" && system_ == System::kTurn);
    if (!known) throw Error(ErrorCode::kInvalidArgument, "a message of the role " + gemma::quoted(role));
  }
}

inline RenderedChat ChatTemplate::write(std::span<const Message> messages, const ChatOptions& options) const {
  if (messages.empty()) throw Error(ErrorCode::kInvalidArgument, "a conversation without messages");
  std::string_view system;
  bool has_system = false;
  System how = system_;
  if (messages[0].role == "system" && how != System::kTurn) {
    if (how == System::kRefused && options.merge_system) how = System::kInFirstUserTurn;
    if (how == System::kRefused) {
      throw Error(ErrorCode::kInvalidArgument, system_refusal_.empty() ? order_refusal_ : system_refusal_);
    }
    system = messages[0].content;
    has_system = true;
    messages = messages.subspan(1);
  }
  check_roles(messages);
  RenderedChat chat;
  chat.text = bos_;
  auto say = [&chat](std::string_view content) {
    if (content.empty()) return;
    chat.literal.push_back({chat.text.size(), chat.text.size() + content.size()});
    chat.text += content;
  };
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const Message& m = messages[i];
    const bool assistant = m.role == "assistant";
    const std::size_t answer_begin = chat.text.size() + generation_.size();  // assistant_open_, or nothing
    if (m.role == "system") {
      chat.text += "<|start_header_id|>system<|end_header_id|>\n\n";
    } else {
      chat.text += assistant ? assistant_open_ : user_open_;
    }
    const std::size_t system_at = how == System::kInLastTurn ? messages.size() - 1 : 0;
    if (has_system && i == system_at && !assistant) {
      say(system);
      chat.text += "\n\n";
    }
    const bool trim = assistant ? trim_assistant_ : trim_user_;
    say(trim ? detail::strip(m.content) : std::string_view(m.content));
    if (assistant && !m.ids.empty()) chat.answers.push_back({answer_begin, chat.text.size()});
    chat.text += assistant ? assistant_close_ : user_close_;
  }
  if (options.add_generation_prompt || always_generation_) chat.text += generation_;
  return chat;
}

inline std::vector<TokenId> ChatTemplate::encode(const Tokenizer& tokenizer,
                                                 std::span<const Message> messages,
                                                 const ChatOptions& options) const {
  const RenderedChat chat = render(messages, options);
  std::vector<TokenId> ids;
  std::size_t done = 0;
  const auto append_text_until = [&](std::size_t end) {
    std::vector<TextRange> literal;
    for (const TextRange& r : chat.literal) {
      if (r.begin >= done && r.end <= end) literal.push_back({r.begin - done, r.end - done});
    }
    const auto part = tokenizer.encode(
        std::string_view(chat.text).substr(done, end - done),
        {.parse_special = true, .add_bos = done == 0 && tokenizer.vocab().add_bos(), .literal = literal});
    ids.insert(ids.end(), part.begin(), part.end());
  };
  const TextRange* answer = chat.answers.data();
  for (const Message& m : messages) {
    if (m.ids.empty() || m.role != "assistant") continue;
    append_text_until(answer->begin);
    ids.insert(ids.end(), m.ids.begin(), m.ids.end());
    done = answer++->end;  // a control token follows, where encoding may begin anew
  }
  append_text_until(chat.text.size());
  return ids;
}

}  // namespace gemma
