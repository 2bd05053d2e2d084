// Text <-> token ids: the one include. The interface is tokenizer_base.hpp; make_tokenizer() chooses by the
// vocabulary's kind.
// Invariant: a tokenizer that was made works; what the vocabulary lacks is found here and not while encoding.
#pragma once

#include <memory>
#include <utility>

#include "bpe.hpp"
#include "line_bpe.hpp"
#include "spm.hpp"
#include "stream_decoder.hpp"
#include "tokenizer_base.hpp"
#include "vocab.hpp"

namespace gemma {

/// The tokenizer for `vocab`. Throws Error{kMalformed, kUnsupported, kMissingKey} naming the file and key
/// when pieces, merges or the pre-tokenizer do not make one, {kOutOfMemory}.
inline std::unique_ptr<const Tokenizer> make_tokenizer(Vocab vocab) {
  using Made = std::unique_ptr<const Tokenizer>;
  return detail::or_out_of_memory("no memory for a tokenizer", [&]() -> Made {
    switch (vocab.kind()) {
      case TokenizerKind::kSentencePiece:
        return std::make_unique<SpmTokenizer>(std::move(vocab));
      case TokenizerKind::kLineBpe:
        return std::make_unique<LineBpeTokenizer>(std::move(vocab));
      case TokenizerKind::kByteBpe:
        break;
    }
    return std::make_unique<BpeTokenizer>(std::move(vocab));
  });
}

}  // namespace gemma
