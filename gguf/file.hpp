// A GGUF file: header, metadata, tensor table, all read in place from a read-only mapping.
// Invariant: a constructed File is structurally sound: every key, string, array and tensor lies inside the
// file, names are unique, tensors are aligned and do not overlap. What it allocates is in proportion to the
// part of the header that was really there, never to a count the header claims.
//
// The grammar (GGUF specification, versions 2 and 3, little-endian; version 2 has the same layout):
//   file    = "GGUF" version:u32 n_tensors:u64 n_kv:u64 kv{n_kv} tensor{n_tensors} padding data
//   kv      = key:string type:u32 value
//   string  = length:u64 bytes
//   value   = scalar | string | array          array = element_type:u32 count:u64 elements
//   tensor  = name:string n_dims:u32 dim:u64{n_dims} type:u32 offset:u64
//   data starts at the next multiple of general.alignment (32 when absent); offsets are relative to it.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "error.hpp"
#include "mapped_file.hpp"
#include "name_index.hpp"
#include "reader.hpp"
#include "tensor_view.hpp"
#include "value.hpp"

namespace gemma::gguf {

/// The alignment of tensor data when the metadata has no `general.alignment`.
inline constexpr std::uint32_t kDefaultAlignment = 32;
/// The least alignment taken: the specification asks for multiples of 8.
inline constexpr std::uint32_t kLeastAlignment = 8;
/// The key that sets another alignment.
inline constexpr std::string_view kAlignmentKey = "general.alignment";

/// A key and its value; the key points into the file.
struct Metadata {
  std::string_view key;  // any bytes, not empty
  Value value;           // points into the file where it is text or an array
};

/// An open GGUF file. Immutable and safe to read from many threads; movable. Views stay valid while it (or
/// what it was moved to) lives.
class File {
 public:
  /// Maps and checks `path`. Throws Error: kIo, kBadMagic, kUnsupportedVersion, kTruncated, kMalformed,
  /// kWrongType (of general.alignment), kUnsupported (a tensor type that is not read, an array of arrays),
  /// kOutOfMemory; each names the file, the key or tensor, and the offset.
  static File open(std::string path) {
    return gemma::detail::or_out_of_memory("no memory for opening a file",
                                           [&] { return make(MappedFile(std::move(path))); });
  }

  /// The same for a file that is in memory already. `bytes` must outlive the File and start at a multiple of
  /// kLeastAlignment (else kInvalidArgument); `name` stands for the path in errors.
  static File from_memory(std::span<const std::byte> bytes, std::string name) {
    return gemma::detail::or_out_of_memory("no memory for opening a file", [&] {
      if (reinterpret_cast<std::uintptr_t>(bytes.data()) % kLeastAlignment != 0) {
        throw Error(ErrorCode::kInvalidArgument, name + ": a file in memory must be aligned to 8 bytes");
      }
      return make(MappedFile::borrow(bytes, std::move(name)));
    });
  }

  /// As given to open().
  const std::string& path() const noexcept { return map_.path(); }
  /// The mapping, and its bytes.
  const MappedFile& map() const noexcept { return map_; }
  /// GGUF version, 2 or 3.
  std::uint32_t version() const noexcept { return version_; }
  /// Bytes of the file.
  std::size_t size_bytes() const noexcept { return map_.bytes().size(); }
  /// Of tensor data, bytes.
  std::size_t alignment() const noexcept { return alignment_; }
  /// Where tensor data begins; at most size_bytes().
  std::size_t data_offset() const noexcept { return data_offset_; }

  /// In the file's order.
  std::span<const Metadata> metadata() const noexcept { return metadata_; }
  /// In the file's order.
  std::span<const TensorView> tensors() const noexcept { return tensors_; }

  /// The value of `key`, or nullptr.
  const Value* find(std::string_view key) const noexcept {
    const auto i = keys_.find(key);
    return i ? &metadata_[*i].value : nullptr;
  }
  /// The tensor called `name`, or nullptr.
  const TensorView* find_tensor(std::string_view name) const noexcept {
    const auto i = names_.find(name);
    return i ? &tensors_[*i] : nullptr;
  }

  /// The value of `key` as T (see Value::as), or nothing when absent. Throws Error{kWrongType} when it is of
  /// another kind or out of T's range.
  template <Readable T>
  std::optional<T> get_if(std::string_view key) const {
    return gemma::detail::or_out_of_memory(
        "no memory for a value of the metadata", [&]() -> std::optional<T> {
          const Value* value = find(key);
          if (value == nullptr) return std::nullopt;
          auto result = value->as<T>();
          if (!result) {
            throw Error(ErrorCode::kWrongType, path() + ": key " + quoted(key) + ": " + value->type_name() +
                                                   " where " + type_name<T>() +
                                                   " is expected, or out of its range (at byte " +
                                                   std::to_string(offset_of(value->bytes())) + ")");
          }
          return result;
        });
  }
  /// The value of `key`, or the fallback where there is none. Throws Error{kWrongType}.
  template <Readable T>
  T get_or(std::string_view key, T fallback) const {
    auto result = get_if<T>(key);
    return result ? *std::move(result) : std::move(fallback);
  }
  /// As get_if, but throws Error{kMissingKey} when absent.
  template <Readable T>
  T get(std::string_view key) const {
    auto result = get_if<T>(key);
    if (!result) missing(ErrorCode::kMissingKey, "key ", key);
    return *std::move(result);
  }
  /// The tensor called `name`. Throws Error{kMissingTensor} when absent.
  const TensorView& tensor(std::string_view name) const {
    const TensorView* t = find_tensor(name);
    if (t == nullptr) missing(ErrorCode::kMissingTensor, "tensor ", name);
    return *t;
  }

