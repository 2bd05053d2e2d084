// Products with weight matrices: how rows are shared between workers, and the 8-bit form of what is
// multiplied.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "pass.hpp"

namespace gemma::detail {

/// Rows that a matmul reads: as floats or in 8 bits, by its kernel; the other may be missing.
struct Input {
  Input(const float* floats, const Workspace::QuantizedRows& quantized) noexcept
      : x(floats), q(quantized.q.data()), groups(quantized.groups.data()) {}
  Input(const float* floats, const std::int8_t* q8, const kernels::Q8Group* q8_groups) noexcept
      : x(floats), q(q8), groups(q8_groups) {}

  const float* x;                  // [n, k]
  const std::int8_t* q;            // [n, k]
  const kernels::Q8Group* groups;  // [n, k / 32]
};

/// Rows [begin, begin + n) of `m` as a matrix.
inline Matrix rows_of(const Matrix& m, std::size_t begin, std::size_t n) noexcept {
  Matrix out = m;
  out.data += begin * m.row_bytes;
  out.rows = n;
  return out;
}

/// Whether the kernel of `m` reads 8-bit activations.
inline bool reads_quantized(const Matrix& m) noexcept {
  return m.data != nullptr && m.kernel->quantized_activations;
}

/// f(rows of m) for this worker's rows. With few tokens, where the weights are read only once, whoever is
/// free takes the next: memory does not serve all cores alike, nor does a shared machine. With many, even
/// shares, since each call of a kernel lays out the tokens again.
template <class F>
void share_rows(Pass& p, const Worker& w, const Matrix& m, F f) noexcept {
  constexpr std::size_t kFewTokens = 4;
  constexpr std::size_t kPieceBytes = std::size_t{512} << 10;  // the last pieces at most
  std::atomic<std::size_t>& taken = p.draw_step();
  if (w.count == 1 || p.n_rows > kFewTokens) {
    const Range rows = w.share(m.rows, kRowUnit);
    if (rows.begin < rows.end) f(rows);
    return;
  }
  const std::size_t piece = std::min(kPieceBytes / m.row_bytes, m.rows / (12 * w.count));
  const std::size_t unit = std::max(kRowUnit, piece / kRowUnit * kRowUnit);
  for (;;) {
    const Range rows = take(taken, m.rows, unit, w.count);
    if (rows.begin == rows.end) return;
    f(rows);
  }
}

/// out[n, ld_out] = in * (rows of m)^T.
inline void multiply(const Pass& p, const Worker& w, const Matrix& m, Range rows, const Input& in,
                     std::size_t n, float* out, std::size_t ld_out) noexcept {
  m.kernel->matmul({.w = m.data + rows.begin * m.row_bytes,
                    .row_bytes = m.row_bytes,
                    .k = m.cols,
                    .row_begin = 0,
                    .row_end = rows.end - rows.begin,
                    .m = n,
                    .x = in.x,
                    .q = in.q,
                    .groups = in.groups,
                    .y = out,
                    .ldy = ld_out,
                    .scratch = p.ws.scratch_of(w.id),
                    .scale = m.scale});
}

/// Tells whoever traces the pass what a matrix multiplies; by one worker, while nobody writes to it.
inline void tell_input(const Pass& p, const Matrix& m, const Input& in, std::size_t n) noexcept {
  p.trace->input(m.data, n, m.cols, reads_quantized(m) ? nullptr : in.x, in.q, in.groups);
}
/// The same by all workers, for the rows of the pass.
inline void note_input(const Pass& p, const Worker& w, const Matrix& m, const Input& in) noexcept {
  if (p.trace == nullptr) return;
  w.sync();
  if (w.id == 0) tell_input(p, m, in, p.n_rows);
  w.sync();
}

/// out[n_rows, m.rows] = in * m^T, shared between the workers.
inline void matmul(Pass& p, const Worker& w, const Matrix& m, const Input& in, float* out) noexcept {
  note_input(p, w, m, in);
  share_rows(p, w, m, [&](Range rows) { multiply(p, w, m, rows, in, p.n_rows, out + rows.begin, m.rows); });
}

/// The 8-bit form of rows[n_rows, width] in ws.q8. Shared by groups of 32, not rows, so that one row is
/// shared too.
inline void quantize_rows(const Pass& p, const Worker& w, const float* rows, std::size_t width) noexcept {
  const std::size_t groups = width / 32;
  const auto share = w.share(p.n_rows * groups);
  for (std::size_t g = share.begin; g < share.end;) {
    const std::size_t run = std::min(share.end, (g / groups + 1) * groups) - g;
    p.vec().quantize_q8(rows + g * 32, run * 32, p.ws.q8.q.data() + g * 32, p.ws.q8.groups.data() + g);
    g += run;
  }
}

}  // namespace gemma::detail
