// Definitions of file.hpp: parses a file by the grammar given there, from the first byte to the last.
#pragma once

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <new>

#include "linkage.hpp"

namespace gemma::gguf {

GEMMA_INLINE File File::open(std::string path) {
  return gemma::detail::or_out_of_memory("no memory for opening a file", [&] {
    File file = make(MappedFile(std::move(path)));
    const auto split = detail::read_split(file);
    return split ? join(std::move(file), *split) : std::move(file);
  });
}

GEMMA_INLINE File File::from_memory(std::span<const std::byte> bytes, std::string name) {
  return gemma::detail::or_out_of_memory("no memory for opening a file", [&] {
    if (reinterpret_cast<std::uintptr_t>(bytes.data()) % kLeastAlignment != 0) {
      gemma::detail::refuse(ErrorCode::kInvalidArgument,
                            [&] { return name + ": a file in memory must be aligned to 8 bytes"; });
    }
    return make(MappedFile::borrow(bytes, std::move(name)));
  });
}

GEMMA_INLINE std::size_t File::size_bytes() const noexcept {
  std::size_t sum = map_.bytes().size();
  for (const File& part : others_) sum += part.map_.bytes().size();
  return sum;
}

GEMMA_INLINE const MappedFile& File::owner_of(std::span<const std::byte> part) const noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(part.data());
  for (const File& other : others_) {
    const auto begin = reinterpret_cast<std::uintptr_t>(other.map_.bytes().data());
    if (address >= begin && address - begin < other.map_.bytes().size()) return other.map_;
  }
  return map_;
}

GEMMA_INLINE void File::check_size() const {
  map_.check_size();
  for (const File& part : others_) part.map_.check_size();
}

GEMMA_INLINE void File::read_ahead() const noexcept {
  map_.will_need(map_.bytes());
  for (const File& part : others_) part.map_.will_need(part.map_.bytes());
}

GEMMA_INLINE const Value* File::find(std::string_view key) const noexcept {
  const auto i = keys_.find(key);
  return i ? &metadata_[*i].value : nullptr;
}

GEMMA_INLINE const TensorView* File::find_tensor(std::string_view name) const noexcept {
  const auto i = names_.find(name);
  return i ? &tensors_[*i] : nullptr;
}

GEMMA_INLINE const TensorView& File::tensor(std::string_view name) const {
  const TensorView* t = find_tensor(name);
  if (t == nullptr) missing(ErrorCode::kMissingTensor, "tensor ", name);
  return *t;
}

GEMMA_INLINE void File::missing(ErrorCode code, const char* kind, std::string_view name) const {
  gemma::detail::refuse(code, [&] { return path() + ": " + kind + gemma::quoted(name) + " is missing"; });
}

GEMMA_INLINE void File::refuse_type(std::string_view key, const Value& value,
                                    const std::string& expected) const {
  gemma::detail::refuse(ErrorCode::kWrongType, [&] {
    return path() + ": key " + gemma::quoted(key) + ": " + value.type_name() + " where " + expected +
           " is expected, or out of its range (at byte " + std::to_string(offset_of(value.bytes())) + ")";
  });
}

GEMMA_INLINE File File::make(MappedFile map) {
  const std::string path = map.path();
  try {
    return File(std::move(map));
  } catch (const std::bad_alloc&) {
    gemma::detail::refuse(ErrorCode::kOutOfMemory,
                          [&] { return path + ": out of memory while reading its header"; });
  }
}

GEMMA_INLINE File::File(MappedFile map) : map_(std::move(map)) {
  Reader reader(map_.bytes(), map_.path());
  const auto [n_tensors, n_kv] = read_header(reader);
  read_metadata(reader, n_kv);
  read_tensors(reader, n_tensors);
  map_.check_size();  // the file was not truncated while its header was read
}

