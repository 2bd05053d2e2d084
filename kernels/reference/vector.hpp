// Every vector kernel except attention in plain scalar form: the oracle for tests of the SIMD kernels, and
// the code that the scalar table runs.
// Invariant: one element after the other, sums in double precision, no vector types; compiled for the
// baseline CPU only (units built with wider instruction sets must not include this file).
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "../../gguf/half.hpp"
#include "../kernel_table.hpp"

namespace gemma::kernels::reference {

/// Largest finite binary16 value. Larger keys and values are stored as this value: an infinity in the cache
/// would turn every later output of the head into NaN, while a saturated element costs a little accuracy in
/// one key.
inline constexpr float kF16Max = 65504.0f;

/// Converts float32 to binary16, rounding to nearest even. Magnitudes beyond kF16Max saturate; NaN stays NaN.
inline std::uint16_t saturate_to_f16(float x) noexcept {
  if (x > kF16Max) x = kF16Max;
  if (x < -kF16Max) x = -kF16Max;
  return f32_to_f16(x);
}

/// Sum of 32 floats in the order of the vector kernels: x[i] + x[i + 16], then + 8, ... + 1.
inline float sum_32(float (&x)[32]) noexcept {
  for (int half = 16; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) x[i] += x[i + half];
  return x[0];
}

/// Quantises one group whose largest magnitude is 127 * unit. Of four spacings of the grid it chooses the one
/// with the least squared error, with its least-squares scale sum(x q) / sum(q q).
inline void quantize_group(const float* x, float unit, std::int8_t* q, Q8Group& out) noexcept {
  float best = -1.0f, fit = 1.0f;
  for (int c = 0; c < 4; ++c) {
    const float ratio = static_cast<float>(127 - c) / 127.0f;
    float r[32], zr[32], rr[32];
    for (int i = 0; i < 32; ++i) {
      const float z = x[i] / unit;
      r[i] = std::nearbyint(z * ratio);
      zr[i] = z * r[i];
      rr[i] = r[i] * r[i];
    }
    const float cross = sum_32(zr);
    const float candidate_fit = cross / sum_32(rr);
    if (cross * candidate_fit <= best) continue;
    best = cross * candidate_fit;
    fit = candidate_fit;
    for (int i = 0; i < 32; ++i) q[i] = static_cast<std::int8_t>(r[i]);
  }
  std::int32_t sum[2] = {0, 0};
  for (int i = 0; i < 32; ++i) sum[i / 16] += q[i];
  const float scale = unit * fit;
  out = {scale, scale * static_cast<float>(sum[0] + sum[1]), sum[0], sum[1]};
}

/// Implements VectorKernels::quantize_q8. A group whose scale would be subnormal is stored as zeros; a group
/// that holds an infinity or NaN gets that value (or NaN) as its scale and q = 0, so that its products are
/// NaN.
inline void quantize_q8(const float* x, std::size_t k, std::int8_t* q, Q8Group* groups) noexcept {
  for (std::size_t g = 0; g < k / 32; ++g, x += 32, q += 32) {
    std::uint32_t max_bits = 0;  // of |x|: as integers NaN > infinity > every finite magnitude
    for (int i = 0; i < 32; ++i) {
      const std::uint32_t bits = std::bit_cast<std::uint32_t>(x[i]) & 0x7FFFFFFFu;
      if (bits > max_bits) max_bits = bits;
    }
    const float unit = std::bit_cast<float>(max_bits) / 127.0f;
    if (unit >= std::numeric_limits<float>::min() && unit <= std::numeric_limits<float>::max()) {
      quantize_group(x, unit, q, groups[g]);
      continue;
    }
    const float left = unit < std::numeric_limits<float>::min() ? 0.0f : unit;
    for (int i = 0; i < 32; ++i) q[i] = 0;
    groups[g] = {left, left * 0.0f, 0, 0};
  }
}

/// Implements VectorKernels::rms_norm.
inline void rms_norm(const float* x, const float* w, std::size_t n, float eps, float* y) noexcept {
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * x[i];
  const double factor = 1.0 / std::sqrt(sum / static_cast<double>(n) + eps);
  for (std::size_t i = 0; i < n; ++i) y[i] = static_cast<float>(x[i] * factor * w[i]);
}

/// Implements VectorKernels::add.
inline void add(const float* x, std::size_t n, float* y) noexcept {
  for (std::size_t i = 0; i < n; ++i) y[i] += x[i];
}

/// Implements VectorKernels::scale.
inline void scale(float s, std::size_t n, float* y) noexcept {
  for (std::size_t i = 0; i < n; ++i) y[i] *= s;
}

/// Rotates (a, b) by the angle whose cosine and sine are c and s (Su et al. 2021, eq. 34).
inline void rotate(float& a, float& b, float c, float s) noexcept {
  const double x = a, y = b;
  a = static_cast<float>(x * c - y * s);
  b = static_cast<float>(x * s + y * c);
}

/// Implements VectorKernels::rope_half.
inline void rope_half(float* x, std::size_t n_heads, std::size_t head_dim, const float* cos_sin) noexcept {
  const std::size_t half = head_dim / 2;
  for (std::size_t h = 0; h < n_heads; ++h, x += head_dim)
    for (std::size_t i = 0; i < half; ++i) rotate(x[i], x[i + half], cos_sin[i], cos_sin[half + i]);
}

/// Implements VectorKernels::rope_pairs.
inline void rope_pairs(float* x, std::size_t n_heads, std::size_t head_dim, const float* cos_sin) noexcept {
  const std::size_t half = head_dim / 2;
  for (std::size_t h = 0; h < n_heads; ++h, x += head_dim)
    for (std::size_t i = 0; i < half; ++i) rotate(x[2 * i], x[2 * i + 1], cos_sin[i], cos_sin[half + i]);
}

/// x * sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3). Equals x / 2 * (1 + tanh(u)), but without the
/// cancellation in 1 + tanh(u).
inline double gelu_tanh(double x) noexcept {
  constexpr double kSqrt2OverPi = 0.79788456080286535588;
  const double u = kSqrt2OverPi * (x + 0.044715 * x * x * x);
  return x / (1.0 + std::exp(-2.0 * u));
}

/// Implements VectorKernels::gelu_mul.
inline void gelu_mul(float* gate, const float* up, std::size_t n) noexcept {
  for (std::size_t i = 0; i < n; ++i) gate[i] = static_cast<float>(gelu_tanh(gate[i]) * up[i]);
}

/// Implements VectorKernels::silu_mul.
inline void silu_mul(float* gate, const float* up, std::size_t n) noexcept {
  for (std::size_t i = 0; i < n; ++i) {
    const double x = gate[i];
    gate[i] = static_cast<float>(x / (1.0 + std::exp(-x)) * up[i]);
  }
}

/// Implements VectorKernels::softcap.
inline void softcap(float* x, std::size_t n, float cap) noexcept {
  for (std::size_t i = 0; i < n; ++i)
    x[i] = static_cast<float>(cap * std::tanh(static_cast<double>(x[i]) / cap));
}

/// Element i of a float16 or float32 cache.
inline float load_kv(KvType type, const std::byte* cache, std::size_t i) noexcept {
  return type == KvType::kF16 ? f16_to_f32(reinterpret_cast<const std::uint16_t*>(cache)[i])
                              : reinterpret_cast<const float*>(cache)[i];
}

/// Sets element i of a float16 or float32 cache; float16 saturates.
inline void store_kv(KvType type, std::byte* cache, std::size_t i, float x) noexcept {
  if (type == KvType::kF16)
    reinterpret_cast<std::uint16_t*>(cache)[i] = saturate_to_f16(x);
  else
    reinterpret_cast<float*>(cache)[i] = x;
}

/// Quantises group g of x[n] to 8 bits, with zeros after the end of x. Magnitudes beyond `limit` saturate.
inline void quantize_group_of(const float* x, std::size_t n, std::size_t g, float limit, std::int8_t* q,
                              Q8Group& out) noexcept {
  float padded[32] = {};
  for (std::size_t i = 0; i < 32 && 32 * g + i < n; ++i) {
    const float value = x[32 * g + i];
    padded[i] = value > limit ? limit : value < -limit ? -limit : value;
  }
  quantize_q8(padded, 32, q, &out);
}

/// Writes the scale of a group of KvType::kQ8.
inline void store_scale(float scale, std::size_t head_dim, std::size_t slot, std::size_t g,
                        std::byte* vectors) noexcept {
  const std::uint16_t half = saturate_to_f16(scale);
  std::memcpy(vectors + Q8Vectors<>::scale(head_dim, slot, g), &half, sizeof half);
}

/// The scale of a group of KvType::kQ8.
inline float load_scale(const std::byte* vectors, std::size_t head_dim, std::size_t slot,
                        std::size_t g) noexcept {
  std::uint16_t half;
  std::memcpy(&half, vectors + Q8Vectors<>::scale(head_dim, slot, g), sizeof half);
  return f16_to_f32(half);
}

/// Implements VectorKernels::store_key.
inline void store_key(const float* key, std::size_t head_dim, KvType type, std::byte* keys,
                      std::size_t slot) noexcept {
  if (type != KvType::kQ8) {
    const std::size_t lane = slot / kKeyTile * kKeyTile * head_dim + slot % kKeyTile;
    for (std::size_t d = 0; d < head_dim; ++d) store_kv(type, keys, lane + d * kKeyTile, key[d]);
    return;
  }
  for (std::size_t g = 0; g < Q8Vectors<>::groups(head_dim); ++g) {
    std::int8_t q[32];
    Q8Group group;
    quantize_group_of(key, head_dim, g, kF16Max, q, group);
    for (std::size_t i = 0; i < Q8Vectors<>::group_codes(head_dim, g); i += 4)
      std::memcpy(keys + Q8Vectors<>::key_codes(head_dim, slot, 8 * g + i / 4), q + i, 4);
    store_scale(group.scale, head_dim, slot, g, keys);
  }
}

/// Implements VectorKernels::store_value.
inline void store_value(const float* value, std::size_t head_dim, KvType type, std::byte* values,
                        std::size_t slot) noexcept {
  if (type != KvType::kQ8) {
    for (std::size_t d = 0; d < head_dim; ++d) store_kv(type, values, slot * head_dim + d, value[d]);
    return;
  }
  for (std::size_t g = 0; g < Q8Vectors<>::groups(head_dim); ++g) {
    std::int8_t q[32];
    Q8Group group;
    quantize_group_of(value, head_dim, g, kF16Max, q, group);
    std::memcpy(values + Q8Vectors<>::value_codes(head_dim, slot, g), q,
                Q8Vectors<>::group_codes(head_dim, g));
    store_scale(group.scale, head_dim, slot, g, values);
  }
}

}  // namespace gemma::kernels::reference
