// Attention of query rows that share one key/value head: one pass over the cache in blocks of kKeyBlock keys,
// with a running maximum and a running sum (Milakov & Gimelshein 2018; Dao et al. 2022, algorithm 1).
//
// Invariant (law 1): a row (the query of one token and one head) gets the same bits whatever other rows share
// its call. Every score is summed in a fixed order (attention_float.hpp, attention_q8.hpp); blocks are
// aligned to absolute positions; inside a block, keys are added in order. Slots that the row does not see
// never enter its arithmetic, so they may hold anything. Register tiles only decide which rows are computed
// at the same time.
#pragma once

#include <cstddef>
#include <cstdint>

#include <xsimd/xsimd.hpp>

#include "../kernel_table.hpp"
#include "attention_float.hpp"
#include "attention_q8.hpp"
#include "exponential.hpp"
#include "float_vector.hpp"

namespace gemma::kernels {

/// The attention kernels on vector type V.
template <FloatVector V>
struct Attention {
  using Call = AttentionCall<V>;

  /// Implements VectorKernels::attention_scratch_bytes.
  static std::size_t scratch_bytes(std::size_t n_tokens, std::size_t n_heads, std::size_t head_dim) noexcept {
    return Call::layout(n_tokens, n_heads, head_dim).total * sizeof(float);
  }

  /// Implements VectorKernels::attention.
  static void run(const AttentionArgs& a) noexcept {
    switch (a.type) {
      case KvType::kF32:
        return Pass<FloatAttention<V, DType::kF32>>{{{a}}}.run();
      case KvType::kF16:
        return Pass<FloatAttention<V, DType::kF16>>{{{a}}}.run();
      case KvType::kQ8:
        return Pass<Q8Attention<V>>{{{a}}}.run();
    }
  }

 private:
  /// One call of attention. Stored, the base, implements the steps that depend on the storage type of keys
  /// and values (FloatAttention, Q8Attention).
  template <class Stored>
  struct Pass : Stored {
    using Call::a, Call::at, Call::scratch, Call::kLanes, Call::kRows, Call::kBlockVectors;
    using Call::smaller, Call::larger;
    using typename Call::batch, typename Call::Page, typename Call::Range;

    const std::size_t end0 = a.pos0 + 1 + a.ahead;  // end of token 0's visible positions, before a.limit
    /// Number of positions that a token sees; 0: all positions before the end of its range.
    const std::size_t width = a.window > 0 ? a.window + a.ahead : 0;

    /// The positions of [from, to) that the row of token t sees. Requires to <= a.limit.
    Range visible(std::size_t t, std::size_t from, std::size_t to) const noexcept {
      const std::size_t end = end0 + t;
      const std::size_t begin = width > 0 && end > width ? end - width : 0;
      return {larger(begin, from), smaller(end, to)};
    }
    /// End of the positions of the block that begins at position `block`.
    std::size_t end_of(std::size_t block) const noexcept { return smaller(block + kKeyBlock, a.limit); }

    /// Divides `rows` rows into register tiles and calls f(first row of the tile, Count<number of rows>) for
    /// each: the number of rows is a compile-time constant.
    template <class F>
    static void for_each_tile(std::size_t rows, F f) noexcept {
      std::size_t r = 0;
      for (; r + kRows <= rows; r += kRows) f(r, Count<kRows>{});
      if constexpr (kRows > 8)
        for (; r + 8 <= rows; r += 8) f(r, Count<8>{});
      for (; r + 4 <= rows; r += 4) f(r, Count<4>{});
      for (; r + 2 <= rows; r += 2) f(r, Count<2>{});
      if (r < rows) f(r, Count<1>{});
    }
    template <int N>
    struct Count {
      static constexpr int value = N;
    };

    void run() const noexcept {
      const std::size_t rows = a.n_tokens * a.n_heads;
      for (std::size_t first = 0; first < rows; first += kAttentionGroup)
        run_group(first, smaller(kAttentionGroup, rows - first));
    }

