// A model's vocabulary as its GGUF file gives it, with the errors of real files corrected once.
// Invariant: every id is inside the vocabulary, every piece is at most kMaxPieceBytes long and empty only if
// unused, scores are finite, and types are right: some files have turn markers or HTML tags with the type of
// plain pieces, some have no types or scores, which is corrected here. The facts of its dialect (dialects/)
// replace values that the file lacks.
#pragma once

#include <algorithm>
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
#include "../gguf/file_kind.hpp"
#include "dialects/pre_tokenizers.hpp"
#include "dialects/registry.hpp"
#include "marker_ids.hpp"
#include "piece_table.hpp"
#include "token_types.hpp"

namespace gemma {

/// Pieces, scores and special ids. Immutable after from(); safe to share between threads. Pieces, pre() and
/// chat_template() point into the file's mapping: the File must outlive the Vocab.
class Vocab : public detail::PieceTable {
 public:
  /// Longest chat template that is accepted: real ones stay below 30 KB.
  static constexpr std::size_t kMaxTemplateBytes = 1 << 20;
  /// Throws Error naming the file and key: kMissingKey, kWrongType, kUnsupported (tokenizer model),
  /// kMalformed.
  static Vocab from(const gguf::File& file);

  /// The conventions of its dialect, which replace values that the file lacks.
  const Markers& markers() const noexcept { return *markers_; }
  /// Whether markers() were recognised by pieces or architecture; otherwise they are the conventions of the
  /// kind of tokenizer.
  bool markers_are_recognised() const noexcept { return recognised_; }
  /// Whether the vocabulary has all the pieces by which that of `markers` is recognised.
  bool has_markers(const Markers& markers) const { return marker_ids_.has_all(markers.recognised_by); }
  /// general.name, or "".
  std::string_view name() const noexcept { return name_; }
  /// general.architecture, or "".
  std::string_view architecture() const noexcept { return architecture_; }
  /// tokenizer.ggml.pre, or "".
  std::string_view pre() const noexcept { return pre_; }
  /// tokenizer.chat_template, or "".
  std::string_view chat_template() const noexcept { return chat_template_; }
  /// Whether the model has an embedding for each layer (Gemma 4's small ones, whose turns differ).
  bool has_per_layer_embeddings() const noexcept { return per_layer_embeddings_; }
  /// Beginning-of-text token; nullopt when there is none.
  std::optional<TokenId> bos() const noexcept { return bos_; }
  /// End-of-text token; nullopt when there is none.
  std::optional<TokenId> eos() const noexcept { return eos_; }
  /// End-of-turn token; nullopt when there is none.
  std::optional<TokenId> eot() const noexcept { return eot_; }
  /// Token for text that has no token; nullopt when there is none.
  std::optional<TokenId> unk() const noexcept { return unk_; }
  /// Padding token; nullopt when there is none.
  std::optional<TokenId> pad() const noexcept { return pad_; }
  /// Ids that end an answer, ascending: end of text, end of turn.
  std::span<const TokenId> stop_ids() const noexcept { return stop_ids_; }
  /// Whether an answer ends at this id.
  bool is_stop(TokenId id) const noexcept {
    return std::binary_search(stop_ids_.begin(), stop_ids_.end(), id);
  }

  /// Whether a prompt starts with bos(); true only when there is one.
  bool add_bos() const noexcept { return add_bos_; }
  /// Whether the file requires eos() after a text; nullopt if it has no value. For embeddings; prompts do not
  /// end with it.
  std::optional<bool> add_eos() const noexcept { return add_eos_; }
  /// Whether encoding adds a space before the text, and decoding drops one leading space.
  bool add_space_prefix() const noexcept { return add_space_prefix_; }

 private:
  Vocab() = default;

