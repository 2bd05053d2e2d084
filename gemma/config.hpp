// A model as data: every number the decoder reads. Families fill it in from metadata; nothing else does.
// Invariant: after validate(), every size is positive, divides as the decoder needs, every constant is
// finite, and every layer reads keys and values that it or an earlier layer of the same shape computed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

namespace gemma {

/// Activation function of the feed-forward gate.
enum class Activation { kGeluTanh, kSilu };

/// Which elements of a head RoPE rotates together (Su et al. 2021): (i, i + head_dim / 2) or (2i, 2i + 1).
enum class RopePairing { kHalf, kPairs };

/// How the final hidden states of a text's tokens become its embedding: none (one vector for each token),
/// their mean, the first token's (BERT's [CLS]), or the last token's.
enum class Pooling { kNone, kMean, kFirst, kLast };

/// Rotary frequencies of heads of one size: theta_i = scale * base^(-2i / head_dim), divided by the file's
/// rope_freqs if `divided` is set.
struct RopeConfig {
  float base = 10000.0f;     // 10,000 in Su et al. 2021; models for long contexts have larger ones
  float scale = 1.0f;        // linear scaling (Chen et al. 2023): 1 / factor
  std::size_t head_dim = 0;  // elements of each rotated head
  bool divided = false;      // by Weights::rope_divisors (Llama 3.1)
  bool operator==(const RopeConfig&) const = default;
};

/// Attention parameters of one layer.
struct AttentionConfig {
  std::size_t n_heads = 0;     // query heads
  std::size_t n_kv_heads = 0;  // 1: multi-query; n_heads: multi-head; between: grouped-query
  std::size_t head_dim = 0;    // need not be d_model / n_heads (Gemma 7B: 256, not 192)
  std::size_t rope = 0;        // index into ModelConfig::ropes
  std::size_t window = 0;      // position i attends to j with 0 <= i - j < window; 0: no limit
  std::size_t ahead = 0;       // and to j with 0 < j - i <= ahead; 0: no later position
  float scale = 0.0f;          // of the scores, usually 1 / sqrt(head_dim)
  float softcap = 0.0f;        // of the scores; 0: none
  bool qk_norm = false;        // RMSNorm of each query and key head before RoPE
  bool v_norm = false;         // RMSNorm of each value head, without a weight
  bool v_from_k = false;       // values are the projected keys, as they are before norm and RoPE
  std::size_t kv_layer = 0;    // layer whose keys and values are read; the layer's own index if it owns them

  /// Total width of the query heads: n_heads * head_dim.
  std::size_t q_width() const noexcept { return n_heads * head_dim; }
  /// Width of all key (or value) heads.
  std::size_t kv_width() const noexcept { return n_kv_heads * head_dim; }
};

/// A mixture of experts beside the feed-forward block of a layer.
struct ExpertsConfig {
  std::size_t count = 0;  // 0: none
  std::size_t used = 0;   // experts that each token uses: the most probable ones
  std::size_t d_ff = 0;   // width of one expert
};

/// Feed-forward block of one layer.
struct FeedForwardConfig {
  std::size_t d_ff = 0;                       // width: rows of gate and up, columns of down
  Activation activation = Activation::kSilu;  // of the gate, also in the experts
  float sparsity =
      0.0f;  // the gate keeps only what exceeds its mean by this many standard deviations; 0: all of it
  ExpertsConfig experts;  // beside the feed-forward block
};

/// Several residual streams side by side (Gemma 3n).
struct StreamsConfig {
  static constexpr std::size_t kMostCount = 8;  // more are not supported
  std::size_t count = 0;                        // 0: one stream, as other models have
  std::size_t low_rank = 0;                     // width of the branch beside attention
};

/// Parameters of one decoder layer.
struct LayerConfig {
  AttentionConfig attention;       // the first half of the layer
  FeedForwardConfig feed_forward;  // the second half of the layer
};

/// A linear layer applied to the pooled vector of an embedding model.
struct DenseConfig {
  std::string name;       // name of its tensors in the file, without ".weight"
  std::size_t width = 0;  // of its output
};

/// How the final hidden states of a text become its embedding.
struct EmbeddingConfig {
  Pooling pooling = Pooling::kLast;     // the pooling that the model was trained with
  std::vector<DenseConfig> dense = {};  // the linear layers that the pooled vector goes through
  bool adds_eos = false;                // a text ends with EOS if the vocabulary does not say whether
  std::string query_prompt = {};        // put before a query; "": none is known
  std::string document_prompt = {};     // put before a text that queries search for
};

/// The numbers of one model: those of the model as a whole, and those of each layer.
struct ModelConfig {
  /// Upper limit of a dimension: far above any model's, and small enough that a product of two cannot
  /// overflow.
  static constexpr std::size_t kMostSize = std::size_t{1} << 24;
  /// The longest context that a cache may be made for.
  static constexpr std::size_t kMostPositions = std::size_t{1} << 31;

