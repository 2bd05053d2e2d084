// What one call of attention works on, whatever its keys and values are stored as: the rows, the blocks, and
// the parts of its scratch. Invariant: none of it depends on what is stored.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../kernel_table.hpp"
#include "float_vector.hpp"

namespace gemma::kernels {

/// Rows that pass over the cache together: their queries and sums (2 KiB a row at head_dim 256) stay in L2.
inline constexpr std::size_t kAttentionGroup = 48;

/// Where the parts of AttentionArgs::scratch begin, in floats; every part starts on 64 bytes.
struct AttentionScratch {
  std::size_t queries;      // per register tile of R rows: [R, query_floats], as the stored type wants them
  std::size_t sums;         // [rows, padded]: weighted sum of values
  std::size_t weight_sums;  // [rows, 16]: sum of weights, by lane
  std::size_t maxima;       // [rows]
  std::size_t scores;       // [tile rows, kKeyBlock]
  std::size_t scaled;       // [tile rows, kKeyBlock]: weights times the scales of a group of values
  std::size_t total;
  std::size_t padded;        // head_dim rounded up to 16
  std::size_t query_floats;  // of one row: its floats, or its codes with scales and sums of groups
};

/// A call. What keys and values are stored as decides three steps, which a struct derived from this has:
///   place_queries<R>(row, r)                 the queries of R rows for score_block
///   score_block<R>(r, page, needed, scores)  scores[R, kKeyBlock] = q . k for (at least) the needed slots
///   add_range<R>(slots, page, weights, r)    sums[R, head_dim] += weights[R, slots] * v[slots, head_dim],
///                                            slot after slot
/// where row counts in the call and r in the group of rows that pass over the cache together.
template <FloatVector V>
struct AttentionCall {
  using batch = typename V::batch;
  static constexpr std::size_t kLanes = V::kLanes;
  static constexpr int kRows = V::kAttentionRows;
  static constexpr std::size_t kBlockVectors = kKeyBlock / kLanes;

  /// Positions, or slots of a block, [begin, end).
  struct Range {
    std::size_t begin, end;
    bool empty() const noexcept { return begin >= end; }
  };

  /// A block of the cache.
  struct Page {
    const std::byte* data;
    std::uintptr_t to_next;  // from any address in it to that in the page which is read next
  };

  static AttentionScratch layout(std::size_t n_tokens, std::size_t n_heads, std::size_t head_dim) noexcept {
    const std::size_t all = n_tokens * n_heads;
    const std::size_t rows = ((all < kAttentionGroup ? all : kAttentionGroup) + 15) / 16 * 16;
    const std::size_t coded = Q8Vectors<V>::codes(head_dim) / 4 + 2 * Q8Vectors<V>::groups(head_dim);
    AttentionScratch s;
    s.padded = (head_dim + 15) / 16 * 16;
    s.query_floats = larger(head_dim, coded);
    s.queries = 0;
    s.sums = s.queries + rows * s.query_floats;
    s.weight_sums = s.sums + rows * s.padded;
    s.maxima = s.weight_sums + rows * 16;
    s.scores = s.maxima + rows;
    s.scaled = s.scores + static_cast<std::size_t>(kRows) * kKeyBlock;
    s.total = s.scaled + static_cast<std::size_t>(kRows) * kKeyBlock;
    return s;
  }

  static std::size_t smaller(std::size_t a, std::size_t b) noexcept { return a < b ? a : b; }
  static std::size_t larger(std::size_t a, std::size_t b) noexcept { return a < b ? b : a; }
  static constexpr int power_of_2(int n) noexcept {
    int p = 1;
    while (2 * p <= n) p *= 2;
    return p;
  }

  /// Asks L2 for what the next page has where this one has p. With it a decode step at 4096 keys takes 0.6
  /// of the time (8 heads of 256: 5.9 -> 10.1 GB/s).
  static void fetch(const void* p, std::uintptr_t to_next) noexcept {
    const std::uintptr_t next = reinterpret_cast<std::uintptr_t>(p) + to_next;
    __builtin_prefetch(reinterpret_cast<const void*>(next), 0, 2);
  }

  /// The query of a row of the call: row i is head i % n_heads of token i / n_heads.
  const float* query(std::size_t row) const noexcept {
    return a.q + row / a.n_heads * a.q_stride + row % a.n_heads * a.head_dim;
  }
  /// A row's sums.
  float* sums_of(std::size_t r) const noexcept { return scratch + at.sums + r * at.padded; }

  const AttentionArgs& a;
  const AttentionScratch at = layout(a.n_tokens, a.n_heads, a.head_dim);
  float* const scratch = reinterpret_cast<float*>(a.scratch);
};

}  // namespace gemma::kernels
