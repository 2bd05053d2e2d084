// A GGUF file: header, metadata, tensor table, all read in place from a read-only mapping.
// Invariant: a constructed File is structurally sound: every key, string, array and tensor lies inside the
// file, names are unique, tensors are aligned and do not overlap. Tensors may be of any type, also of types
// that are not supported or not known; code that computes with a tensor must ask TensorView::is_supported().
// The memory that a File allocates is proportional to the actual size of the header, never to a count in the
// header.
//
// The grammar (GGUF specification, versions 2 and 3, little-endian; version 2 has the same layout):
//   file    = "GGUF" version:u32 n_tensors:u64 n_kv:u64 kv{n_kv} tensor{n_tensors} padding data
//   kv      = key:string type:u32 value
//   string  = length:u64 bytes
//   value   = scalar | string | array          array = element_type:u32 count:u64 elements
//   tensor  = name:string n_dims:u32 dim:u64{n_dims} type:u32 offset:u64
//   data starts at the next multiple of general.alignment (32 when absent); offsets are relative to it.
#pragma once

#include <cstddef>
#include <cstdint>
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
#include "split.hpp"
#include "tensor_view.hpp"
#include "value.hpp"

namespace gemma::gguf {

/// The alignment of tensor data when the metadata has no `general.alignment`.
inline constexpr std::uint32_t kDefaultAlignment = 32;
/// The smallest accepted alignment: the specification requires multiples of 8.
inline constexpr std::uint32_t kLeastAlignment = 8;
/// The key of the alignment.
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
  /// Maps and checks `path`; of a split model (split.hpp) all parts, whichever is given: metadata are the
  /// first part's, tensors those of all. Throws Error: kIo, kBadMagic, kUnsupportedVersion, kTruncated,
  /// kMalformed, kWrongType (of general.alignment), kUnsupported (an array of arrays), kOutOfMemory; each
  /// names the file, the key or tensor, and the offset.
  static File open(std::string path);

  /// Like open(), for a file in memory. `bytes` must outlive the File and start at a multiple
  /// of kLeastAlignment (else kInvalidArgument); `name` stands for the path in errors.
  static File from_memory(std::span<const std::byte> bytes, std::string name);

  /// The path given to open(); of a split model that of its first part.
  const std::string& path() const noexcept { return map_.path(); }
  /// The mapping of the file; of a split model that of its first part.
  const MappedFile& map() const noexcept { return map_; }
  /// The parts of a split model after the first, in order; usually empty.
  std::span<const File> other_parts() const noexcept { return others_; }
  /// Version of the GGUF format, 2 or 3.
  std::uint32_t version() const noexcept { return version_; }
  /// Bytes of the file, all parts together.
  std::size_t size_bytes() const noexcept;
  /// Alignment of tensor data in bytes.
  std::size_t alignment() const noexcept { return alignment_; }
  /// Offset of the tensor data in the (first) file; at most its size.
  std::size_t data_offset() const noexcept { return data_offset_; }

  /// All key-value pairs, in the order of the file.
  std::span<const Metadata> metadata() const noexcept { return metadata_; }
  /// All tensors, in the order of the file.
  std::span<const TensorView> tensors() const noexcept { return tensors_; }
  /// Number of elements of all tensors together; for a model, the number of its parameters.
  std::uint64_t n_elements() const noexcept {
    std::uint64_t n = 0;
    for (const TensorView& t : tensors_) n += std::uint64_t{t.rows} * t.cols;
    return n;
  }

  /// The value of `key`; nullptr when the file does not have it.
  const Value* find(std::string_view key) const noexcept;
  /// The tensor called `name`; nullptr when the file does not have it.
  const TensorView* find_tensor(std::string_view name) const noexcept;

