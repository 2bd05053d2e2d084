// A metadata value of a GGUF file, read in place: strings and arrays point into the mapped file.
// Invariant: everything that a Value refers to was bounds-checked when the Value was created. (Strings of an
// array are checked again when they are read, since another process may write to a mapped file.)
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "finite.hpp"
#include "reader.hpp"

namespace gemma::gguf {

/// GGUF's metadata type numbers.
enum class ValueType : std::uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

/// Name as in the GGUF specification ("uint32", "array", ...); "unknown" for other numbers.
constexpr std::string_view to_string(ValueType type) noexcept {
  constexpr std::string_view kNames[] = {"uint8", "int8",   "uint16", "int16",  "uint32", "int32",  "float32",
                                         "bool",  "string", "array",  "uint64", "int64",  "float64"};
  const auto i = static_cast<std::uint32_t>(type);
  return i < std::size(kNames) ? kNames[i] : "unknown";
}

/// Bytes of one scalar; 0 for string, array and unknown types.
constexpr std::size_t scalar_size(ValueType type) noexcept {
  constexpr std::size_t kSizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  const auto i = static_cast<std::uint32_t>(type);
  return i < std::size(kSizes) ? kSizes[i] : 0;
}

/// The ValueType that stores a T, bool or number, as it is.
template <typename T>
requires std::is_arithmetic_v<T>
constexpr ValueType value_type_of() noexcept {
  if constexpr (std::is_same_v<T, bool>) {
    return ValueType::kBool;
  } else if constexpr (std::is_floating_point_v<T>) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8);
    return sizeof(T) == 4 ? ValueType::kF32 : ValueType::kF64;
  } else {
    static_assert(sizeof(T) <= 8);
    constexpr ValueType kSigned[] = {ValueType::kI8, ValueType::kI16, ValueType::kI32, ValueType::kI64};
    constexpr ValueType kUnsigned[] = {ValueType::kU8, ValueType::kU16, ValueType::kU32, ValueType::kU64};
    constexpr auto kLog = static_cast<std::size_t>(std::countr_zero(sizeof(T)));
    return std::is_signed_v<T> ? kSigned[kLog] : kUnsigned[kLog];
  }
}

/// An array in the file: element type, count, and the encoded elements.
struct ArrayView {
  ValueType element = ValueType::kU8;  // never kArray
  std::uint64_t count = 0;             // elements
  std::span<const std::byte> bytes;    // as encoded: little-endian, unaligned; strings with their lengths
};

namespace detail {
/// Calls f with a reference to the scalar that is stored at `from`, as its own type. Never by value: see
/// finite.hpp.
template <typename F>
decltype(auto) with_scalar(ValueType type, const std::byte* from, F&& f) {
  auto load = [&]<typename T>(T value) {
    std::memcpy(&value, from, sizeof(T));
    return f(std::as_const(value));
  };
  switch (type) {
    case ValueType::kU8:
      return load(std::uint8_t{});
    case ValueType::kI8:
      return load(std::int8_t{});
    case ValueType::kU16:
      return load(std::uint16_t{});
    case ValueType::kI16:
      return load(std::int16_t{});
    case ValueType::kU32:
      return load(std::uint32_t{});
    case ValueType::kI32:
      return load(std::int32_t{});
    case ValueType::kU64:
      return load(std::uint64_t{});
    case ValueType::kI64:
      return load(std::int64_t{});
    case ValueType::kF32:
      return load(float{});
    case ValueType::kF64:
      return load(double{});
    default:
      return f(std::to_integer<std::uint8_t>(*from) != 0);  // kBool: 0 or 1 was checked
  }
}

/// Converts a number to T within its kind: integer to integer if it is in range, float to float, bool to
/// bool; else nullopt.
template <typename T, typename From>
std::optional<T> convert(const From& value) {
  if constexpr (std::is_same_v<T, bool> || std::is_same_v<From, bool>) {
    if constexpr (std::is_same_v<T, From>) return value;
  } else if constexpr (std::is_integral_v<T> && std::is_integral_v<From>) {
    if (std::in_range<T>(value)) return static_cast<T>(value);
  } else if constexpr (std::is_floating_point_v<T> && std::is_floating_point_v<From>) {
    // a finite double beyond float's range cannot be represented, and the cast would be undefined
    constexpr auto kMost = std::numeric_limits<T>::max();
    const bool fits = sizeof(T) >= sizeof(From) || !is_finite(value) || (value >= -kMost && value <= kMost);
    if (fits) return static_cast<T>(value);
  }
  return std::nullopt;
}

template <typename T>
struct IsVector : std::false_type {};
template <typename E>
struct IsVector<std::vector<E>> : std::true_type {};
}  // namespace detail

