// Stores keys and values in the cache.
// Invariant: what is written depends on the one vector alone and is the same on every instruction set.
// Numbers are rounded to nearest even and saturate at the largest binary16 number, because an infinity in the
// cache would turn every later output of its head into NaN.
#pragma once

#include <cstddef>
#include <cstdint>

#include <xsimd/xsimd.hpp>

#include "../kernel_table.hpp"
#include "float_vector.hpp"
#include "quantize.hpp"

namespace gemma::kernels {

/// Quantises x[n], padded with zeros, eight groups of 32 at a time, and calls f(first group, number of
/// groups, codes, Q8Group*) for each eight. kSaturate: magnitudes beyond the range of binary16 saturate
/// first.
template <FloatVector V, bool kSaturate, class F>
void quantize_eight_groups(const float* x, std::size_t n, F f) noexcept {
  using batch = typename V::batch;
  constexpr std::size_t kMost = ActivationQuantizer<V>::kGroups;
  for (std::size_t begin = 0; begin < n; begin += 32 * kMost) {
    const std::size_t count = n - begin < 32 * kMost ? n - begin : 32 * kMost;
    const std::size_t groups = (count + 31) / 32;
    alignas(64) float part[32 * kMost];
    std::int8_t codes[32 * kMost];
    Q8Group out[kMost];
    for (std::size_t i = count; i < 32 * groups; ++i) part[i] = 0.0f;
    __builtin_memcpy(part, x + begin, count * sizeof(float));
    if constexpr (kSaturate) {
      const batch most(65504.0f), least(-65504.0f);
      for (std::size_t i = 0; i < 32 * groups; i += V::kLanes) {  // NaN stays NaN
        batch v = batch::load_aligned(part + i);
        v = xsimd::select(v > most, most, v);
        xsimd::select(v < least, least, v).store_aligned(part + i);
      }
    }
    ActivationQuantizer<V>::groups(part, static_cast<int>(groups), codes, out);
    f(begin / 32, groups, codes, out);
  }
}

/// x as binary16.
template <FloatVector V>
std::uint16_t to_f16(float x) noexcept {
  std::uint16_t lanes[V::kLanes];
  V::store_f16(typename V::batch(x), lanes);
  return lanes[0];
}

/// Implements VectorKernels::store_key for KvType::kQ8.
template <FloatVector V>
void store_key_codes(const float* key, std::size_t head_dim, std::byte* keys, std::size_t slot) noexcept {
  using Layout = Q8Vectors<V>;
  quantize_eight_groups<V, true>(
      key, head_dim, [&](std::size_t first, std::size_t n, const std::int8_t* codes, const Q8Group* groups) {
        for (std::size_t g = 0; g < n; ++g) {
          const std::uint16_t scale = to_f16<V>(groups[g].scale);
          __builtin_memcpy(keys + Layout::scale(head_dim, slot, first + g), &scale, sizeof scale);
        }
        const std::size_t rest = (Layout::codes(head_dim) - 32 * first) / 4;
        for (std::size_t i = 0; i < 8 * n && i < rest; ++i)
          __builtin_memcpy(keys + Layout::key_codes(head_dim, slot, 8 * first + i), codes + 4 * i, 4);
      });
}

/// Implements VectorKernels::store_value for KvType::kQ8.
template <FloatVector V>
void store_value_codes(const float* value, std::size_t head_dim, std::byte* values,
                       std::size_t slot) noexcept {
  using Layout = Q8Vectors<V>;
  quantize_eight_groups<V, true>(
      value, head_dim,
      [&](std::size_t first, std::size_t n, const std::int8_t* codes, const Q8Group* groups) {
        for (std::size_t g = 0; g < n; ++g) {
          const std::uint16_t scale = to_f16<V>(groups[g].scale);
          __builtin_memcpy(values + Layout::scale(head_dim, slot, first + g), &scale, sizeof scale);
          __builtin_memcpy(values + Layout::value_codes(head_dim, slot, first + g), codes + 32 * g,
                           Layout::group_codes(head_dim, first + g));
        }
      });
}

/// Implements VectorKernels::store_key.
template <FloatVector V>
void store_key(const float* key, std::size_t head_dim, KvType type, std::byte* keys,
               std::size_t slot) noexcept {
  if (type == KvType::kQ8) return store_key_codes<V>(key, head_dim, keys, slot);
  const std::size_t lane = slot / kKeyTile * kKeyTile * head_dim + slot % kKeyTile;
  if (type == KvType::kF32) {
    float* const out = reinterpret_cast<float*>(keys) + lane;
    for (std::size_t d = 0; d < head_dim; ++d) out[d * kKeyTile] = key[d];
    return;
  }
  std::uint16_t* const out = reinterpret_cast<std::uint16_t*>(keys) + lane;
  for (std::size_t d = 0; d < head_dim; d += V::kLanes) {
    const std::size_t n = head_dim - d < V::kLanes ? head_dim - d : V::kLanes;
    std::uint16_t lanes[V::kLanes];
    V::store_f16(n == V::kLanes ? V::batch::load_unaligned(key + d) : V::load_part(key + d, n), lanes);
    for (std::size_t i = 0; i < n; ++i) out[(d + i) * kKeyTile] = lanes[i];
  }
}

/// Implements VectorKernels::store_value.
template <FloatVector V>
void store_value(const float* value, std::size_t head_dim, KvType type, std::byte* values,
                 std::size_t slot) noexcept {
  using batch = typename V::batch;
  if (type == KvType::kQ8) return store_value_codes<V>(value, head_dim, values, slot);
  const std::size_t whole = head_dim - head_dim % V::kLanes, rest = head_dim - whole;
  if (type == KvType::kF32) {
    float* const out = reinterpret_cast<float*>(values) + slot * head_dim;
    for (std::size_t d = 0; d < whole; d += V::kLanes)
      batch::load_unaligned(value + d).store_unaligned(out + d);
    if (rest > 0) V::store_part(V::load_part(value + whole, rest), out + whole, rest);
    return;
  }
  std::uint16_t* const out = reinterpret_cast<std::uint16_t*>(values) + slot * head_dim;
  for (std::size_t d = 0; d < whole; d += V::kLanes) V::store_f16(batch::load_unaligned(value + d), out + d);
  if (rest > 0) {
    std::uint16_t lanes[V::kLanes];
    V::store_f16(V::load_part(value + whole, rest), lanes);
    for (std::size_t i = 0; i < rest; ++i) out[whole + i] = lanes[i];
  }
}

}  // namespace gemma::kernels
