// A model's vocabulary as its GGUF file gives it, with the oddities of real files settled once.
// Invariant: every id held is inside the vocabulary, every piece is non-empty unless it is unused and at most
// kMaxPieceBytes long, scores are finite, and types mean what they say: some files type turn markers or HTML
// tags as plain pieces, some have no types or scores, and here that is already put right. What the file does
// not say is a fact of its dialect (dialects/).
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
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
#include "dialects/registry.hpp"
#include "marker_ids.hpp"
#include "token_types.hpp"

namespace gemma {

/// Pieces, scores and special ids. Immutable after from(); safe to share between threads. Pieces, pre() and
/// chat_template() point into the file's mapping: the File must outlive the Vocab.
class Vocab {
 public:
  /// Longest chat template that is taken: real ones stay below 30 KB.
  static constexpr std::size_t kMaxTemplateBytes = 1 << 20;
  /// Longest piece that is taken: real ones stay below 200. It bounds how far matching a piece looks ahead.
  static constexpr std::size_t kMaxPieceBytes = 4096;
  /// Longest pieces together: real ones stay below 4 MB. It bounds what tables of them take, and their 32-bit
  /// numbers.
  static constexpr std::size_t kMaxPiecesBytes = std::size_t{1} << 25;

  /// Throws Error naming the file and key: kMissingKey, kWrongType, kUnsupported (tokenizer model),
  /// kMalformed.
  static Vocab from(const gguf::File& file);

  /// How text is cut into pieces.
  TokenizerKind kind() const noexcept { return kind_; }
  /// The conventions that it follows where the file does not say.
  const Markers& markers() const noexcept { return *markers_; }
  /// Whether its pieces or its architecture tell these conventions; otherwise they are those of its kind.
  bool markers_are_told() const noexcept { return told_; }
  /// Whether the pieces that tell a dialect's vocabulary are all there.
  bool has_markers(const Markers& markers) const { return marker_ids_.has_all(markers.told_by); }
  /// general.name, or "".
  std::string_view name() const noexcept { return name_; }
  /// general.architecture, or "".
  std::string_view architecture() const noexcept { return architecture_; }
  /// tokenizer.ggml.pre, or "".
  std::string_view pre() const noexcept { return pre_; }
  /// tokenizer.chat_template, or "".
  std::string_view chat_template() const noexcept { return chat_template_; }
  /// The file's path, for messages.
  const std::string& source() const noexcept { return source_; }

  /// Pieces; ids are 0 .. size() - 1.
  std::size_t size() const noexcept { return pieces_.size(); }
  /// As in the file: SentencePiece pieces hold U+2581 (or real spaces) for spaces, BPE pieces hold mapped
  /// bytes.
  std::span<const std::string_view> pieces() const noexcept { return pieces_; }
  /// The piece of an id. Throws Error{kInvalidArgument} outside the vocabulary.
  std::string_view piece(TokenId id) const { return pieces_[checked(id)]; }
  /// The type of an id. Throws as piece().
  TokenType type(TokenId id) const { return types_[checked(id)]; }
  /// Merge priority, higher first; for BPE vocabularies 0.
  float score(TokenId id) const { return scores_.empty() ? 0.0F : scores_[checked(id)]; }
  /// "LEFT RIGHT" by rank; BPE only.
  std::span<const std::string_view> merges() const noexcept { return merges_; }
  /// The id of the byte token <0xHH>, or nothing.
  std::optional<TokenId> byte_token(std::uint8_t byte) const noexcept {
    return bytes_[byte] < 0 ? std::nullopt : std::optional<TokenId>(bytes_[byte]);
  }
  /// The byte of a byte token. Needs type(id) == kByte.
  std::uint8_t byte_of(TokenId id) const { return detail::parse_byte(piece(id)).value_or(0); }
  /// Whether every byte has a token.
  bool has_all_bytes() const noexcept {
    return std::all_of(bytes_.begin(), bytes_.end(), [](TokenId id) { return id >= 0; });
  }

