// The configuration of Qwen 3, dense models. Source: Qwen3 (arXiv:2505.09388), sec. 2, and the published
// configurations.
#pragma once

#include "keys.hpp"

namespace gemma::families {

/// SwiGLU, RoPE pairs (i, i + head_dim / 2), q/k-norm; no windows, softcaps or post-norms.
inline ModelConfig read_qwen3(const Keys& keys, const Overrides&) {
  ModelConfig c = read_common(keys);
  c.rope_pairing = RopePairing::kHalf;
  const RopeConfig rope{.base = keys.positive_or("rope.freq_base", 1000000.0f), .scale = rope_scale(keys)};
  for (LayerConfig& layer : c.layers) {
    layer.attention.qk_norm = true;
    set_position(c, layer, 0, rope);
  }
  return c;
}

}  // namespace gemma::families
