// The kinds of tokenizers by their names in files (tokenizer.ggml.model), and the pre-tokenizers by which
// byte-level BPE splits a text before merging (tokenizer.ggml.pre).
// Sources: the tokenizer.json of Llama 3, of Qwen 3 and of SmolLM2; llama.cpp's names for them.
#pragma once

#include <cstdint>
#include <iterator>
#include <span>
#include <string_view>

namespace gemma {

/// The algorithm that splits text into pieces: SentencePiece's merges by score, BPE of bytes, or BPE of the
/// characters of lines.
enum class TokenizerKind : std::uint8_t { kSentencePiece, kByteBpe, kLineBpe };

/// The patterns that pretokenize.cpp can build.
enum class PrePattern : std::uint8_t {
  kLlama3,  // up to three digits together; a letter run takes one sign before it; case of 's does not matter
  kQwen2,   // like Llama 3's, but each digit is separate
  kSmolLm,  // each digit is separate; GPT-2's pattern for the text between
};

/// A pre-tokenizer: its names in files and its pattern.
struct PreTokenizer {
  std::span<const std::string_view> names;  // its names in files
  PrePattern pattern;                       // the pattern by which it splits text
  bool whole_pieces;                        // a pre-token that is a piece is not merged
  bool all_bytes;  // every byte has a piece; otherwise bytes without a piece are skipped
};

namespace dialects {

/// Names that files give Llama 3's pre-tokenizer.
inline constexpr std::string_view kLlama3PreNames[] = {"llama-bpe", "llama3", "llama-v3", "smaug-bpe"};
/// Names that files give the pre-tokenizer of Qwen 2, 2.5 and 3.
inline constexpr std::string_view kQwen2PreNames[] = {"qwen2"};
/// Names that files give SmolLM2's pre-tokenizer.
inline constexpr std::string_view kSmolLmPreNames[] = {"smollm"};
/// All pre-tokenizers.
inline constexpr PreTokenizer kPreTokenizers[] = {{kLlama3PreNames, PrePattern::kLlama3, true, true},
                                                  {kQwen2PreNames, PrePattern::kQwen2, false, true},
                                                  {kSmolLmPreNames, PrePattern::kSmolLm, false, false}};

/// A value of tokenizer.ggml.model, and the kind of tokenizer that it means. "gemma4" is also the
/// architecture and the pre-tokenizer of files with other values.
struct TokenizerModel {
  std::string_view name;  // tokenizer.ggml.model
  TokenizerKind kind;     // its meaning
};
/// All values of tokenizer.ggml.model.
inline constexpr TokenizerModel kTokenizerModels[] = {{"llama", TokenizerKind::kSentencePiece},
                                                      {"gpt2", TokenizerKind::kByteBpe},
                                                      {"gemma4", TokenizerKind::kLineBpe}};

/// The entry of that name, or nullptr.
inline const TokenizerModel* find_tokenizer_model(std::string_view name) noexcept {
  for (const TokenizerModel& model : kTokenizerModels) {
    if (model.name == name) return &model;
  }
  return nullptr;
}

/// The pre-tokenizer of that name, or nullptr.
inline const PreTokenizer* find_pre_tokenizer(std::string_view name) noexcept {
  for (const PreTokenizer& pre : kPreTokenizers) {
    for (const std::string_view known : pre.names) {
      if (known == name) return &pre;
    }
  }
  return nullptr;
}

}  // namespace dialects

}  // namespace gemma