    /// Computes rows [first, first + count) of the call. Row i is head i % n_heads of token i / n_heads.
    void run_group(std::size_t first, std::size_t count) const noexcept {
      for_each_tile(count, [&](std::size_t r, auto n) { begin_tile<decltype(n)::value>(first + r, r); });
      const std::size_t from = visible(first / a.n_heads, 0, a.limit).begin;
      const std::size_t to = visible((first + count - 1) / a.n_heads, 0, a.limit).end;
      for (std::size_t block = from / kKeyBlock * kKeyBlock; block < to; block += kKeyBlock) {
        const std::byte* const* pages = a.pages + block / kKeyBlock;
        // there may be no page after the last one that is read; that page is then prefetched again
        const std::byte* const next = pages[block + kKeyBlock < to ? 1 : 0];
        const Page page{pages[0],
                        reinterpret_cast<std::uintptr_t>(next) - reinterpret_cast<std::uintptr_t>(pages[0])};
        for_each_tile(
            count, [&](std::size_t r, auto n) { block_step<decltype(n)::value>(first + r, r, block, page); });
      }
      for (std::size_t r = 0; r < count; ++r) finish_row(first + r, r);
    }

    /// Prepares the tile's queries and clears its sums. `row` is the first row's index in the call, `r` its
    /// index in the group.
    template <int R>
    void begin_tile(std::size_t row, std::size_t r) const noexcept {
      Stored::template place_queries<R>(row, r);
      for (std::size_t i = r; i < r + R; ++i) {
        float* const sums = Call::sums_of(i);
        for (std::size_t d = 0; d < at.padded; d += kLanes) batch(0.0f).store_unaligned(sums + d);
        batch(0.0f).store_unaligned(scratch + at.weight_sums + i * 16);
        scratch[at.maxima + i] = -__builtin_inff();
      }
    }

    /// Adds one block of keys and values to the sums of one tile.
    template <int R>
    void block_step(std::size_t row, std::size_t r, std::size_t block, const Page& page) const noexcept {
      const std::size_t t0 = row / a.n_heads, t1 = (row + R - 1) / a.n_heads, to = end_of(block);
      const Range first = visible(t0, block, to);
      const Range last = visible(t1, block, to);
      if (smaller(first.begin, last.begin) >= larger(first.end, last.end)) return;
      float* const scores = scratch + at.scores;
      Stored::template score_block<R>(r, page, Range{first.begin - block, last.end - block}, scores);
      for (int i = 0; i < R; ++i) {
        const Range seen = visible((row + i) / a.n_heads, block, to);
        if (!seen.empty())
          weigh_scores(Range{seen.begin - block, seen.end - block}, scores + i * kKeyBlock, r + i);
      }
      add_values<R>(row, r, block, page, scores);
    }

    /// Scales and caps a row's scores of one block in place and replaces them by the weights 2^(s - maximum),
    /// s = log2(e) * score, and by 0 outside `seen`. Updates the row's running maximum and sums.
    void weigh_scores(Range seen, float* scores, std::size_t r) const noexcept {
      constexpr float kLog2E = Exponential<V>::kLog2E;
      const bool masked = seen.end - seen.begin < kKeyBlock;
      batch s[kBlockVectors];
      for (std::size_t j = 0; j < kBlockVectors; ++j) s[j] = batch::load_unaligned(scores + j * kLanes);
      if (a.softcap > 0.0f) {
        const batch inner(a.scale / a.softcap), outer(a.softcap * kLog2E);
        for (std::size_t j = 0; j < kBlockVectors; ++j) s[j] = outer * Exponential<V>::tanh(s[j] * inner);
      } else {
        const batch factor(a.scale * kLog2E);
        for (std::size_t j = 0; j < kBlockVectors; ++j) s[j] = s[j] * factor;
      }
      if (masked) hide(seen, -__builtin_inff(), s);
      batch m = s[0];
      for (std::size_t j = 1; j < kBlockVectors; ++j) m = xsimd::max(m, s[j]);
      const float old_max = scratch[at.maxima + r], block_max = V::max(m);
      const float new_max = block_max > old_max ? block_max : old_max;
      float* const weight_sums = scratch + at.weight_sums + r * 16;
      batch total = batch::load_unaligned(weight_sums);
      if (new_max != old_max) {
        const batch shrink = Exponential<V>::exp2_nonpositive(batch(old_max - new_max));
        total = total * shrink;
        float* const sums = Call::sums_of(r);
        for (std::size_t d = 0; d < at.padded; d += kLanes)
          (batch::load_unaligned(sums + d) * shrink).store_unaligned(sums + d);
        scratch[at.maxima + r] = new_max;
      }
      const batch shift(new_max);
      for (std::size_t j = 0; j < kBlockVectors; ++j) s[j] = Exponential<V>::exp2_nonpositive(s[j] - shift);
      if (masked) hide(seen, 0.0f, s);
      for (std::size_t j = 0; j < kBlockVectors; ++j) {
        total = total + s[j];
        s[j].store_unaligned(scores + j * kLanes);
      }
      total.store_unaligned(weight_sums);
    }

