// Definitions of reader.hpp.
#pragma once

#include "linkage.hpp"

namespace gemma::gguf {

GEMMA_INLINE std::span<const std::byte> Reader::take(std::uint64_t count, std::string_view what) {
  field_ = offset_;
  if (count > remaining()) {
    fail(ErrorCode::kTruncated, std::string(what) + " needs " + std::to_string(count) + " bytes, " +
                                    std::to_string(remaining()) + " are left");
  }
  const auto part = bytes_.subspan(offset_, static_cast<std::size_t>(count));
  offset_ += static_cast<std::size_t>(count);
  return part;
}

GEMMA_INLINE std::string_view Reader::read_string(std::string_view what) {
  const std::size_t begin = offset_;
  const auto length = read<std::uint64_t>(what);
  const auto part = take(length, what);
  field_ = begin;
  return {reinterpret_cast<const char*>(part.data()), part.size()};
}

GEMMA_INLINE void Reader::fail_at(std::size_t offset, ErrorCode code, const std::string& message) const {
  std::string text(source_);
  text += ": ";
  if (!subject_.kind.empty()) {
    text += subject_.kind;
    text += ' ';
    text += subject_.name.data() != nullptr ? gemma::quoted(subject_.name) : std::to_string(subject_.number);
    text += ": ";
  }
  gemma::detail::refuse(code, [&] { return text + message + " (at byte " + std::to_string(offset) + ")"; });
}

}  // namespace gemma::gguf