  std::string architecture;                        // general.architecture: for messages, never for decisions
  std::string name;                                // general.name, or ""
  std::size_t d_model = 0;                         // floats of a hidden state
  std::size_t vocab_size = 0;                      // token ids are 0 .. vocab_size - 1
  std::size_t max_seq_len = 0;                     // trained context
  float rms_eps = 0.0f;                            // added to the mean square of a norm
  float embedding_scale = 1.0f;                    // Gemma: sqrt(d_model)
  float logit_softcap = 0.0f;                      // 0: none
  RopePairing rope_pairing = RopePairing::kPairs;  // of Q and K as the file stores them
  StreamsConfig streams;                           // several residual streams side by side (Gemma 3n)
  std::size_t per_layer_width = 0;                 // width of each layer's own input from the token; 0: none
  std::vector<std::size_t> suppressed = {};        // tokens whose logits are -infinity
  EmbeddingConfig embedding = {};                  // pooling, the layers after it, and prompts
  bool has_head = true;             // whether hidden states become logits; otherwise the model only embeds
  bool post_norms = false;          // RMSNorm after attention and feed-forward, before the residual sum
  std::vector<RopeConfig> ropes;    // each distinct one once; layers refer to them by index
  std::vector<LayerConfig> layers;  // [n_layers]
  /// Lines for the user: what is missing or wrong in the file, and the value used instead.
  std::vector<std::string> notes = {};

  /// Number of decoder layers.
  std::size_t n_layers() const noexcept { return layers.size(); }
  /// Floats of a row between two layers: d_model of each residual stream.
  std::size_t hidden_width() const noexcept { return d_model * std::max<std::size_t>(streams.count, 1); }
  /// Whether a layer computes and stores its own keys and values.
  bool owns_kv(std::size_t layer) const noexcept { return layers[layer].attention.kv_layer == layer; }
  /// The last layer that owns keys and values. After these are stored, only rows whose logits or hidden
  /// states are wanted are computed further.
  std::size_t last_kv_layer() const noexcept {
    std::size_t last = 0;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      if (owns_kv(i)) last = i;
    }
    return last;
  }

  /// Whether attention is bidirectional: tokens attend to later ones too, and a text must be one chunk.
  bool looks_ahead() const {
    return largest([](const LayerConfig& l) { return l.attention.ahead; }) != 0;
  }
  /// Whether keys and values are read in no later chunk and by no other layer: a cache then holds those of
  /// one layer at a time.
  bool keeps_no_kv() const {
    for (std::size_t i = 0; i < layers.size(); ++i) {
      if (!owns_kv(i)) return false;
    }
    return looks_ahead();
  }
  /// Number of floats in a text's embedding.
  std::size_t embedding_width() const noexcept {
    return embedding.dense.empty() ? d_model : embedding.dense.back().width;
  }

  /// The largest value of f(layer) over all layers, for the sizes of buffers.
  template <typename F>
  std::size_t largest(F f) const {
    std::size_t most = 0;
    for (const LayerConfig& l : layers) most = std::max<std::size_t>(most, f(l));
    return most;
  }
  /// The largest total width of the query heads of a layer.
  std::size_t largest_q_width() const {
    return largest([](const LayerConfig& l) { return l.attention.q_width(); });
  }
  /// The largest total width of the key (or value) heads of a layer.
  std::size_t largest_kv_width() const {
    return largest([](const LayerConfig& l) { return l.attention.kv_width(); });
  }
  /// The largest width of the feed-forward block of a layer.
  std::size_t largest_d_ff() const {
    return largest([](const LayerConfig& l) { return l.feed_forward.d_ff; });
  }
  /// Whether any layer has a mixture of experts.
  bool has_experts() const {
    return largest([](const LayerConfig& l) { return l.feed_forward.experts.count; }) != 0;
  }
  /// Floats of the cosines and sines of one position, all ropes together.
  std::size_t rope_width() const noexcept { return rope_offset(ropes.size()); }
  /// Offset of one rope's cosines and sines in those of all ropes.
  std::size_t rope_offset(std::size_t rope) const noexcept {
    std::size_t sum = 0;
    for (std::size_t i = 0; i < rope; ++i) sum += ropes[i].head_dim;
    return sum;
  }

  /// Index of `rope` in `ropes`; it is added if it is not there yet.
  std::size_t rope_index(const RopeConfig& rope) {
    for (std::size_t i = 0; i < ropes.size(); ++i) {
      if (ropes[i] == rope) return i;
    }
    ropes.push_back(rope);
    return ropes.size() - 1;
  }

  /// Throws Error{kMalformed} naming `source`, the key and the layer of the first invalid field. It is the
  /// one place that decides which numbers can run, whether they were read from keys, computed by a family, or
  /// made by hand.
  void validate(const std::string& source) const;
};

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "config.inl"
#endif
