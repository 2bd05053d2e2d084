// The pieces of a vocabulary with their types and scores, as its GGUF file gives them.
// Invariant: the table has been checked: counts agree, pieces are at most kMaxPieceBytes long and empty only
// if unused, scores are finite, byte tokens spell bytes. Types are the file's, or inferred, and types that
// published files are known to lack are restored.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../gguf/error.hpp"
#include "../gguf/file.hpp"
#include "../gguf/finite.hpp"
#include "dialects/dialect.hpp"
#include "token_types.hpp"

namespace gemma::detail {

/// Base class of Vocab. Views point into the file's mapping.
class PieceTable {
 public:
  /// Longest piece that is accepted: real ones stay below 200 bytes. It bounds how far matching looks ahead.
  static constexpr std::size_t kMaxPieceBytes = 4096;
  /// Limit on the bytes of all pieces together: real vocabularies stay below 4 MB. It bounds the memory of
  /// tables over pieces, and their 32-bit offsets.
  static constexpr std::size_t kMaxPiecesBytes = std::size_t{1} << 25;
  /// Maximum number of pieces beyond the rows of the embedding that are dropped; a file with more of them is
  /// refused later, as its vocabulary is another model's.
  static constexpr std::size_t kMostSurplus = 64;

  /// The kind of tokenizer by the file.
  TokenizerKind kind() const noexcept { return kind_; }
  /// Path of the file, for error messages.
  const std::string& source() const noexcept { return source_; }

  /// Number of pieces; ids are 0 .. size() - 1.
  std::size_t size() const noexcept { return pieces_.size(); }
  /// The pieces as in the file: SentencePiece pieces hold U+2581 (or real spaces) for spaces, BPE pieces hold
  /// mapped bytes.
  std::span<const std::string_view> pieces() const noexcept { return pieces_; }
  /// The piece of an id. Throws Error{kInvalidArgument} outside the vocabulary.
  std::string_view piece(TokenId id) const { return pieces_[checked(id)]; }
  /// The type of an id. Throws as piece().
  TokenType type(TokenId id) const { return types_[checked(id)]; }
  /// Merge priority, higher first; for vocabularies with merges 0.
  float score(TokenId id) const { return scores_.empty() ? 0.0F : scores_[checked(id)]; }
  /// "LEFT RIGHT" by rank; empty for SentencePiece.
  std::span<const std::string_view> merges() const noexcept { return merges_; }
  /// The id of the byte token <0xHH>, or nothing.
  std::optional<TokenId> byte_token(std::uint8_t byte) const noexcept {
    return bytes_[byte] < 0 ? std::nullopt : std::optional<TokenId>(bytes_[byte]);
  }
  /// The byte of a byte token. Needs type(id) == kByte.
  std::uint8_t byte_of(TokenId id) const { return parse_byte(piece(id)).value_or(0); }
  /// Whether every byte has a token.
  bool has_all_bytes() const noexcept {
    return std::all_of(bytes_.begin(), bytes_.end(), [](TokenId id) { return id >= 0; });
  }

  /// Lowest id whose piece is `piece`. Takes time linear in the vocabulary: for a few names, not for
  /// encoding.
  std::optional<TokenId> find(std::string_view piece) const noexcept {
    const auto it = std::find(pieces_.begin(), pieces_.end(), piece);
    if (it == pieces_.end()) return std::nullopt;
    return static_cast<TokenId>(it - pieces_.begin());
  }

  /// Errors in the vocabulary of the file and how they are handled, one line each, for people.
  std::span<const std::string> notes() const noexcept { return notes_; }

  /// Throws `code` with "FILE: key 'KEY' WHAT (at byte OFFSET)". `at` points to the piece, merge or value at
  /// fault, in the file's mapping.
  [[noreturn]] void fail(ErrorCode code, std::string_view key, const std::string& what,
                         const void* at) const {
    const auto offset = static_cast<const std::byte*>(at) - file_begin_;
    detail::refuse(code, [&] {
      return source_ + ": key " + gemma::quoted(key) + " " + what + " (at byte " + std::to_string(offset) +
             ")";
    });
  }

