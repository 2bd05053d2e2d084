// Typed views of a model's tensors in the mapped file, found by their GGUF names.
// Invariant: every shape was checked against the configuration once; matrices point into the file and are
// never copied.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "../gguf/file.hpp"
#include "../gguf/finite.hpp"
#include "../kernels/kernel_table.hpp"
#include "adapter.hpp"
#include "aligned_buffer.hpp"
#include "config.hpp"

namespace gemma {

namespace detail {
struct LowRank;
}

/// A weight matrix w[rows, cols] in the file, and the kernel that multiplies by it.
struct Matrix {
  const std::byte* data = nullptr;                // first row, in the file's own blocks
  DType type = DType::kF32;                       // how elements are stored
  std::size_t rows = 0;                           // n: outputs
  std::size_t cols = 0;                           // k: inputs
  std::size_t row_bytes = 0;                      // from one row to the next
  const kernels::MatmulKernel* kernel = nullptr;  // static
  float scale = 1.0f;                        // factor of the product, stored in a separate tensor (NVFP4)
  const detail::LowRank* changes = nullptr;  // first of the changes by adapters, or nullptr

  /// Size in the file, in bytes.
  std::size_t size_bytes() const noexcept { return rows * row_bytes; }
};

namespace detail {

/// An adapter's change of a matrix: b (a x) is added to its product, in float32.
struct LowRank {
  Matrix a;                       // [rank, cols of the matrix]
  Matrix b;                       // [rows of the matrix, rank]; its `scale` is the change's
  std::size_t column = 0;         // sum of the ranks of earlier changes to matrices with the same input
  const LowRank* next = nullptr;  // another adapter's change to the same matrix
};

}  // namespace detail

/// Norm weights as float32: copies, since they are small and files may hold them in any type.
using FloatBuffer = AlignedBuffer<float>;

/// One kind of matrix of all experts, in one tensor.
struct ExpertMatrices {
  Matrix first;                  // of expert 0; empty if the layer has no experts
  std::size_t count = 0;         // experts
  std::size_t stride_bytes = 0;  // from one expert to the next
  FloatBuffer scale = {};        // [count] factors of the products (NVFP4); empty: 1

  /// Weights of one expert.
  Matrix of(std::size_t expert) const noexcept {
    Matrix m = first;
    m.data += expert * stride_bytes;
    if (scale.size() != 0) m.scale = scale[expert];
    return m;
  }
};

/// A mixture of experts beside the feed-forward block (Gemma 4 26B-A4B).
struct MixtureWeights {
  FloatBuffer input_norm;       // [d_model] for the input of the experts
  FloatBuffer router_norm;      // [d_model] for the input of the router; includes 1 / sqrt(d_model)
  Matrix router;                // [n_experts, d_model]
  ExpertMatrices gate, up;      // each [d_ff, d_model]
  ExpertMatrices down;          // each [d_model, d_ff]
  FloatBuffer scale;            // [n_experts] factors of the experts' outputs
  FloatBuffer dense_post_norm;  // [d_model] for the feed-forward block's result
  FloatBuffer post_norm;        // [d_model] for the experts' sum
};

/// How a layer mixes several residual streams (Gemma 3n). n: streams.
struct StreamWeights {
  FloatBuffer router_norm;    // [d_model]
  Matrix router;              // [n, d_model]
  FloatBuffer predict;        // [n * n, n] coefficients of the router's outputs
  FloatBuffer correct;        // [n, n]
  FloatBuffer correct_scale;  // [d_model] of the first stream, for the layer's input from the token
  Matrix low, high;           // [low_rank, d_model], [d_model, low_rank] of the branch beside attention
  FloatBuffer low_rank_norm;  // [d_model] for that branch
};

/// A layer's own input from the token (Gemma 3n and 4).
struct PerLayerInputWeights {
  Matrix gate;            // [per_layer_width, d_model]
  Matrix proj;            // [d_model, per_layer_width]
  FloatBuffer post_norm;  // [d_model]
};

/// Weights of one decoder layer. A matrix that the layer does not have is empty.
struct LayerWeights {
  FloatBuffer attn_norm;       // [d_model]
  Matrix q, k, v;              // [n_heads * head_dim, d_model], [n_kv_heads * head_dim, d_model] twice;
                               // k and v only if the layer owns its keys and values; no v if values are k's
  FloatBuffer q_norm, k_norm;  // [head_dim]; empty unless qk_norm
  Matrix attn_out;             // [d_model, n_heads * head_dim]
  FloatBuffer post_attn_norm;  // [d_model]; empty unless post_norms
  FloatBuffer ffn_norm;        // [d_model]
  Matrix gate, up;             // [d_ff, d_model]
  Matrix down;                 // [d_model, d_ff]
  FloatBuffer post_ffn_norm;   // [d_model]; empty unless post_norms
  MixtureWeights mixture;      // empty without experts
  StreamWeights streams;       // empty unless there are several
  PerLayerInputWeights per_layer;  // empty unless per_layer_width
  float output_scale = 1.0f;       // factor of the residual stream after the layer

