// Elements as they lie in memory (float32, binary16, bfloat16) and how they become vectors of float32.
// Invariant: reading is exact.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../../gguf/dtype.hpp"
#include "float_vector.hpp"

namespace gemma::kernels {

/// float32 from memory of the given type: `type`, load(p) of kLanes, load_part(p, n) of the first n with
/// zeros behind.
template <FloatVector V, DType kType>
struct StoredElement;

template <FloatVector V>
struct StoredElement<V, DType::kF32> {
  using type = float;
  using batch = typename V::batch;
  static batch load(const float* p) noexcept { return batch::load_unaligned(p); }
  static batch load_part(const float* p, std::size_t n) noexcept { return V::load_part(p, n); }
};

template <FloatVector V>
struct StoredElement<V, DType::kF16> {
  using type = std::uint16_t;
  using batch = typename V::batch;
  static batch load(const std::uint16_t* p) noexcept { return V::load_f16(p); }
  static batch load_part(const std::uint16_t* p, std::size_t n) noexcept { return V::load_f16_part(p, n); }
};

template <FloatVector V>
struct StoredElement<V, DType::kBF16> {
  using type = std::uint16_t;
  using batch = typename V::batch;
  static batch load(const std::uint16_t* p) noexcept { return V::load_bf16(p); }
  static batch load_part(const std::uint16_t* p, std::size_t n) noexcept { return V::load_bf16_part(p, n); }
};

}  // namespace gemma::kernels
