// Attention over keys and values stored as floats: the register tiles.
// Invariant (law 1): a score is summed over head_dim in order, and values are added over keys in order; tiles
// only decide which rows, keys and parts of head_dim are computed at the same time.
#pragma once

#include <cstddef>
#include <cstdint>

#include "attention_call.hpp"
#include "stored_element.hpp"

namespace gemma::kernels {

/// The steps of AttentionCall for keys and values stored as kType (F32 or F16).
template <FloatVector V, DType kType>
struct FloatAttention : AttentionCall<V> {
  using Call = AttentionCall<V>;
  using Call::a, Call::at, Call::scratch, Call::kLanes, Call::kRows;
  using typename Call::batch, typename Call::Page, typename Call::Range;
  using Element = StoredElement<V, kType>;
  using stored = typename Element::type;

  /// Transposes the queries of a tile to [head_dim, R].
  template <int R>
  void place_queries(std::size_t row, std::size_t r) const noexcept {
    float* const panel = scratch + at.queries + r * at.query_floats;
    for (std::size_t i = 0; i < R; ++i) {
      const float* q = Call::query(row + i);
      for (std::size_t d = 0; d < a.head_dim; ++d) panel[d * R + i] = q[d];
    }
  }

  /// scores[R, kKeyBlock] = q . k for at least the slots `needed` of the block.
  template <int R>
  void score_block(std::size_t r, const Page& page, Range needed, float* scores) const noexcept {
    // with few rows, more keys at a time: enough independent accumulators to hide the latency of an addition
    constexpr int kWanted = V::kAttentionVectors * kRows / R;
    constexpr int kVectors =
        kWanted < static_cast<int>(Call::kBlockVectors) ? Call::power_of_2(kWanted) : Call::kBlockVectors;
    constexpr std::size_t kKeys = kVectors * kLanes;
    const float* panel = scratch + at.queries + r * at.query_floats;
    const stored* const keys = reinterpret_cast<const stored*>(page.data + a.k_offset);
    for (std::size_t key = needed.begin / kKeys * kKeys; key < needed.end; key += kKeys)
      score_tile<R, kVectors>(panel, keys + key / kKeyTile * kKeyTile * a.head_dim + key % kKeyTile,
                              page.to_next, scores + key);
  }

  /// sums[R, head_dim] += weights[R, keys] * v[keys, head_dim], in the order of keys.
  template <int R>
  void add_range(Range key, const Page& page, const float* weights, std::size_t r) const noexcept {
    const stored* const v = reinterpret_cast<const stored*>(page.data + a.v_offset);
    constexpr int kWanted = V::kAttentionVectors * kRows / R;
    constexpr int kVectors = kWanted < 8 ? Call::power_of_2(kWanted) : 8;
    float* const sums = Call::sums_of(r);
    std::size_t d = 0;
    for (; d + kVectors * kLanes <= a.head_dim; d += kVectors * kLanes)
      add_tile<R, kVectors>(key, v + d, page.to_next, weights, sums + d, kLanes);
    if constexpr (kVectors > 2)
      for (; d + 2 * kLanes <= a.head_dim; d += 2 * kLanes)
        add_tile<R, 2>(key, v + d, page.to_next, weights, sums + d, kLanes);
    for (; d < a.head_dim; d += kLanes)
      add_tile<R, 1>(key, v + d, page.to_next, weights, sums + d, Call::smaller(kLanes, a.head_dim - d));
  }

 private:
  /// The register tile of scores: R rows by kVectors vectors of keys, summed over d in order.
  template <int R, int kVectors>
  void score_tile(const float* panel, const stored* k, std::uintptr_t to_next, float* scores) const noexcept {
    batch sum[R][kVectors];
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 16
      for (int j = 0; j < kVectors; ++j) sum[i][j] = batch(0.0f);
    const std::size_t tile_stride = a.head_dim * kKeyTile;
    for (std::size_t d = 0; d < a.head_dim; ++d, panel += R, k += kKeyTile) {
      batch key[kVectors];
#pragma GCC unroll 16
      for (std::size_t j = 0; j < kVectors; ++j) {
        const stored* from = k + j * kLanes / kKeyTile * tile_stride + j * kLanes % kKeyTile;
        key[j] = Element::load(from);
        if (j * kLanes % kKeyTile == 0) Call::fetch(from, to_next);
      }
#pragma GCC unroll 16
      for (int i = 0; i < R; ++i) {
        const batch q(panel[i]);
#pragma GCC unroll 16
        for (int j = 0; j < kVectors; ++j) sum[i][j] = V::fma(q, key[j], sum[i][j]);
      }
    }
#pragma GCC unroll 16
    for (std::size_t i = 0; i < R; ++i)
#pragma GCC unroll 16
      for (std::size_t j = 0; j < kVectors; ++j)
        sum[i][j].store_unaligned(scores + i * kKeyBlock + j * kLanes);
  }

  /// The register tile of values: R rows by kVectors vectors of head_dim. If kVectors is 1, only the first
  /// `lanes` elements of the vector exist.
  template <int R, int kVectors>
  void add_tile(Range key, const stored* v, std::uintptr_t to_next, const float* weights, float* sums,
                std::size_t lanes) const noexcept {
    batch sum[R][kVectors];
#pragma GCC unroll 16
    for (std::size_t i = 0; i < R; ++i)
#pragma GCC unroll 16
      for (std::size_t j = 0; j < kVectors; ++j)
        sum[i][j] = batch::load_unaligned(sums + i * at.padded + j * kLanes);
    const bool part = kVectors == 1 && lanes < kLanes;
    v += key.begin * a.head_dim;
    for (std::size_t k = key.begin; k < key.end; ++k, v += a.head_dim) {
      batch value[kVectors];
#pragma GCC unroll 16
      for (std::size_t j = 0; j < kVectors; ++j) {
        value[j] = part ? Element::load_part(v, lanes) : Element::load(v + j * kLanes);
        if (j * kLanes * sizeof(stored) % 64 == 0) Call::fetch(v + j * kLanes, to_next);
      }
#pragma GCC unroll 16
      for (std::size_t i = 0; i < R; ++i) {
        const batch w(weights[i * kKeyBlock + k]);
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
