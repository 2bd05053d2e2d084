// A model as data: every number the decoder reads. Families fill it in from metadata; nothing else does.
// Invariant: after validate(), every size is positive, divides as the decoder needs, and every constant is
// finite.
#pragma once

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "../gguf/error.hpp"

namespace gemma {

/// What the feed-forward gate goes through.
enum class Activation { kGeluTanh, kSilu };

/// Which elements of a head RoPE rotates together (Su et al. 2021): (i, i + head_dim / 2) or (2i, 2i + 1).
enum class RopePairing { kHalf, kPairs };

/// Rotary frequencies: theta_i = scale * base^(-2i / head_dim), divided by the file's rope_freqs where it has
/// them.
struct RopeConfig {
  float base = 10000.0f;  // 10,000 in Su et al. 2021; models for long contexts have larger ones
  float scale = 1.0f;     // linear scaling (Chen et al. 2023): 1 / factor
  bool operator==(const RopeConfig&) const = default;
};

/// What differs from layer to layer.
struct LayerConfig {
  std::size_t window = 0;  // position i sees j with i - j < window; 0: all
  std::size_t rope = 0;    // index into ModelConfig::ropes
};

/// The numbers of one model.
struct ModelConfig {
  /// Far above any model's dimension, far below where the product of two could overflow.
  static constexpr std::size_t kMostSize = std::size_t{1} << 24;
  /// The longest context that a cache may be made for.
  static constexpr std::size_t kMostPositions = std::size_t{1} << 31;

  std::string architecture;                   // general.architecture: for people, never for decisions
  std::string name;                           // general.name, or ""
  std::size_t n_layers = 0;                   // decoder layers
  std::size_t d_model = 0;                    // floats of a hidden state
  std::size_t d_ff = 0;                       // floats between the feed-forward matrices
  std::size_t n_heads = 0;                    // query heads
  std::size_t n_kv_heads = 0;                 // 1: multi-query; n_heads: multi-head; between: grouped-query
  std::size_t head_dim = 0;                   // apart from d_model / n_heads (Gemma 7B: 256, not 192)
  std::size_t vocab_size = 0;                 // token ids are 0 .. vocab_size - 1
  std::size_t max_seq_len = 0;                // trained context
  float rms_eps = 0.0f;                       // added to the mean square of a norm
  float embedding_scale = 1.0f;               // Gemma: sqrt(d_model)
  float attention_scale = 0.0f;               // usually 1 / sqrt(head_dim)
  float attention_softcap = 0.0f;             // 0: none
  float logit_softcap = 0.0f;                 // 0: none
  Activation activation = Activation::kSilu;  // of the feed-forward gate
  RopePairing rope_pairing = RopePairing::kPairs;  // of Q and K as the file stores them
  bool qk_norm = false;                            // RMSNorm of each query and key head before RoPE
  bool post_norms = false;          // RMSNorm after attention and feed-forward, before the residual sum
  std::vector<RopeConfig> ropes;    // each distinct one once; layers name theirs by index
  std::vector<LayerConfig> layers;  // [n_layers]

  /// Width of all query heads.
  std::size_t q_width() const noexcept { return n_heads * head_dim; }
  /// Width of all key (or value) heads.
  std::size_t kv_width() const noexcept { return n_kv_heads * head_dim; }

  /// Index of `rope` in ropes, added when new.
  std::size_t rope_index(const RopeConfig& rope) {
    for (std::size_t i = 0; i < ropes.size(); ++i) {
      if (ropes[i] == rope) return i;
    }
    ropes.push_back(rope);
    return ropes.size() - 1;
  }

  /// Throws Error{kMalformed} naming `source` and the first field that no model can have. Families check what
  /// they read key by key; this holds what they computed, and configurations made by hand, to the invariant.
  void validate(const std::string& source) const {
    auto require = [&](bool ok, const char* what) {
      if (!ok) throw Error(ErrorCode::kMalformed, source + ": " + what);
    };
    auto sane = [](std::size_t n) { return n >= 1 && n <= kMostSize; };
    require(sane(n_layers) && layers.size() == n_layers, "block_count is out of range");
    require(sane(d_model), "embedding_length is out of range");
    require(sane(d_ff), "feed_forward_length is out of range");
    require(sane(n_heads), "attention.head_count is out of range");
    require(sane(n_kv_heads), "attention.head_count_kv is out of range");
    require(n_heads % n_kv_heads == 0, "attention.head_count is not a multiple of attention.head_count_kv");
    require(sane(head_dim) && head_dim % 2 == 0, "attention.key_length is out of range or odd");
    require(q_width() <= kMostSize, "attention.head_count times attention.key_length is out of range");
    require(sane(vocab_size), "the vocabulary's size is out of range");
    require(max_seq_len >= 1 && max_seq_len <= kMostPositions, "context_length is out of range");
    auto positive = [](float f) { return std::isfinite(f) && f > 0.0f; };
    auto cap = [](float f) { return std::isfinite(f) && f >= 0.0f; };
    require(positive(rms_eps), "attention.layer_norm_rms_epsilon is not a positive number");
    require(positive(embedding_scale) && positive(attention_scale), "a scale is not a positive number");
    require(cap(attention_softcap), "attn_logit_softcapping is negative or not a number");
    require(cap(logit_softcap), "final_logit_softcapping is negative or not a number");
    for (const RopeConfig& r : ropes) {
      require(positive(r.base), "rope.freq_base is not a positive number");
      require(positive(r.scale), "rope.scaling.factor is not a positive number");
    }
    for (const LayerConfig& l : layers) {
      require(l.rope < ropes.size(), "a layer without rotary frequencies");
      require(l.window <= kMostPositions, "attention.sliding_window is out of range");
    }
  }
};

}  // namespace gemma
