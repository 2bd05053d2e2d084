// y = x * w^T in plain scalar form: what the scalar table runs, and the statement of what the SIMD kernels
// compute, down to the bit, for the types with 8-bit activations. Invariant: integer sums are exact; the
// floating-point steps of one output follow the order of k and are written out as fma; compiled for the
// baseline CPU only.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "../kernel_table.hpp"
#include "dequantize.hpp"

namespace gemma::kernels::reference {

/// The eight group sums of a super-block of activations as integers with one power of two: sum_j ~ i[j] *
/// 2^e, |i[j]| <= 2^13. The minima of Q4_K and Q5_K are multiplied by these. `magic` = 1.5 * 2^(23 + e): as
/// a float's ulp there is 2^e, its bits + n are the float magic + n * 2^e for every |n| < 2^22.
struct MinSums {
  std::int32_t i[8];
  float magic;
};

inline MinSums min_sums(const Q8Group* groups) noexcept {
  MinSums s{};
  std::uint32_t max = 0;
  for (int j = 0; j < 8; ++j) {
    const std::uint32_t magnitude = std::bit_cast<std::uint32_t>(groups[j].scaled_sum) & 0x7FFFFFFFu;
    if (magnitude > max) max = magnitude;
  }
  const int exponent = static_cast<int>(max >> 23) - 127;  // 2^exponent <= largest |sum| < 2^(exponent + 1)
  if (exponent >= 116) {                                   // magic would overflow; or the sums are not finite
    s.magic = std::bit_cast<float>(0x7FC00000u);
    return s;
  }
  // largest |i| is in [2^12, 2^13]; subnormal sums (exponent -127) come out smaller
  const int e = (exponent < -114 ? -114 : exponent) - 12;
  for (int j = 0; j < 8; ++j)
    s.i[j] = static_cast<std::int32_t>(std::nearbyint(
        groups[j].scaled_sum * std::bit_cast<float>(static_cast<std::uint32_t>(127 - e) << 23)));
  s.magic = std::bit_cast<float>((static_cast<std::uint32_t>(127 + 23 + e) << 23) | 0x400000u);
  return s;
}

/// Sum of x[i] * quant(b, i) over weights [begin, begin + count) of a block.
template <class Block>
std::int32_t dot(const Block& b, const std::int8_t* x, int begin, int count) noexcept {
  std::int32_t sum = 0;
  for (int i = begin; i < begin + count; ++i) sum += quant(b, i) * x[i];
  return sum;
}

/// Adds one block's part of an output to acc: Q8_0, Q4_0 (w = d * q).
template <class Block>
float add_block(const Block& b, const std::int8_t* x, const Q8Group* g, float acc) noexcept {
  return std::fma(static_cast<float>(dot(b, x, 0, 32)) * f16_to_f32(b.d), g->scale, acc);
}

/// Q4_K and Q5_K: sum_j xs_j * (d * sc_j) * dot_j - dmin * sum_j m_j * sum_j.
template <class Block>
float add_k_block(const Block& b, const std::int8_t* x, const Q8Group* g, float acc) noexcept {
  const MinSums sums = min_sums(g);
  const float d = f16_to_f32(b.d);
  std::int32_t mins = 0;
  for (int j = 0; j < 8; ++j) {
    const ScaleMin s = unpack_scale_min(b.scales, j);
    const float product = static_cast<float>(dot(b, x, 32 * j, 32)) * (d * static_cast<float>(s.scale));
    acc = std::fma(product, g[j].scale, acc);
    mins += s.min * sums.i[j];  // 8 * 63 * 2^13 < 2^22
  }
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(sums.magic) + static_cast<std::uint32_t>(mins);
  return std::fma(-f16_to_f32(b.dmin), std::bit_cast<float>(bits) - sums.magic, acc);
}
inline float add_block(const BlockQ4_K& b, const std::int8_t* x, const Q8Group* g, float acc) noexcept {
  return add_k_block(b, x, g, acc);
}
inline float add_block(const BlockQ5_K& b, const std::int8_t* x, const Q8Group* g, float acc) noexcept {
  return add_k_block(b, x, g, acc);
}

/// Q6_K: two scales of 16 weights in a group. The groups come in the order in which they are unpacked.
inline float add_block(const BlockQ6_K& b, const std::int8_t* x, const Q8Group* g, float acc) noexcept {
  const float d = f16_to_f32(b.d);
  for (int j : {0, 2, 1, 3, 4, 6, 5, 7}) {
    const float scale0 = d * static_cast<float>(b.scales[2 * j]);
    const float scale1 = d * static_cast<float>(b.scales[2 * j + 1]);
    const float first = static_cast<float>(dot(b, x, 32 * j, 16)) * scale0;
    const float both = std::fma(static_cast<float>(dot(b, x, 32 * j + 16, 16)), scale1, first);
    acc = std::fma(both, g[j].scale, acc);
  }
  return acc;
}

template <class Block, int kElements>
void matmul_q8(const MatmulArgs& a) noexcept {
  const std::size_t n_blocks = a.k / kElements;
  const std::size_t n_groups = a.k / 32;
  for (std::size_t r = a.row_begin; r < a.row_end; ++r) {
    const std::byte* row = a.w + r * a.row_bytes;
    for (std::size_t t = 0; t < a.m; ++t) {
      float acc = 0;
      for (std::size_t i = 0; i < n_blocks; ++i)
        acc = add_block(load_block<Block>(row, i), a.q + t * a.k + i * kElements,
                        a.groups + t * n_groups + i * (kElements / 32), acc);
      a.y[t * a.ldy + r] = acc;
    }
  }
}

/// Every other type: each row is decoded to float32 in scratch; products are summed in double precision.
template <DType kType>
void matmul_float(const MatmulArgs& a) noexcept {
  float* const w = reinterpret_cast<float*>(a.scratch);  // [k]
  for (std::size_t r = a.row_begin; r < a.row_end; ++r) {
    dequantize_function(kType)(a.w + r * a.row_bytes, a.k, w);
    for (std::size_t t = 0; t < a.m; ++t) {
      const float* x = a.x + t * a.k;
      double sum = 0;
      for (std::size_t i = 0; i < a.k; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(w[i]);
      a.y[t * a.ldy + r] = static_cast<float>(sum);
    }
  }
}

inline std::size_t no_scratch(std::size_t /*k*/) noexcept {
  return 0;
}
inline std::size_t float_scratch(std::size_t k) noexcept {
  return k * sizeof(float);
}

constexpr MatmulKernel matmul_kernel(DType type) noexcept {
  switch (type) {
    case DType::kQ4_0:
      return {matmul_q8<BlockQ4_0, kQK>, no_scratch, true, "q4_0 scalar, 8-bit activations"};
    case DType::kQ8_0:
      return {matmul_q8<BlockQ8_0, kQK>, no_scratch, true, "q8_0 scalar, 8-bit activations"};
    case DType::kQ4_K:
      return {matmul_q8<BlockQ4_K, kQKK>, no_scratch, true, "q4_k scalar, 8-bit activations"};
    case DType::kQ5_K:
      return {matmul_q8<BlockQ5_K, kQKK>, no_scratch, true, "q5_k scalar, 8-bit activations"};
    case DType::kQ6_K:
      return {matmul_q8<BlockQ6_K, kQKK>, no_scratch, true, "q6_k scalar, 8-bit activations"};
    case DType::kF32:
      return {matmul_float<DType::kF32>, float_scratch, false, "f32 scalar"};
    case DType::kF16:
      return {matmul_float<DType::kF16>, float_scratch, false, "f16 scalar"};
    case DType::kBF16:
      return {matmul_float<DType::kBF16>, float_scratch, false, "bf16 scalar"};
    case DType::kQ4_1:
      return {matmul_float<DType::kQ4_1>, float_scratch, false, "q4_1 scalar, decoded"};
    case DType::kQ5_0:
      return {matmul_float<DType::kQ5_0>, float_scratch, false, "q5_0 scalar, decoded"};
    case DType::kQ5_1:
      return {matmul_float<DType::kQ5_1>, float_scratch, false, "q5_1 scalar, decoded"};
    case DType::kQ2_K:
      return {matmul_float<DType::kQ2_K>, float_scratch, false, "q2_k scalar, decoded"};
    case DType::kQ3_K:
      return {matmul_float<DType::kQ3_K>, float_scratch, false, "q3_k scalar, decoded"};
    case DType::kIQ4_NL:
      return {matmul_float<DType::kIQ4_NL>, float_scratch, false, "iq4_nl scalar, decoded"};
    case DType::kIQ4_XS:
      return {matmul_float<DType::kIQ4_XS>, float_scratch, false, "iq4_xs scalar, decoded"};
  }
  return {};
}

}  // namespace gemma::kernels::reference
