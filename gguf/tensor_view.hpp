// A tensor in a mapped file: name, type, shape, bytes. Non-owning.
// Invariant: where the type's size is known, data.size() == rows * row_size_bytes(); GGUF's reversed
// dimensions are already flipped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "dtype.hpp"

namespace gemma {

/// Row-major [rows, cols]; higher dimensions are folded into rows. Valid while the File it came from lives.
struct TensorView {
  std::string_view name;               // points into the file
  DType type = DType::kF32;            // how elements are stored; kUnsupported: a type that is not supported
  std::uint32_t type_id = 0;           // the type's number in the file, whatever it is
  std::uint32_t n_dims = 0;            // as in the file, 1 to 4
  std::size_t dims[4] = {1, 1, 1, 1};  // as in the file: dims[0] is the fastest (cols)
  std::size_t rows = 0;                // product of all dimensions except the fastest
  std::size_t cols = 0;                // dims[0]
  /// The rows, without gaps, as blocks of the file. If the type's size is not known (has_size()), the bytes
  /// up to the next tensor or the end of the file.
  std::span<const std::byte> data;

  /// Whether the type is supported. Tensors of other types can be listed, but not computed with.
  bool is_supported() const noexcept { return type != DType::kUnsupported; }
  /// Whether the size in bytes follows from the shape: true for all supported types and most others.
  bool has_size() const noexcept {
    if (is_supported()) return true;
    const UnsupportedType* other = find_unsupported_type(type_id);
    return other != nullptr && other->has_size();
  }
  /// The name of the type, e.g. "Q4_K", "iq4_ks", "unknown type 99".
  std::string type_name() const { return dtype_name(type_id); }

  /// Bytes of a row; 0 where the type's size is not known.
  std::size_t row_size_bytes() const noexcept {
    if (is_supported()) return row_bytes(type, cols);
    const UnsupportedType* other = find_unsupported_type(type_id);
    if (other == nullptr || !other->has_size()) return 0;
    return cols / other->block_elements * other->block_bytes + other->row_extra;
  }
  /// First byte of row r. The index is not checked.
  const std::byte* row(std::size_t r) const noexcept { return data.data() + r * row_size_bytes(); }
};

}  // namespace gemma
