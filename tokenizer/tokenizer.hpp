// Text <-> token ids: the header to include. The interface is tokenizer_base.hpp; make_tokenizer() chooses by
// the vocabulary's kind.
// Invariant: a tokenizer that was constructed works; deficiencies of the vocabulary are found here and not
// while encoding.
#pragma once

#include <memory>

#include "stream_decoder.hpp"
#include "tokenizer_base.hpp"
#include "vocab.hpp"

namespace gemma {

/// The tokenizer for `vocab`. Throws Error{kMalformed, kUnsupported, kMissingKey} naming the file and key
/// when pieces, merges or the pre-tokenizer do not make one, {kOutOfMemory}.
std::unique_ptr<const Tokenizer> make_tokenizer(Vocab vocab);

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "tokenizer.inl"
#endif
