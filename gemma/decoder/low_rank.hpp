// The contribution of LoRA adapters to a product: y += scale * B (A x), in float32; the weights themselves
// are not changed.
// Invariant (law 1): sums run over the inputs, then over the ranks, in the kernels' order, and adapters are
// added one after the other; work is split by tokens and output rows, never within a sum.
#pragma once

#include <algorithm>
#include <cstddef>
#include <initializer_list>

#include "pass.hpp"

namespace gemma::detail {

/// Whether an adapter changes any of these matrices.
inline bool is_changed(std::initializer_list<const Matrix*> readers) noexcept {
  return std::any_of(readers.begin(), readers.end(), [](const Matrix* m) { return m->changes != nullptr; });
}

/// The buffer of A x of a change: [n_rows, rank].
inline float* low_rank_rows(const Pass& p, const LowRank& change) noexcept {
  return p.ws.changes.data() + change.column * p.ws.options().max_tokens;
}

/// Computes A x of every change to `readers`, which read x [n_rows, cols]. Tokens and changes are shared
/// between workers. Needs a barrier before it, and one before add_changes().
inline void multiply_by_a(const Pass& p, const Worker& w, const float* x,
                          std::initializer_list<const Matrix*> readers) noexcept {
  constexpr std::size_t kTokens = 32;
  std::size_t unit = 0;
  for (const Matrix* m : readers) {
    for (const LowRank* c = m->changes; c != nullptr; c = c->next) {
      for (std::size_t begin = 0; begin < p.n_rows; begin += kTokens) {
        if (unit++ % w.count != w.id) continue;
        const Matrix& a = c->a;
        a.kernel->matmul({.w = a.data,
                          .row_bytes = a.row_bytes,
                          .k = a.cols,
                          .row_begin = 0,
                          .row_end = a.rows,
                          .m = std::min(kTokens, p.n_rows - begin),
                          .x = x + begin * a.cols,
                          .y = low_rank_rows(p, *c) + begin * a.rows,
                          .ldy = a.rows,
                          .scratch = p.ws.scratch_of(w.id)});
      }
    }
  }
}

/// out[n, ld_out] += scale * B (A x) of every change to m, for these rows of m.
inline void add_changes(const Pass& p, const Worker& w, const Matrix& m, WorkRange rows, std::size_t n,
                        float* out, std::size_t ld_out) noexcept {
  constexpr std::size_t kMostRows = 512;  // limit of the rows at a time, for few tokens
  const std::size_t room = p.ws.options().max_tokens * kRowUnit / n / kRowUnit * kRowUnit;
  const std::size_t step = std::min(room, kMostRows);
  float* const block = p.ws.change_block_of(w.id);
  for (const LowRank* c = m.changes; c != nullptr; c = c->next) {
    const Matrix& b = c->b;
    for (std::size_t begin = rows.begin; begin < rows.end; begin += step) {
      const std::size_t size = std::min(step, rows.end - begin);
      b.kernel->matmul({.w = b.data + begin * b.row_bytes,
                        .row_bytes = b.row_bytes,
                        .k = b.cols,
                        .row_begin = 0,
                        .row_end = size,
                        .m = n,
                        .x = low_rank_rows(p, *c),
                        .y = block,
                        .ldy = size,
                        .scratch = p.ws.scratch_of(w.id),
                        .scale = b.scale});
      for (std::size_t r = 0; r < n; ++r) {
        p.vec().add(block + r * size, size, out + r * ld_out + begin - rows.begin);
      }
    }
  }
}

}  // namespace gemma::detail
