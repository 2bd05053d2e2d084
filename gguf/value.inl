// Definitions of value.hpp.
#pragma once

#include <algorithm>

#include "linkage.hpp"

namespace gemma::gguf {

GEMMA_INLINE Value Value::read(Reader& from) {
  Value v;
  v.type_ = static_cast<ValueType>(from.read<std::uint32_t>("the value's type"));
  const std::size_t size = scalar_size(v.type_);
  if (v.type_ == ValueType::kString) {
    const auto text = from.read_string("the string");
    v.bytes_ = std::as_bytes(std::span(text.data(), text.size()));
  } else if (v.type_ == ValueType::kArray) {
    v.read_array(from);
  } else if (size != 0) {
    v.bytes_ = from.take(size, "the value");
    if (v.type_ == ValueType::kBool) check_bools(v.bytes_, from);
  } else {
    from.fail(ErrorCode::kMalformed,
              "the value type " + std::to_string(static_cast<std::uint32_t>(v.type_)) + " is unknown");
  }
  return v;
}

GEMMA_INLINE std::string Value::type_name() const {
  const std::string element(to_string(element_type()));
  return type_ == ValueType::kArray ? "array of " + element : element;
}

GEMMA_INLINE void Value::read_array(Reader& from) {
  element_ = static_cast<ValueType>(from.read<std::uint32_t>("the array's element type"));
  const std::size_t size = scalar_size(element_);
  if (element_ == ValueType::kArray)
    from.fail(ErrorCode::kUnsupported, "an array of arrays is not supported");
  if (element_ != ValueType::kString && size == 0) {
    from.fail(
        ErrorCode::kMalformed,
        "the array element type " + std::to_string(static_cast<std::uint32_t>(element_)) + " is unknown");
  }
  count_ = from.read<std::uint64_t>("the array's count");
  // a string takes at least the 8 bytes of its length: a count that cannot fit is refused before any work
  if (count_ > from.remaining() / (size == 0 ? 8 : size)) {
    from.fail(ErrorCode::kTruncated,
              "an array of " + std::to_string(count_) + " elements does not fit in the file");
  }
  const std::size_t begin = from.offset();
  if (size == 0) {
    for (std::uint64_t i = 0; i < count_; ++i) from.read_string("a string of the array");
  } else {
    from.take(count_ * size, "the array");
  }
  bytes_ = from.since(begin);
  if (element_ == ValueType::kBool) check_bools(bytes_, from);
}

GEMMA_INLINE void Value::check_bools(std::span<const std::byte> bytes, const Reader& from) {
  if (std::any_of(bytes.begin(), bytes.end(), [](std::byte b) { return b > std::byte{1}; })) {
    from.fail(ErrorCode::kMalformed, "a bool is neither 0 nor 1");
  }
}

}  // namespace gemma::gguf
