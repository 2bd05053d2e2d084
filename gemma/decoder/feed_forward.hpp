// The feed-forward block of one layer: down(activation(gate(h)) * up(h)) (Shazeer 2020, arXiv:2002.05202).
#pragma once

#include <algorithm>
#include <cstddef>

#include "linear.hpp"
#include "pass.hpp"

namespace gemma::detail {

/// residual = down(activation(gate(h)) * up(h)). Block of rows by block of rows, so that gate and up of many
/// tokens are activated and quantised where they are, not in memory a step later.
inline void feed_forward(Pass& p, const Worker& w, std::size_t l) noexcept {
  const LayerWeights& weights = p.weights.layers[l];
  const FeedForwardConfig& f = p.config.layers[l].feed_forward;
  const std::size_t ff = f.d_ff, ld = p.ws.ffn_rows(), n = p.n_rows;
  const bool quantized = reads_quantized(weights.down);
  const auto activate = f.activation == Activation::kGeluTanh ? p.vec().gelu_mul : p.vec().silu_mul;
  const Input in{p.ws.h.data(), p.ws.q8};
  float* const up = p.ws.ffn_block_of(w.id);
  share_rows(p, w, weights.gate, [&](Range rows) {
    for (std::size_t begin = rows.begin; begin < rows.end; begin += ld) {
      const Range block{begin, std::min(begin + ld, rows.end)};
      const std::size_t size = block.end - block.begin;
      float* const gate = quantized ? up + n * ld : p.ws.ffn.data() + begin;
      const std::size_t ld_gate = quantized ? ld : ff;
      multiply(p, w, weights.gate, block, in, gate, ld_gate);
      multiply(p, w, weights.up, block, in, up, ld);
      for (std::size_t r = 0; r < n; ++r) {
        activate(gate + r * ld_gate, up + r * ld, size);
        const std::size_t at = r * ff + begin;
        if (quantized) {
          p.vec().quantize_q8(gate + r * ld_gate, size, p.ws.ffn_q8.q.data() + at,
                              p.ws.ffn_q8.groups.data() + at / 32);
        }
      }
    }
  });
  w.sync();
  matmul(p, w, weights.down, {p.ws.ffn.data(), p.ws.ffn_q8}, p.ws.residual.data());
}

}  // namespace gemma::detail