  static Vocab read(const gguf::File& file);
  void read_kind(const gguf::File& file);
  void read_special_ids(const gguf::File& file);
  void find_stop_ids(const gguf::File& file);
  std::optional<TokenId> read_id(const gguf::File& file, std::string_view key);
  void choose_markers();
  void apply_markers(const Markers& markers);
  void apply_all_markers();
  void find_specials(const gguf::File& file);
  std::optional<TokenId> marker(std::string_view piece) const {
    const auto id = marker_ids_.find(piece);
    return is_type(id, TokenType::kControl) ? id : std::nullopt;
  }
  std::string_view architecture_;
  std::string_view pre_;
  std::string_view chat_template_;
  const Markers* markers_ = &dialects::kNoMarkers;
  bool recognised_ = false;
  bool per_layer_embeddings_ = false;
  detail::MarkerIds marker_ids_;
  std::string_view name_;
  std::optional<TokenId> bos_, eos_, eot_, unk_, pad_;
  std::vector<TokenId> stop_ids_;
  bool add_bos_ = false;
  std::optional<bool> add_eos_;
  bool add_space_prefix_ = false;
};

inline Vocab Vocab::from(const gguf::File& file) {
  return detail::or_out_of_memory("no memory for a vocabulary", [&] { return read(file); });
}

inline Vocab Vocab::read(const gguf::File& file) {
  if (file.find("tokenizer.ggml.model") == nullptr) gguf::refuse_non_models(file);
  Vocab v;
  v.source_ = file.path();
  v.file_begin_ = file.map().bytes().data();
  v.architecture_ = file.get_or<std::string_view>("general.architecture", {});
  v.name_ = file.get_or<std::string_view>("general.name", {});
  v.pre_ = file.get_or<std::string_view>("tokenizer.ggml.pre", {});
  v.chat_template_ = file.get_or<std::string_view>("tokenizer.chat_template", {});
  if (v.chat_template_.size() > kMaxTemplateBytes) {
    v.fail(ErrorCode::kMalformed, "tokenizer.chat_template",
           "has " + std::to_string(v.chat_template_.size()) + " bytes; at most " +
               std::to_string(kMaxTemplateBytes) + " are accepted",
           v.chat_template_.data());
  }
  v.read_kind(file);
  v.read_arrays(file);
  v.leave_out_surplus(file);
  v.choose_markers();
  v.read_types(file, *v.markers_);
  v.apply_all_markers();
  v.read_scores(file);
  v.index_bytes();
  v.read_special_ids(file);
  v.find_stop_ids(file);
  return v;
}

/// Some files name SentencePiece as their model but have merges: then the name of the pre-tokenizer, or the
/// architecture, decides.
inline void Vocab::read_kind(const gguf::File& file) {
  const auto model = file.get<std::string_view>("tokenizer.ggml.model");
  const bool has_merges = file.find("tokenizer.ggml.merges") != nullptr;
  const dialects::TokenizerModel* known = dialects::find_tokenizer_model(model);
  if (has_merges && known != nullptr && known->kind == TokenizerKind::kSentencePiece) {
    for (const std::string_view name : {architecture_, pre_}) {
      if (const auto* other = dialects::find_tokenizer_model(name)) known = other;
    }
  }
  if (known == nullptr) {
    fail(ErrorCode::kUnsupported, "tokenizer.ggml.model",
         "is " + gemma::quoted(model) +
             "; 'llama' (SentencePiece), 'gpt2' (byte-level BPE) and 'gemma4' (BPE over lines) are supported",
         model.data());
  }
  kind_ = known->kind;
  const std::string key = std::string(architecture_) + ".embedding_length_per_layer_input";
  const gguf::Value* width = file.find(key);
  if (width == nullptr) return;
  per_layer_embeddings_ = width->as<std::int64_t>().value_or(0) > 0 || width->as<double>().value_or(0.0) > 0;
}

/// Chooses the dialect by pieces or architecture, else the conventions of the kind of tokenizer.
inline void Vocab::choose_markers() {
  marker_ids_ = detail::MarkerIds(pieces_);
  markers_ = kind_ == TokenizerKind::kSentencePiece ? &dialects::kPlainMarkers : &dialects::kNoMarkers;
  for (const Dialect* d : dialects::kAll) {
    const Markers& m = *d->markers;
    if (m.byte_level != (kind_ == TokenizerKind::kByteBpe)) continue;
    if (!marker_ids_.has_all(m.recognised_by) &&
        (m.architecture.empty() || !architecture_.starts_with(m.architecture)))
      continue;
    markers_ = &m;
    recognised_ = true;
    return;
  }
}

/// Makes the control pieces of a dialect control tokens, whatever type the file gives them.
inline void Vocab::apply_markers(const Markers& markers) {
  for (const std::string_view piece : markers.control) {
    const auto id = marker_ids_.find(piece);
    if (is_type(id, TokenType::kNormal) || is_type(id, TokenType::kUserDefined)) {
      set_type(*id, TokenType::kControl);
    }
  }
  for (const std::string_view piece : markers.user_defined) {
    const auto id = marker_ids_.find(piece);
    if (is_type(id, TokenType::kNormal)) set_type(*id, TokenType::kUserDefined);
  }
  for (const std::string_view piece : markers.stops) {
    if (const auto id = marker(piece)) stop_ids_.push_back(*id);
  }
}

/// Applies the markers of the vocabulary's own dialect, and those of other dialects that a fine-tune may have
/// added for its turns.
inline void Vocab::apply_all_markers() {
  apply_markers(*markers_);
  for (const Dialect* d : dialects::kAll) {
    if (d->markers != markers_ && marker_ids_.has_all(d->markers->recognised_by)) apply_markers(*d->markers);
  }
}

/// The id of a special token; nullopt, with a note, for an id outside the vocabulary.
inline std::optional<TokenId> Vocab::read_id(const gguf::File& file, std::string_view key) {
  const auto id = file.get_if<std::int64_t>(key);
  if (!id || *id == -1 || *id == 0xFFFFFFFF) return std::nullopt;  // several converters write -1 for "none"
  if (*id >= 0 && static_cast<std::uint64_t>(*id) < pieces_.size()) return static_cast<TokenId>(*id);
  notes_.push_back("key " + gemma::quoted(key) + " is " + std::to_string(*id) + ", not an id of the " +
                   std::to_string(pieces_.size()) + " tokens: there is no such token");
  return std::nullopt;
}

inline void Vocab::read_special_ids(const gguf::File& file) {
  bos_ = read_id(file, "tokenizer.ggml.bos_token_id");
  eos_ = read_id(file, "tokenizer.ggml.eos_token_id");
  eot_ = read_id(file, "tokenizer.ggml.eot_token_id");
  unk_ = read_id(file, "tokenizer.ggml.unknown_token_id");
  pad_ = read_id(file, "tokenizer.ggml.padding_token_id");
  if (kind_ != TokenizerKind::kByteBpe && is_type(unk_, TokenType::kByte)) {
    // using a byte token as the unknown token would leave a byte without a token
    fail(ErrorCode::kMalformed, "tokenizer.ggml.unknown_token_id",
         "is " + std::to_string(*unk_) + ", a byte token", place(file, "tokenizer.ggml.unknown_token_id"));
  }
  find_specials(file);
  for (const auto id : {bos_, eos_, eot_}) {  // BOS, EOS and EOT are control tokens, whatever their type
    if (is_type(id, TokenType::kNormal) || is_type(id, TokenType::kUserDefined)) {
      set_type(*id, TokenType::kControl);
    }
  }

  const auto add_bos = file.get_if<bool>("tokenizer.ggml.add_bos_token");
  if (add_bos.value_or(false) && !bos_) {
    constexpr std::string_view kKey = "tokenizer.ggml.bos_token_id";
    if (file.find(kKey) == nullptr) {
      fail(ErrorCode::kMissingKey, kKey, "is missing, though 'tokenizer.ggml.add_bos_token' asks for it",
           place(file, "tokenizer.ggml.add_bos_token"));
    }
    notes_.push_back(
        "key 'tokenizer.ggml.add_bos_token' asks for a begin-of-text token, but there is no such token: none "
        "is added");
  }
  // used for embeddings only: a value that is not a bool is ignored
  const gguf::Value* add_eos = file.find("tokenizer.ggml.add_eos_token");
  if (add_eos != nullptr && add_eos->type() == gguf::ValueType::kBool) {
    add_eos_ = file.get<bool>("tokenizer.ggml.add_eos_token");
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

/// Finds special ids that the file does not name, by spelling. A key of -1 means that there is none.
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
  if (unk_ && kind_ != TokenizerKind::kByteBpe) set_type(*unk_, TokenType::kUnknown);
}

inline void Vocab::find_stop_ids(const gguf::File& file) {
  for (const auto id : {eos_, eot_, read_id(file, "tokenizer.ggml.eom_token_id")}) {
    if (id) stop_ids_.push_back(*id);
  }
  // Ollama's list of the ids that end an answer
  if (const gguf::Value* list = file.find("tokenizer.ggml.eos_token_ids")) {
    for (const std::int64_t id :
         list->as<std::vector<std::int64_t>>().value_or(std::vector<std::int64_t>())) {
      if (id >= 0 && static_cast<std::uint64_t>(id) < pieces_.size())
        stop_ids_.push_back(static_cast<TokenId>(id));
    }
  }
  std::sort(stop_ids_.begin(), stop_ids_.end());
  stop_ids_.erase(std::unique(stop_ids_.begin(), stop_ids_.end()), stop_ids_.end());
}

namespace detail {

/// Throws Error{kMissingKey} unless `vocab` has a token for every byte, or one for what it does not know.
inline void require_token_for_every_byte(const Vocab& vocab) {
  if (vocab.unk() || vocab.has_all_bytes()) return;
  refuse(ErrorCode::kMissingKey, [&] {
    return vocab.source() +
           ": key 'tokenizer.ggml.unknown_token_id' is missing and there are not all 256 byte tokens to do "
           "without";
  });
}

}  // namespace detail

}  // namespace gemma
