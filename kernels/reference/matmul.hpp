// y = x * w^T in plain scalar form, used by the scalar table; it defines what the SIMD kernels compute, down
// to the bit, for the types with 8-bit activations.
// Invariant: integer sums are exact; the floating-point steps of one output follow the order of k and are
// written as fma; compiled for the baseline CPU only.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "../kernel_name.hpp"
#include "../kernel_table.hpp"
#include "dequantize.hpp"

namespace gemma::kernels::reference {

/// The sums of a super-block's activations, one for each minimum, as integers with a common power of two: sum
/// j ~ i[j] * 2^e, |i[j]| <= 2^13. They are multiplied by the minima: 8 of Q4_K and Q5_K, 16 of Q2_K. `magic`
/// = 1.5 * 2^(23 + e): a float of that size has an ulp of 2^e, so its bits plus n are the float magic + n *
/// 2^e for every |n| < 2^22.
template <int kCount>
struct RoundedSums {
  std::int32_t i[kCount];
  float magic;
};

template <int kCount>
RoundedSums<kCount> rounded_sums(const float (&sums)[kCount]) noexcept {
  RoundedSums<kCount> s{};
  std::uint32_t max = 0;
  for (int j = 0; j < kCount; ++j) {
    const std::uint32_t magnitude = std::bit_cast<std::uint32_t>(sums[j]) & 0x7FFFFFFFu;
    if (magnitude > max) max = magnitude;
  }
  const int exponent = static_cast<int>(max >> 23) - 127;  // 2^exponent <= largest |sum| < 2^(exponent + 1)
  if (exponent >= 116) {                                   // magic would overflow; or the sums are not finite
    s.magic = std::bit_cast<float>(0x7FC00000u);
    return s;
  }
  // largest |i| is in [2^12, 2^13]; subnormal sums (exponent -127) come out smaller
  const int e = (exponent < -114 ? -114 : exponent) - 12;
  for (int j = 0; j < kCount; ++j)
    s.i[j] = static_cast<std::int32_t>(
        std::nearbyint(sums[j] * std::bit_cast<float>(static_cast<std::uint32_t>(127 - e) << 23)));
  s.magic = std::bit_cast<float>((static_cast<std::uint32_t>(127 + 23 + e) << 23) | 0x400000u);
  return s;
}

/// The sums of a super-block's eight groups.
using MinSums = RoundedSums<8>;
inline MinSums min_sums(const Q8Group* groups) noexcept {
  float sums[8];
  for (int j = 0; j < 8; ++j) sums[j] = groups[j].scaled_sum;
  return rounded_sums(sums);
}

/// Sum of x[i] * quant(b, i) over weights [begin, begin + count) of a block.
template <class Block>
std::int32_t dot(const Block& b, const std::int8_t* x, int begin, int count) noexcept {
  std::int32_t sum = 0;
  for (int i = begin; i < begin + count; ++i) sum += quant(b, i) * x[i];
  return sum;
}

/// acc + the products of one block, for Q8_0, Q4_0, Q5_0 and IQ4_NL (w = d * q).
template <class Block>
float add_block(const Block& b, const std::int8_t* x, const Q8Group* g, float acc) noexcept {
  return std::fma(static_cast<float>(dot(b, x, 0, 32)) * f16_to_f32(b.d), g->scale, acc);
}

/// Q4_1 and Q5_1: xs * d * dot + m * (xs * sum of x).
template <class Block>
float add_block_with_min(const Block& b, const std::int8_t* x, const Q8Group* g, float acc) noexcept {
  acc = std::fma(static_cast<float>(dot(b, x, 0, 32)) * f16_to_f32(b.d), g->scale, acc);
  return std::fma(f16_to_f32(b.m), g->scaled_sum, acc);
}
inline float add_block(const BlockQ4_1& b, const std::int8_t* x, const Q8Group* g, float acc) noexcept {
  return add_block_with_min(b, x, g, acc);
}
inline float add_block(const BlockQ5_1& b, const std::int8_t* x, const Q8Group* g, float acc) noexcept {
  return add_block_with_min(b, x, g, acc);
}

/// IQ4_XS: one scale for each group.
inline float add_block(const BlockIQ4_XS& b, const std::int8_t* x, const Q8Group* g, float acc) noexcept {
  const float d = f16_to_f32(b.d);
  for (int j = 0; j < 8; ++j) {
    const int scale = nibble(b.scales_l[j / 2], j % 2 == 1) | (((b.scales_h >> (2 * j)) & 3) << 4);
    acc = std::fma(static_cast<float>(dot(b, x, 32 * j, 32)) * (d * static_cast<float>(scale - 32)),
                   g[j].scale, acc);
  }
  return acc;
}

/// Dot products of the two halves of group j, each times its scale.
template <class Block>
float add_halves(const Block& b, const std::int8_t* x, int j, float scale0, float scale1) noexcept {
  const float first = static_cast<float>(dot(b, x, 32 * j, 16)) * scale0;
  return std::fma(static_cast<float>(dot(b, x, 32 * j + 16, 16)), scale1, first);
}

/// Q3_K: two scales of 16 weights in a group.
inline float add_block(const BlockQ3_K& b, const std::int8_t* x, const Q8Group* g, float acc) noexcept {
  const float d = f16_to_f32(b.d);
  const auto scale = [&](int i) { return d * static_cast<float>(unpack_q3_k_scale(b.scales, i) - 32); };
  for (int j = 0; j < 8; ++j)
    acc = std::fma(add_halves(b, x, j, scale(2 * j), scale(2 * j + 1)), g[j].scale, acc);
  return acc;
}

/// Q2_K: two scales and two minima in a group; the minima as in Q4_K, by sums of 16.
inline float add_block(const BlockQ2_K& b, const std::int8_t* x, const Q8Group* g, float acc) noexcept {
  const float d = f16_to_f32(b.d);
  float exact[16];
  for (int i = 0; i < 16; ++i)
    exact[i] = g[i / 2].scale * static_cast<float>(i % 2 == 0 ? g[i / 2].sum_lo : g[i / 2].sum_hi);
  const RoundedSums<16> sums = rounded_sums(exact);
  std::int32_t mins = 0;
  for (int i = 0; i < 16; ++i) mins += (b.scales[i] >> 4) * sums.i[i];  // 16 * 15 * 2^13 < 2^22
  for (int j = 0; j < 8; ++j)
    acc = std::fma(add_halves(b, x, j, d * static_cast<float>(b.scales[2 * j] & 15),
                              d * static_cast<float>(b.scales[2 * j + 1] & 15)),
                   g[j].scale, acc);
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(sums.magic) + static_cast<std::uint32_t>(mins);
  return std::fma(-f16_to_f32(b.dmin), std::bit_cast<float>(bits) - sums.magic, acc);
}

/// Q4_K and Q5_K: sum over groups j of xs_j * (d * sc_j) * dot_j, minus dmin * (sum over j of m_j * a_j),
/// where a_j is the rounded sum of the group's activations.
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

/// Q6_K: two scales of 16 weights in a group. The groups are added in the order in which they are unpacked.
inline float add_block(const BlockQ6_K& b, const std::int8_t* x, const Q8Group* g, float acc) noexcept {
  const float d = f16_to_f32(b.d);
  for (int j : {0, 2, 1, 3, 4, 6, 5, 7}) {
    const float both = add_halves(b, x, j, d * static_cast<float>(b.scales[2 * j]),
                                  d * static_cast<float>(b.scales[2 * j + 1]));
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
      a.y[t * a.ldy + r] = acc * a.scale;
    }
  }
}

