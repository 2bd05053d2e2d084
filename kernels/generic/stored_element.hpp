// Elements as they lie in memory (float32, binary16, bfloat16) and how they become vectors of float32;
// writing of keys and values. Invariant: reading is exact; writing rounds to nearest even and saturates at
// binary16's largest number, because an infinity in the cache would turn every later answer of its head into
// NaN.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../../gguf/dtype.hpp"
#include "../kernel_table.hpp"
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

/// VectorKernels::store_key
template <FloatVector V>
void store_key(const float* key, std::size_t head_dim, KvType type, void* k_tile) noexcept {
  if (type == KvType::kF32) {
    float* const out = static_cast<float*>(k_tile);
    for (std::size_t d = 0; d < head_dim; ++d) out[d * kKeyTile] = key[d];
    return;
  }
  std::uint16_t* const out = static_cast<std::uint16_t*>(k_tile);
  for (std::size_t d = 0; d < head_dim; d += V::kLanes) {
    const std::size_t n = head_dim - d < V::kLanes ? head_dim - d : V::kLanes;
    std::uint16_t lanes[V::kLanes];
    V::store_f16(n == V::kLanes ? V::batch::load_unaligned(key + d) : V::load_part(key + d, n), lanes);
    for (std::size_t i = 0; i < n; ++i) out[(d + i) * kKeyTile] = lanes[i];
  }
}

/// VectorKernels::store_value
template <FloatVector V>
void store_value(const float* value, std::size_t head_dim, KvType type, void* v) noexcept {
  using batch = typename V::batch;
  const std::size_t whole = head_dim - head_dim % V::kLanes, rest = head_dim - whole;
  if (type == KvType::kF32) {
    float* const out = static_cast<float*>(v);
    for (std::size_t d = 0; d < whole; d += V::kLanes)
      batch::load_unaligned(value + d).store_unaligned(out + d);
    if (rest > 0) V::store_part(V::load_part(value + whole, rest), out + whole, rest);
    return;
  }
  std::uint16_t* const out = static_cast<std::uint16_t*>(v);
  for (std::size_t d = 0; d < whole; d += V::kLanes) V::store_f16(batch::load_unaligned(value + d), out + d);
  if (rest > 0) {
    std::uint16_t lanes[V::kLanes];
    V::store_f16(V::load_part(value + whole, rest), lanes);
    for (std::size_t i = 0; i < rest; ++i) out[whole + i] = lanes[i];
  }
}

}  // namespace gemma::kernels
