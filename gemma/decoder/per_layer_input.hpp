// Per-layer inputs from the tokens (Gemma 3n and 4): a row of a second embedding table, which stays in the
// mapped file, combined with a projection of the first embedding; and how a layer adds its part of it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "layer_input.hpp"
#include "linear.hpp"
#include "pass.hpp"
#include "residual.hpp"

namespace gemma::detail {

/// The inputs of layers [begin, end) for one row: (rms_norm(projection / sqrt(d_model)) * norm + embedding *
/// sqrt(P)) / sqrt(2). ws.per_layer holds the projection before the call and the inputs after it.
inline void join_per_layer_row(const Pass& p, const Worker& w, std::size_t r, std::size_t begin,
                               std::size_t end) noexcept {
  const std::size_t width = p.config.per_layer_width;
  const Matrix& e = p.weights.per_layer_embedding;
  float* const token = reinterpret_cast<float*>(p.ws.scratch_of(w.id));  // [n_layers, width]
  p.kernels.dequantize[static_cast<std::size_t>(e.type)](e.data + p.ws.row_token[r] * e.row_bytes, e.cols,
                                                         token);
  for (std::size_t l = begin; l < end; ++l) {
    float* row = p.ws.per_layer.data() + ((l - begin) * p.n_rows + r) * width;
    p.vec().scale(1.0f / std::sqrt(static_cast<float>(p.config.d_model)), width, row);
    p.vec().rms_norm(row, p.weights.per_layer_norm.data(), width, p.config.rms_eps, row);
    p.vec().scale(std::sqrt(static_cast<float>(width)), width, token + l * width);
    p.vec().add(token + l * width, width, row);
    p.vec().scale(std::sqrt(0.5f), width, row);
  }
}

/// ws.per_layer = the inputs of layers [begin, end) for the remaining rows. Uses ws.h and ws.q8. Needs a
/// barrier before it, and one before the inputs are read for rows of other workers.
inline void make_per_layer_inputs(Pass& p, const Worker& w, std::size_t begin, std::size_t end) noexcept {
  const std::size_t d = p.config.d_model, width = p.config.per_layer_width;
  const Matrix projection = rows_of(p.weights.per_layer_proj, begin * width, (end - begin) * width);
  const auto share = w.share(p.n_rows);
  for (std::size_t r = share.begin; r < share.end; ++r) {
    float* h = p.ws.h.data() + r * d;
    embed_row(p, r, h);
    if (reads_quantized(projection)) {
      p.vec().quantize_q8(h, d, p.ws.q8.q.data() + r * d, p.ws.q8.groups.data() + r * (d / 32));
    }
  }
  w.sync();
  Input in{p.ws.h.data(), p.ws.q8};
  lay_out(p, w, in, {&projection});
  share_rows(p, w, projection, in, [&](WorkRange rows) {
    while (rows.begin < rows.end) {  // the rows of each layer are stored together: [n_rows, width]
      const std::size_t layer = rows.begin / width;
      const std::size_t stop = std::min(rows.end, (layer + 1) * width);
      float* out = p.ws.per_layer.data() + layer * p.n_rows * width + rows.begin % width;
      multiply(p, w, projection, {rows.begin, stop}, in, p.n_rows, out, width);
      rows.begin = stop;
    }
  });
  w.sync();
  for (std::size_t r = share.begin; r < share.end; ++r) join_per_layer_row(p, w, r, begin, end);
  p.per_layer_begin = begin;
  p.per_layer_end = end;
}

/// residual = proj(activation(gate x) * input). Starts with work shared by rows as add_residual() does; ends
/// with a barrier.
inline void project_per_layer_input(Pass& p, const Worker& w, std::size_t l) noexcept {
  const std::size_t d = p.config.d_model, width = p.config.per_layer_width, n = p.n_rows;
  const PerLayerInputWeights& weights = p.weights.layers[l].per_layer;
  if (l >= p.per_layer_end) {  // rows were dropped since the inputs were made
    w.sync();
    make_per_layer_inputs(p, w, l, p.layer_end);
  }
  float* const input = p.ws.per_layer.data() + (l - p.per_layer_begin) * n * width;
  note(p, w, "ple", l, input, width);
  const auto share = w.share(n);
  if (reads_quantized(weights.gate)) {
    for (std::size_t r = share.begin; r < share.end; ++r) {
      p.vec().quantize_q8(p.ws.x.data() + r * d, d, p.ws.q8.q.data() + r * d,
                          p.ws.q8.groups.data() + r * (d / 32));
    }
  }
  w.sync();
  const bool quantized = reads_quantized(weights.proj);
  const bool gelu = p.config.layers[l].feed_forward.activation == Activation::kGeluTanh;
  const auto activate = gelu ? p.vec().gelu_mul : p.vec().silu_mul;
  Input in{p.ws.x.data(), p.ws.q8};
  lay_out(p, w, in, {&weights.gate});
  share_rows(p, w, weights.gate, in, [&](WorkRange rows) {
    const std::size_t size = rows.end - rows.begin;
    float* const gate = p.ws.per_layer_gate.data() + rows.begin;
    multiply(p, w, weights.gate, rows, in, n, gate, width);
    for (std::size_t r = 0; r < n; ++r) {
      const std::size_t at = r * width + rows.begin;
      activate(gate + r * width, input + at, size);
      if (quantized) {
        p.vec().quantize_q8(gate + r * width, size, p.ws.per_layer_q8.q.data() + at,
                            p.ws.per_layer_q8.groups.data() + at / 32);
      }
    }
  });
  w.sync();
  lay_out_and_multiply(p, w, weights.proj, {p.ws.per_layer_gate.data(), p.ws.per_layer_q8},
                       p.ws.residual.data());
  w.sync();
}

/// Adds a layer's input from the token: project_per_layer_input(), then x += rms_norm(residual).
inline void add_per_layer_input(Pass& p, const Worker& w, std::size_t l) noexcept {
  project_per_layer_input(p, w, l);
  add_residual(p, w, p.weights.layers[l].per_layer.post_norm);
  note(p, w, "ple_out", l, p.ws.residual.data(), p.config.d_model);
}

}  // namespace gemma::detail
