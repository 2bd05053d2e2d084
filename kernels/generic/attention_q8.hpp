// Attention over 8-bit keys and values (KvType::kQ8): the register tiles.
// Invariant (law 1): the dot products of a group are exact integers; a score is summed over groups in order,
// and values are added over keys in order; tiles only decide which rows, keys and parts of head_dim are
// computed at the same time.
#pragma once

#include <cstddef>
#include <cstdint>

#include "attention_call.hpp"
#include "store_kv.hpp"

namespace gemma::kernels {

/// The steps of AttentionCall for keys and values in the layout of Q8Vectors. A score is the sum over groups
/// of dot * (query's scale * key's scale); a weighted value is code * (weight * value's scale).
template <FloatVector V>
struct Q8Attention : AttentionCall<V> {
  using Call = AttentionCall<V>;
  using Layout = Q8Vectors<V>;
  using Call::a, Call::at, Call::scratch, Call::kLanes, Call::kRows;
  using typename Call::batch, typename Call::Page, typename Call::Range;
  static constexpr std::size_t kGroup = Layout::kGroup;
  static constexpr std::size_t kQuadBytes = 4 * kKeyTile;  // size of four codes of each key of a tile

  const std::size_t groups = Layout::groups(a.head_dim);
  const std::size_t quads = Layout::codes(a.head_dim) / 4;

  /// Quantises the queries of a tile to 8 bits and interleaves them: codes as [codes / 4, R, 4], and the
  /// scales of the groups and their sums of codes as [groups, R] each.
  template <int R>
  void place_queries(std::size_t row, std::size_t r) const noexcept {
    const Queries panel = queries<R>(r);
    for (std::size_t i = 0; i < R; ++i) {
      quantize_eight_groups<V, false>(
          Call::query(row + i), a.head_dim,
          [&](std::size_t first, std::size_t n, const std::int8_t* codes, const Q8Group* out) {
            for (std::size_t g = 0; g < n; ++g) {
              panel.scales[(first + g) * R + i] = out[g].scale;
              panel.sums[(first + g) * R + i] = out[g].sum_lo + out[g].sum_hi;
            }
            const std::size_t rest = quads - 8 * first;
            for (std::size_t k = 0; k < 8 * n && k < rest; ++k)
              __builtin_memcpy(panel.codes + ((8 * first + k) * R + i) * 4, codes + 4 * k, 4);
          });
    }
  }

  /// scores[R, kKeyBlock] = q . k for at least the slots `needed` of the block.
  template <int R>
  void score_block(std::size_t r, const Page& page, Range needed, float* scores) const noexcept {
    constexpr int kWanted = V::kAttentionDots / R < 1 ? 1 : V::kAttentionDots / R;
    constexpr int kVectors =
        kWanted < static_cast<int>(Call::kBlockVectors) ? Call::power_of_2(kWanted) : Call::kBlockVectors;
    constexpr std::size_t kKeys = kVectors * kLanes;
    const std::byte* const keys = page.data + a.k_offset;
    for (std::size_t key = needed.begin / kKeys * kKeys; key < needed.end; key += kKeys)
      score_tile<R, kVectors>(queries<R>(r), keys + Layout::key_codes(a.head_dim, key, 0),
                              keys + Layout::scale(a.head_dim, key, 0), page.to_next, scores + key);
  }

  /// sums[R, head_dim] += weights[R, slots] * v[slots, head_dim], in the order of slots.
  template <int R>
  void add_range(Range key, const Page& page, const float* weights, std::size_t r) const noexcept {
    constexpr int kWanted = V::kAttentionVectors * kRows / R;
    constexpr int kGroupVectors = kGroup / kLanes;
    constexpr int kVectors = kWanted < kGroupVectors ? Call::power_of_2(kWanted) : kGroupVectors;
    const std::byte* const values = page.data + a.v_offset;
    float* const scaled = scratch + at.scaled;
    for (std::size_t g = 0; g < groups; ++g) {
      scale_weights<R>(key, values + Layout::scale(a.head_dim, 0, g), page.to_next, weights, scaled);
      const std::size_t size = Layout::group_codes(a.head_dim, g);
      const auto* v = reinterpret_cast<const std::int8_t*>(values) + Layout::value_codes(a.head_dim, 0, g);
      float* sums = Call::sums_of(r) + g * kGroup;
      std::size_t d = 0;
      for (; d + kVectors * kLanes <= size; d += kVectors * kLanes)
        add_tile<R, kVectors>(key, v + d, size, page.to_next, scaled, sums + d, kLanes);
      for (; d < size; d += kLanes)
        add_tile<R, 1>(key, v + d, size, page.to_next, scaled, sums + d, Call::smaller(kLanes, size - d));
    }
  }

 private:
  /// The arrays that place_queries() writes for a tile.
  struct Queries {
    std::int8_t* codes;
    float* scales;
    std::int32_t* sums;
  };
  template <int R>
  Queries queries(std::size_t r) const noexcept {
    float* const begin = scratch + at.queries + r * at.query_floats;
    float* const scales = begin + quads * R;
    return {reinterpret_cast<std::int8_t*>(begin), scales,
            reinterpret_cast<std::int32_t*>(scales + groups * R)};
  }