  /// Begins a text.
  std::optional<TokenId> bos() const noexcept { return bos_; }
  /// Ends a text.
  std::optional<TokenId> eos() const noexcept { return eos_; }
  /// Ends a turn.
  std::optional<TokenId> eot() const noexcept { return eot_; }
  /// Stands for what has no token.
  std::optional<TokenId> unk() const noexcept { return unk_; }
  /// Fills up.
  std::optional<TokenId> pad() const noexcept { return pad_; }
  /// Ids that end an answer, ascending: end of text, end of turn.
  std::span<const TokenId> stop_ids() const noexcept { return stop_ids_; }
  /// Whether an answer ends at this id.
  bool is_stop(TokenId id) const noexcept {
    return std::binary_search(stop_ids_.begin(), stop_ids_.end(), id);
  }

  /// Whether a prompt starts with bos(); true only when there is one.
  bool add_bos() const noexcept { return add_bos_; }
  /// Whether a space is put before the text (and, when decoding, one leading space dropped).
  bool add_space_prefix() const noexcept { return add_space_prefix_; }

  /// Lowest id whose piece is `piece`. Looks at every piece: for a handful of names, not for encoding.
  std::optional<TokenId> find(std::string_view piece) const noexcept {
    const auto it = std::find(pieces_.begin(), pieces_.end(), piece);
    if (it == pieces_.end()) return std::nullopt;
    return static_cast<TokenId>(it - pieces_.begin());
  }

  /// Throws `code` with "FILE: key 'KEY' WHAT (at byte OFFSET)". `at` is the place at fault: a piece, a merge
  /// or a value, in the file's mapping.
  [[noreturn]] void fail(ErrorCode code, std::string_view key, const std::string& what,
                         const void* at) const {
    const auto offset = static_cast<const std::byte*>(at) - file_begin_;
    throw Error(code,
                source_ + ": key " + quoted(key) + " " + what + " (at byte " + std::to_string(offset) + ")");
  }

 private:
  Vocab() = default;

  static Vocab read(const gguf::File& file);
  std::size_t checked(TokenId id) const {
    if (id < 0 || static_cast<std::size_t>(id) >= pieces_.size()) {
      detail::refuse(ErrorCode::kInvalidArgument, [&] {
        return "token id " + std::to_string(id) + " is not in the vocabulary of " +
               std::to_string(pieces_.size()) + " pieces";
      });
    }
    return static_cast<std::size_t>(id);
  }
  bool is_type(std::optional<TokenId> id, TokenType type) const {
    return id && types_[static_cast<std::size_t>(*id)] == type;
  }
  void set_type(TokenId id, TokenType type) { types_[static_cast<std::size_t>(id)] = type; }

  void read_arrays(const gguf::File& file);
  void read_types(const gguf::File& file);
  void read_scores(const gguf::File& file);
  void index_bytes();
  void read_special_ids(const gguf::File& file);
  void find_stop_ids(const gguf::File& file);
  std::optional<TokenId> read_id(const gguf::File& file, std::string_view key) const;
  void choose_markers();
  void apply_markers(const Markers& markers);
  void find_specials(const gguf::File& file);
  std::optional<TokenId> marker(std::string_view piece) const {
    const auto id = marker_ids_.find(piece);
    return is_type(id, TokenType::kControl) ? id : std::nullopt;
  }
  /// Where the value of `key`, which must be there, or the element `index` of its array begins.
  static const std::byte* place(const gguf::File& file, std::string_view key, std::size_t index = 0) {
    const gguf::Value& value = *file.find(key);
    return value.bytes().data() + index * gguf::scalar_size(value.element_type());
  }

