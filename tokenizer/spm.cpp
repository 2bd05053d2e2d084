// The one unit that sees sentencepiece's header.
// Invariant: nothing of sentencepiece leaves it, neither types nor exceptions nor messages on stderr.
//
// An allocation that fails inside sentencepiece breaks the lists of its protobuf library, and that ends the
// process (3.14: RepeatedPtrField counts an element before it is allocated). So what a call will take is
// asked for first, and given back to it: memory that is short is found before sentencepiece is entered,
// except where other threads take it in that moment.
#include "spm.hpp"

#include <cstddef>
#include <new>
#include <string>
#include <vector>

#include <sentencepiece_processor.h>

#include "../gguf/error.hpp"

namespace gemma::detail {

struct SentencePiece::Processor {
  sentencepiece::SentencePieceProcessor spm;
};

namespace {

// upper bounds of sentencepiece's memory, from measurements: for each byte of a serialized model (9 to 11
// measured; Gemma's 256,000 pieces take 44 MB), for each byte of text (83 to 248 in texts of one word), and
// in any case
constexpr std::size_t kTableBytes = 16;
constexpr std::size_t kTextBytes = 400;
constexpr std::size_t kFixedBytes = std::size_t{1} << 16;

/// Throws std::bad_alloc unless this many bytes can be allocated.
void want(std::size_t bytes) {
  ::operator delete(::operator new(bytes));
}

}  // namespace

SentencePiece::SentencePiece(std::string_view model) {
  want(kTableBytes * model.size() + kFixedBytes);
  auto processor = std::make_unique<Processor>();
  const auto status = processor->spm.LoadFromSerializedProto(model);
  if (!status.ok()) {
    throw Error(ErrorCode::kMalformed, "sentencepiece refuses the vocabulary: " + status.ToString());
  }
  processor_ = std::move(processor);
}

SentencePiece::~SentencePiece() = default;

void SentencePiece::encode(std::string_view text, std::vector<TokenId>& ids) const {
  want(kTextBytes * text.size() + kFixedBytes);
  std::vector<int> out;
  const auto status = processor_->spm.Encode(text, &out);
  if (!status.ok()) {
    throw Error(ErrorCode::kInvalidArgument, "sentencepiece cannot encode a text: " + status.ToString());
  }
  ids.insert(ids.end(), out.begin(), out.end());
}

}  // namespace gemma::detail