  /// The register tile of scores: R rows by kVectors vectors of keys, one group after another.
  template <int R, int kVectors>
  void score_tile(const Queries& panel, const std::byte* keys, const std::byte* scales,
                  std::uintptr_t to_next, float* scores) const noexcept {
    batch sum[R][kVectors];
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 16
      for (int j = 0; j < kVectors; ++j) sum[i][j] = batch(0.0f);
    const std::int8_t* k = reinterpret_cast<const std::int8_t*>(keys);
    const std::int8_t* q = panel.codes;
    const std::uint16_t* s = reinterpret_cast<const std::uint16_t*>(scales);
    for (std::size_t g = 0; g < groups; ++g, s += kKeyBlock) {
      typename V::Dots dots[R][kVectors];
#pragma GCC unroll 16
      for (std::size_t i = 0; i < R; ++i)
#pragma GCC unroll 16
        for (int j = 0; j < kVectors; ++j) dots[i][j] = V::begin_dots(panel.sums[g * R + i]);
      const std::size_t size = Layout::group_codes(a.head_dim, g) / 4;
      for (std::size_t c = 0; c < size; ++c, k += kQuadBytes, q += 4 * R)
        add_quad<R, kVectors>(q, k, to_next, dots);
      Call::fetch(s, to_next);
#pragma GCC unroll 16
      for (std::size_t j = 0; j < kVectors; ++j) {
        const batch scale = V::load_f16(s + j * kLanes);
#pragma GCC unroll 16
        for (std::size_t i = 0; i < R; ++i)
          sum[i][j] = V::fma(V::dots_to_float(dots[i][j]), batch(panel.scales[g * R + i]) * scale, sum[i][j]);
      }
    }
#pragma GCC unroll 16
    for (std::size_t i = 0; i < R; ++i)
#pragma GCC unroll 16
      for (std::size_t j = 0; j < kVectors; ++j)
        sum[i][j].store_unaligned(scores + i * kKeyBlock + j * kLanes);
  }

  /// Adds the products of four codes of each key. The codes of the R queries start at q, those of the keys at
  /// k and in the following key tiles.
  template <int R, int kVectors>
  [[gnu::always_inline]] void add_quad(const std::int8_t* q, const std::int8_t* k, std::uintptr_t to_next,
                                       typename V::Dots (&dots)[R][kVectors]) const noexcept {
    const std::size_t tile_stride = kKeyTile * quads * 4;
    decltype(V::load_codes(k)) key[kVectors];
#pragma GCC unroll 16
    for (std::size_t j = 0; j < kVectors; ++j) {
      const std::int8_t* from = k + j * kLanes / kKeyTile * tile_stride + j * kLanes % kKeyTile * 4;
      key[j] = V::load_codes(from);
      if (j * kLanes % kKeyTile == 0) Call::fetch(from, to_next);
    }
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      const auto query = V::broadcast_codes(q + 4 * i);
#pragma GCC unroll 16
      for (int j = 0; j < kVectors; ++j) dots[i][j] = V::add_dots(dots[i][j], key[j], query);
    }
  }

  /// scaled[R, kKeyBlock] = weights * (scales of a group of the values), for at least the slots `key`.
  template <int R>
  void scale_weights(Range key, const std::byte* scales, std::uintptr_t to_next, const float* weights,
                     float* scaled) const noexcept {
    const std::uint16_t* const s = reinterpret_cast<const std::uint16_t*>(scales);
    for (std::size_t k = key.begin / kLanes * kLanes; k < key.end; k += kLanes) {
      const batch scale = V::load_f16(s + k);
      if (k % 32 == 0) Call::fetch(s + k, to_next);
#pragma GCC unroll 16
      for (std::size_t i = 0; i < R; ++i)
        (batch::load_unaligned(weights + i * kKeyBlock + k) * scale)
            .store_unaligned(scaled + i * kKeyBlock + k);
    }
  }

  /// The register tile of values: R rows by kVectors vectors of a group of `size` codes. If kVectors is 1,
  /// only the first `lanes` elements of the vector exist.
  template <int R, int kVectors>
  void add_tile(Range key, const std::int8_t* v, std::size_t size, std::uintptr_t to_next,
                const float* scaled, float* sums, std::size_t lanes) const noexcept {
    batch sum[R][kVectors];
#pragma GCC unroll 16
    for (std::size_t i = 0; i < R; ++i)
#pragma GCC unroll 16
      for (std::size_t j = 0; j < kVectors; ++j)
        sum[i][j] = batch::load_unaligned(sums + i * at.padded + j * kLanes);
    const bool part = kVectors == 1 && lanes < kLanes;
    v += key.begin * size;
    for (std::size_t k = key.begin; k < key.end; ++k, v += size) {
      batch value[kVectors];
#pragma GCC unroll 16
      for (std::size_t j = 0; j < kVectors; ++j)
        value[j] = part ? V::load_bytes_part(v, lanes) : V::load_bytes(v + j * kLanes);
      Call::fetch(v, to_next);
#pragma GCC unroll 16
      for (std::size_t i = 0; i < R; ++i) {
        const batch w(scaled[i * kKeyBlock + k]);
#pragma GCC unroll 16
        for (std::size_t j = 0; j < kVectors; ++j) sum[i][j] = V::fma(w, value[j], sum[i][j]);
      }
    }
#pragma GCC unroll 16
    for (std::size_t i = 0; i < R; ++i)
#pragma GCC unroll 16
      for (std::size_t j = 0; j < kVectors; ++j) sum[i][j].store_unaligned(sums + i * at.padded + j * kLanes);
  }
};

}  // namespace gemma::kernels
