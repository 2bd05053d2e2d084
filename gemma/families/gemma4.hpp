// The configuration of Gemma 4 (E2B, E4B, 12B, 26B-A4B, 31B), text only. Source: the published configurations
// and the keys that converters write.
#pragma once

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "gemma.hpp"
#include "keys.hpp"

namespace gemma::families {

/// The experts beside the feed-forward block of each layer, if the file has any.
inline ExpertsConfig read_experts(const Keys& keys) {
  if (keys.count_or("expert_count", 0) == 0) return {};
  return {keys.size("expert_count"), keys.size("expert_used_count"), keys.size("expert_feed_forward_length")};
}

/// Head sizes, which differ by kind of layer: those of sliding layers have their own keys, `..._swa`.
inline void read_sliding_heads(const Keys& keys, ModelConfig& c, const std::vector<bool>& slides) {
  if (keys.find("attention.key_length_swa") == nullptr) return;
  const std::size_t head_dim = keys.size("attention.key_length_swa");
  check_head_sizes(keys, head_dim, "_swa");
  for (std::size_t i = 0; i < c.n_layers(); ++i) {
    if (slides[i]) c.layers[i].attention.head_dim = head_dim;
  }
}

/// q/k-norm, v-norm, unscaled scores, values equal to the keys if a layer has no value matrix, rotary
/// divisors on global layers, shared keys and values, per-layer inputs from tokens, experts.
inline ModelConfig read_gemma4(const Keys& keys, const Overrides& overrides) {
  ModelConfig c = read_gemma_base(keys, overrides);
  c.post_norms = true;
  c.logit_softcap = keys.non_negative_or("final_logit_softcapping", 30.0f);
  c.per_layer_width = static_cast<std::size_t>(keys.count_or("embedding_length_per_layer_input", 0));
  c.suppressed = suppressed_tokens(keys);
  const float softcap = keys.non_negative_or("attn_logit_softcapping", 0.0f);
  const std::size_t window = sliding_window(keys, overrides, std::nullopt);
  const RopeConfig global{.base = keys.positive_or("rope.freq_base", 1000000.0f),
                          .scale = rope_scale(keys),
                          .divided = has_rope_divisors(keys)};
  const RopeConfig local{.base = keys.positive_or("rope.freq_base_swa", 10000.0f)};
  const std::vector<bool> slides = sliding_layers(keys, c.n_layers(), 6);
  read_sliding_heads(keys, c, slides);
  share_kv(keys, c, slides);
  const ExpertsConfig experts = read_experts(keys);
  for (std::size_t i = 0; i < c.n_layers(); ++i) {
    LayerConfig& layer = c.layers[i];
    layer.attention.scale = 1.0f;
    layer.attention.softcap = softcap;
    layer.attention.qk_norm = true;
    layer.attention.v_norm = true;
    layer.attention.v_from_k = c.owns_kv(i) && !has_layer_tensor(keys, i, "attn_v.weight");
    layer.feed_forward.experts = experts;
    set_position(c, layer, slides[i] ? window : 0, slides[i] ? local : global);
  }
  return c;
}

}  // namespace gemma::families
