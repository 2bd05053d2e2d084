// The feed-forward block of one layer: down(activation(gate(h)) * up(h)) (Shazeer 2020, arXiv:2002.05202).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "linear.hpp"
#include "pass.hpp"

namespace gemma::detail {

/// Where activated rows are written: as floats, in 8 bits when q is set, or both.
struct Activated {
  float* x;                  // [n, width]
  std::int8_t* q;            // [n, width]
  kernels::Q8Group* groups;  // [n, width / 32]
  std::size_t width;         // elements of a whole row
  bool both = false;         // write floats too when q is set: an adapter reads them
};

/// gate[i] = max(gate[i] - bound, 0), where bound = mean + sparsity * standard deviation of gate[n] (the
/// variance is divided by n). Sums are in double, in the order of the elements.
inline void keep_largest(float* gate, std::size_t n, float sparsity) noexcept {
  double sum = 0, squares = 0;
  for (std::size_t i = 0; i < n; ++i) sum += static_cast<double>(gate[i]);
  const double mean = sum / static_cast<double>(n);
  for (std::size_t i = 0; i < n; ++i) {
    const double off = static_cast<double>(gate[i]) - mean;
    squares += off * off;
  }
  const double bound = mean + static_cast<double>(sparsity) * std::sqrt(squares / static_cast<double>(n));
  for (std::size_t i = 0; i < n; ++i) gate[i] = std::max(gate[i] - static_cast<float>(bound), 0.0f);
}

/// Computes the whole gate of a sparse layer, [n_rows, d_ff] in ws.ffn: the bound needs all elements of a
/// row. Has barriers inside and one at its end.
inline void sparse_gate(Pass& p, const Worker& w, std::size_t l, const Input& in) noexcept {
  const FeedForwardConfig& f = p.config.layers[l].feed_forward;
  matmul(p, w, p.weights.layers[l].gate, in, p.ws.ffn.data());
  w.sync();
  const auto share = w.share(p.n_rows);
  for (std::size_t r = share.begin; r < share.end; ++r) {
    keep_largest(p.ws.ffn.data() + r * f.d_ff, f.d_ff, f.sparsity);
  }
  note(p, w, "ffn_sparse", l, p.ws.ffn.data(), f.d_ff);
  w.sync();
}

/// out = activation(gate * in) * (up * in) for n rows of input and the given rows of both matrices. Works on
/// one block of rows at a time, so that gate and up of many tokens are activated and quantised while they are
/// in the cache. Without a gate matrix, out.x holds the gate already.
inline void gate_and_up(const Pass& p, const Worker& w, Activation activation, const Matrix& gate,
                        const Matrix& up, WorkRange rows, const Input& in, std::size_t n,
                        const Activated& out) noexcept {
  const auto activate = activation == Activation::kGeluTanh ? p.vec().gelu_mul : p.vec().silu_mul;
  const std::size_t ld = p.ws.ffn_rows();
  float* const up_block = p.ws.ffn_block_of(w.id);
  for (std::size_t begin = rows.begin; begin < rows.end; begin += ld) {
    const WorkRange block{begin, std::min(begin + ld, rows.end)};
    const std::size_t size = block.end - block.begin;
    const bool own_block = out.q != nullptr && gate.data != nullptr && !out.both;
    float* const gate_block = own_block ? up_block + n * ld : out.x + begin;
    const std::size_t ld_gate = own_block ? ld : out.width;
    if (gate.data != nullptr) multiply(p, w, gate, block, in, n, gate_block, ld_gate);
    multiply(p, w, up, block, in, n, up_block, ld);
    for (std::size_t r = 0; r < n; ++r) {
      activate(gate_block + r * ld_gate, up_block + r * ld, size);
      if (out.q == nullptr) continue;
      const std::size_t at = r * out.width + begin;
      p.vec().quantize_q8(gate_block + r * ld_gate, size, out.q + at, out.groups + at / 32);
    }
  }
}

/// residual = down(activation(gate(h)) * up(h)).
inline void feed_forward(Pass& p, const Worker& w, std::size_t l) noexcept {
  const LayerWeights& weights = p.weights.layers[l];
  const FeedForwardConfig& f = p.config.layers[l].feed_forward;
  Workspace& ws = p.ws;
  const bool quantized = reads_quantized(weights.down);
  const Activated out{ws.ffn.data(), quantized ? ws.ffn_q8.q.data() : nullptr, ws.ffn_q8.groups.data(),
                      f.d_ff, weights.down.changes != nullptr};
  Input in{ws.h.data(), ws.q8};
  lay_out(p, w, in, {&weights.gate, &weights.up});
  if (f.sparsity != 0.0f) sparse_gate(p, w, l, in);
  const Matrix gate = f.sparsity != 0.0f ? Matrix{} : weights.gate;
  if (gate.data != nullptr) note_input(p, w, gate, in);
  note_input(p, w, weights.up, in);
  share_rows(p, w, weights.up, in, [&](WorkRange rows) {
    gate_and_up(p, w, f.activation, gate, weights.up, rows, in, p.n_rows, out);
  });
  w.sync();
  lay_out_and_multiply(p, w, weights.down, {ws.ffn.data(), ws.ffn_q8}, ws.residual.data());
}

}  // namespace gemma::detail