  /// The value of `key` as T (see Value::as), or nothing when absent. Throws Error{kWrongType} when it is of
  /// another kind or out of T's range.
  template <Readable T>
  std::optional<T> get_if(std::string_view key) const {
    return gemma::detail::or_out_of_memory("no memory for a value of the metadata",
                                           [&]() -> std::optional<T> {
                                             const Value* value = find(key);
                                             if (value == nullptr) return std::nullopt;
                                             auto result = value->as<T>();
                                             if (!result) refuse_type(key, *value, type_name<T>());
                                             return result;
                                           });
  }
  /// The value of `key`, or the fallback if it is absent. Throws Error{kWrongType}.
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
  const TensorView& tensor(std::string_view name) const;

  /// Offset in its file of `part`, the bytes of a value or the data of a tensor.
  std::size_t offset_of(std::span<const std::byte> part) const noexcept {
    return static_cast<std::size_t>(part.data() - owner_of(part).bytes().data());
  }
  /// The path of the file that `part` lies in.
  const std::string& path_of(std::span<const std::byte> part) const noexcept { return owner_of(part).path(); }

  /// MappedFile::check_size() for all parts. Throws Error{kIo} if a part was truncated.
  void check_size() const;
  /// Asks the kernel to read all parts ahead in the background. A hint; never fails.
  void read_ahead() const noexcept;
  /// MappedFile::will_need() for `part`, which must be bytes of this file.
  void will_need(std::span<const std::byte> part) const noexcept { owner_of(part).will_need(part); }
  /// MappedFile::will_not_need() for `part`, which must be bytes of this file.
  void will_not_need(std::span<const std::byte> part) const noexcept { owner_of(part).will_not_need(part); }

 private:
  struct Pending {  // a tensor whose position has not been checked yet
    TensorView view;
    std::uint64_t offset;   // relative to the beginning of tensor data
    std::uint64_t size;     // in bytes; 1, the minimum, if the type's size is not known
    std::size_t offset_at;  // offset of the field `offset` in the header
  };

  // smallest encodings: key 8 + 1, type 4, value 1; name 8 + 1, n_dims 4, one dim 8, type 4, offset 8
  static constexpr std::size_t kLeastPairBytes = 14;
  static constexpr std::size_t kLeastTensorBytes = 33;
  static constexpr std::size_t kMostReserved = 256;  // entries; larger tables grow while the file is read

  [[noreturn]] void missing(ErrorCode code, const char* kind, std::string_view name) const;
  [[noreturn]] void refuse_type(std::string_view key, const Value& value, const std::string& expected) const;
  static File make(MappedFile map);
  /// Opens the other parts of a split model and joins them with `given`, one of its parts; `facts` are its
  /// split.* keys.
  static File join(File given, const detail::SplitPart& facts);
  const MappedFile& owner_of(std::span<const std::byte> part) const noexcept;
  explicit File(MappedFile map);
  std::pair<std::uint64_t, std::uint64_t> read_header(Reader& reader);
  static void add_unique(detail::NameIndex& index, std::string_view name, const Reader& reader);
  void read_metadata(Reader& reader, std::uint64_t n_kv);
  void read_alignment(const Value& value, const Reader& reader);
  Pending read_tensor(Reader& reader, std::uint64_t number);
  void read_tensors(Reader& reader, std::uint64_t n_tensors);
  /// Checks that tensors do not overlap. A tensor of unknown size extends to the next one.
  void check_places(std::vector<Pending> by_place, Reader& reader);
  /// Size of a tensor in bytes, by its shape and type; 1 if the type's size is not known.
  std::uint64_t size_of(const TensorView& t, std::size_t dims_at, const Reader& reader) const;
  /// Text to append to the error if a tensor does not fit at its offset: the likely reason, or "".
  static std::string misfit_hint(const TensorView& t);

  MappedFile map_;
  std::uint32_t version_ = 0;
  std::size_t alignment_ = kDefaultAlignment;
  std::size_t data_offset_ = 0;
  std::vector<Metadata> metadata_;
  std::vector<TensorView> tensors_;
  detail::NameIndex keys_;
  detail::NameIndex names_;
  std::vector<File> others_;  // own the mappings that tensors_ and names_ refer to
};

}  // namespace gemma::gguf

#if defined(GEMMA_HEADER_ONLY)
#include "file.inl"
#include "split.inl"
#endif
