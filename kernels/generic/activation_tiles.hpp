// 8-bit activations rearranged for the matmul kernels into tiles of kTile tokens, one unit after another
// along k, so that the inner loop addresses every operand at a constant offset from one pointer.
// Invariant: values are copied or computed in exact integer arithmetic, except for the group sums that are
// multiplied by minima: these are rounded to 14 bits (reference::min_sums defines the rounding). A token's
// values depend on that token alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../kernel_table.hpp"

namespace gemma::kernels {

/// The activations of kTile tokens for one unit (W::kGroups groups of 32 along k), with the scales and sums
/// that format W needs. If weights have an offset, `offset` holds one value for each group, or one for each
/// half of a group if the halves have scales of their own.
template <class A, class W, int kTile>
struct ActivationUnit {
  static constexpr int kGroups = W::kGroups;
  static constexpr int kOffsetSums = W::kOffset == 0 ? 0 : W::kHalves;
  static constexpr int kSumRows = kOffsetSums > 0 ? kGroups* kOffsetSums : 0;
  alignas(64) std::int8_t q[kGroups][kTile][32];
  float scale[kGroups][kTile];
  std::int32_t offset[kSumRows > 0 ? kSumRows : 1][kTile];  // -(weight offset) * sum of q; or offset_pair()
  float scaled_sum[W::kGroupMins ? kGroups : 1][kTile];     // scale * (sum of q)
  // the rounded sums of groups, or of half groups, as int16 pairs (j, j + 2) for j = 0, 1, 4, 5, ...
  std::int32_t sum_pairs[W::kMinPairs > 0 ? W::kMinPairs : 1][kTile];
  float magic[W::kMinPairs > 0 ? kTile : 1];  // reference::RoundedSums::magic of each token
};

/// The integer nearest to x, ties to even. Requires |x| < 2^22.
template <class A>
inline std::int32_t round_to_int(float x) noexcept {
  return __builtin_bit_cast(std::int32_t, x + 0x1.8p23f) - 0x4B400000;
}

/// Rounds the sums of a super-block to 14-bit integers with one power of two; see reference::RoundedSums.
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

/// Sum j of a super-block: that of group j (kMinPairs = 4), or of half j % 2 of group j / 2 (kMinPairs = 8).
template <class A, int kMinPairs>
inline float super_block_sum(const Q8Group* groups, int j) noexcept {
  if constexpr (kMinPairs == 4) {
    return groups[j].scaled_sum;
  } else {
    const Q8Group& g = groups[j / 2];
    return g.scale * static_cast<float>(j % 2 == 0 ? g.sum_lo : g.sum_hi);
  }
}

/// Fills one unit from n_tokens <= kTile tokens. The tokens' codes for this unit start at q, k bytes apart;
/// their groups start at `groups`, k / 32 elements apart. The slots of the other tokens stay unset.
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