/// The matmul for all other types: each row is decoded to float32 in scratch memory; products are summed in
/// double precision.
template <DType kType>
void matmul_float(const MatmulArgs& a) noexcept {
  float* const w = reinterpret_cast<float*>(a.scratch);  // [k]
  for (std::size_t r = a.row_begin; r < a.row_end; ++r) {
    dequantize_blocks<kType>(a.w + r * a.row_bytes, a.k, w);
    for (std::size_t t = 0; t < a.m; ++t) {
      const float* x = a.x + t * a.k;
      double sum = 0;
      for (std::size_t i = 0; i < a.k; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(w[i]);
      a.y[t * a.ldy + r] = static_cast<float>(sum) * a.scale;
    }
  }
}

inline std::size_t no_scratch(std::size_t /*k*/) noexcept {
  return 0;
}
inline std::size_t float_scratch(std::size_t k) noexcept {
  return k * sizeof(float);
}

/// The kernel with float activations for any supported type.
constexpr MatmulKernel float_kernel(DType type) noexcept {
  MatmulKernel kernel;
  for_each_dtype([&]<DType kType>() {
    if (kType != type) return;
    constexpr bool kWhole = kBlockElements<kType> == 1;
    kernel = {matmul_float<kType>, float_scratch, false,
              kWhole ? kKernelName<kType, " scalar"> : kKernelName<kType, " scalar, decoded">};
  });
  return kernel;
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
    case DType::kQ4_1:
      return {matmul_q8<BlockQ4_1, kQK>, no_scratch, true, "q4_1 scalar, 8-bit activations"};
    case DType::kQ5_0:
      return {matmul_q8<BlockQ5_0, kQK>, no_scratch, true, "q5_0 scalar, 8-bit activations"};
    case DType::kQ5_1:
      return {matmul_q8<BlockQ5_1, kQK>, no_scratch, true, "q5_1 scalar, 8-bit activations"};
    case DType::kQ2_K:
      return {matmul_q8<BlockQ2_K, kQKK>, no_scratch, true, "q2_k scalar, 8-bit activations"};
    case DType::kQ3_K:
      return {matmul_q8<BlockQ3_K, kQKK>, no_scratch, true, "q3_k scalar, 8-bit activations"};
    case DType::kIQ4_NL:
      return {matmul_q8<BlockIQ4_NL, kQK>, no_scratch, true, "iq4_nl scalar, 8-bit activations"};
    case DType::kIQ4_XS:
      return {matmul_q8<BlockIQ4_XS, kQKK>, no_scratch, true, "iq4_xs scalar, 8-bit activations"};
    default:
      return float_kernel(type);
  }
}

}  // namespace gemma::kernels::reference