GEMMA_INLINE std::pair<std::uint64_t, std::uint64_t> File::read_header(Reader& reader) {
  if (size_bytes() == 0) reader.fail(ErrorCode::kTruncated, "the file is empty");
  const std::size_t n = std::min<std::size_t>(size_bytes(), 4);
  if (n == 4 && std::memcmp(map_.bytes().data(), "FUGG", 4) == 0) {
    reader.fail(ErrorCode::kUnsupportedVersion,
                "a byte-swapped GGUF file; only little-endian ones are supported");
  }
  if (std::memcmp(map_.bytes().data(), "GGUF", n) != 0) {
    reader.fail(ErrorCode::kBadMagic, "not a GGUF file");
  }
  reader.take(4, "the magic");
  version_ = reader.read<std::uint32_t>("the version");
  if (version_ != 2 && version_ != 3) {
    const bool swapped = version_ != 0 && (version_ & 0xFFFFu) == 0;
    reader.fail(ErrorCode::kUnsupportedVersion,
                swapped ? "a big-endian GGUF file; only little-endian ones are supported"
                        : "GGUF version " + std::to_string(version_) + "; versions 2 and 3 are supported");
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

GEMMA_INLINE void File::add_unique(detail::NameIndex& index, std::string_view name, const Reader& reader) {
  switch (index.add(name)) {
    case detail::NameIndex::Added::kYes:
      return;
    case detail::NameIndex::Added::kTwice:
      return reader.fail(ErrorCode::kMalformed, "the name appears twice");
    case detail::NameIndex::Added::kRefused:
      return reader.fail(ErrorCode::kMalformed, "the names before it were chosen to collide");
  }
}

GEMMA_INLINE void File::read_metadata(Reader& reader, std::uint64_t n_kv) {
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

GEMMA_INLINE void File::read_alignment(const Value& value, const Reader& reader) {
  if (value.type() != ValueType::kU32) {
    reader.fail(ErrorCode::kWrongType, value.type_name() + " where uint32 is expected");
  }
  const std::uint32_t alignment = *value.as<std::uint32_t>();
  if (!std::has_single_bit(alignment) || alignment < kLeastAlignment) {
    reader.fail(ErrorCode::kMalformed, std::to_string(alignment) + " is not a power of two of at least 8");
  }
  alignment_ = alignment;
}

GEMMA_INLINE File::Pending File::read_tensor(Reader& reader, std::uint64_t number) {
  Pending p{};
  reader.about("tensor", number);
  p.view.name = reader.read_string("the name");
  if (p.view.name.empty()) reader.fail(ErrorCode::kMalformed, "the name is empty");
  reader.about("tensor", p.view.name);
  add_unique(names_, p.view.name, reader);
  p.view.n_dims = reader.read<std::uint32_t>("the dimension count");
  if (p.view.n_dims < 1 || p.view.n_dims > 4) {
    reader.fail(ErrorCode::kMalformed, std::to_string(p.view.n_dims) + " dimensions; 1 to 4 are supported");
  }
  const std::size_t dims_at = reader.offset();
  std::uint64_t elements = 1;
  for (std::uint32_t d = 0; d < p.view.n_dims; ++d) {
    const auto dim = reader.read<std::uint64_t>("a dimension");
    // the limit is int64_t's, as in other GGUF readers, so "negative" sizes are refused here
    constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    if (dim == 0 || dim > kMost || elements > kMost / dim) {
      reader.fail(ErrorCode::kMalformed, "dimension " + std::to_string(dim) +
                                             " is out of range: a tensor has 1 to 2^63 - 1 elements");
    }
    elements *= dim;
    p.view.dims[d] = dim;
  }
  const auto type_id = reader.read<std::uint32_t>("the type");
  p.view.type_id = type_id;
  p.view.type = dtype_from_id(type_id).value_or(DType::kUnsupported);
  p.view.cols = p.view.dims[0];
  p.view.rows = elements / p.view.cols;
  p.size = size_of(p.view, dims_at, reader);
  p.offset_at = reader.offset();
  p.offset = reader.read<std::uint64_t>("the offset");
  if (p.offset % alignment_ != 0) {
    reader.fail(ErrorCode::kMalformed, "the offset " + std::to_string(p.offset) +
                                           " is not a multiple of the alignment " +
                                           std::to_string(alignment_));
  }
  return p;
}

GEMMA_INLINE std::uint64_t File::size_of(const TensorView& t, std::size_t dims_at,
                                         const Reader& reader) const {
  if (!t.has_size()) return 1;
  const UnsupportedType* other = t.is_supported() ? nullptr : find_unsupported_type(t.type_id);
  const std::uint64_t block = other != nullptr ? other->block_elements : info(t.type).block_elements;
  const std::uint64_t bytes = other != nullptr ? other->block_bytes : info(t.type).block_bytes;
  const std::uint64_t extra = other != nullptr ? other->row_extra : 0;
  if (t.cols % block != 0) {
    reader.fail_at(dims_at, ErrorCode::kMalformed,
                   "rows of " + std::to_string(t.cols) + " elements are not whole " + t.type_name() +
                       " blocks of " + std::to_string(block));
  }
  // rows, cols and their product are below 2^63, so the first comparison cannot overflow
  const std::uint64_t most = size_bytes();
  if (t.cols / block > most / bytes || t.rows > most / (t.cols / block * bytes + extra)) {
    reader.fail_at(dims_at, ErrorCode::kTruncated, "the tensor is larger than the file");
  }
  return t.rows * (t.cols / block * bytes + extra);
}

GEMMA_INLINE std::string File::misfit_hint(const TensorView& t) {
  if (t.type != DType::kQ2_0) return "";
  return "; offsets that do not fit 64-weight Q2_0 are an older fork's, which had 128 weights in 34 bytes "
         "under the same number";
}

GEMMA_INLINE void File::read_tensors(Reader& reader, std::uint64_t n_tensors) {
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
                     "the tensor's " + std::to_string(p.size) + " bytes at offset " +
                         std::to_string(p.offset) + " extend past the end of the " +
                         std::to_string(data_bytes) + " bytes of data" + misfit_hint(p.view));
    }
    p.view.data = map_.bytes().subspan(data_offset_ + p.offset, p.size);
    tensors_.push_back(p.view);
  }
  check_places(std::move(pending), reader);
}

GEMMA_INLINE void File::check_places(std::vector<Pending> by_place, Reader& reader) {
  std::sort(by_place.begin(), by_place.end(),
            [](const Pending& a, const Pending& b) { return a.offset < b.offset; });
  for (std::size_t i = 0; i < by_place.size(); ++i) {
    const Pending& p = by_place[i];
    const bool last = i + 1 == by_place.size();
    const std::uint64_t end = last ? size_bytes() - data_offset_ : by_place[i + 1].offset;
    if (!last && p.offset + p.size > end) {
      reader.about("tensor", by_place[i + 1].view.name);
      reader.fail_at(by_place[i + 1].offset_at, ErrorCode::kMalformed,
                     "its data overlap those of tensor " + gemma::quoted(p.view.name) + misfit_hint(p.view));
    }
    if (!p.view.has_size()) {
      tensors_[*names_.find(p.view.name)].data =
          map_.bytes().subspan(data_offset_ + p.offset, end - p.offset);
    }
  }
}

}  // namespace gemma::gguf
