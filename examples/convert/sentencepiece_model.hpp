// Vocabularies of the SentencePiece kind: pieces of characters with scores, and bytes as a fallback.
// Invariant: pieces have the ids of the checkpoint.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "examples/convert/checkpoint.hpp"

namespace gemma::convert {

/// Values of tokenizer.ggml.token_type.
enum TokenType : std::int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

/// Pieces by id, each with its score and type.
struct Pieces {
  std::vector<std::string> texts;
  std::vector<float> scores;
  std::vector<std::int32_t> types;

  /// Fills up to n pieces with unused ones.
  void resize(std::size_t n, float score) {
    for (std::size_t i = texts.size(); i < n; ++i) {
      texts.push_back("[PAD" + std::to_string(i) + "]");
      scores.push_back(score);
      types.push_back(kUnused);
    }
  }
  /// Sets the piece of an added token. An id past the last piece is ignored.
  void put(std::size_t id, std::string text, TokenType type, float score) {
    if (id >= texts.size()) return;
    texts[id] = std::move(text);
    types[id] = type;
    scores[id] = score;
  }
};

/// A vocabulary and its settings.
struct SentencePieceModel {
  Pieces pieces;
  std::int64_t unk = 0, bos = 1, eos = 2, pad = -1;
  bool dummy_prefix = true;  // a space is added before a text
};

/// Replaces the characters that stand for a space by spaces, in tokens that are matched before merging.
std::string without_escapes(std::string text);

/// Reads tokenizer.model, a protocol buffer; every field is bounds-checked. Throws Error{kIo, kMalformed}.
SentencePieceModel read_sentencepiece(const std::string& path);

/// Reads the vocabulary of a tokenizer.json: model BPE with byte_fallback, as the tokenizers library converts
/// SentencePiece models. The score of a piece is the place of the first merge that makes it, which orders
/// merges as SentencePiece's scores do. Throws Error{kMalformed, kUnsupported}; `path` is for messages.
SentencePieceModel sentencepiece_from_json(const Json& json, const std::string& path);

}  // namespace gemma::convert
