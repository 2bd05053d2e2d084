// Writes GGUF files (version 2 or 3): metadata of every type, tensors of every type, any alignment.
// Invariant: the pairs and tensors added so far always make a valid file. An addition that would make
// them invalid, or for which there is no memory (Error{kOutOfMemory} of every call), throws and changes
// nothing. A file on disk appears under its name when it is complete, or not at all.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

#include "dtype.hpp"
#include "error.hpp"
#include "file.hpp"
#include "value.hpp"

namespace gemma::gguf {

/// Collects metadata and tensors, then writes them in the order of their addition. One thread at a time.
class Writer {
 public:
  /// Writes a tensor's data into `out`, which has exactly the tensor's bytes.
  using Fill = std::function<void(std::span<std::byte> out)>;
  /// Receives the next bytes of a tensor.
  using Sink = std::function<void(std::span<const std::byte> part)>;
  /// Passes a tensor's bytes to `sink`, from first to last, in parts of any size.
  using Produce = std::function<void(const Sink& sink)>;

  /// Throws Error{kInvalidArgument} unless version is 2 or 3.
  explicit Writer(std::uint32_t version = 3);

  /// Adds a pair; the GGUF type is that of T (bool, any integer, float, double, text). Throws
  /// Error{kInvalidArgument} for an empty, overlong or repeated key. `general.alignment` must be a uint32
  /// power of two of at least 8, and come before the first tensor.
  template <typename T>
  requires(std::is_arithmetic_v<T> ||
           std::convertible_to<T, std::string_view>) Writer& add(std::string_view key, const T& value) {
    if constexpr (std::is_arithmetic_v<T>) {
      return add_encoded(key, value_type_of<T>(), encoded(value));
    } else {
      const std::string_view text = value;
      return add_encoded(key, ValueType::kString, std::as_bytes(std::span(text.data(), text.size())));
    }
  }

  /// Adds an array of the range's values.
  template <std::ranges::sized_range R>
  Writer& add_array(std::string_view key, const R& values) {
    using T = std::ranges::range_value_t<R>;
    constexpr bool kNumbers = std::is_arithmetic_v<T>;
    static_assert(kNumbers || std::convertible_to<T, std::string_view>);
    std::string elements;
    ValueType type = ValueType::kString;
    if constexpr (kNumbers) type = value_type_of<T>();
    in_memory([&] {
      for (const T& value : values) {
        if constexpr (kNumbers) {
          append(elements, value);
        } else {
          append_string(elements, value);
        }
      }
    });
    return add_encoded_array(key, type, std::ranges::size(values), std::as_bytes(std::span(elements)));
  }
  /// Overload for a list in braces.
  template <typename T>
  Writer& add_array(std::string_view key, std::initializer_list<T> values) {
    return add_array(key, std::span(values.begin(), values.size()));
  }

  /// Copies a pair of another file unchanged.
  Writer& add(std::string_view key, const Value& value);

  /// Adds a tensor of row-major `shape` (last dimension contiguous: {rows, cols}), 1 to 4 dimensions. `data`
  /// holds its bytes and must live until the last write. Throws Error{kInvalidArgument} for a name that is
  /// empty, repeated or longer than 63 bytes, an impossible shape, or data of another size.
  Writer& add_tensor(std::string_view name, DType type, std::initializer_list<std::size_t> shape,
                     std::span<const std::byte> data) {
    return add_tensor(name, type, std::span(shape.begin(), shape.size()), data);
  }
  /// Overload for a shape given as a span.
  Writer& add_tensor(std::string_view name, DType type, std::span<const std::size_t> shape,
                     std::span<const std::byte> data);
  /// Overload whose data `fill` creates when they are written, one tensor at a time: for files larger than
  /// memory.
  Writer& add_tensor(std::string_view name, DType type, std::span<const std::size_t> shape, Fill fill);
  /// Overload whose data are created in parts: for tensors larger than memory. Writing throws
  /// Error{kInvalidArgument} when the parts together are not the tensor's size.
  Writer& add_tensor_in_parts(std::string_view name, DType type, std::span<const std::size_t> shape,
                              Produce produce);

  /// Size of the file in bytes.
  std::size_t size_bytes() const noexcept { return data_begin() + data_size_; }

  /// The complete file as bytes in memory.
  std::vector<std::byte> bytes() const;

  /// Writes `path`.part and renames it to `path` when it is complete: processes that have mapped the old file
  /// keep it, and a failure leaves nothing behind. Throws Error{kIo}, and whatever a Fill or Produce throws.
  void write(const std::string& path) const;

 private:
  struct Data {
    std::uint64_t size;
    std::span<const std::byte> bytes;  // empty if `fill` or `produce` creates the data
    Fill fill;
    Produce produce;   // creates the data in parts; then `bytes` and `fill` are empty
    std::string name;  // of the tensor, for errors of `produce`
  };

  static constexpr StaticText kNoMemory = "no memory for writing a file";
  /// Runs f(), which adds a pair or a tensor; turns a failed allocation into Error{kOutOfMemory}.
  template <typename F>
  Writer& in_memory(F&& f) {
    gemma::detail::or_out_of_memory(kNoMemory, f);
    return *this;
  }
  template <typename T>
  static std::span<const std::byte> encoded(const T& value) {
    static_assert(sizeof(bool) == 1);
    return std::as_bytes(std::span(&value, 1));
  }
  template <typename T>
  static void append(std::string& to, const T& value) {
    to.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  static void append_string(std::string& to, std::string_view text);

  Writer& add_encoded(std::string_view key, ValueType type, std::span<const std::byte> payload);
  Writer& add_encoded_array(std::string_view key, ValueType element, std::uint64_t count,
                            std::span<const std::byte> elements);
  /// Checks everything about a pair, then adds it.
  void add_pair(std::string_view key, ValueType type, const std::string& value);
  std::uint32_t alignment_of(ValueType type, const std::string& value) const;
  std::uint64_t aligned(std::uint64_t offset) const noexcept {
    return (offset + alignment_ - 1) / alignment_ * alignment_;
  }
  /// Where the data begins; a file without tensors ends with its header, unpadded.
  std::size_t data_begin() const noexcept;
  void add_sized(std::string_view name, DType type, std::span<const std::size_t> shape, Data data);
  /// Passes the file's bytes to `sink` from first to last.
  template <typename F>
  void emit(F&& sink) const;
  /// Passes on the bytes of a tensor that is created in parts.
  template <typename F>
  static void emit_parts(const Data& data, F&& sink);

  std::uint32_t version_;
  std::uint32_t alignment_ = kDefaultAlignment;
  std::uint64_t n_pairs_ = 0;
  std::uint64_t data_size_ = 0;  // with the padding after the last tensor
  std::string pairs_;            // encoded
  std::string table_;            // encoded
  std::vector<Data> tensors_;
  std::unordered_set<std::string> names_;  // "k" + key, "t" + tensor name
};

}  // namespace gemma::gguf

#if defined(GEMMA_HEADER_ONLY)
#include "writer.inl"
#endif
