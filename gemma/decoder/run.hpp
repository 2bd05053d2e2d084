// One forward pass of the decoder, for every family: it reads ModelConfig and never asks which family it
// runs.
// Invariant (law 1): the bits of a token's logits depend only on that token and the tokens before it: every
// step works on whole rows, heads or groups of 32, so the result does not depend on how tokens are divided
// between threads, chunks and batches.
//
// One layer (pre-norm decoder, Vaswani et al. 2017; Touvron et al. 2023):
//   h = rms_norm(x);  q, k, v = W h;  [q, k = rms_norm(q), rms_norm(k)];  q, k = rope(q), rope(k);
//   cache k, v;  x += [rms_norm](W_o attention(q, cache));
//   h = rms_norm(x);  x += [rms_norm](W_down (activation(W_gate h) * (W_up h)) [+ experts]);
//   [x += the layer's input from the token];  [x *= scale].
// Models with several residual streams: streams.hpp.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>

#include "attention.hpp"
#include "feed_forward.hpp"
#include "head.hpp"
#include "layer_input.hpp"
#include "mixture.hpp"
#include "pass.hpp"
#include "per_layer_input.hpp"
#include "residual.hpp"
#include "streams.hpp"

namespace gemma::detail {

/// Whether the caller asked the pass to stop. All workers get the same answer: worker 0 reads the flag
/// between two barriers.
inline bool stop_requested(const Pass& p, const Worker& w) noexcept {
  if (p.cancel == nullptr) return false;
  std::atomic<bool>& stop = p.ws.shared->stop;
  if (w.id == 0) stop.store(p.cancel->load(std::memory_order_relaxed), std::memory_order_relaxed);
  w.sync();
  return stop.load(std::memory_order_relaxed);
}

/// The second half of a layer: the feed-forward block, and the steps after it.
inline void feed_forward_half(Pass& p, const Worker& w, std::size_t l) noexcept {
  const std::size_t d = p.config.d_model;
  const LayerWeights& weights = p.weights.layers[l];
  const bool has_experts = p.config.layers[l].feed_forward.experts.count != 0;
  norm_rows(p, w, weights.ffn_norm, reads_quantized(weights.gate) || reads_quantized(weights.up));
  if (has_experts) mixture_input(p, w, l);
  note(p, w, "ffn_norm", l, p.ws.h.data(), d);
  w.sync();
  if (has_experts) score_experts(p, w, l);
  feed_forward(p, w, l);
  w.sync();
  note(p, w, "ffn_out", l, p.ws.residual.data(), d);
  if (has_experts) mixture(p, w, l);
  add_residual(p, w, weights.post_ffn_norm);
  if (p.config.streams.count != 0) return correct_streams(p, w, l);
  if (p.config.per_layer_width != 0) add_per_layer_input(p, w, l);
  if (weights.output_scale != 1.0f) scale_rows(p, w, weights.output_scale);
  note(p, w, "l_out", l, p.ws.x.data(), d);
}

/// Runs this worker's share of the whole pass, on its own copy of it. Every worker of the team calls it once.
inline void run(Pass p, const Worker& w) noexcept {
  const std::size_t d = p.config.d_model;
  read_input(p, w);
  rope_angles(p, w);
  note(p, w, "embd", 0, p.ws.x.data(), d);
  if (p.config.per_layer_width != 0) {
    const std::size_t end = p.n_rows == p.n_wanted ? p.layer_end : std::min(p.layer_end, p.last_kv_layer);
    if (end > p.layer_begin) make_per_layer_inputs(p, w, p.layer_begin, end);
    w.sync();
  }
  const bool several_streams = p.config.streams.count != 0;
  if (several_streams) enter_streams(p, w);
  for (std::size_t l = p.layer_begin; l < p.layer_end; ++l) {
    if (stop_requested(p, w)) return;
    if (several_streams) predict_streams(p, w, l);
    if (!attention(p, w, l)) return;
    if (several_streams) {
      add_attention_and_low_rank(p, w, l);
    } else {
      add_residual(p, w, p.weights.layers[l].post_attn_norm);
    }
    feed_forward_half(p, w, l);
  }
  if (p.layer_end != p.config.n_layers()) return;
  if (several_streams) merge_streams(p, w);
  head(p, w);
}

}  // namespace gemma::detail
