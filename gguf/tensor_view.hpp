// A tensor as it lies in the mapped file: name, type, shape, bytes. Non-owning.
// Invariant: data.size() == rows * row_bytes(type, cols); GGUF's reversed dimensions are already flipped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "dtype.hpp"

namespace gemma {

/// Row-major [rows, cols]; higher dimensions are folded into rows. Valid while the File it came from lives.
struct TensorView {
  std::string_view name;               // points into the file
  DType type = DType::kF32;            // how elements are stored
  std::uint32_t n_dims = 0;            // as the file says, 1 to 4
  std::size_t dims[4] = {1, 1, 1, 1};  // as the file says: dims[0] is the fastest (cols)
  std::size_t rows = 0;                // all dimensions but the fastest, multiplied
  std::size_t cols = 0;                // dims[0]
  std::span<const std::byte> data;     // the rows, without gaps, in the file's own blocks

  /// Bytes of a row.
  std::size_t row_size_bytes() const noexcept { return row_bytes(type, cols); }
  /// The bytes of row r, unchecked.
  const std::byte* row(std::size_t r) const noexcept { return data.data() + r * row_size_bytes(); }
};

}  // namespace gemma
