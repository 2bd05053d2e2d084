// Builds GGUF files field by field without any checks, for malformed files that the writer refuses.
// Invariant: size() is the length of the file so far, i.e. the offset of the next field.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string_view>
#include <type_traits>
#include <vector>

#include "gguf/dtype.hpp"
#include "gguf/value.hpp"

namespace gemma::gguf::test {

class RawBuilder {
 public:
  std::size_t size() const noexcept { return bytes_.size(); }
  const std::vector<std::byte>& bytes() const noexcept { return bytes_; }

  template <typename T>
  requires std::is_arithmetic_v<T> RawBuilder& put(T value) { return append(&value, sizeof(T)); }
  RawBuilder& u8(std::uint8_t v) { return put(v); }
  RawBuilder& u32(std::uint32_t v) { return put(v); }
  RawBuilder& u64(std::uint64_t v) { return put(v); }
  RawBuilder& text(std::string_view characters) { return append(characters.data(), characters.size()); }
  RawBuilder& string(std::string_view s) { return u64(s.size()).text(s); }
  RawBuilder& fill(std::size_t n, std::uint8_t v = 0) {
    bytes_.resize(bytes_.size() + n, std::byte{v});
    return *this;
  }
  RawBuilder& pad(std::size_t alignment) { return fill((alignment - bytes_.size() % alignment) % alignment); }

  RawBuilder& header(std::uint64_t n_tensors, std::uint64_t n_kv, std::uint32_t version = 3) {
    return text("GGUF").u32(version).u64(n_tensors).u64(n_kv);
  }
  /// Adds a key and the type of its value; the caller adds the value.
  RawBuilder& key(std::string_view name, ValueType type) {
    return string(name).u32(static_cast<std::uint32_t>(type));
  }
  RawBuilder& array_key(std::string_view name, ValueType element, std::uint64_t count) {
    return key(name, ValueType::kArray).u32(static_cast<std::uint32_t>(element)).u64(count);
  }
  /// Adds an entry of the tensor table; `dims` in the order of the file, fastest first.
  RawBuilder& tensor(std::string_view name, std::initializer_list<std::uint64_t> dims, std::uint32_t type,
                     std::uint64_t offset) {
    string(name).u32(static_cast<std::uint32_t>(dims.size()));
    for (const std::uint64_t d : dims) u64(d);
    return u32(type).u64(offset);
  }
  RawBuilder& tensor(std::string_view name, std::initializer_list<std::uint64_t> dims, DType type,
                     std::uint64_t offset) {
    return tensor(name, dims, static_cast<std::uint32_t>(type), offset);
  }

 private:
  RawBuilder& append(const void* from, std::size_t n) {
    const std::size_t at = size();
    bytes_.resize(at + n);
    if (n != 0) std::memcpy(bytes_.data() + at, from, n);
    return *this;
  }

  std::vector<std::byte> bytes_;
};

}  // namespace gemma::gguf::test
