// Definitions of config.hpp.
#pragma once

#include <string>

#include "../gguf/error.hpp"
#include "../gguf/finite.hpp"
#include "../gguf/linkage.hpp"

namespace gemma {

namespace detail {

/// Checks one configuration; errors name fields by their metadata keys.
class ConfigChecker {
 public:
  ConfigChecker(const ModelConfig& config, const std::string& source) : c_(config), source_(source) {}

  void model() const {
    require(sane(c_.n_layers()), "block_count is out of range");
    require(sane(c_.d_model), "embedding_length is out of range");
    require(sane(c_.vocab_size), "the vocabulary's size is out of range");
    require(c_.max_seq_len >= 1 && c_.max_seq_len <= ModelConfig::kMostPositions,
            "context_length is out of range");
    require(positive(c_.rms_eps), "attention.layer_norm_rms_epsilon is not a positive number");
    require(positive(c_.embedding_scale), "the scale of embeddings is not a positive number");
    require(cap(c_.logit_softcap), "final_logit_softcapping is negative or not a number");
    require(c_.per_layer_width <= ModelConfig::kMostSize / c_.n_layers(),
            "embedding_length_per_layer_input is out of range");
    const StreamsConfig& s = c_.streams;
    require(s.count == 0 || (s.count >= 2 && s.count <= StreamsConfig::kMostCount && sane(s.low_rank) &&
                             c_.per_layer_width != 0),
            "altup.num_inputs, or the rank beside attention, is out of range");
    for (const DenseConfig& dense : c_.embedding.dense) {
      require(sane(dense.width), "the width of a linear layer after pooling is out of range");
    }
    for (const std::size_t id : c_.suppressed)
      require(id < c_.vocab_size, "the suppressed tokens include an id outside the vocabulary");
    std::size_t divided = 0;
    for (const RopeConfig& r : c_.ropes) {
      require(!r.divided || divided == 0 || r.head_dim == divided,
              "heads of several sizes cannot share one list of rotary divisors");
      if (r.divided) divided = r.head_dim;
      require(positive(r.base), "rope.freq_base is not a positive number");
      require(positive(r.scale), "rope.scaling.factor is not a positive number");
    }
    for (std::size_t i = 0; i < c_.n_layers(); ++i) layer(i);
  }

 private:
  static bool sane(std::size_t n) noexcept { return n >= 1 && n <= ModelConfig::kMostSize; }
  static bool positive(const float& f) noexcept { return is_finite(f) && f > 0.0f; }
  static bool cap(const float& f) noexcept { return is_finite(f) && f >= 0.0f; }

  void experts(const ExpertsConfig& e, std::size_t i) const {
    const bool ok =
        sane(e.count) && e.count <= (1u << 16) && e.used >= 1 && e.used <= e.count && sane(e.d_ff);
    if (!ok) {
      fail("expert_count, expert_used_count or expert_feed_forward_length is out of range (layer " +
           std::to_string(i) + ")");
    }
  }
  void layer(std::size_t i) const {
    const AttentionConfig& a = c_.layers[i].attention;
    const auto in_layer = [&](bool ok, const char* what) {
      if (!ok) fail(std::string(what) + " (layer " + std::to_string(i) + ")");
    };
    in_layer(sane(c_.layers[i].feed_forward.d_ff), "feed_forward_length is out of range");
    if (const ExpertsConfig& e = c_.layers[i].feed_forward.experts; e.count != 0) experts(e, i);
    in_layer(cap(c_.layers[i].feed_forward.sparsity), "activation_sparsity_scale is not a number");
    in_layer(sane(a.n_heads), "attention.head_count is out of range");
    in_layer(sane(a.n_kv_heads), "attention.head_count_kv is out of range");
    in_layer(a.n_heads % a.n_kv_heads == 0,
             "attention.head_count is not a multiple of attention.head_count_kv");
    in_layer(sane(a.head_dim) && a.head_dim % 2 == 0, "attention.key_length is out of range or odd");
    in_layer(a.q_width() <= ModelConfig::kMostSize,
             "attention.head_count times attention.key_length is out of range");
    in_layer(positive(a.scale), "the attention scale is not a positive number");
    in_layer(cap(a.softcap), "attn_logit_softcapping is negative or not a number");
    in_layer(a.rope < c_.ropes.size() && c_.ropes[a.rope].head_dim == a.head_dim,
             "there are no rotary frequencies for heads of its size");
    in_layer(a.window <= ModelConfig::kMostPositions, "attention.sliding_window is out of range");
    in_layer(a.ahead <= ModelConfig::kMostPositions, "the positions that tokens see ahead are out of range");
    in_layer(a.kv_layer <= i && c_.owns_kv(a.kv_layer), "no earlier layer has the keys and values it reads");
    const AttentionConfig& from = c_.layers[a.kv_layer].attention;
    in_layer(from.n_kv_heads == a.n_kv_heads && from.head_dim == a.head_dim && from.window == a.window,
             "the keys and values that it reads have another shape or window");
  }

  void require(bool ok, const char* what) const {
    if (!ok) fail(what);
  }
  [[noreturn]] void fail(const std::string& what) const {
    detail::refuse(ErrorCode::kMalformed, [&] { return source_ + ": " + what; });
  }

  const ModelConfig& c_;
  const std::string& source_;
};

}  // namespace detail

GEMMA_INLINE void ModelConfig::validate(const std::string& source) const {
  detail::ConfigChecker(*this, source).model();
}

}  // namespace gemma