  std::string source_;
  const std::byte* file_begin_ = nullptr;
  std::string_view architecture_;
  std::string_view pre_;
  std::string_view chat_template_;
  TokenizerKind kind_ = TokenizerKind::kSentencePiece;
  const Markers* markers_ = &dialects::kNoMarkers;
  bool told_ = false;
  detail::MarkerIds marker_ids_;
  std::string_view name_;
  std::vector<std::string_view> pieces_;  // [vocab_size]
  std::vector<TokenType> types_;          // [vocab_size]
  std::vector<float> scores_;             // [vocab_size], empty for BPE
  std::vector<std::string_view> merges_;
  std::array<TokenId, 256> bytes_{};  // -1 where there is no such byte token
  std::optional<TokenId> bos_, eos_, eot_, unk_, pad_;
  std::vector<TokenId> stop_ids_;
  bool add_bos_ = false;
  bool add_space_prefix_ = false;
};

inline Vocab Vocab::from(const gguf::File& file) {
  return detail::or_out_of_memory("no memory for a vocabulary", [&] { return read(file); });
}

inline Vocab Vocab::read(const gguf::File& file) {
  Vocab v;
  v.source_ = file.path();
  v.file_begin_ = file.map().bytes().data();
  v.architecture_ = file.get_or<std::string_view>("general.architecture", {});
  v.name_ = file.get_or<std::string_view>("general.name", {});
  v.pre_ = file.get_or<std::string_view>("tokenizer.ggml.pre", {});
  v.chat_template_ = file.get_or<std::string_view>("tokenizer.chat_template", {});
  if (v.chat_template_.size() > kMaxTemplateBytes) {
    v.fail(ErrorCode::kMalformed, "tokenizer.chat_template",
           "holds " + std::to_string(v.chat_template_.size()) + " bytes, more than any chat template",
           v.chat_template_.data());
  }
  const auto model = file.get<std::string_view>("tokenizer.ggml.model");
  if (model == "llama") {
    v.kind_ = TokenizerKind::kSentencePiece;
  } else if (model == "gpt2") {
    v.kind_ = TokenizerKind::kByteBpe;
  } else {
    v.fail(ErrorCode::kUnsupported, "tokenizer.ggml.model",
           "is " + quoted(model) + "; 'llama' (SentencePiece) and 'gpt2' (byte-level BPE) are read",
           model.data());
  }
  v.read_arrays(file);
  v.choose_markers();
  v.read_types(file);
  v.read_scores(file);
  v.index_bytes();
  v.read_special_ids(file);
  v.find_stop_ids(file);
  return v;
}

inline void Vocab::read_arrays(const gguf::File& file) {
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
         "holds " + std::to_string(total) + " bytes of pieces, more than any vocabulary", place(file, kKey));
  }
  if (kind_ == TokenizerKind::kByteBpe) {
    constexpr std::string_view kMerges = "tokenizer.ggml.merges";
    merges_ = file.get<std::vector<std::string_view>>(kMerges);
    if (!std::in_range<TokenId>(merges_.size())) {
      fail(ErrorCode::kMalformed, kMerges, "has too many elements", place(file, kMerges));
    }
  }
}

/// The dialect that the pieces or the architecture tell, or the conventions of the tokenizer's kind.
inline void Vocab::choose_markers() {
  marker_ids_ = detail::MarkerIds(pieces_);
  markers_ = kind_ == TokenizerKind::kSentencePiece ? &dialects::kPlainMarkers : &dialects::kNoMarkers;
  for (const Dialect* d : dialects::kAll) {
    const Markers& m = *d->markers;
    if (m.byte_level != (kind_ == TokenizerKind::kByteBpe)) continue;
    if (!marker_ids_.has_all(m.told_by) &&
        (m.architecture.empty() || !architecture_.starts_with(m.architecture)))
      continue;
    markers_ = &m;
    told_ = true;
    return;
  }
}

/// The pieces of a dialect act as control tokens whatever the file types them.
inline void Vocab::apply_markers(const Markers& markers) {
  for (const std::string_view piece : markers.control) {
    const auto id = marker_ids_.find(piece);
    if (is_type(id, TokenType::kNormal) || is_type(id, TokenType::kUserDefined)) {
      set_type(*id, TokenType::kControl);
    }
  }
  for (const std::string_view piece : markers.stops) {
    if (const auto id = marker(piece)) stop_ids_.push_back(*id);
  }
}