    /// Sets the elements of s[kKeyBlock] outside `seen` to `filler`.
    static void hide(Range seen, float filler, batch* s) noexcept {
      const batch begin(static_cast<float>(seen.begin)), end(static_cast<float>(seen.end)), other(filler);
      batch lane = V::lane_index();
      for (std::size_t j = 0; j < kBlockVectors; ++j) {
        s[j] = xsimd::select(lane < begin, other, xsimd::select(lane < end, s[j], other));
        lane = lane + batch(static_cast<float>(kLanes));
      }
    }

    /// sums += weights * values. The register tile adds the keys that all of its rows see; keys at either end
    /// that only some rows see are added row by row.
    template <int R>
    void add_values(std::size_t row, std::size_t r, std::size_t block, const Page& page,
                    const float* weights) const noexcept {
      const std::size_t to = end_of(block);
      const Range first = visible(row / a.n_heads, block, to);
      const Range last = visible((row + R - 1) / a.n_heads, block, to);
      const Range common = {last.begin, first.end};
      if (R == 1 || (first.begin == last.begin && first.end == last.end)) {
        Stored::template add_range<R>(Range{first.begin - block, first.end - block}, page, weights, r);
        return;
      }
      for (std::size_t i = 0; i < R; ++i) {
        const Range seen = visible((row + i) / a.n_heads, block, to);
        const std::size_t end = common.empty() ? seen.end : smaller(seen.end, common.begin);
        if (seen.begin < end)
          Stored::template add_range<1>(Range{seen.begin - block, end - block}, page, weights + i * kKeyBlock,
                                        r + i);
      }
      if (common.empty()) return;
      Stored::template add_range<R>(Range{common.begin - block, common.end - block}, page, weights, r);
      for (std::size_t i = 0; i < R; ++i) {
        const Range seen = visible((row + i) / a.n_heads, block, to);
        if (common.end < seen.end)
          Stored::template add_range<1>(Range{common.end - block, seen.end - block}, page,
                                        weights + i * kKeyBlock, r + i);
      }
    }

    /// out = sums / (sum of the weights)
    void finish_row(std::size_t row, std::size_t r) const noexcept {
      const batch total(V::sum(batch::load_unaligned(scratch + at.weight_sums + r * 16)));
      const float* sums = Call::sums_of(r);
      float* out = a.out + row / a.n_heads * a.out_stride + row % a.n_heads * a.head_dim;
      std::size_t d = 0;
      for (; d + kLanes <= a.head_dim; d += kLanes)
        V::divide(batch::load_unaligned(sums + d), total).store_unaligned(out + d);
      if (d < a.head_dim)
        V::store_part(V::divide(batch::load_unaligned(sums + d), total), out + d, a.head_dim - d);
    }
  };
};

}  // namespace gemma::kernels
