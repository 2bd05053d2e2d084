// 8-bit activations re-arranged for the matmul kernels: tiles of kTile tokens, unit by unit along k, so that
// every operand of the inner loop lies at a constant distance from one pointer.
// Invariant: only copies and exact integer work, except the group sums rounded to 14 bits for minima
// (reference::min_sums states that rounding); a token's values depend on that token alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../kernel_table.hpp"

namespace gemma::kernels {

/// One unit (kGroups groups of 32 along k) of kTile tokens. kOffsetSums: sums per group that a weight offset
/// is multiplied with (0: none, 1: of 32, 2: of the two halves).
template <class A, int kGroups, int kTile, int kOffsetSums, bool kMins>
struct ActivationUnit {
  static constexpr int kSumRows = kOffsetSums > 0 ? kGroups* kOffsetSums : 0;
  alignas(64) std::int8_t q[kGroups][kTile][32];
  float scale[kGroups][kTile];
  std::int32_t offset[kSumRows > 0 ? kSumRows : 1][kTile];  // -(weight offset) * sum of q; or A::offset_pair
  std::int32_t sum_pairs[kMins ? kGroups / 2 : 1][kTile];  // int16 pairs of groups (j, j + 2), j = 0, 1, 4, 5
  float magic[kMins ? kTile : 1];
};

/// Rounds to nearest even; |x| < 2^22.
template <class A>
inline std::int32_t round_to_int(float x) noexcept {
  return __builtin_bit_cast(std::int32_t, x + 0x1.8p23f) - 0x4B400000;
}

/// The group sums of a super-block as 14-bit integers and one power of two: see reference::MinSums.
template <class A>
inline void round_group_sums(const Q8Group* groups, std::int32_t (&sums)[8], float& magic) noexcept {
  std::uint32_t max = 0;
  for (int j = 0; j < 8; ++j) {
    const std::uint32_t magnitude = __builtin_bit_cast(std::uint32_t, groups[j].scaled_sum) & 0x7FFFFFFFu;
    max = magnitude > max ? magnitude : max;
  }
  const int exponent = static_cast<int>(max >> 23) - 127;
  const bool finite = exponent < 116;
  const int e = (exponent < -114 ? -114 : exponent) - 12;
  const float scale = finite ? __builtin_bit_cast(float, static_cast<std::uint32_t>(127 - e) << 23) : 0.0f;
  for (int j = 0; j < 8; ++j) {
    const std::int32_t rounded = round_to_int<A>(groups[j].scaled_sum * scale);
    sums[j] = finite ? rounded : 0;
  }
  magic = __builtin_bit_cast(
      float, finite ? (static_cast<std::uint32_t>(127 + 23 + e) << 23) | 0x400000u : 0x7FC00000u);
}

/// Fills one unit from tokens [0, n_tokens) whose q rows start at q (stride k) and groups (stride k / 32).
template <class A, int kGroups, int kTile, int kOffsetSums, bool kMins>
inline void fill_unit(ActivationUnit<A, kGroups, kTile, kOffsetSums, kMins>& unit, const std::int8_t* q,
                      const Q8Group* groups, std::size_t k, std::size_t n_tokens,
                      std::int32_t weight_offset) noexcept {
  for (std::size_t t = 0; t < n_tokens; ++t, q += k, groups += k / 32) {
    for (int j = 0; j < kGroups; ++j) {
      if constexpr (requires { A::template place_token<kTile>(q, t, unit.q[j]); })
        A::template place_token<kTile>(q + 32 * j, t, unit.q[j]);
      else
        __builtin_memcpy(unit.q[j][t], q + 32 * j, 32);
      unit.scale[j][t] = groups[j].scale;
      if constexpr (kOffsetSums > 0 && requires { A::template offset_pair<32>(q, 0); }) {
        for (int h = 0; h < kOffsetSums; ++h) {
          constexpr int kCount = 32 / kOffsetSums;
          unit.offset[kOffsetSums * j + h][t] =
              A::template offset_pair<kCount>(q + 32 * j + kCount * h, weight_offset);
        }
      } else if constexpr (kOffsetSums == 1) {
        unit.offset[j][t] = -weight_offset * (groups[j].sum_lo + groups[j].sum_hi);
      } else if constexpr (kOffsetSums == 2) {
        unit.offset[2 * j][t] = -weight_offset * groups[j].sum_lo;
        unit.offset[2 * j + 1][t] = -weight_offset * groups[j].sum_hi;
      }
    }
    if constexpr (kMins) {
      std::int32_t sums[8];
      round_group_sums<A>(groups, sums, unit.magic[t]);
      for (int p = 0; p < 4; ++p) {
        const int j = p / 2 * 4 + p % 2;
        unit.sum_pairs[p][t] =
            (sums[j] & 0xFFFF) | static_cast<std::int32_t>(static_cast<std::uint32_t>(sums[j + 2]) << 16);
      }
    }
  }
}

}  // namespace gemma::kernels