  /// Calls f(matrix) for each matrix that the layer has: the only list of them, for sizes, plans and benches.
  template <typename F>
  void for_each_matrix(F f) const {
    for (const Matrix* m : {&q, &k, &v, &attn_out, &gate, &up, &down, &mixture.router, &per_layer.gate,
                            &per_layer.proj, &streams.router, &streams.low, &streams.high}) {
      if (m->data != nullptr) f(*m);
    }
  }
  /// Calls f(matrices) for each kind of the experts' matrices that the layer has.
  template <typename F>
  void for_each_experts(F f) const {
    for (const ExpertMatrices* m : {&mixture.gate, &mixture.up, &mixture.down}) {
      if (m->count != 0) f(*m);
    }
  }
};

/// All weights of a model. Valid as long as the File.
struct Weights {
  Matrix embedding;            // [vocab_size, d_model]
  Matrix output;               // [vocab_size, d_model]; the embedding if the file has no output matrix
  FloatBuffer output_norm;     // [d_model]
  Matrix per_layer_embedding;  // [vocab_size, n_layers * per_layer_width]; empty unless per_layer_width
  Matrix per_layer_proj;       // [n_layers * per_layer_width, d_model]
  FloatBuffer per_layer_norm;  // [per_layer_width]
  Matrix stream_proj, stream_unproj;  // [(n_streams - 1) * d_model, d_model]; empty unless there are several
  std::vector<Matrix> dense;  // [width, d_model or the preceding width] of the linear layers after pooling
  FloatBuffer ones;           // [largest head_dim] ones, for norms without weights, or empty
  FloatBuffer rope_divisors;  // [head_dim / 2] divisors of rotary frequencies (Llama 3.1), or empty
  std::vector<LayerWeights> layers;                       // [n_layers]
  std::vector<std::unique_ptr<detail::LowRank>> changes;  // changes of all adapters; matrices point to them
  /// Decoded copies of adapters' matrices whose form in the file cannot be used directly.
  std::vector<std::unique_ptr<FloatBuffer>> decoded;
  std::size_t changes_width = 0;  // largest sum of ranks of changes to matrices with the same input

  /// The largest rank of a change to the embedding, of which one row is computed for each token.
  static constexpr std::size_t kMostEmbeddingRank = 1024;

  /// Finds and checks the tensors. Throws Error naming the tensor: kMissingTensor, kBadShape, kMalformed (a
  /// value of a norm or rotary divisor that is not possible), kUnsupported (a tensor that would change the
  /// answer and is not supported, such as a bias, or one that an adapter changes and that is not a matrix of
  /// attention, of a dense feed-forward block, of a layer's input from the token, the embedding or the
  /// output); and as Adapter::check(). The adapters' files must live as long as the result.
  static Weights from(const gguf::File& file, const ModelConfig& config, const kernels::KernelTable& kernels,
                      std::span<const std::shared_ptr<const Adapter>> adapters = {});

  /// Bytes that one decode step reads: all matrices and adapters' changes, but only the experts that a token
  /// uses. The embedding, of which one row is read, is not counted unless it is the output matrix too.
  std::size_t step_bytes(const ModelConfig& config) const noexcept {
    std::size_t sum = output.size_bytes() + per_layer_proj.size_bytes() + stream_proj.size_bytes() +
                      stream_unproj.size_bytes();
    for (const auto& c : changes) sum += c->a.size_bytes() + c->b.size_bytes();
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const std::size_t used = config.layers[i].feed_forward.experts.used;
      layers[i].for_each_matrix([&](const Matrix& m) { sum += m.size_bytes(); });
      layers[i].for_each_experts([&](const ExpertMatrices& m) { sum += used * m.first.size_bytes(); });
    }
    return sum;
  }
};

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "weights.inl"
#endif
