// The kinds of tokenizers by the names that files give them (tokenizer.ggml.model), and how byte-level BPE
// cuts a text before merging (tokenizer.ggml.pre).
// Sources: the tokenizer.json of Llama 3, of Qwen 3 and of SmolLM2; llama.cpp's names for them.
#pragma once

#include <cstdint>
#include <iterator>
#include <span>
#include <string_view>

namespace gemma {

/// How text is cut into pieces: SentencePiece's merges by score, BPE of bytes, BPE of the characters of
/// lines.
enum class TokenizerKind : std::uint8_t { kSentencePiece, kByteBpe, kLineBpe };

/// The patterns that pretokenize.cpp can build.
enum class PrePattern : std::uint8_t {
  kLlama3,  // up to three digits together; a letter run takes one sign before it; case of 's does not matter
  kQwen2,   // as Llama 3's, but each digit alone
  kSmolLm,  // each digit alone, then GPT-2's pattern on what lies between
};

/// A pre-tokenizer: its names in files and its pattern.
struct PreTokenizer {
  std::span<const std::string_view> names;  // that files give it
  PrePattern pattern;                       // what it cuts by
  bool whole_pieces;  // a pre-token that is a piece is taken whole, whatever the merges say
  bool all_bytes;     // every byte has a piece; otherwise one without is left out of a text
};

namespace dialects {

/// Names that files give Llama 3's pre-tokenizer.
inline constexpr std::string_view kLlama3PreNames[] = {"llama-bpe", "llama3", "llama-v3", "smaug-bpe"};
/// Names that files give the pre-tokenizer of Qwen 2, 2.5 and 3.
inline constexpr std::string_view kQwen2PreNames[] = {"qwen2"};
/// Names that files give SmolLM2's pre-tokenizer.
inline constexpr std::string_view kSmolLmPreNames[] = {"smollm"};
/// All of them.
inline constexpr PreTokenizer kPreTokenizers[] = {{kLlama3PreNames, PrePattern::kLlama3, true, true},
                                                  {kQwen2PreNames, PrePattern::kQwen2, false, true},
                                                  {kSmolLmPreNames, PrePattern::kSmolLm, false, false}};

/// A value of tokenizer.ggml.model, and how such a vocabulary cuts text into pieces. "gemma4" is also an
/// architecture and a pre-tokenizer of files whose model key says something else.
struct TokenizerModel {
  std::string_view name;  // tokenizer.ggml.model
  TokenizerKind kind;     // what it stands for
};
/// All of them.
inline constexpr TokenizerModel kTokenizerModels[] = {{"llama", TokenizerKind::kSentencePiece},
                                                      {"gpt2", TokenizerKind::kByteBpe},
                                                      {"gemma4", TokenizerKind::kLineBpe}};

/// The one of that name, or nullptr.
inline const TokenizerModel* find_tokenizer_model(std::string_view name) noexcept {
  for (const TokenizerModel& model : kTokenizerModels) {
    if (model.name == name) return &model;
  }
  return nullptr;
}

/// The one of that name, or nullptr.
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
