// One forward pass of the decoder, for every family: it reads ModelConfig and never asks which family it
// runs. Invariant (law 1): the bits of a token's logits depend on the tokens before it only: every step works
// on whole rows, heads or groups of 32, so shares between threads, chunks and batches do not show in the
// result.
//
// One layer (pre-norm decoder, Vaswani et al. 2017; Touvron et al. 2023):
//   h = rms_norm(x);  q, k, v = W h;  [q, k = rms_norm(q), rms_norm(k)];  q, k = rope(q), rope(k);
//   cache k, v;  x += [rms_norm](W_o attention(q, cache));
//   h = rms_norm(x);  x += [rms_norm](W_down (activation(W_gate h) * (W_up h))).
#pragma once

#include <atomic>
#include <cstddef>

#include "attention.hpp"
#include "feed_forward.hpp"
#include "head.hpp"
#include "layer_input.hpp"
#include "pass.hpp"
#include "residual.hpp"

namespace gemma::detail {

/// All workers see the same answer: worker 0 reads the flag between two barriers.
inline bool stop_requested(const Pass& p, const Worker& w) noexcept {
  if (p.cancel == nullptr) return false;
  std::atomic<bool>& stop = p.ws.shared->stop;
  if (w.id == 0) stop.store(p.cancel->load(std::memory_order_relaxed), std::memory_order_relaxed);
  w.sync();
  return stop.load(std::memory_order_relaxed);
}

/// Runs this worker's share of the whole pass, on its own copy of it. Every worker of the team calls it once.
inline void run(Pass p, const Worker& w) noexcept {
  const std::size_t d = p.config.d_model;
  read_input(p, w);
  rope_angles(p, w);
  note(p, w, "embd", 0, p.ws.x.data(), d);
  for (std::size_t i = p.layer_begin; i < p.layer_end; ++i) {
    const LayerWeights& l = p.weights.layers[i];
    if (stop_requested(p, w)) return;
    if (!attention(p, w, i)) return;
    add_residual(p, w, l.post_attn_norm);
    norm_rows(p, w, l.ffn_norm, reads_quantized(l.gate) || reads_quantized(l.up));
    note(p, w, "ffn_norm", i, p.ws.h.data(), d);
    w.sync();
    feed_forward(p, w, i);
    w.sync();
    note(p, w, "ffn_out", i, p.ws.residual.data(), d);
    add_residual(p, w, l.post_ffn_norm);
    note(p, w, "l_out", i, p.ws.x.data(), d);
  }
  if (p.layer_end == p.config.n_layers()) head(p, w);
}

}  // namespace gemma::detail