 protected:
  PieceTable() = default;

  bool is_type(std::optional<TokenId> id, TokenType type) const {
    return id && types_[static_cast<std::size_t>(*id)] == type;
  }
  void set_type(TokenId id, TokenType type) { types_[static_cast<std::size_t>(id)] = type; }

  void read_arrays(const gguf::File& file);
  void leave_out_surplus(const gguf::File& file);
  void read_types(const gguf::File& file, const Markers& markers);
  void read_scores(const gguf::File& file);
  void index_bytes();
  /// Address of the value of `key`, which must exist, or of element `index` of its array.
  static const std::byte* place(const gguf::File& file, std::string_view key, std::size_t index = 0) {
    const gguf::Value& value = *file.find(key);
    return value.bytes().data() + index * gguf::scalar_size(value.element_type());
  }

  std::string source_;
  const std::byte* file_begin_ = nullptr;
  TokenizerKind kind_ = TokenizerKind::kSentencePiece;
  std::vector<std::string_view> pieces_;  // [vocab_size]
  std::vector<TokenType> types_;          // [vocab_size]
  std::vector<float> scores_;             // [vocab_size], empty for BPE
  std::vector<std::string_view> merges_;
  std::size_t n_listed_ = 0;          // number of pieces in the file
  std::vector<std::string> notes_;    // see notes()
  std::array<TokenId, 256> bytes_{};  // -1 where there is no such byte token

 private:
  std::size_t checked(TokenId id) const {
    if (id < 0 || static_cast<std::size_t>(id) >= pieces_.size()) {
      refuse(ErrorCode::kInvalidArgument, [&] {
        return "token id " + std::to_string(id) + " is not in the vocabulary of " +
               std::to_string(pieces_.size()) + " pieces";
      });
    }
    return static_cast<std::size_t>(id);
  }
};

inline void PieceTable::read_arrays(const gguf::File& file) {
  constexpr std::string_view kKey = "tokenizer.ggml.tokens";
  pieces_ = file.get<std::vector<std::string_view>>(kKey);
  if (pieces_.empty()) fail(ErrorCode::kMalformed, kKey, "is empty", place(file, kKey));
  if (!std::in_range<TokenId>(pieces_.size())) {
    fail(ErrorCode::kMalformed, kKey, "has too many elements", place(file, kKey));
  }
  std::size_t total = 0;
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    if (pieces_[i].size() > kMaxPieceBytes) {
      fail(ErrorCode::kMalformed, kKey,
           "has a piece of " + std::to_string(pieces_[i].size()) + " bytes at " + std::to_string(i),
           pieces_[i].data());
    }
    total += pieces_[i].size();
  }
  if (total > kMaxPiecesBytes) {
    fail(ErrorCode::kMalformed, kKey,
         "has " + std::to_string(total) + " bytes of pieces; at most " + std::to_string(kMaxPiecesBytes) +
             " are accepted",
         place(file, kKey));
  }
  if (kind_ != TokenizerKind::kSentencePiece) {
    constexpr std::string_view kMerges = "tokenizer.ggml.merges";
    merges_ = file.get<std::vector<std::string_view>>(kMerges);
    if (!std::in_range<TokenId>(merges_.size())) {
      fail(ErrorCode::kMalformed, kMerges, "has too many elements", place(file, kMerges));
    }
  }
}

