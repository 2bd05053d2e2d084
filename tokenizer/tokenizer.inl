// Definitions of tokenizer.hpp: the three kinds of tokenizers.
#pragma once

#include <utility>

#include "../gguf/error.hpp"
#include "../gguf/linkage.hpp"
#include "bpe.hpp"
#include "line_bpe.hpp"
#include "spm.hpp"

namespace gemma {

GEMMA_INLINE std::unique_ptr<const Tokenizer> make_tokenizer(Vocab vocab) {
  using Made = std::unique_ptr<const Tokenizer>;
  return detail::or_out_of_memory("no memory for a tokenizer", [&]() -> Made {
    switch (vocab.kind()) {
      case TokenizerKind::kSentencePiece:
        return std::make_unique<detail::SpmTokenizer>(std::move(vocab));
      case TokenizerKind::kLineBpe:
        return std::make_unique<detail::LineBpeTokenizer>(std::move(vocab));
      case TokenizerKind::kByteBpe:
        break;
    }
    return std::make_unique<detail::BpeTokenizer>(std::move(vocab));
  });
}

}  // namespace gemma
