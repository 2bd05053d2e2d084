// The one error type of the library: every boundary (opening, loading, construction, public calls) throws it.
// Invariant: message() names the file, key or tensor it is about, and the byte offset where there is one.
// Running out of memory is an Error as well, and reporting it needs no allocation.
#pragma once

#include <concepts>
#include <cstdint>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace gemma {

/// What went wrong, for programs; the message says it for people.
enum class ErrorCode : std::uint8_t {
  kIo,                  // a file cannot be opened, mapped, read or written
  kBadMagic,            // not a GGUF file at all
  kUnsupportedVersion,  // GGUF, but of a version or byte order that is not read
  kTruncated,           // the file ends before what its header promises
  kMalformed,           // structure that contradicts itself or the specification
  kMissingKey,          // a required metadata key is absent
  kWrongType,           // a metadata value or tensor of another type than asked for
  kMissingTensor,       // a required tensor is absent
  kBadShape,            // a tensor's shape contradicts the metadata
  kUnsupported,         // valid, but not something this engine runs
  kInvalidArgument,     // the caller's argument is out of range
  kContextFull,         // more positions asked for than the cache holds
  kOutOfMemory,         // an allocation failed or a memory cap would be exceeded
  kCancelled,           // the caller cancelled
  kNotFinite,           // the model computed a NaN or an infinity where a number is needed
};

/// The code's name as it appears in messages and tests, e.g. "truncated".
constexpr std::string_view to_string(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::kIo:
      return "io";
    case ErrorCode::kBadMagic:
      return "bad_magic";
    case ErrorCode::kUnsupportedVersion:
      return "unsupported_version";
    case ErrorCode::kTruncated:
      return "truncated";
    case ErrorCode::kMalformed:
      return "malformed";
    case ErrorCode::kMissingKey:
      return "missing_key";
    case ErrorCode::kWrongType:
      return "wrong_type";
    case ErrorCode::kMissingTensor:
      return "missing_tensor";
    case ErrorCode::kBadShape:
      return "bad_shape";
    case ErrorCode::kUnsupported:
      return "unsupported";
    case ErrorCode::kInvalidArgument:
      return "invalid_argument";
    case ErrorCode::kContextFull:
      return "context_full";
    case ErrorCode::kOutOfMemory:
      return "out_of_memory";
    case ErrorCode::kCancelled:
      return "cancelled";
    case ErrorCode::kNotFinite:
      return "not_finite";
  }
  return "unknown";
}

/// `text` in single quotes for a one-line message: control and non-ASCII bytes escaped, long text shortened.
inline std::string quoted(std::string_view text) {
  constexpr std::size_t kLongest = 64;
  constexpr char kHex[] = "0123456789abcdef";
  std::string out = "'";
  for (const char c : text.substr(0, kLongest)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7F) {
      out += c;
    } else {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
  if (text.size() > kLongest) out += "...";
  return out + "'";
}

/// Text with static lifetime: a string literal.
struct StaticText {
  /// Holds a string literal, which needs no allocation.
  consteval StaticText(const char* literal) : text(literal) {}
  const char* text;  // a string literal
};

/// Thrown by everything that can fail. Immutable; copying shares the message. Visible, so that what a shared
/// libgemma throws is caught outside of it.
class [[gnu::visibility("default")]] Error : public std::runtime_error {
 public:
  /// `message` names the file, key or tensor. A template, so that a string literal selects the other
  /// constructor.
  template <std::same_as<std::string> Text>
  Error(ErrorCode code, const Text& message) : std::runtime_error(message), code_(code) {}
  /// A literal is not copied: nothing is allocated.
  Error(ErrorCode code, StaticText message) : std::runtime_error(""), literal_(message.text), code_(code) {}

  /// The message, zero-terminated.
  const char* what() const noexcept override {
    return literal_ != nullptr ? literal_ : std::runtime_error::what();
  }

  /// The code, for programs to act on.
  ErrorCode code() const noexcept {
    return code_;
  }
  /// The message, one line for people to read.
  std::string_view message() const noexcept {
    return what();
  }

 private:
  const char* literal_ = nullptr;  // the message, when it is a literal; else nullptr
  ErrorCode code_;
};

namespace detail {

/// Returns f(), and turns the standard library's allocation failures into Error{kOutOfMemory} with this
/// message. Every public call that may allocate, also for its refusals, goes through this, except for the
/// callbacks that it calls: their exceptions pass through unchanged.
template <typename F>
decltype(auto) or_out_of_memory(StaticText message, F&& f) {
  try {
    return f();
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::kOutOfMemory, message);
  } catch (const std::length_error&) {
    throw Error(ErrorCode::kOutOfMemory, message);
  }
}

/// Throws Error{code, message()}.
template <typename F>
[[noreturn]] void refuse(ErrorCode code, F&& message) {
  throw or_out_of_memory("no memory for the message of an error", [&] { return Error(code, message()); });
}

}  // namespace detail
}  // namespace gemma