  /// Where `part`, the bytes of a value or the data of a tensor, begins in the file.
  std::size_t offset_of(std::span<const std::byte> part) const noexcept {
    return static_cast<std::size_t>(part.data() - map_.bytes().data());
  }

 private:
  struct Pending {  // a tensor whose place is not known yet
    TensorView view;
    std::uint64_t offset;  // relative to the data
    std::uint64_t size;
    std::size_t offset_at;  // where in the header `offset` stands
  };

  // smallest encodings: key 8 + 1, type 4, value 1; name 8 + 1, n_dims 4, one dim 8, type 4, offset 8
  static constexpr std::size_t kLeastPairBytes = 14;
  static constexpr std::size_t kLeastTensorBytes = 33;
  static constexpr std::size_t kMostReserved = 256;  // entries; beyond, tables grow as the file is read

  [[noreturn]] void missing(ErrorCode code, const char* kind, std::string_view name) const {
    gemma::detail::refuse(code, [&] { return path() + ": " + kind + quoted(name) + " is missing"; });
  }
  static File make(MappedFile map) {
    const std::string path = map.path();
    try {
      return File(std::move(map));
    } catch (const std::bad_alloc&) {
      throw Error(ErrorCode::kOutOfMemory, path + ": out of memory while reading its header");
    }
  }

  explicit File(MappedFile map) : map_(std::move(map)) {
    Reader reader(map_.bytes(), map_.path());
    const auto [n_tensors, n_kv] = read_header(reader);
    read_metadata(reader, n_kv);
    read_tensors(reader, n_tensors);
    map_.check_size();  // what was read above was all there, and still is
  }

  std::pair<std::uint64_t, std::uint64_t> read_header(Reader& reader) {
    if (size_bytes() == 0) reader.fail(ErrorCode::kTruncated, "the file is empty");
    const std::size_t n = std::min<std::size_t>(size_bytes(), 4);
    if (n == 4 && std::memcmp(map_.bytes().data(), "FUGG", 4) == 0) {
      reader.fail(ErrorCode::kUnsupportedVersion,
                  "a byte-swapped GGUF file; only little-endian ones are read");
    }
    if (std::memcmp(map_.bytes().data(), "GGUF", n) != 0) {
      reader.fail(ErrorCode::kBadMagic, "not a GGUF file");
    }
    reader.take(4, "the magic");
    version_ = reader.read<std::uint32_t>("the version");
    if (version_ != 2 && version_ != 3) {
      const bool swapped = version_ != 0 && (version_ & 0xFFFFu) == 0;
      reader.fail(ErrorCode::kUnsupportedVersion,
                  swapped ? "a big-endian GGUF file; only little-endian ones are read"
                          : "GGUF version " + std::to_string(version_) + "; versions 2 and 3 are read");
    }
    const auto n_tensors = reader.read<std::uint64_t>("the tensor count");
    if (n_tensors > reader.remaining() / kLeastTensorBytes) {
      reader.fail(ErrorCode::kTruncated, std::to_string(n_tensors) + " tensors do not fit in the file");
    }
    const auto n_kv = reader.read<std::uint64_t>("the metadata count");
    if (n_kv > reader.remaining() / kLeastPairBytes) {
      reader.fail(ErrorCode::kTruncated, std::to_string(n_kv) + " metadata pairs do not fit in the file");
    }
    return {n_tensors, n_kv};
  }

  static void add_unique(NameIndex& index, std::string_view name, const Reader& reader) {
    switch (index.add(name)) {
      case NameIndex::Added::kYes:
        return;
      case NameIndex::Added::kTwice:
        return reader.fail(ErrorCode::kMalformed, "the name stands twice");
      case NameIndex::Added::kRefused:
        return reader.fail(ErrorCode::kMalformed, "the names before it were chosen to collide");
    }
  }

  void read_metadata(Reader& reader, std::uint64_t n_kv) {
    metadata_.reserve(std::min<std::uint64_t>(n_kv, kMostReserved));
    for (std::uint64_t i = 0; i < n_kv; ++i) {
      reader.about("metadata pair", i);
      const auto key = reader.read_string("the key");
      if (key.empty()) reader.fail(ErrorCode::kMalformed, "the key is empty");
      reader.about("key", key);
      add_unique(keys_, key, reader);
      metadata_.push_back({key, Value::read(reader)});
      if (key == kAlignmentKey) read_alignment(metadata_.back().value, reader);
    }
  }

