// The configuration of Gemma 3n (E2B, E4B), text only. Source: the published configuration and the keys that
// converters write.
#pragma once

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "gemma.hpp"
#include "keys.hpp"

namespace gemma::families {

/// Several residual streams, of which layers compute on the first, and a low-rank branch beside attention. No
/// key gives the branch's rank: it is read from the shape of its tensor.
inline StreamsConfig read_streams(const Keys& keys) {
  if (const std::uint64_t active = keys.count_or("altup.active_idx", 0); active != 0) {
    keys.unsupported("altup.active_idx", "is " + std::to_string(active));
  }
  return {static_cast<std::size_t>(keys.count_or("altup.num_inputs", 4)),
          keys.file().tensor("blk.0.laurel_l.weight").rows};
}

/// The sparsity of each layer's gate: only values that exceed the mean by this many standard deviations are
/// used; 0 and -infinity both mean all values.
inline void read_sparsity(const Keys& keys, ModelConfig& c) {
  constexpr const char* kKey = "activation_sparsity_scale";
  if (keys.find(kKey) == nullptr) return;
  const std::vector<float> scales = keys.per_layer<float>(kKey, c.n_layers());
  for (std::size_t i = 0; i < c.n_layers(); ++i) {
    const bool dense =
        scales[i] == 0.0f || (!is_finite(scales[i]) && !is_nan(scales[i]) && std::signbit(scales[i]));
    c.layers[i].feed_forward.sparsity = dense ? 0.0f : scales[i];
  }
}

/// q/k-norm, v-norm, unscaled scores, shared keys and values, per-layer inputs from tokens, sparse gates.
inline ModelConfig read_gemma3n(const Keys& keys, const Overrides& overrides) {
  ModelConfig c = read_gemma_base(keys, overrides);
  c.post_norms = true;
  c.logit_softcap = keys.non_negative_or("final_logit_softcapping", 30.0f);
  c.per_layer_width = keys.size("embedding_length_per_layer_input");
  c.streams = read_streams(keys);
  read_sparsity(keys, c);
  const std::size_t window = sliding_window(keys, overrides, std::nullopt);
  const RopeConfig global{.base = keys.positive_or("rope.freq_base", 1000000.0f),
                          .scale = rope_scale(keys),
                          .divided = has_rope_divisors(keys)};
  const RopeConfig local{.base = keys.positive_or("rope.freq_base_swa", 10000.0f)};
  const std::vector<bool> slides = sliding_layers(keys, c.n_layers(), 5);
  share_kv(keys, c, slides);
  for (std::size_t i = 0; i < c.n_layers(); ++i) {
    c.layers[i].attention.scale = 1.0f;
    c.layers[i].attention.qk_norm = true;
    c.layers[i].attention.v_norm = true;
    set_position(c, c.layers[i], slides[i] ? window : 0, slides[i] ? local : global);
  }
  return c;
}

}  // namespace gemma::families