/// Ollama's files of Gemma 3 list one token more than the embedding has rows (the one for images); some
/// fine-tunes list tokens that were added to the tokenizer only. The model computes nothing for such tokens,
/// so they are dropped.
inline void PieceTable::leave_out_surplus(const gguf::File& file) {
  n_listed_ = pieces_.size();
  const TensorView* embedding = file.find_tensor("token_embd.weight");
  if (embedding == nullptr || embedding->rows == 0 || n_listed_ <= embedding->rows) return;
  const std::size_t surplus = n_listed_ - embedding->rows;
  if (surplus > kMostSurplus || surplus >= embedding->rows) return;
  pieces_.resize(embedding->rows);
  notes_.push_back("key 'tokenizer.ggml.tokens' has " + std::to_string(n_listed_) +
                   " tokens for the embedding's " + std::to_string(embedding->rows) +
                   " rows: those beyond are not used");
}

inline void PieceTable::read_types(const gguf::File& file, const Markers& markers) {
  constexpr std::string_view kKey = "tokenizer.ggml.token_type";
  types_.assign(pieces_.size(), TokenType::kNormal);
  if (const auto types = file.get_if<std::vector<std::int32_t>>(kKey)) {
    if (types->size() != n_listed_) {
      fail(ErrorCode::kMalformed, kKey,
           "has " + std::to_string(types->size()) + " elements for " + std::to_string(n_listed_) + " tokens",
           place(file, kKey));
    }
    for (std::size_t i = 0; i < pieces_.size(); ++i) {
      const std::int32_t t = (*types)[i];
      if (t < 0 || t > 6) {
        fail(ErrorCode::kMalformed, kKey,
             "has the unknown type " + std::to_string(t) + " at " + std::to_string(i), place(file, kKey, i));
      }
      if (t != 0) types_[i] = static_cast<TokenType>(t);  // 0 is "undefined": a plain piece
    }
  } else {
    infer_types(pieces_, kind_, markers, types_);
  }
  const bool flattened = std::find(types_.begin(), types_.end(), TokenType::kUserDefined) == types_.end();
  if (markers.meta_pieces && flattened) restore_meta_types(pieces_, markers, types_);
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    if (pieces_[i].empty() && types_[i] != TokenType::kUnused) {
      fail(ErrorCode::kMalformed, "tokenizer.ggml.tokens", "has an empty piece at " + std::to_string(i),
           pieces_[i].data());
    }
  }
}

inline void PieceTable::read_scores(const gguf::File& file) {
  if (kind_ != TokenizerKind::kSentencePiece) return;
  constexpr std::string_view kKey = "tokenizer.ggml.scores";
  if (auto scores = file.get_if<std::vector<float>>(kKey)) {
    scores_ = *std::move(scores);
    if (scores_.size() != n_listed_) {
      fail(ErrorCode::kMalformed, kKey,
           "has " + std::to_string(scores_.size()) + " elements for " + std::to_string(n_listed_) + " tokens",
           place(file, kKey));
    }
    scores_.resize(pieces_.size());
    const auto bad = std::find_if(scores_.begin(), scores_.end(), [](float s) { return !is_finite(s); });
    if (bad != scores_.end()) {
      const auto i = static_cast<std::size_t>(bad - scores_.begin());
      fail(ErrorCode::kMalformed, kKey, "has a score that is not finite at " + std::to_string(i),
           place(file, kKey, i));
    }
    return;
  }
  // learned pieces are stored in the order in which they were learned, which is the order of their scores
  scores_.resize(pieces_.size());
  for (std::size_t i = 0; i < scores_.size(); ++i) scores_[i] = -static_cast<float>(i);
}

inline void PieceTable::index_bytes() {
  bytes_.fill(-1);
  if (kind_ == TokenizerKind::kByteBpe) return;
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    if (types_[i] != TokenType::kByte) continue;
    const auto byte = parse_byte(pieces_[i]);
    if (!byte || bytes_[*byte] >= 0) {
      fail(ErrorCode::kMalformed, "tokenizer.ggml.tokens",
           "has the " + std::string(byte ? "repeated" : "invalid") + " byte token " +
               gemma::quoted(pieces_[i]) + " at " + std::to_string(i),
           pieces_[i].data());
    }
    bytes_[*byte] = static_cast<TokenId>(i);
  }
}

}  // namespace gemma::detail
