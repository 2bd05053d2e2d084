// The configurations of Gemma 1, 2 and 3. Sources: Gemma Team 2024 (arXiv:2403.08295), Gemma 2
// (arXiv:2408.00118), Gemma 3 (arXiv:2503.19786), and the published configurations.
#pragma once

#include <cmath>
#include <optional>
#include <vector>

#include "../../gguf/half.hpp"
#include "keys.hpp"

namespace gemma::families {

/// The fields that all generations share: scaled embeddings, GeGLU (tanh), RoPE pairs (i, i + head_dim / 2),
/// an epsilon of 1e-6. Ollama's files lack the epsilon and the size of heads.
inline ModelConfig read_gemma_base(const Keys& keys, const Overrides& overrides) {
  ModelConfig c = read_common(keys, {.rms_eps = 1e-6f, .head_dim_of_matrix = true});
  c.embedding_scale = std::sqrt(static_cast<float>(c.d_model));
  if (overrides.bf16_embedding_scale) c.embedding_scale = bf16_to_f32(f32_to_bf16(c.embedding_scale));
  for (LayerConfig& layer : c.layers) layer.feed_forward.activation = Activation::kGeluTanh;
  c.rope_pairing = RopePairing::kHalf;
  return c;
}

/// The 27B models of Gemma 2 and 3 scale scores by 1 / sqrt(d_model / n_heads) (144, 168) instead of 1 /
/// sqrt(head_dim) (128). No key says so: they are recognised by their number of layers, as other engines do.
/// A pruned or merged 27B with another number of layers therefore gets 1 / sqrt(head_dim).
inline void scale_as_27b(ModelConfig& c, std::size_t n_layers_27b) {
  if (c.n_layers() != n_layers_27b) return;
  for (LayerConfig& layer : c.layers) {
    const auto n_heads = static_cast<float>(layer.attention.n_heads);
    layer.attention.scale = 1.0f / std::sqrt(static_cast<float>(c.d_model) / n_heads);
  }
}

/// Gemma 1: no windows, no softcaps, no post-norms.
inline ModelConfig read_gemma1(const Keys& keys, const Overrides& overrides) {
  ModelConfig c = read_gemma_base(keys, overrides);
  const std::size_t window = sliding_window(keys, overrides, 0);
  const RopeConfig rope{.base = keys.positive_or("rope.freq_base", 10000.0f),
                        .scale = rope_scale(keys),
                        .divided = has_rope_divisors(keys)};
  for (LayerConfig& layer : c.layers) set_position(c, layer, window, rope);
  return c;
}

/// Gemma 2: post-norms, softcaps 50 (scores) and 30 (logits), a window on even layers.
inline ModelConfig read_gemma2(const Keys& keys, const Overrides& overrides) {
  ModelConfig c = read_gemma_base(keys, overrides);
  scale_as_27b(c, 46);
  c.post_norms = true;
  c.logit_softcap = keys.non_negative_or("final_logit_softcapping", 30.0f);
  const float softcap = keys.non_negative_or("attn_logit_softcapping", 50.0f);
  const std::size_t window = sliding_window(keys, overrides, 4096);
  const RopeConfig global{.base = keys.positive_or("rope.freq_base", 10000.0f),
                          .scale = rope_scale(keys),
                          .divided = has_rope_divisors(keys)};
  RopeConfig local = global;
  local.base = keys.positive_or("rope.freq_base_swa", global.base);
  const std::vector<bool> slides = sliding_layers(keys, c.n_layers(), 2);
  for (std::size_t i = 0; i < c.n_layers(); ++i) {
    c.layers[i].attention.softcap = softcap;
    set_position(c, c.layers[i], slides[i] ? window : 0, slides[i] ? local : global);
  }
  return c;
}

/// Linear scaling of Gemma 3's global layers. Ollama's files have no key for it: published models of 131,072
/// positions (4B and up) have factor 8, and those of 18 or 26 layers (270M and 1B, 32,768 positions) none.
inline float gemma3_rope_scale(const Keys& keys, ModelConfig& c) {
  const bool small = c.n_layers() == 18 || c.n_layers() == 26;
  if (has_rope_scaling(keys) || small || c.max_seq_len != 131072) return rope_scale(keys);
  c.notes.push_back(keys.name_of("rope.scaling.factor") +
                    " is missing: 8 is used, as in published models of 131072 positions");
  return 1.0f / 8.0f;
}

/// The softcap of Gemma 3's logits. Gemma 3 has none, but Ollama's converter writes Gemma 2's value, 30,
/// where a configuration has no value, so 30 is ignored; any other number is used.
inline float gemma3_logit_softcap(const Keys& keys, ModelConfig& c) {
  constexpr const char* kKey = "final_logit_softcapping";
  const float softcap = keys.non_negative_or(kKey, 0.0f);
  if (softcap != 30.0f) return softcap;
  c.notes.push_back(keys.name_of(kKey) + " is 30, Gemma 2's, and not used: Gemma 3 has no softcap");
  return 0.0f;
}

/// Gemma 3: q/k-norm, five sliding layers for each global one, sliding layers with rope base 10,000 and no
/// scaling; no softcaps.
inline ModelConfig read_gemma3(const Keys& keys, const Overrides& overrides) {
  ModelConfig c = read_gemma_base(keys, overrides);
  scale_as_27b(c, 62);
  c.post_norms = true;
  c.logit_softcap = gemma3_logit_softcap(keys, c);
  const float softcap = keys.non_negative_or("attn_logit_softcapping", 0.0f);
  const std::size_t window = sliding_window(keys, overrides, std::nullopt);  // 512 or 1024: no default
  const RopeConfig global{
      .base = keys.positive_or(keys.either("rope.freq_base", "rope.global.freq_base"), 1000000.0f),
      .scale = gemma3_rope_scale(keys, c),
      .divided = has_rope_divisors(keys)};
  const RopeConfig local{
      .base = keys.positive_or(keys.either("rope.freq_base_swa", "rope.local.freq_base"), 10000.0f),
      .divided = global.divided};
  const std::vector<bool> slides = sliding_layers(keys, c.n_layers(), 6);
  for (std::size_t i = 0; i < c.n_layers(); ++i) {
    c.layers[i].attention.softcap = softcap;
    c.layers[i].attention.qk_norm = true;
    set_position(c, c.layers[i], slides[i] ? window : 0, slides[i] ? local : global);
  }
  return c;
}

}  // namespace gemma::families
