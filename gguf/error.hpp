// The one error type of the library: every boundary (opening, loading, construction, public calls) throws it.
// Invariant: message() names the file, key or tensor that it is about, and the byte offset if there is one.
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

/// The kind of an error, for programs; the message describes it for people. The set is open: here are the
/// codes of files and of calls in general; the engine adds its own (gemma/engine_error_code.hpp). In the
/// whole library a code has one number, by which codes are compared, and one name.
class ErrorCode {
 public:
  /// `name` is a string literal.
  consteval ErrorCode(std::uint8_t number, const char* name) : name_(name), number_(number) {}

  /// The number, from 1; that of gemma_error_code in C.
  constexpr int number() const noexcept { return number_; }
  /// The name as it appears in messages and tests, e.g. "truncated".
  constexpr std::string_view name() const noexcept { return name_; }
  /// Compares the numbers.
  friend constexpr bool operator==(ErrorCode a, ErrorCode b) noexcept { return a.number_ == b.number_; }

  static const ErrorCode kIo;                  // a file cannot be opened, mapped, read or written
  static const ErrorCode kBadMagic;            // not a GGUF file at all
  static const ErrorCode kUnsupportedVersion;  // GGUF, but of an unsupported version or byte order
  static const ErrorCode kTruncated;           // the file is shorter than its header states
  static const ErrorCode kMalformed;           // structure that contradicts itself or the specification
  static const ErrorCode kMissingKey;          // a required metadata key is absent
  static const ErrorCode kWrongType;           // a metadata value or tensor has another type than requested
  static const ErrorCode kMissingTensor;       // a required tensor is absent
  static const ErrorCode kUnsupported;         // valid, but not supported by this engine
  static const ErrorCode kInvalidArgument;     // the caller's argument is out of range
  static const ErrorCode kOutOfMemory;         // an allocation failed, or a memory limit would be exceeded

 private:
  const char* name_;
  std::uint8_t number_;
};

inline constexpr ErrorCode ErrorCode::kIo{1, "io"};
inline constexpr ErrorCode ErrorCode::kBadMagic{2, "bad_magic"};
inline constexpr ErrorCode ErrorCode::kUnsupportedVersion{3, "unsupported_version"};
inline constexpr ErrorCode ErrorCode::kTruncated{4, "truncated"};
inline constexpr ErrorCode ErrorCode::kMalformed{5, "malformed"};
inline constexpr ErrorCode ErrorCode::kMissingKey{6, "missing_key"};
inline constexpr ErrorCode ErrorCode::kWrongType{7, "wrong_type"};
inline constexpr ErrorCode ErrorCode::kMissingTensor{8, "missing_tensor"};
inline constexpr ErrorCode ErrorCode::kUnsupported{10, "unsupported"};
inline constexpr ErrorCode ErrorCode::kInvalidArgument{11, "invalid_argument"};
inline constexpr ErrorCode ErrorCode::kOutOfMemory{13, "out_of_memory"};

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

/// Thrown by every function that can fail. Immutable; copies share the message. Has default visibility, so
/// that programs can catch exceptions of a shared libgemma.
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
/// message. Every public call that may allocate, even to report an error, uses this, but not for the
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

/// Throws Error{code, message()}, or Error{kOutOfMemory} if there is no memory for the message. All errors of
/// the library are thrown here.
template <std::invocable F>
[[noreturn]] void refuse(ErrorCode code, F&& message) {
  throw or_out_of_memory("no memory for the message of an error", [&] { return Error(code, message()); });
}
/// Overload for a literal, which allocates nothing.
[[noreturn]] inline void refuse(ErrorCode code, StaticText message) {
  throw Error(code, message);
}

}  // namespace detail
}  // namespace gemma
