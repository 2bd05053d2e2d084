// The interface of all tokenizers: text to token ids and back, control tokens handled alike for every kind.
// Invariant: a Tokenizer is immutable once made; all members are const and safe to call from many threads.
// encode() loses nothing: bytes that are not UTF-8 become byte tokens (or the unknown token where the
// vocabulary has none).
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../gguf/error.hpp"
#include "piece_matcher.hpp"
#include "text_range.hpp"
#include "vocab.hpp"

namespace gemma {

/// Options of encode().
struct EncodeOptions {
  /// Whether control tokens spelled in the text ("<eos>") become their ids. Otherwise they are ordinary text.
  bool parse_special = false;
  /// Whether the ids start with the vocabulary's BOS; the text's own BOS is not repeated. Without a value, as
  /// sequences of the model start (Vocab::add_bos()). False for a text that continues a sequence.
  std::optional<bool> add_bos = std::nullopt;
  /// Ascending, disjoint parts of the text in which parse_special does not apply: text that is not trusted.
  std::span<const TextRange> literal = {};
};

/// Options of decode().
struct DecodeOptions {
  /// Whether control tokens are written with their spelling. Otherwise they are skipped.
  bool show_special = false;
  /// Whether the ids continue an earlier text: then a leading space is kept even if the vocabulary adds a
  /// space before a text.
  bool continues = false;
};

/// Interface of all tokenizers. Owns its Vocab, whose pieces point into the gguf::File: the File must outlive
/// it.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  /// The vocabulary: pieces, types, special ids.
  const Vocab& vocab() const noexcept { return vocab_; }

  /// Longest text for encode(): sentencepiece counts bytes in an int, and a space becomes three bytes.
  static constexpr std::size_t kMaxTextBytes = std::size_t{1} << 29;

  /// The ids of a text. Throws Error{kInvalidArgument} if add_bos is true and the vocabulary has no BOS, or
  /// when the text is too long; {kOutOfMemory}.
  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options = {}) const {
    return detail::or_out_of_memory("no memory for encoding a text", [&] { return ids_of(text, options); });
  }

  /// The bytes of `ids`, which need not be UTF-8. Throws Error{kInvalidArgument} on an id out of range,
  /// {kOutOfMemory}.
  std::string decode(std::span<const TokenId> ids, const DecodeOptions& options = {}) const {
    std::string out;
    bool at_start = !options.continues;
    for (const TokenId id : ids) append_token(id, options.show_special, at_start, out);
    return out;
  }

  /// The bytes of `id` within a text; for a control token, its spelling. Throws as decode().
  std::string token_bytes(TokenId id) const {
    std::string out;
    bool at_start = false;
    append_token(id, true, at_start, out);
    return out;
  }

  /// Appends what `id` adds to a text; `at_start` says that no text came before, and is kept up to date.
  /// Throws as decode().
  void append_token(TokenId id, bool show_special, bool& at_start, std::string& out) const {
    detail::or_out_of_memory("no memory for decoding a token", [&] {
      const TokenType type = vocab_.type(id);
      if (type == TokenType::kControl || type == TokenType::kUnknown) {
        if (show_special) out += vocab_.piece(id);
        return;
      }
      const std::size_t begin = out.size();
      append_piece(id, out);
      if (at_start && vocab_.add_space_prefix() && type != TokenType::kByte && out.size() > begin &&
          out[begin] == ' ') {
        out.erase(begin, 1);  // the space that encode() added before the text
      }
      at_start = false;
    });
  }

  /// Builds the tables that encode() would otherwise build at its first call. Throws Error{kOutOfMemory}.
  void warm_up() const {
    detail::or_out_of_memory("no memory for encoding a text", [&] { prepare(); });
  }

 protected:
  /// Constructor for derived classes.
  explicit Tokenizer(Vocab vocab) : vocab_(std::move(vocab)) {
    for (std::size_t i = 0; i < vocab_.size(); ++i) {
      const auto id = static_cast<TokenId>(i);
      const TokenType type = vocab_.type(id);
      if (type == TokenType::kControl || type == TokenType::kUnknown) control_.add(vocab_.piece(id), id);
    }
  }

  /// Appends the ids of `text`, which is not empty and holds no control tokens to be parsed.
  virtual void append_text(std::string_view text, std::vector<TokenId>& ids) const = 0;
  /// Appends the bytes of a piece that is neither control nor unknown.
  virtual void append_piece(TokenId id, std::string& out) const = 0;
  /// Builds the tables that append_text() would build at its first call.
  virtual void prepare() const {}

 private:
  std::vector<TokenId> ids_of(std::string_view text, const EncodeOptions& options) const {
    if (text.size() > kMaxTextBytes) {
      detail::refuse(ErrorCode::kInvalidArgument, [&] {
        return "a text of " + std::to_string(text.size()) + " bytes is too long to be encoded in one piece";
      });
    }
    std::vector<TokenId> ids;
    const bool begins = options.add_bos.value_or(vocab_.add_bos());
    if (begins) {
      if (!vocab_.bos()) detail::refuse(ErrorCode::kInvalidArgument, "the vocabulary has no BOS token");
      ids.push_back(*vocab_.bos());
    }
    std::size_t done = 0;
    std::size_t range = 0;  // first of options.literal that ends after `at`
    for (std::size_t at = 0; options.parse_special;) {
      detail::PieceMatcher::Match match;
      at = control_.find(text, at, match);
      if (at == text.size()) break;
      while (range < options.literal.size() && options.literal[range].end <= at) ++range;
      if (range < options.literal.size() && options.literal[range].begin < at + match.length) {
        ++at;  // the marker reaches into literal text
        continue;
      }
      if (at > done) append_text(text.substr(done, at - done), ids);
      const bool second_bos = begins && at == 0 && match.id == *vocab_.bos();
      if (!second_bos) ids.push_back(match.id);
      at += match.length;
      done = at;
    }
    if (done < text.size()) append_text(text.substr(done), ids);
    return ids;
  }

  Vocab vocab_;
  detail::PieceMatcher control_;
};

}  // namespace gemma
