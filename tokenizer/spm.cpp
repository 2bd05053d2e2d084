// The only unit that includes sentencepiece's header.
// Invariant: no type, exception or message on stderr of sentencepiece leaves this unit.
//
// An allocation that fails inside sentencepiece corrupts the lists of its protobuf library, which ends the
// process (3.14: RepeatedPtrField counts an element before it is allocated). Each call therefore first
// allocates and frees as much memory as sentencepiece will need: a shortage is detected before sentencepiece
// is entered, unless another thread takes the memory in between.
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

// Upper bounds of sentencepiece's memory, with what was measured: bytes for each byte of a serialized model
// (9 to 11; Gemma's 256,000 pieces take 44 MB), bytes for each byte of text (83 to 248 in texts of one word),
// and a constant.
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
    detail::refuse(ErrorCode::kMalformed,
                   [&] { return "sentencepiece refuses the vocabulary: " + status.ToString(); });
  }
  processor_ = std::move(processor);
}

SentencePiece::~SentencePiece() = default;

void SentencePiece::encode(std::string_view text, std::vector<TokenId>& ids) const {
  want(kTextBytes * text.size() + kFixedBytes);
  std::vector<int> out;
  const auto status = processor_->spm.Encode(text, &out);
  if (!status.ok()) {
    detail::refuse(ErrorCode::kInvalidArgument,
                   [&] { return "sentencepiece cannot encode a text: " + status.ToString(); });
  }
  ids.insert(ids.end(), out.begin(), out.end());
}

}  // namespace gemma::detail