inline void Vocab::read_types(const gguf::File& file) {
  constexpr std::string_view kKey = "tokenizer.ggml.token_type";
  types_.assign(pieces_.size(), TokenType::kNormal);
  if (const auto types = file.get_if<std::vector<std::int32_t>>(kKey)) {
    if (types->size() != pieces_.size()) {
      fail(ErrorCode::kMalformed, kKey,
           "has " + std::to_string(types->size()) + " elements for " + std::to_string(pieces_.size()) +
               " tokens",
           place(file, kKey));
    }
    for (std::size_t i = 0; i < types->size(); ++i) {
      const std::int32_t t = (*types)[i];
      if (t < 0 || t > 6) {
        fail(ErrorCode::kMalformed, kKey,
             "has the unknown type " + std::to_string(t) + " at " + std::to_string(i), place(file, kKey, i));
      }
      if (t != 0) types_[i] = static_cast<TokenType>(t);  // 0 is "undefined": a plain piece
    }
  } else {
    detail::infer_types(pieces_, kind_, *markers_, types_);
  }
  const bool flattened = std::find(types_.begin(), types_.end(), TokenType::kUserDefined) == types_.end();
  if (markers_->meta_pieces && flattened) detail::restore_meta_types(pieces_, *markers_, types_);
  apply_markers(*markers_);
  // a fine-tune may add another dialect's markers, and write its turns with them
  for (const Dialect* d : dialects::kAll) {
    if (d->markers != markers_ && marker_ids_.has_all(d->markers->told_by)) apply_markers(*d->markers);
  }
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    if (pieces_[i].empty() && types_[i] != TokenType::kUnused) {
      fail(ErrorCode::kMalformed, "tokenizer.ggml.tokens", "has an empty piece at " + std::to_string(i),
           pieces_[i].data());
    }
  }
}

inline void Vocab::read_scores(const gguf::File& file) {
  if (kind_ != TokenizerKind::kSentencePiece) return;
  constexpr std::string_view kKey = "tokenizer.ggml.scores";
  if (auto scores = file.get_if<std::vector<float>>(kKey)) {
    scores_ = *std::move(scores);
    if (scores_.size() != pieces_.size()) {
      fail(ErrorCode::kMalformed, kKey,
           "has " + std::to_string(scores_.size()) + " elements for " + std::to_string(pieces_.size()) +
               " tokens",
           place(file, kKey));
    }
    const auto bad = std::find_if(scores_.begin(), scores_.end(), [](float s) { return !std::isfinite(s); });
    if (bad != scores_.end()) {
      const auto i = static_cast<std::size_t>(bad - scores_.begin());
      fail(ErrorCode::kMalformed, kKey, "has a score that is not finite at " + std::to_string(i),
           place(file, kKey, i));
    }
    return;
  }
  // learned pieces stand in the order they were learned, which is the order of their scores
  scores_.resize(pieces_.size());
  for (std::size_t i = 0; i < scores_.size(); ++i) scores_[i] = -static_cast<float>(i);
}

inline void Vocab::index_bytes() {
  bytes_.fill(-1);
  if (kind_ != TokenizerKind::kSentencePiece) return;
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    if (types_[i] != TokenType::kByte) continue;
    const auto byte = detail::parse_byte(pieces_[i]);
    if (!byte || bytes_[*byte] >= 0) {
      fail(ErrorCode::kMalformed, "tokenizer.ggml.tokens",
           "has the " + std::string(byte ? "repeated" : "invalid") + " byte token " + quoted(pieces_[i]) +
               " at " + std::to_string(i),
           pieces_[i].data());
    }
    bytes_[*byte] = static_cast<TokenId>(i);
  }
}

