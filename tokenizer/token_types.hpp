// Types of tokens, and the rules that infer the type of a piece if the file has none or a wrong one.
// Invariant: the rules use only the spelling and the position of pieces and the facts of a dialect; there are
// no other such rules.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "dialects/dialect.hpp"
#include "dialects/pre_tokenizers.hpp"

namespace gemma {

/// Id of a token: an index into the vocabulary.
using TokenId = std::int32_t;

/// GGUF's token types (sentencepiece's numbers).
enum class TokenType : std::uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

namespace detail {

/// 0..255 for "<0x00>".."<0xFF>"; nullopt for any other text.
inline std::optional<std::uint8_t> parse_byte(std::string_view piece) noexcept {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
  };
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return std::nullopt;
  const int high = digit(piece[3]);
  const int low = digit(piece[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<std::uint8_t>(high * 16 + low);
}

/// The index of the first piece that spells a byte, or the number of pieces.
inline std::size_t first_byte_piece(std::span<const std::string_view> pieces) {
  const auto it = std::find_if(pieces.begin(), pieces.end(),
                               [](std::string_view p) { return parse_byte(p).has_value(); });
  return static_cast<std::size_t>(it - pieces.begin());
}

/// Whether `piece` is one of `pieces`, a short list.
inline bool is_one_of(std::span<const std::string_view> pieces, std::string_view piece) {
  return std::find(pieces.begin(), pieces.end(), piece) != pieces.end();
}

/// Whether `piece` is a control piece by its spelling.
inline bool is_marker(const Markers& markers, std::string_view piece) {
  if (piece.empty()) return false;
  const bool reserved = !markers.reserved_prefix.empty() && piece.starts_with(markers.reserved_prefix) &&
                        piece.ends_with(markers.reserved_suffix);
  return reserved || is_one_of(markers.control, piece) || piece == markers.bos || piece == markers.eos ||
         piece == markers.eot;
}

/// Infers the types of a file that has none; `types` are all kNormal before. SentencePiece's trainer orders a
/// vocabulary as meta pieces, byte pieces, learned pieces; byte-level BPE vocabularies spell their control
/// tokens <|...|>.
inline void infer_types(std::span<const std::string_view> pieces, TokenizerKind kind, const Markers& markers,
                        std::span<TokenType> types) {
  if (kind == TokenizerKind::kByteBpe) {
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      if (pieces[i].starts_with("<|") && pieces[i].ends_with("|>")) types[i] = TokenType::kControl;
    }
    return;
  }
  const std::size_t first = first_byte_piece(pieces);
  const bool sentence_piece = kind == TokenizerKind::kSentencePiece;
  const bool meta_is_control = sentence_piece && first < pieces.size() && !markers.meta_pieces;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (parse_byte(pieces[i])) {
      types[i] = TokenType::kByte;
    } else if (pieces[i] == "<unk>") {
      types[i] = TokenType::kUnknown;
    } else if ((meta_is_control && i < first) || is_marker(markers, pieces[i])) {
      types[i] = TokenType::kControl;
    }
  }
}

/// Restores lost types. In some published files all except a few control pieces and the bytes are normal:
/// Gemma's first ones, and repaired quantisation-aware ones. Their other meta pieces (those before the byte
/// pieces, runs of newlines and tabs) are user-defined in the published model.
inline void restore_meta_types(std::span<const std::string_view> pieces, const Markers& markers,
                               std::span<TokenType> types) {
  const std::size_t first = first_byte_piece(pieces);
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (types[i] != TokenType::kNormal) continue;
    const std::string_view p = pieces[i];
    if (is_marker(markers, p)) {
      types[i] = TokenType::kControl;
    } else if ((first < pieces.size() && i < first) || p.find_first_not_of('\n') == p.npos ||
               p.find_first_not_of('\t') == p.npos || is_one_of(markers.user_defined, p)) {
      types[i] = TokenType::kUserDefined;
    }
  }
}

}  // namespace detail

}  // namespace gemma
