// Products with weight matrices: how rows are shared between workers, and the 8-bit form of activations.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "../token_layouts.hpp"
#include "low_rank.hpp"
#include "pass.hpp"

namespace gemma::detail {

/// The rows that a matmul reads: floats or 8-bit groups, whichever its kernel reads; the other form may be
/// missing. 8-bit rows of many tokens are also laid out for the kernels that read them, by lay_out().
struct Input {
  Input(const float* floats, const Workspace::QuantizedRows& quantized) noexcept
      : x(floats), q(quantized.q.data()), groups(quantized.groups.data()) {}
  Input(const float* floats, const std::int8_t* q8, const kernels::Q8Group* q8_groups) noexcept
      : x(floats), q(q8), groups(q8_groups) {}

  const float* x;                  // [n, k]; adapters read it too
  const std::int8_t* q;            // [n, k]
  const kernels::Q8Group* groups;  // [n, k / 32]
  TokenLayouts layouts;            // in Workspace::laid_out
};

/// The size of a piece of work, in quarters of an even share of the remaining rows: see take_piece().
inline constexpr std::size_t kFewTokensQuarters = 3, kManyTokensQuarters = 2;

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

/// Lays out `in` for the kernels of `readers`, once for each kernel that reads a layout. A kernel call then
/// has no fixed cost, so rows can be given out in small pieces. With adapters, it also computes A x of their
/// changes to `readers` (low_rank.hpp). Needs a barrier before it; ends with one if it did anything. The
/// layouts stay valid until the next call of lay_out().
inline void lay_out(Pass& p, const Worker& w, Input& in,
                    std::initializer_list<const Matrix*> readers) noexcept {
  for (const Matrix* m : readers) {
    const TokenLayouts::Entry* const layout = in.layouts.add(*m, p.n_rows);
    if (layout == nullptr) continue;
    const kernels::MatmulArgs args{.k = m->cols, .m = p.n_rows, .x = in.x, .q = in.q, .groups = in.groups};
    std::atomic<std::size_t>& taken = p.draw_step();
    for (;;) {
      const WorkRange tokens =
          take_piece(taken, p.n_rows, kernels::kLayoutTokens, w.count, kManyTokensQuarters);
      if (tokens.begin == tokens.end) break;
      m->kernel->lay_out(args, tokens.begin, tokens.end, p.ws.laid_out.data() + layout->offset);
    }
  }
  const bool changed = is_changed(readers);
  if (changed) multiply_by_a(p, w, in.x, readers);
  if (changed || in.layouts.bytes() != 0) w.sync();
}

/// Calls f(rows of m) for this worker's rows. Each worker takes the next piece when it is free (dynamic
/// scheduling), since cores differ in speed, in memory bandwidth and, on a shared machine, in available time.
/// With few tokens, when the weights are read only once, the last pieces are small, so that no worker waits
/// long for another; with many tokens the first pieces are smaller, to suit a core that computes at half the
/// speed of the others. If each kernel call would lay out the 8-bit tokens again, every worker gets one even
/// share instead.
template <class F>
void share_rows(Pass& p, const Worker& w, const Matrix& m, const Input& in, F f) noexcept {
  constexpr std::size_t kFewTokens = 4;
  constexpr std::size_t kPieceBytes = std::size_t{512} << 10;  // maximum size of the last pieces
  const bool few = p.n_rows <= kFewTokens;
  std::atomic<std::size_t>& taken = p.draw_step();
  if (w.count == 1 || !(few || !m.kernel->quantized_activations || in.layouts.find(m) != nullptr)) {
    const WorkRange rows = w.share(m.rows, kRowUnit);
    if (rows.begin < rows.end) f(rows);
    return;
  }
  const std::size_t piece = few ? std::min(kPieceBytes / m.row_bytes, m.rows / (12 * w.count)) : 0;
  const std::size_t unit = std::max(kRowUnit, piece / kRowUnit * kRowUnit);
  for (;;) {
    const WorkRange rows =
        take_piece(taken, m.rows, unit, w.count, few ? kFewTokensQuarters : kManyTokensQuarters);
    if (rows.begin == rows.end) return;
    f(rows);
  }
}

/// out[n, ld_out] = in * (rows of m)^T. Where adapters change m, `in` must have been given to lay_out().
inline void multiply(const Pass& p, const Worker& w, const Matrix& m, WorkRange rows, const Input& in,
                     std::size_t n, float* out, std::size_t ld_out) noexcept {
  const TokenLayouts::Entry* const layout = in.layouts.find(m);
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
                    .scale = m.scale,
                    .laid_out = layout == nullptr ? nullptr : p.ws.laid_out.data() + layout->offset});
  if (m.changes != nullptr) add_changes(p, w, m, rows, n, out, ld_out);
}

/// Passes the input of a matrix to the trace. Called by one worker, while nobody writes to the input.
inline void tell_input(const Pass& p, const Matrix& m, const Input& in, std::size_t n) noexcept {
  p.trace->input(m.data, n, m.cols, reads_quantized(m) ? nullptr : in.x, in.q, in.groups);
}
/// Passes the input of a matrix, for the rows of the pass, to the trace if there is one. Called by all
/// workers; has barriers before and after.
inline void note_input(const Pass& p, const Worker& w, const Matrix& m, const Input& in) noexcept {
  if (p.trace == nullptr) return;
  w.sync();
  if (w.id == 0) tell_input(p, m, in, p.n_rows);
  w.sync();
}

/// out[n_rows, m.rows] = in * m^T, shared between the workers.
inline void matmul(Pass& p, const Worker& w, const Matrix& m, const Input& in, float* out) noexcept {
  note_input(p, w, m, in);
  share_rows(p, w, m, in,
             [&](WorkRange rows) { multiply(p, w, m, rows, in, p.n_rows, out + rows.begin, m.rows); });
}

/// matmul() of an input that no other matrix reads, laid out first if its kernel needs that. Needs a barrier
/// before it.
inline void lay_out_and_multiply(Pass& p, const Worker& w, const Matrix& m, Input in, float* out) noexcept {
  lay_out(p, w, in, {&m});
  matmul(p, w, m, in, out);
}

/// Writes the 8-bit form of rows[n_rows, width] to ws.q8. Workers share groups of 32 elements, not rows, so
/// that a single row is shared too.
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
