// Vocabularies of SentencePiece's kind: pieces of characters with scores, and bytes to fall back on.
// Invariant: pieces have the ids that the checkpoint gives them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "examples/convert/checkpoint.hpp"

namespace gemma::convert {

/// tokenizer.ggml.token_type
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

  /// Adds pieces that are no tokens until there are n.
  void resize(std::size_t n, float score) {
    for (std::size_t i = texts.size(); i < n; ++i) {
      texts.push_back("[PAD" + std::to_string(i) + "]");
      scores.push_back(score);
      types.push_back(kUnused);
    }
  }
  /// Puts a token that was added later in its place. One past the last is left out.
  void put(std::size_t id, std::string text, TokenType type, float score) {
    if (id >= texts.size()) return;
    texts[id] = std::move(text);
    types[id] = type;
    scores[id] = score;
  }
};

/// A vocabulary and what goes with it.
struct SentencePieceModel {
  Pieces pieces;
  std::int64_t unk = 0, bos = 1, eos = 2, pad = -1;
  bool dummy_prefix = true;  // a text gets a space before it
};

/// The characters that stand for a space become spaces: of tokens that are matched before merging.
std::string without_escapes(std::string text);

/// Reads tokenizer.model, a protocol buffer, every field of which is bounds-checked. Throws Error{kIo,
/// kMalformed}.
SentencePieceModel read_sentencepiece(const std::string& path);

/// The same vocabulary from tokenizer.json: model BPE with byte_fallback, as the tokenizers library converts
/// it. A piece's score is the place of the first merge that makes it, which orders merges as SentencePiece's
/// scores do. Throws Error{kMalformed, kUnsupported}; `path` is for messages.
SentencePieceModel sentencepiece_from_json(const Json& json, const std::string& path);

}  // namespace gemma::convert
