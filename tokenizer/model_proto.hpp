// Writes the vocabulary as a serialized sentencepiece ModelProto: the few fields that BPE encoding reads.
// Invariant: the bytes are a well-formed message; piece i of the message is token i of the vocabulary.
//
// Protocol buffers' wire format: a field is key = number << 3 | wire type, then the value; wire type 0 is a
// varint, 2 is length-delimited (varint length, bytes), 5 is four bytes little-endian.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>

#include "vocab.hpp"

namespace gemma::detail {

class WireWriter {
 public:
  void varint_field(std::uint32_t number, std::uint64_t value) {
    varint(number << 3);
    varint(value);
  }
  void float_field(std::uint32_t number, float value) {
    varint(number << 3 | 5);
    const auto bits = std::bit_cast<std::uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) bytes_ += static_cast<char>(bits >> shift & 0xFF);
  }
  void bytes_field(std::uint32_t number, std::string_view value) {
    varint(number << 3 | 2);
    varint(value.size());
    bytes_ += value;
  }
  void reserve(std::size_t size) { bytes_.reserve(size); }
  void clear() { bytes_.clear(); }
  const std::string& bytes() const noexcept { return bytes_; }

 private:
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }

  std::string bytes_;
};

/// Longest chain of the hash table of pieces: Gemma's 256,000 pieces have none longer than 9.
inline constexpr std::size_t kLongestChain = 64;

/// Appends the settings after the pieces: the algorithm, and a normalizer that changes nothing.
inline void append_settings(WireWriter& model, bool byte_fallback) {
  // field numbers of sentencepiece_model.proto
  constexpr std::uint32_t kTrainer = 2, kNormalizer = 3;
  constexpr std::uint32_t kModelType = 3, kByteFallback = 35;
  constexpr std::uint32_t kName = 1, kDummyPrefix = 3, kRemoveSpaces = 4, kEscapeSpaces = 5;
  constexpr std::uint64_t kBpe = 2;
  WireWriter part;
  part.varint_field(kModelType, kBpe);
  part.varint_field(kByteFallback, byte_fallback);
  model.bytes_field(kTrainer, part.bytes());
  part.clear();
  part.bytes_field(kName, "identity");  // spaces are marked before sentencepiece sees the text
  part.varint_field(kDummyPrefix, 0);
  part.varint_field(kRemoveSpaces, 0);
  part.varint_field(kEscapeSpaces, 0);
  model.bytes_field(kNormalizer, part.bytes());
}

/// The message for `vocab`. Control, unknown, user-defined and repeated pieces get names that cannot occur in
/// a text (0xFF does not occur in UTF-8), since they are matched before sentencepiece sees the text, or
/// never. Throws Error{kMalformed} if pieces were chosen to collide: sentencepiece stores them in a table
/// with the same hash as the one here, and would take quadratic time to fill it.
inline std::string model_proto(const Vocab& vocab) {
  // field numbers of sentencepiece_model.proto
  constexpr std::uint32_t kPieces = 1, kPiece = 1, kScore = 2, kType = 3;
  const bool bytes = vocab.has_all_bytes();
  std::unordered_set<std::string_view> seen;
  const auto is_new = [&](std::string_view piece) {
    const bool fresh = seen.insert(piece).second;
    if (fresh && seen.bucket_size(seen.bucket(piece)) > kLongestChain) {
      vocab.fail(ErrorCode::kMalformed, "tokenizer.ggml.tokens", "has pieces chosen to collide",
                 piece.data());
    }
    return fresh;
  };
  WireWriter model;
  WireWriter part;
  std::size_t total = 0;
  for (const std::string_view piece : vocab.pieces()) total += piece.size() + 16;
  model.reserve(total + 64);
  const auto add_piece = [&](std::string_view name, float score, TokenType type) {
    part.clear();
    part.bytes_field(kPiece, name);
    part.float_field(kScore, score);
    part.varint_field(kType, static_cast<std::uint64_t>(type));
    model.bytes_field(kPieces, part.bytes());
  };
  constexpr char kHex[] = "0123456789ABCDEF";
  for (std::size_t i = 0; i < vocab.size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    TokenType type = vocab.type(id);
    std::string hidden = "\xFF" + std::to_string(i);
    std::string_view name = hidden;
    if (type == TokenType::kByte && bytes) {
      const std::uint8_t byte = vocab.byte_of(id);
      hidden = std::string("<0x") + kHex[byte >> 4] + kHex[byte & 15] + '>';
      name = hidden;
    } else if ((type == TokenType::kNormal || type == TokenType::kUnused) && !vocab.piece(id).empty() &&
               is_new(vocab.piece(id))) {
      name = vocab.piece(id);
    } else {
      type = vocab.unk() == id ? TokenType::kUnknown : TokenType::kControl;
    }
    add_piece(name, vocab.score(id), type);
  }
  // sentencepiece requires an unknown piece; with all 256 byte tokens it is never used
  if (!vocab.unk()) add_piece("\xFFunk", 0.0F, TokenType::kUnknown);

  append_settings(model, bytes);
  return model.bytes();
}

}  // namespace gemma::detail
