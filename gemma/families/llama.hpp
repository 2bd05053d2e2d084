// Files of architecture "llama": Llama 2 and 3, Mistral. Sources: Touvron et al. 2023 (arXiv:2302.13971),
// Llama 3 (arXiv:2407.21783), Jiang et al. 2023 (arXiv:2310.06825).
#pragma once

#include "keys.hpp"

namespace gemma::families {

/// SwiGLU, RoPE pairs (2i, 2i + 1) since the converter permutes Q and K. Files of Mistral v0.1 do not contain
/// its window of 4096; the caller may set it (Overrides::window).
inline ModelConfig read_llama(const Keys& keys, const Overrides& overrides) {
  ModelConfig c = read_common(keys);
  if (keys.count_or("expert_count", 0) != 0)
    keys.unsupported("expert_count", "asks for a mixture of experts");
  const std::size_t window = sliding_window(keys, overrides, 0);
  const RopeConfig rope{.base = keys.positive_or("rope.freq_base", 10000.0f),
                        .scale = rope_scale(keys),
                        .divided = has_rope_divisors(keys)};
  for (LayerConfig& layer : c.layers) set_position(c, layer, window, rope);
  return c;
}

}  // namespace gemma::families
