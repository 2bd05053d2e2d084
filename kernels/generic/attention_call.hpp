// The parts of an attention call that are common to all storage types of keys and values: its rows, the
// blocks of the cache, and the layout of its scratch memory.
// Invariant: nothing here depends on the storage type.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../kernel_table.hpp"
#include "float_vector.hpp"

namespace gemma::kernels {

/// Number of rows that share one pass over the cache. Their queries and sums (2 KiB a row at head_dim 256)
/// stay in the L2.
inline constexpr std::size_t kAttentionGroup = 48;

/// Offsets of the parts of AttentionArgs::scratch, in floats. Every part is 64-byte aligned.
struct AttentionScratch {
  std::size_t queries;      // per register tile of R rows: [R, query_floats], in the order of place_queries()
  std::size_t sums;         // [rows, padded]: weighted sums of values
  std::size_t weight_sums;  // [rows, 16]: sums of weights, one for each lane
  std::size_t maxima;       // [rows]: running maxima of the scores
  std::size_t scores;       // [tile rows, kKeyBlock]
  std::size_t scaled;       // [tile rows, kKeyBlock]: weights times the scales of a group of values
  std::size_t total;        // size of all parts
  std::size_t padded;       // head_dim rounded up to 16
  std::size_t query_floats;  // size of one query: its floats, or its codes and its groups' scales and sums
};

/// One call of attention. Three steps depend on the storage type of keys and values; a struct derived from
/// this one implements them:
///   place_queries<R>(row, r)                 prepares the queries of R rows for score_block()
///   score_block<R>(r, page, needed, scores)  scores[R, kKeyBlock] = q . k for at least the slots `needed`
///   add_range<R>(slots, page, weights, r)    sums[R, head_dim] += weights[R, slots] * v[slots, head_dim],
///                                            in the order of slots
/// `row` is a row's index in the call, `r` its index in the group of rows that share a pass over the cache.
template <FloatVector V>
struct AttentionCall {
  using batch = typename V::batch;
  static constexpr std::size_t kLanes = V::kLanes;
  static constexpr int kRows = V::kAttentionRows;
  static constexpr std::size_t kBlockVectors = kKeyBlock / kLanes;

  /// A half-open range [begin, end) of positions, or of slots of a block.
  struct Range {
    std::size_t begin, end;
    bool empty() const noexcept { return begin >= end; }
  };

  /// The page of one block of keys and values.
  struct Page {
    const std::byte* data;
    std::uintptr_t to_next;  // distance in bytes to the same offset in the page that is read next
  };

  /// Layout of the scratch memory of a call of that size.
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

  /// Prefetches into the L2 the cache line of the next page at the offset of p. This reduces the time of a
  /// decode step at 4096 keys to 0.6 (8 heads of 256: 5.9 -> 10.1 GB/s).
  static void fetch(const void* p, std::uintptr_t to_next) noexcept {
    const std::uintptr_t next = reinterpret_cast<std::uintptr_t>(p) + to_next;
    __builtin_prefetch(reinterpret_cast<const void*>(next), 0, 2);
  }

  /// The query of a row of the call: row i is head i % n_heads of token i / n_heads.
  const float* query(std::size_t row) const noexcept {
    return a.q + row / a.n_heads * a.q_stride + row % a.n_heads * a.head_dim;
  }
  /// The weighted sums of row r of the group: [padded].
  float* sums_of(std::size_t r) const noexcept { return scratch + at.sums + r * at.padded; }

  const AttentionArgs& a;
  const AttentionScratch at = layout(a.n_tokens, a.n_heads, a.head_dim);
  float* const scratch = reinterpret_cast<float*>(a.scratch);
};

}  // namespace gemma::kernels