inline std::optional<TokenId> Vocab::read_id(const gguf::File& file, std::string_view key) const {
  const auto id = file.get_if<std::int64_t>(key);
  if (!id || *id == -1 || *id == 0xFFFFFFFF) return std::nullopt;  // several converters write -1 for "none"
  if (*id < 0 || static_cast<std::uint64_t>(*id) >= pieces_.size()) {
    fail(ErrorCode::kMalformed, key,
         "is " + std::to_string(*id) + ", not an id of the " + std::to_string(pieces_.size()) + " tokens",
         place(file, key));
  }
  return static_cast<TokenId>(*id);
}

inline void Vocab::read_special_ids(const gguf::File& file) {
  bos_ = read_id(file, "tokenizer.ggml.bos_token_id");
  eos_ = read_id(file, "tokenizer.ggml.eos_token_id");
  eot_ = read_id(file, "tokenizer.ggml.eot_token_id");
  unk_ = read_id(file, "tokenizer.ggml.unknown_token_id");
  pad_ = read_id(file, "tokenizer.ggml.padding_token_id");
  if (kind_ == TokenizerKind::kSentencePiece && is_type(unk_, TokenType::kByte)) {
    // taking it for unknown would leave a byte without a token
    fail(ErrorCode::kMalformed, "tokenizer.ggml.unknown_token_id",
         "is " + std::to_string(*unk_) + ", a byte token", place(file, "tokenizer.ggml.unknown_token_id"));
  }
  find_specials(file);
  for (const auto id : {bos_, eos_, eot_}) {  // what the file calls an end or a begin is no text
    if (is_type(id, TokenType::kNormal) || is_type(id, TokenType::kUserDefined)) {
      set_type(*id, TokenType::kControl);
    }
  }

  const auto add_bos = file.get_if<bool>("tokenizer.ggml.add_bos_token");
  if (add_bos.value_or(false) && !bos_) {
    fail(ErrorCode::kMissingKey, "tokenizer.ggml.bos_token_id",
         "is missing or -1, though 'tokenizer.ggml.add_bos_token' asks for it",
         place(file, "tokenizer.ggml.add_bos_token"));
  }
  add_bos_ = bos_ && (markers_->always_bos || add_bos.value_or(markers_->add_bos));
  if (kind_ == TokenizerKind::kSentencePiece) {
    add_space_prefix_ = file.get_or<bool>("tokenizer.ggml.add_space_prefix", markers_->space_prefix);
    if (file.get_or<bool>("tokenizer.ggml.remove_extra_whitespaces", false)) {
      fail(ErrorCode::kUnsupported, "tokenizer.ggml.remove_extra_whitespaces",
           "is true, which is not supported", place(file, "tokenizer.ggml.remove_extra_whitespaces"));
    }
  }
}

/// Special ids that the file does not name, by spelling. A key of -1 says that there is none.
inline void Vocab::find_specials(const gguf::File& file) {
  const auto unsaid = [&](std::string_view key) { return file.find(key) == nullptr; };
  if (unsaid("tokenizer.ggml.bos_token_id")) bos_ = marker(markers_->bos);
  if (unsaid("tokenizer.ggml.eos_token_id")) eos_ = marker(markers_->eos);
  if (unsaid("tokenizer.ggml.eot_token_id")) eot_ = marker(markers_->eot);
  if (!unk_) {
    const auto it = std::find(types_.begin(), types_.end(), TokenType::kUnknown);
    if (it != types_.end()) unk_ = static_cast<TokenId>(it - types_.begin());
  }
  if (!unk_) unk_ = marker("<unk>");
  if (unk_ && kind_ == TokenizerKind::kSentencePiece) set_type(*unk_, TokenType::kUnknown);
}

inline void Vocab::find_stop_ids(const gguf::File& file) {
  for (const auto id : {eos_, eot_, read_id(file, "tokenizer.ggml.eom_token_id")}) {
    if (id) stop_ids_.push_back(*id);
  }
  std::sort(stop_ids_.begin(), stop_ids_.end());
  stop_ids_.erase(std::unique(stop_ids_.begin(), stop_ids_.end()), stop_ids_.end());
}

}  // namespace gemma
