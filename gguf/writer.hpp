// Writes GGUF files (version 2 or 3): metadata of every type, tensors of every type, any alignment.
// Invariant: what has been added is a valid file at any moment; whatever would make it invalid is refused
// when it is added, and leaves no trace; so does what memory (Error{kOutOfMemory} of every call) has no room
// for. A file on disk appears whole under its name, or not at all.
#pragma once

#include <algorithm>
#include <bit>
#include <cerrno>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <limits>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

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

  /// Throws Error{kInvalidArgument} unless version is 2 or 3.
  explicit Writer(std::uint32_t version = 3) : version_(version) {
    if (version == 2 || version == 3) return;
    gemma::detail::or_out_of_memory(
        kNoMemory, [&] { refuse("GGUF version " + std::to_string(version) + " is not written"); });
  }

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
  /// The same for a list in braces.
  template <typename T>
  Writer& add_array(std::string_view key, std::initializer_list<T> values) {
    return add_array(key, std::span(values.begin(), values.size()));
  }

  /// Copies a pair of another file as it is.
  Writer& add(std::string_view key, const Value& value) {
    if (value.type() == ValueType::kArray) {
      return add_encoded_array(key, value.element_type(), value.count(), value.bytes());
    }
    return add_encoded(key, value.type(), value.bytes());
  }

  /// Adds a tensor of row-major `shape` (last dimension contiguous: {rows, cols}), 1 to 4 dimensions. `data`
  /// holds its bytes and must live until the last write. Throws Error{kInvalidArgument} for a name that is
  /// empty, repeated or longer than 63 bytes, an impossible shape, or data of another size.
  Writer& add_tensor(std::string_view name, DType type, std::initializer_list<std::size_t> shape,
                     std::span<const std::byte> data) {
    return add_tensor(name, type, std::span(shape.begin(), shape.size()), data);
  }
  /// The same for a shape of any size.
  Writer& add_tensor(std::string_view name, DType type, std::span<const std::size_t> shape,
                     std::span<const std::byte> data) {
    return in_memory([&] {
      const std::uint64_t size = size_of(name, type, shape);
      if (data.size() != size) {
        refuse("tensor " + quoted(name) + " takes " + std::to_string(size) + " bytes, not " +
               std::to_string(data.size()));
      }
      add_sized(name, type, shape, {size, data, {}});
    });
  }
  /// The same with data made when they are written, one tensor at a time: for files larger than memory.
  Writer& add_tensor(std::string_view name, DType type, std::span<const std::size_t> shape, Fill fill) {
    return in_memory([&] {
      const std::uint64_t size = size_of(name, type, shape);
      if (!fill) refuse("tensor " + quoted(name) + " has nothing to fill it");
      add_sized(name, type, shape, {size, {}, std::move(fill)});
    });
  }

  /// Size of the file in bytes.
  std::size_t size_bytes() const noexcept { return data_begin() + data_size_; }

  /// The whole file in memory.
  std::vector<std::byte> bytes() const {
    std::vector<std::byte> out;
    gemma::detail::or_out_of_memory(kNoMemory, [&] { out.reserve(size_bytes()); });
    emit([&out](std::span<const std::byte> part) { out.insert(out.end(), part.begin(), part.end()); });
    return out;
  }

  /// Writes `path` by way of `path`.part, renamed when complete: who has the old file mapped keeps it, and a
  /// failure leaves nothing behind. Throws Error{kIo}, and whatever a Fill throws.
  void write(const std::string& path) const {
    OutputFile file = gemma::detail::or_out_of_memory(kNoMemory, [&] { return OutputFile(path); });
    emit([&file](std::span<const std::byte> part) { file.write(part); });
    file.commit();
  }

 private:
  struct Data {
    std::uint64_t size;
    std::span<const std::byte> bytes;  // when there is no fill
    Fill fill;
  };

  /// PATH.part, removed again unless committed.
  class OutputFile {
   public:
    explicit OutputFile(const std::string& path) : path_(path), part_(path + ".part") {
      ::unlink(part_.c_str());  // of an earlier run that was killed
      fd_ = ::open(part_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (fd_ < 0) fail("cannot create", errno);
    }
    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;
    ~OutputFile() {
      if (fd_ >= 0) ::close(fd_);
      if (!committed_) ::unlink(part_.c_str());
    }

    void write(std::span<const std::byte> part) {
      while (!part.empty()) {
        const ssize_t n = ::write(fd_, part.data(), part.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) fail("cannot write", errno);
        part = part.subspan(static_cast<std::size_t>(n));
      }
    }
    void commit() {
      if (::fsync(fd_) != 0 && errno != EINVAL && errno != EROFS) fail("cannot write", errno);
      if (::close(std::exchange(fd_, -1)) != 0) fail("cannot write", errno);
      if (std::rename(part_.c_str(), path_.c_str()) != 0) fail("cannot rename to its name", errno);
      committed_ = true;
    }

   private:
    [[noreturn]] void fail(const char* what, int error) const {
      gemma::detail::refuse(ErrorCode::kIo, [&] {
        return part_ + ": " + what + ": " + std::generic_category().message(error);
      });
    }
    std::string path_;
    std::string part_;
    int fd_ = -1;
    bool committed_ = false;
  };

  [[noreturn]] static void refuse(const std::string& message) {
    throw Error(ErrorCode::kInvalidArgument, message);
  }

  static constexpr StaticText kNoMemory = "no memory for writing a file";
  /// f(), which adds something.
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
  static void append_string(std::string& to, std::string_view text) {
    append<std::uint64_t>(to, text.size());
    to += text;
  }
  static void append_bytes(std::string& to, std::span<const std::byte> bytes) {
    to.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

  Writer& add_encoded(std::string_view key, ValueType type, std::span<const std::byte> payload) {
    return in_memory([&] {
      std::string value;
      if (type == ValueType::kString) append<std::uint64_t>(value, payload.size());
      append_bytes(value, payload);
      add_pair(key, type, value);
    });
  }
  Writer& add_encoded_array(std::string_view key, ValueType element, std::uint64_t count,
                            std::span<const std::byte> elements) {
    return in_memory([&] {
      std::string value;
      append(value, static_cast<std::uint32_t>(element));
      append(value, count);
      append_bytes(value, elements);
      add_pair(key, ValueType::kArray, value);
    });
  }
  /// Checks everything about a pair, then adds it.
  void add_pair(std::string_view key, ValueType type, const std::string& value) {
    if (key.empty() || key.size() > 65535) {
      refuse("key " + quoted(key) + " is empty or longer than 65535 bytes");
    }
    std::string name = "k" + std::string(key);
    if (names_.count(name) != 0) refuse("key " + quoted(key) + " is there already");
    const std::uint32_t alignment = key == kAlignmentKey ? alignment_of(type, value) : alignment_;
    pairs_.reserve(pairs_.size() + 12 + key.size() + value.size());
    names_.insert(std::move(name));  // the last that may fail
    append_string(pairs_, key);
    append(pairs_, static_cast<std::uint32_t>(type));
    pairs_ += value;
    ++n_pairs_;
    alignment_ = alignment;
  }
  std::uint32_t alignment_of(ValueType type, const std::string& value) const {
    std::uint32_t alignment = 0;
    if (type == ValueType::kU32) std::memcpy(&alignment, value.data(), sizeof(alignment));
    if (!std::has_single_bit(alignment) || alignment < kLeastAlignment) {
      refuse("general.alignment must be a uint32 power of two of at least 8");
    }
    if (!tensors_.empty()) refuse("general.alignment must come before the first tensor");
    return alignment;
  }

  std::uint64_t aligned(std::uint64_t offset) const noexcept {
    return (offset + alignment_ - 1) / alignment_ * alignment_;
  }
  /// Where the data begins; a file without tensors ends with its header, unpadded.
  std::size_t data_begin() const noexcept {
    const std::size_t end = 24 + pairs_.size() + table_.size();  // 24: magic, version, two counts
    return tensors_.empty() ? end : aligned(end);
  }

  static std::uint64_t size_of(std::string_view name, DType type, std::span<const std::size_t> shape) {
    const DTypeInfo& t = info(type);
    std::uint64_t elements = 1;
    // no more than 2^48, so that sums of sizes cannot overflow
    for (const std::size_t n : shape) {
      elements = n == 0 || elements > (std::uint64_t{1} << 48) / n ? 0 : elements * n;
    }
    if (shape.empty() || shape.size() > 4 || elements == 0 || shape.back() % t.block_elements != 0) {
      refuse("tensor " + quoted(name) + " has a shape that a " + std::string(t.name) + " tensor cannot have");
    }
    return elements / t.block_elements * t.block_bytes;
  }
  void add_sized(std::string_view name, DType type, std::span<const std::size_t> shape, Data data) {
    // the specification allows 64 bytes, the format's own library 63
    if (name.empty() || name.size() > 63) refuse("tensor " + quoted(name) + " has an empty or overlong name");
    std::string known = "t" + std::string(name);
    if (names_.count(known) != 0) refuse("tensor " + quoted(name) + " is there already");
    if (tensors_.size() == tensors_.capacity()) tensors_.reserve(2 * tensors_.size() + 8);
    table_.reserve(table_.size() + 24 + name.size() + 8 * shape.size());
    names_.insert(std::move(known));  // the last that may fail
    const std::uint64_t offset = aligned(data_size_);
    append_string(table_, name);
    append(table_, static_cast<std::uint32_t>(shape.size()));
    for (std::size_t d = shape.size(); d-- > 0;) append<std::uint64_t>(table_, shape[d]);
    append(table_, static_cast<std::uint32_t>(type));
    append(table_, offset);
    data_size_ = aligned(offset + data.size);
    tensors_.push_back(std::move(data));
  }

  /// Hands the file's bytes to `sink` from first to last.
  template <typename Sink>
  void emit(Sink&& sink) const {
    std::string header = "GGUF";
    gemma::detail::or_out_of_memory(kNoMemory, [&] {
      append(header, version_);
      append<std::uint64_t>(header, tensors_.size());
      append<std::uint64_t>(header, n_pairs_);
      header += pairs_;
      header += table_;
      header.resize(data_begin());
    });
    sink(std::as_bytes(std::span(header)));
    std::vector<std::byte> filled;
    std::vector<std::byte> padding;
    for (const Data& data : tensors_) {
      gemma::detail::or_out_of_memory(kNoMemory, [&] {
        if (data.fill) filled.assign(data.size, std::byte{0});
        padding.resize(aligned(data.size) - data.size);
      });
      if (data.fill) data.fill(filled);
      sink(data.fill ? std::span<const std::byte>(filled) : data.bytes);
      sink(std::span<const std::byte>(padding));
    }
  }

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
