// Definitions of writer.hpp.
#pragma once

#include <bit>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "linkage.hpp"
#include "os_file.hpp"

namespace gemma::gguf {

namespace detail {

namespace os = gemma::detail::os;

/// The file PATH.part, which is removed again unless it is committed.
class OutputFile {
 public:
  explicit OutputFile(const std::string& path) : path_(path), part_(path + ".part") {
    os::remove(part_);  // left by an earlier run that was killed
    fd_ = os::create(part_);
    if (fd_ < 0) fail("cannot create", errno);
  }
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  ~OutputFile() {
    if (fd_ >= 0) os::close(fd_);
    if (!committed_) os::remove(part_);
  }

  void write(std::span<const std::byte> part) {
    while (!part.empty()) {
      const std::ptrdiff_t n = os::write_some(fd_, part.data(), part.size());
      if (n < 0) fail("cannot write", errno);
      part = part.subspan(static_cast<std::size_t>(n));
    }
  }
  void commit() {
    if (!os::sync(fd_)) fail("cannot write", errno);
    if (!os::close(std::exchange(fd_, -1))) fail("cannot write", errno);
    if (!os::rename_over(part_, path_)) fail("cannot rename the temporary file", errno);
    committed_ = true;
  }

 private:
  [[noreturn]] void fail(const char* what, int error) const {
    gemma::detail::refuse(
        ErrorCode::kIo, [&] { return part_ + ": " + what + ": " + std::generic_category().message(error); });
  }
  std::string path_;
  std::string part_;
  int fd_ = -1;
  bool committed_ = false;
};

[[noreturn]] GEMMA_INLINE void refuse_to_write(const std::string& message) {
  gemma::detail::refuse(ErrorCode::kInvalidArgument, [&] { return message; });
}

/// Bytes of a tensor.
GEMMA_INLINE std::uint64_t size_to_write(std::string_view name, DType type,
                                         std::span<const std::size_t> shape) {
  const DTypeInfo& t = info(type);
  std::uint64_t elements = 1;
  // at most 2^48, so that sums of sizes cannot overflow
  for (const std::size_t n : shape) {
    elements = n == 0 || elements > (std::uint64_t{1} << 48) / n ? 0 : elements * n;
  }
  if (t.block_elements == 0)
    refuse_to_write("tensor " + gemma::quoted(name) + " has a type that cannot be written");
  if (shape.empty() || shape.size() > 4 || elements == 0 || shape.back() % t.block_elements != 0) {
    refuse_to_write("tensor " + gemma::quoted(name) + " has a shape that a " + std::string(t.name) +
                    " tensor cannot have");
  }
  return elements / t.block_elements * t.block_bytes;
}

}  // namespace detail

GEMMA_INLINE Writer::Writer(std::uint32_t version) : version_(version) {
  if (version == 2 || version == 3) return;
  gemma::detail::or_out_of_memory(kNoMemory, [&] {
    detail::refuse_to_write("GGUF version " + std::to_string(version) + " cannot be written");
  });
}

GEMMA_INLINE Writer& Writer::add(std::string_view key, const Value& value) {
  if (value.type() == ValueType::kArray) {
    return add_encoded_array(key, value.element_type(), value.count(), value.bytes());
  }
  return add_encoded(key, value.type(), value.bytes());
}

GEMMA_INLINE Writer& Writer::add_tensor(std::string_view name, DType type, std::span<const std::size_t> shape,
                                        std::span<const std::byte> data) {
  return in_memory([&] {
    const std::uint64_t size = detail::size_to_write(name, type, shape);
    if (data.size() != size) {
      detail::refuse_to_write("tensor " + gemma::quoted(name) + " takes " + std::to_string(size) +
                              " bytes, not " + std::to_string(data.size()));
    }
    add_sized(name, type, shape, {size, data, {}, {}, {}});
  });
}

GEMMA_INLINE Writer& Writer::add_tensor(std::string_view name, DType type, std::span<const std::size_t> shape,
                                        Fill fill) {
  return in_memory([&] {
    const std::uint64_t size = detail::size_to_write(name, type, shape);
    if (!fill) detail::refuse_to_write("tensor " + gemma::quoted(name) + " has no data source");
    add_sized(name, type, shape, {size, {}, std::move(fill), {}, {}});
  });
}

GEMMA_INLINE Writer& Writer::add_tensor_in_parts(std::string_view name, DType type,
                                                 std::span<const std::size_t> shape, Produce produce) {
  return in_memory([&] {
    const std::uint64_t size = detail::size_to_write(name, type, shape);
    if (!produce) detail::refuse_to_write("tensor " + gemma::quoted(name) + " has no data source");
    add_sized(name, type, shape, {size, {}, {}, std::move(produce), std::string(name)});
  });
}

GEMMA_INLINE std::vector<std::byte> Writer::bytes() const {
  std::vector<std::byte> out;
  gemma::detail::or_out_of_memory(kNoMemory, [&] { out.reserve(size_bytes()); });
  emit([&out](std::span<const std::byte> part) { out.insert(out.end(), part.begin(), part.end()); });
  return out;
}

GEMMA_INLINE void Writer::write(const std::string& path) const {
  detail::OutputFile file =
      gemma::detail::or_out_of_memory(kNoMemory, [&] { return detail::OutputFile(path); });
  emit([&file](std::span<const std::byte> part) { file.write(part); });
  file.commit();
}

GEMMA_INLINE void Writer::append_string(std::string& to, std::string_view text) {
  append<std::uint64_t>(to, text.size());
  to += text;
}

GEMMA_INLINE Writer& Writer::add_encoded(std::string_view key, ValueType type,
                                         std::span<const std::byte> payload) {
  return in_memory([&] {
    std::string value;
    if (type == ValueType::kString) append<std::uint64_t>(value, payload.size());
    value.append(reinterpret_cast<const char*>(payload.data()), payload.size());
    add_pair(key, type, value);
  });
}

GEMMA_INLINE Writer& Writer::add_encoded_array(std::string_view key, ValueType element, std::uint64_t count,
                                               std::span<const std::byte> elements) {
  return in_memory([&] {
    std::string value;
    append(value, static_cast<std::uint32_t>(element));
    append(value, count);
    value.append(reinterpret_cast<const char*>(elements.data()), elements.size());
    add_pair(key, ValueType::kArray, value);
  });
}

GEMMA_INLINE void Writer::add_pair(std::string_view key, ValueType type, const std::string& value) {
  if (key.empty() || key.size() > 65535) {
    detail::refuse_to_write("key " + gemma::quoted(key) + " is empty or longer than 65535 bytes");
  }
  std::string name = "k" + std::string(key);
  if (names_.count(name) != 0) detail::refuse_to_write("key " + gemma::quoted(key) + " was already added");
  const std::uint32_t alignment = key == kAlignmentKey ? alignment_of(type, value) : alignment_;
  pairs_.reserve(pairs_.size() + 12 + key.size() + value.size());
  names_.insert(std::move(name));  // nothing after this allocates, so a failure changes nothing
  append_string(pairs_, key);
  append(pairs_, static_cast<std::uint32_t>(type));
  pairs_ += value;
  ++n_pairs_;
  alignment_ = alignment;
}

GEMMA_INLINE std::uint32_t Writer::alignment_of(ValueType type, const std::string& value) const {
  std::uint32_t alignment = 0;
  if (type == ValueType::kU32) std::memcpy(&alignment, value.data(), sizeof(alignment));
  if (!std::has_single_bit(alignment) || alignment < kLeastAlignment) {
    detail::refuse_to_write("general.alignment must be a uint32 power of two of at least 8");
  }
  if (!tensors_.empty()) detail::refuse_to_write("general.alignment must come before the first tensor");
  return alignment;
}

GEMMA_INLINE std::size_t Writer::data_begin() const noexcept {
  const std::size_t end = 24 + pairs_.size() + table_.size();  // 24: magic, version, two counts
  return tensors_.empty() ? end : aligned(end);
}

GEMMA_INLINE void Writer::add_sized(std::string_view name, DType type, std::span<const std::size_t> shape,
                                    Data data) {
  // the specification allows 64 bytes, the format's own library 63
  if (name.empty() || name.size() > 63)
    detail::refuse_to_write("tensor " + gemma::quoted(name) + " has an empty or overlong name");
  std::string known = "t" + std::string(name);
  if (names_.count(known) != 0)
    detail::refuse_to_write("tensor " + gemma::quoted(name) + " was already added");
  if (tensors_.size() == tensors_.capacity()) tensors_.reserve(2 * tensors_.size() + 8);
  table_.reserve(table_.size() + 24 + name.size() + 8 * shape.size());
  names_.insert(std::move(known));  // nothing after this allocates, so a failure changes nothing
  const std::uint64_t offset = aligned(data_size_);
  append_string(table_, name);
  append(table_, static_cast<std::uint32_t>(shape.size()));
  for (std::size_t d = shape.size(); d-- > 0;) append<std::uint64_t>(table_, shape[d]);
  append(table_, static_cast<std::uint32_t>(type));
  append(table_, offset);
  data_size_ = aligned(offset + data.size);
  tensors_.push_back(std::move(data));
}

template <typename F>
void Writer::emit_parts(const Data& data, F&& sink) {
  std::uint64_t left = data.size;
  const auto wrong = [&data](const char* how) {
    gemma::detail::refuse(ErrorCode::kInvalidArgument,
                          [&] { return "tensor " + gemma::quoted(data.name) + " was given " + how; });
  };
  data.produce([&](std::span<const std::byte> part) {
    if (part.size() > left) wrong("more bytes than it has");
    left -= part.size();
    sink(part);
  });
  if (left != 0) wrong("fewer bytes than it has");
}

template <typename F>
void Writer::emit(F&& sink) const {
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
    if (data.produce) {
      emit_parts(data, sink);
    } else {
      sink(data.fill ? std::span<const std::byte>(filled) : data.bytes);
    }
    sink(std::span<const std::byte>(padding));
  }
}

}  // namespace gemma::gguf