  void read_alignment(const Value& value, const Reader& reader) {
    if (value.type() != ValueType::kU32) {
      reader.fail(ErrorCode::kWrongType, value.type_name() + " where uint32 is expected");
    }
    const std::uint32_t alignment = *value.as<std::uint32_t>();
    if (!std::has_single_bit(alignment) || alignment < kLeastAlignment) {
      reader.fail(ErrorCode::kMalformed, std::to_string(alignment) + " is not a power of two of at least 8");
    }
    alignment_ = alignment;
  }

  Pending read_tensor(Reader& reader, std::uint64_t number) {
    Pending p{};
    reader.about("tensor", number);
    p.view.name = reader.read_string("the name");
    if (p.view.name.empty()) reader.fail(ErrorCode::kMalformed, "the name is empty");
    reader.about("tensor", p.view.name);
    add_unique(names_, p.view.name, reader);
    p.view.n_dims = reader.read<std::uint32_t>("the dimension count");
    if (p.view.n_dims < 1 || p.view.n_dims > 4) {
      reader.fail(ErrorCode::kMalformed, std::to_string(p.view.n_dims) + " dimensions; 1 to 4 are read");
    }
    const std::size_t dims_at = reader.offset();
    std::uint64_t elements = 1;
    for (std::uint32_t d = 0; d < p.view.n_dims; ++d) {
      const auto dim = reader.read<std::uint64_t>("a dimension");
      // int64_t's range, as the field's tools have it: "negative" sizes are refused here
      constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
      if (dim == 0 || dim > kMost || elements > kMost / dim) {
        reader.fail(ErrorCode::kMalformed, "the impossible dimension " + std::to_string(dim));
      }
      elements *= dim;
      p.view.dims[d] = dim;
    }
    const auto type_id = reader.read<std::uint32_t>("the type");
    const auto type = dtype_from_id(type_id);
    if (!type) {
      reader.fail(ErrorCode::kUnsupported, "the element type " + describe_dtype_id(type_id) + " is not read");
    }
    p.view.type = *type;
    p.view.cols = p.view.dims[0];
    p.view.rows = elements / p.view.cols;
    const DTypeInfo& t = info(*type);
    if (p.view.cols % t.block_elements != 0) {
      reader.fail_at(dims_at, ErrorCode::kMalformed,
                     "rows of " + std::to_string(p.view.cols) + " elements are not whole " +
                         std::string(t.name) + " blocks of " + std::to_string(t.block_elements));
    }
    const std::uint64_t blocks = elements / t.block_elements;
    if (blocks > size_bytes() / t.block_bytes) {
      reader.fail_at(dims_at, ErrorCode::kTruncated, "the tensor is larger than the file");
    }
    p.size = blocks * t.block_bytes;
    p.offset_at = reader.offset();
    p.offset = reader.read<std::uint64_t>("the offset");
    if (p.offset % alignment_ != 0) {
      reader.fail(ErrorCode::kMalformed, "the offset " + std::to_string(p.offset) +
                                             " is not a multiple of the alignment " +
                                             std::to_string(alignment_));
    }
    return p;
  }

  void read_tensors(Reader& reader, std::uint64_t n_tensors) {
    std::vector<Pending> pending;
    pending.reserve(std::min<std::uint64_t>(n_tensors, kMostReserved));
    for (std::uint64_t i = 0; i < n_tensors; ++i) {
      pending.push_back(read_tensor(reader, i));
    }
    const std::size_t end = (reader.offset() + alignment_ - 1) / alignment_ * alignment_;
    data_offset_ = std::min(end, size_bytes());  // a file without tensors may lack the padding

    tensors_.reserve(pending.size());
    for (Pending& p : pending) {
      reader.about("tensor", p.view.name);
      const std::size_t data_bytes = size_bytes() - data_offset_;
      if (p.offset > data_bytes || p.size > data_bytes - p.offset) {
        reader.fail_at(p.offset_at, ErrorCode::kTruncated,
                       std::to_string(p.size) + " bytes at offset " + std::to_string(p.offset) +
                           " of the data leave the file, which has " + std::to_string(data_bytes) + " there");
      }
      p.view.data = map_.bytes().subspan(data_offset_ + p.offset, p.size);
      tensors_.push_back(p.view);
    }
    check_overlaps(std::move(pending), reader);
  }

  static void check_overlaps(std::vector<Pending> by_place, Reader& reader) {
    std::sort(by_place.begin(), by_place.end(),
              [](const Pending& a, const Pending& b) { return a.offset < b.offset; });
    for (std::size_t i = 1; i < by_place.size(); ++i) {
      const Pending& before = by_place[i - 1];
      if (before.offset + before.size > by_place[i].offset) {
        reader.about("tensor", by_place[i].view.name);
        reader.fail_at(by_place[i].offset_at, ErrorCode::kMalformed,
                       "its data overlap those of tensor " + quoted(before.view.name));
      }
    }
  }

  MappedFile map_;
  std::uint32_t version_ = 0;
  std::size_t alignment_ = kDefaultAlignment;
  std::size_t data_offset_ = 0;
  std::vector<Metadata> metadata_;
  std::vector<TensorView> tensors_;
  NameIndex keys_;
  NameIndex names_;
};

}  // namespace gemma::gguf
