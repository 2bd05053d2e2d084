// Loads of elements stored as float32, binary16 or bfloat16 into vectors of float32.
// Invariant: the conversion is exact.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../../gguf/dtype.hpp"
#include "float_vector.hpp"

namespace gemma::kernels {

/// Access to elements stored as kType: `type` is one stored element, load(p) converts kLanes of them,
/// load_part(p, n) the first n, with 0 in the other lanes.
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
