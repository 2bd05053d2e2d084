// Conversations as text: the turns of a dialect, rendered natively and character for character as its
// published templates do.
// Invariant: texts of messages are marked as literal in the rendered text, so that markers spelled in them
// never become control tokens.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "../gguf/error.hpp"
#include "agent_writer.hpp"
#include "dialects/registry.hpp"
#include "tokenizer_base.hpp"
#include "turn_writer.hpp"
#include "vocab.hpp"

namespace gemma {

/// The format of a model's conversations. Immutable; created from a vocabulary.
class ChatTemplate {
 public:
  /// The dialect of the file's template if it has one, otherwise that of its vocabulary. recognised() tells
  /// whether this is certain. Throws Error{kOutOfMemory}.
  static ChatTemplate from(const Vocab& vocab) {
    return detail::or_out_of_memory("no memory for a chat template", [&] { return read(vocab); });
  }
  /// The dialect of that name, whatever template the file has; "": as from(vocab). Throws
  /// Error{kInvalidArgument} listing the names, {kOutOfMemory}.
  static ChatTemplate from(const Vocab& vocab, std::string_view name) {
    if (name.empty()) return from(vocab);
    return detail::or_out_of_memory("no memory for a chat template", [&] { return named(vocab, name); });
  }

  /// Whether the turns are certainly the model's: the file's template is rendered exactly, or the file has
  /// none and its vocabulary decides, or they were chosen by name. Otherwise they are a guess, and note()
  /// says so.
  bool recognised() const noexcept { return note_.empty(); }
  /// A note for users about the choice, one sentence without a full stop; "" if recognised().
  const std::string& note() const noexcept { return note_; }
  /// The dialect: its name, the markers of its turns, its defaults.
  const Dialect& dialect() const noexcept { return *dialect_; }

  /// Throws Error{kInvalidArgument} with the template's own message for a conversation that it refuses,
  /// {kOutOfMemory}.
  RenderedChat render(std::span<const Message> messages, const ChatOptions& options = {}) const {
    return detail::or_out_of_memory("no memory for a conversation", [&] {
      const detail::SpecialTexts specials{bos_, eos_};
      if (turns_.agent != nullptr) return detail::AgentWriter(turns_, specials, options).write(messages);
      return detail::TurnWriter(turns_, specials, options).write(messages);
    });
  }

  /// The ids of the rendered conversation, with exactly one BOS at its beginning where the vocabulary adds
  /// one. An answer that carries its ids keeps them, and with them the prefix that a cache holds: encoding
  /// its text would often give other ids, since templates trim it and sampling does not always choose the
  /// longest piece.
  std::vector<TokenId> encode(const Tokenizer& tokenizer, std::span<const Message> messages,
                              const ChatOptions& options = {}) const;

 private:
  ChatTemplate(const Vocab& vocab, const Dialect& dialect) : dialect_(&dialect), turns_(dialect.turns) {
    if (vocab.bos()) bos_ = vocab.piece(*vocab.bos());
    if (vocab.eos()) eos_ = vocab.piece(*vocab.eos());
  }
  static ChatTemplate read(const Vocab& vocab);
  static ChatTemplate without_template(const Vocab& vocab);
  static ChatTemplate named(const Vocab& vocab, std::string_view name);
  /// The variant of `dialect` that the file's model uses, for files whose template does not decide it.
  static const Dialect& for_file(const Vocab& vocab, const Dialect& dialect) {
    const bool other = dialect.for_per_layer_embeddings != nullptr && vocab.has_per_layer_embeddings();
    return other ? *dialect.for_per_layer_embeddings : dialect;
  }
  static const Dialect* recognised_by_vocabulary(const Vocab& vocab, bool& certain);

  const Dialect* dialect_;
  Turns turns_;
  std::string bos_, eos_;
  std::string note_;
};

namespace detail {

/// A model's name in the form of file names: lower case, dashes between words.
inline std::string as_file_name(std::string_view name) {
  std::string out;
  for (const char c : name) {
    out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c == ' ' || c == '_' ? '-' : c;
  }
  return out;
}

}  // namespace detail

/// The dialect for a vocabulary without a template. Sets `certain` to false if only the kind of tokenizer
/// suggests it.
inline const Dialect* ChatTemplate::recognised_by_vocabulary(const Vocab& vocab, bool& certain) {
  certain = true;
  if (vocab.markers_are_recognised()) {
    if (const Dialect* d = dialects::find_without_template(vocab.markers())) return d;
  }
  for (const Dialect* d : dialects::kAll) {
    if (d->without_template && vocab.has_markers(*d->markers)) return d;
  }
  const std::string name = detail::as_file_name(vocab.name());
  for (const Dialect* d : dialects::kAll) {
    for (const std::string_view known : d->file_names) {
      if (d->markers == &vocab.markers() && name.starts_with(known)) return d;
    }
  }
  certain = false;
  const Dialect* d = dialects::find_without_template(vocab.markers());
  return d != nullptr ? d : &dialects::kChatMl;
}

inline ChatTemplate ChatTemplate::without_template(const Vocab& vocab) {
  bool certain = false;
  const Dialect* dialect = recognised_by_vocabulary(vocab, certain);
  ChatTemplate t(vocab, for_file(vocab, *dialect));
  if (!certain) {
    t.note_ = "the file has no chat template, and nothing in it tells its turns; those of '" +
              std::string(dialect->name) + "' are used";
  }
  return t;
}

inline ChatTemplate ChatTemplate::read(const Vocab& vocab) {
  const std::string_view source = vocab.chat_template();
  if (source.empty()) return without_template(vocab);
  if (const Dialect* exact = dialects::find_exact(source)) return {vocab, *exact};
  const Dialect* signs = dialects::find_by_signs(source);
  bool certain = false;
  const Dialect* dialect = signs != nullptr ? signs : recognised_by_vocabulary(vocab, certain);
  ChatTemplate t(vocab, *dialect);
  if (source.find("bos_token") == source.npos) {
    t.turns_.begin = "";
  } else if (dialect->turns.user.open.find("{bos}") == std::string_view::npos) {
    t.turns_.begin = "{bos}";
  }
  t.note_ = signs != nullptr ? "the file's chat template is not one of the known ones; the turns of '" +
                                   std::string(dialect->name) + "' are used, whose markers it has"
                             : "the file's chat template is of no known kind; the turns of '" +
                                   std::string(dialect->name) + "' are used";
  return t;
}

inline ChatTemplate ChatTemplate::named(const Vocab& vocab, std::string_view name) {
  const Dialect* dialect = dialects::find(name);
  if (dialect == nullptr) {
    detail::refuse(ErrorCode::kInvalidArgument, [&] {
      return "there is no chat template " + gemma::quoted(std::string(name)) + "; known are " +
             dialects::names();
    });
  }
  return {vocab, for_file(vocab, *dialect)};
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
    const auto part = tokenizer.encode(std::string_view(chat.text).substr(done, end - done),
                                       {.parse_special = true,
                                        .add_bos = done == 0 ? std::nullopt : std::optional(false),
                                        .literal = literal});
    ids.insert(ids.end(), part.begin(), part.end());
  };
  const TextRange* answer = chat.answers.data();
  for (const Message& m : messages) {
    if (m.ids.empty() || m.role != "assistant") continue;
    append_text_until(answer->begin);
    ids.insert(ids.end(), m.ids.begin(), m.ids.end());
    done = answer++->end;  // a control token follows, so the rest can be encoded separately
  }
  append_text_until(chat.text.size());
  return ids;
}

}  // namespace gemma