/// Types that Value::as() can read.
template <typename T>
concept Readable = std::is_arithmetic_v<T> || std::is_same_v<T, std::string_view> ||
    std::is_same_v<T, std::string> || std::is_same_v<T, ArrayView> || detail::IsVector<T>::value;

/// The name of T in messages: "uint32", "string", "array of float32", ...
template <Readable T>
std::string type_name() {
  if constexpr (std::is_arithmetic_v<T>) {
    return std::string(to_string(value_type_of<T>()));
  } else if constexpr (detail::IsVector<T>::value) {
    return "array of " + type_name<typename T::value_type>();
  } else {
    return std::is_same_v<T, ArrayView> ? "array" : "string";
  }
}

/// One metadata value. Cheap to copy; valid while the File it came from lives.
class Value {
 public:
  /// Reads the value that follows in `from`. Throws Error on an unknown type or a value that leaves the file.
  static Value read(Reader& from);

  /// The type of the value; kArray for arrays.
  ValueType type() const noexcept { return type_; }
  /// Number of elements of an array; 1 for anything else.
  std::uint64_t count() const noexcept { return type_ == ValueType::kArray ? count_ : 1; }
  /// The type of an array's elements; type() for anything else.
  ValueType element_type() const noexcept { return type_ == ValueType::kArray ? element_ : type_; }
  /// The encoded value in the file: a scalar's bytes, a string's text, or an array's elements.
  std::span<const std::byte> bytes() const noexcept { return bytes_; }
  /// The name of the type, e.g. "uint32" or "array of string".
  std::string type_name() const;

  /// The value as T; nullopt if it is of another kind or out of T's range. A bool is read from a bool only,
  /// an integer from any integer type, floating point from either float type, text from a string, vectors and
  /// ArrayView from an array.
  template <Readable T>
  std::optional<T> as() const {
    if constexpr (std::is_same_v<T, std::string_view> || std::is_same_v<T, std::string>) {
      if (type_ != ValueType::kString) return std::nullopt;
      return T(reinterpret_cast<const char*>(bytes_.data()), bytes_.size());
    } else if constexpr (std::is_same_v<T, ArrayView>) {
      if (type_ != ValueType::kArray) return std::nullopt;
      return ArrayView{element_, count_, bytes_};
    } else if constexpr (std::is_arithmetic_v<T>) {
      if (scalar_size(type_) == 0) return std::nullopt;
      return detail::with_scalar(type_, bytes_.data(), [](const auto& v) { return detail::convert<T>(v); });
    } else {
      return as_vector<typename T::value_type>(count_);
    }
  }

  /// The first `most` elements of an array, or all if it has fewer; nullopt as `as<std::vector<E>>()`.
  template <Readable E>
  std::optional<std::vector<E>> first(std::uint64_t most) const {
    return as_vector<E>(most < count_ ? most : count_);
  }

 private:
  Value() = default;

  void read_array(Reader& from);
  static void check_bools(std::span<const std::byte> bytes, const Reader& from);

  template <typename E>
  std::optional<std::vector<E>> as_vector(std::uint64_t count) const {
    return gemma::detail::or_out_of_memory("no memory for an array of the metadata",
                                           [&] { return elements<E>(count); });
  }
  template <typename E>
  std::optional<std::vector<E>> elements(std::uint64_t count) const {
    if (type_ != ValueType::kArray) return std::nullopt;
    std::vector<E> out;
    if constexpr (std::is_arithmetic_v<E>) {
      const std::size_t size = scalar_size(element_);
      if (size == 0) return std::nullopt;
      out.reserve(count);
      for (std::uint64_t i = 0; i < count; ++i) {
        const auto v = detail::with_scalar(element_, bytes_.data() + i * size,
                                           [](const auto& x) { return detail::convert<E>(x); });
        if (!v) return std::nullopt;
        out.push_back(*v);
      }
    } else {
      static_assert(std::is_same_v<E, std::string_view> || std::is_same_v<E, std::string>);
      if (element_ != ValueType::kString) return std::nullopt;
      out.reserve(count);
      Reader reader(bytes_, "a metadata array that changed after it was checked");
      for (std::uint64_t i = 0; i < count; ++i) out.emplace_back(reader.read_string("a string"));
    }
    return out;
  }

  ValueType type_ = ValueType::kU8;
  ValueType element_ = ValueType::kU8;
  std::uint64_t count_ = 0;
  std::span<const std::byte> bytes_;
};

}  // namespace gemma::gguf

#if defined(GEMMA_HEADER_ONLY)
#include "value.inl"
#endif
