// How byte-level BPE cuts a text before merging, by the name that a file gives it (tokenizer.ggml.pre).
// Sources: the tokenizer.json of Llama 3 and of SmolLM2; llama.cpp's names for them.
#pragma once

#include <cstdint>
#include <iterator>
#include <span>
#include <string_view>

namespace gemma {

/// The patterns that pretokenize.cpp can build.
enum class PrePattern : std::uint8_t {
  kLlama3,  // up to three digits together; a letter run takes one sign before it; case of 's does not matter
  kSmolLm,  // each digit alone, then GPT-2's pattern on what lies between
};

/// One way to cut.
struct PreTokenizer {
  std::span<const std::string_view> names;
  PrePattern pattern;
  bool whole_pieces;  // a pre-token that is a piece is taken whole, whatever the merges say
};

namespace dialects {

inline constexpr std::string_view kLlama3PreNames[] = {"llama-bpe", "llama3", "llama-v3", "smaug-bpe"};
inline constexpr std::string_view kSmolLmPreNames[] = {"smollm"};
inline constexpr PreTokenizer kPreTokenizers[] = {{kLlama3PreNames, PrePattern::kLlama3, true},
                                                  {kSmolLmPreNames, PrePattern::kSmolLm, false}};

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
