// A bounds-checked cursor over the bytes of a file's header. Every length, count and offset of a file is read
// through it, and no byte of a header is used without this check.
// Invariant: 0 <= offset() <= size; a read either succeeds whole or throws Error{kTruncated}.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "error.hpp"

namespace gemma::gguf {

static_assert(std::endian::native == std::endian::little, "GGUF files are little-endian, and read in place");

/// Reads little-endian values in order. Owns nothing: bytes and names must outlive it. One thread at a time.
class Reader {
 public:
  /// `source` names the file in errors.
  Reader(std::span<const std::byte> bytes, std::string_view source) noexcept
      : bytes_(bytes), source_(source) {}

  /// Number of bytes read so far.
  std::size_t offset() const noexcept { return offset_; }
  /// Number of bytes not read yet.
  std::size_t remaining() const noexcept { return bytes_.size() - offset_; }

  /// Names what the next reads belong to, for error messages: "key 'general.name'", or by number where the
  /// name is not known yet, "metadata pair 7". No text is built unless an error is.
  void about(std::string_view kind, std::string_view name) noexcept { subject_ = {kind, name, 0}; }
  /// Overload for a subject that has a number in place of a name.
  void about(std::string_view kind, std::uint64_t number) noexcept { subject_ = {kind, {}, number}; }

  /// The next sizeof(T) bytes as a T. `what` names the field in the error.
  template <typename T>
  requires std::is_unsigned_v<T> T read(std::string_view what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
    return value;
  }

  /// The next `count` bytes, in place.
  std::span<const std::byte> take(std::uint64_t count, std::string_view what);

  /// A GGUF string (u64 length, bytes), in place. May hold NUL and any byte.
  std::string_view read_string(std::string_view what);

  /// The bytes from `begin`, an earlier offset(), to the current one.
  std::span<const std::byte> since(std::size_t begin) const noexcept {
    return bytes_.subspan(begin, offset_ - begin);
  }

  /// Throws `code` with "FILE: SUBJECT: MESSAGE (at byte OFFSET)", the offset of the field read last.
  [[noreturn]] void fail(ErrorCode code, const std::string& message) const { fail_at(field_, code, message); }
  /// Overload for a field at `offset`.
  [[noreturn]] void fail_at(std::size_t offset, ErrorCode code, const std::string& message) const;

 private:
  struct Subject {
    std::string_view kind;
    std::string_view name;
    std::uint64_t number = 0;
  };

  std::span<const std::byte> bytes_;
  std::string_view source_;
  Subject subject_;
  std::size_t offset_ = 0;
  std::size_t field_ = 0;  // where the field read last begins
};

}  // namespace gemma::gguf

#if defined(GEMMA_HEADER_ONLY)
#include "reader.inl"
#endif
