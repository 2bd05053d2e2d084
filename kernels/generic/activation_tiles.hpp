// 8-bit activations re-arranged for the matmul kernels: tiles of kTile tokens, unit by unit along k, so that
// every operand of the inner loop lies at a constant distance from one pointer.
// Invariant: only copies and exact integer work, except the group sums rounded to 14 bits for minima
// (reference::min_sums states that rounding); a token's values depend on that token alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../kernel_table.hpp"

namespace gemma::kernels {

/// One unit (kGroups groups of 32 along k) of kTile tokens, with what format W needs of them. Sums that a
/// weight offset is multiplied with: for each group, or for each of its two halves.
template <class A, class W, int kTile>
struct ActivationUnit {
  static constexpr int kGroups = W::kGroups;
  static constexpr int kOffsetSums = W::kOffset == 0 ? 0 : W::kHalves;
  static constexpr int kSumRows = kOffsetSums > 0 ? kGroups* kOffsetSums : 0;
  alignas(64) std::int8_t q[kGroups][kTile][32];
  float scale[kGroups][kTile];
  std::int32_t offset[kSumRows > 0 ? kSumRows : 1][kTile];  // -(weight offset) * sum of q; or A::offset_pair
  float scaled_sum[W::kGroupMins ? kGroups : 1][kTile];     // scale * sum of q
  // int16 pairs of the rounded sums (j, j + 2), j = 0, 1, 4, 5, ...: of groups, or of half groups
  std::int32_t sum_pairs[W::kMinPairs > 0 ? W::kMinPairs : 1][kTile];
  float magic[W::kMinPairs > 0 ? kTile : 1];
};

/// Rounds to nearest even; |x| < 2^22.
template <class A>
inline std::int32_t round_to_int(float x) noexcept {
  return __builtin_bit_cast(std::int32_t, x + 0x1.8p23f) - 0x4B400000;
}

/// Sums of a super-block as 14-bit integers and one power of two: see reference::MinSums.
template <class A, int kCount>
inline void round_sums(const float (&exact)[kCount], std::int32_t (&sums)[kCount], float& magic) noexcept {
  std::uint32_t max = 0;
  for (int j = 0; j < kCount; ++j) {
    const std::uint32_t magnitude = __builtin_bit_cast(std::uint32_t, exact[j]) & 0x7FFFFFFFu;
    max = magnitude > max ? magnitude : max;
  }
  const int exponent = static_cast<int>(max >> 23) - 127;
  const bool finite = exponent < 116;
  const int e = (exponent < -114 ? -114 : exponent) - 12;
  const float scale = finite ? __builtin_bit_cast(float, static_cast<std::uint32_t>(127 - e) << 23) : 0.0f;
  for (int j = 0; j < kCount; ++j) {
    const std::int32_t rounded = round_to_int<A>(exact[j] * scale);
    sums[j] = finite ? rounded : 0;
  }
  magic = __builtin_bit_cast(
      float, finite ? (static_cast<std::uint32_t>(127 + 23 + e) << 23) | 0x400000u : 0x7FC00000u);
}

/// Sum j of a super-block: of group j (kMinPairs = 4), or of half j % 2 of group j / 2 (8).
template <class A, int kMinPairs>
inline float super_block_sum(const Q8Group* groups, int j) noexcept {
  if constexpr (kMinPairs == 4) {
    return groups[j].scaled_sum;
  } else {
    const Q8Group& g = groups[j / 2];
    return g.scale * static_cast<float>(j % 2 == 0 ? g.sum_lo : g.sum_hi);
  }
}

/// Fills one unit from tokens [0, n_tokens) whose q rows start at q (stride k) and groups (stride k / 32).
template <class A, class W, int kTile>
inline void fill_unit(ActivationUnit<A, W, kTile>& unit, const std::int8_t* q, const Q8Group* groups,
                      std::size_t k, std::size_t n_tokens) noexcept {
  constexpr int kOffsetSums = ActivationUnit<A, W, kTile>::kOffsetSums;
  for (std::size_t t = 0; t < n_tokens; ++t, q += k, groups += k / 32) {
    for (int j = 0; j < W::kGroups; ++j) {
      if constexpr (requires { A::template place_token<kTile>(q, t, unit.q[j]); })
        A::template place_token<kTile>(q + 32 * j, t, unit.q[j]);
      else
        __builtin_memcpy(unit.q[j][t], q + 32 * j, 32);
      unit.scale[j][t] = groups[j].scale;
      if constexpr (W::kGroupMins) unit.scaled_sum[j][t] = groups[j].scaled_sum;
      if constexpr (kOffsetSums > 0 && requires { A::template offset_pair<32>(q, 0); }) {
        for (int h = 0; h < kOffsetSums; ++h) {
          constexpr int kCount = 32 / kOffsetSums;
          unit.offset[kOffsetSums * j + h][t] =
              A::template offset_pair<kCount>(q + 32 * j + kCount * h, W::kOffset);
        }
      } else if constexpr (kOffsetSums == 1) {
        unit.offset[j][t] = -W::kOffset * (groups[j].sum_lo + groups[j].sum_hi);
      } else if constexpr (kOffsetSums == 2) {
        unit.offset[2 * j][t] = -W::kOffset * groups[j].sum_lo;
        unit.offset[2 * j + 1][t] = -W::kOffset * groups[j].sum_hi;
      }
    }
    if constexpr (W::kMinPairs > 0) {
      constexpr int kSums = 2 * W::kMinPairs;
      float exact[kSums];
      std::int32_t sums[kSums];
      for (int j = 0; j < kSums; ++j) exact[j] = super_block_sum<A, W::kMinPairs>(groups, j);
      round_sums<A>(exact, sums, unit.magic[t]);
      for (int p = 0; p < W::kMinPairs; ++p) {
        const int j = p / 2 * 4 + p % 2;
        unit.sum_pairs[p][t] =
            (sums[j] & 0xFFFF) | static_cast<std::int32_t>(static_cast<std::uint32_t>(sums[j + 2]) << 16);
      }
    }
  }
}

}  // namespace gemma::kernels
