// GGUF tensor names -> typed views of the mapped file. Names of tensors appear here only.
// Invariant: every shape was checked against the configuration once; matrices point into the file, never
// copied.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "../gguf/file.hpp"
#include "../gguf/finite.hpp"
#include "../kernels/kernel_table.hpp"
#include "aligned_buffer.hpp"
#include "config.hpp"

namespace gemma {

/// A weight matrix w[rows, cols] in the file, and the kernel that multiplies by it.
struct Matrix {
  const std::byte* data = nullptr;                // the first row, in the file's own blocks
  DType type = DType::kF32;                       // how elements are stored
  std::size_t rows = 0;                           // n: outputs
  std::size_t cols = 0;                           // k: inputs
  std::size_t row_bytes = 0;                      // from one row to the next
  const kernels::MatmulKernel* kernel = nullptr;  // static
  float scale = 1.0f;                             // multiplies the product: a tensor of its own (NVFP4)

  /// Bytes in the file.
  std::size_t size_bytes() const noexcept { return rows * row_bytes; }
};

/// Norm weights as float32 (a copy: they are small, and files may hold them in any type).
using Vector = AlignedBuffer<float>;

/// The same matrix of every expert, in one tensor.
struct ExpertMatrices {
  Matrix first;                  // of expert 0; empty where the layer has none
  std::size_t count = 0;         // experts
  std::size_t stride_bytes = 0;  // from one expert's to the next
  Vector scale = {};             // [count] of each product (NVFP4); empty: 1

  /// The matrix of one expert.
  Matrix of(std::size_t expert) const noexcept {
    Matrix m = first;
    m.data += expert * stride_bytes;
    if (scale.size() != 0) m.scale = scale[expert];
    return m;
  }
};

/// A mixture of experts beside the feed-forward block (Gemma 4 26B-A4B).
struct MixtureWeights {
  Vector input_norm;        // [d_model] of what the experts read
  Vector router_norm;       // [d_model] of what the router reads; 1 / sqrt(d_model) is in it
  Matrix router;            // [n_experts, d_model]
  ExpertMatrices gate, up;  // each [d_ff, d_model]
  ExpertMatrices down;      // each [d_model, d_ff]
  Vector scale;             // [n_experts] of what they give
  Vector dense_post_norm;   // [d_model] of the feed-forward block's result
  Vector post_norm;         // [d_model] of the experts' sum
};

/// How a layer mixes several residual streams (Gemma 3n). n: streams.
struct StreamWeights {
  Vector router_norm;    // [d_model]
  Matrix router;         // [n, d_model]
  Vector predict;        // [n * n, n] coefficients by the router's numbers
  Vector correct;        // [n, n]
  Vector correct_scale;  // [d_model] of the first stream, where the layer's input from the token is made
  Matrix low, high;      // [low_rank, d_model], [d_model, low_rank] of the branch beside attention
  Vector low_rank_norm;  // [d_model] of that branch
};

/// A layer's own input from the token (Gemma 3n and 4).
struct PerLayerInputWeights {
  Matrix gate;       // [per_layer_width, d_model]
  Matrix proj;       // [d_model, per_layer_width]
  Vector post_norm;  // [d_model]
};

/// Weights of one decoder layer. A matrix that the layer does not have is empty.
struct LayerWeights {
  Vector attn_norm;        // [d_model]
  Matrix q, k, v;          // [n_heads * head_dim, d_model], [n_kv_heads * head_dim, d_model] twice;
                           // k and v only where the layer owns its keys and values, v not where it is k
  Vector q_norm, k_norm;   // [head_dim]; empty unless qk_norm
  Matrix attn_out;         // [d_model, n_heads * head_dim]
  Vector post_attn_norm;   // [d_model]; empty unless post_norms
  Vector ffn_norm;         // [d_model]
  Matrix gate, up;         // [d_ff, d_model]
  Matrix down;             // [d_model, d_ff]
  Vector post_ffn_norm;    // [d_model]; empty unless post_norms
  MixtureWeights mixture;  // empty without experts
  StreamWeights streams;   // empty unless there are several
  PerLayerInputWeights per_layer;  // empty unless per_layer_width
  float output_scale = 1.0f;       // of the whole stream behind the layer

  /// f(matrix) for each matrix that the layer has: the one list of them, for sizes, plans and benches.
  template <typename F>
  void for_each_matrix(F f) const {
    for (const Matrix* m : {&q, &k, &v, &attn_out, &gate, &up, &down, &mixture.router, &per_layer.gate,
                            &per_layer.proj, &streams.router, &streams.low, &streams.high}) {
      if (m->data != nullptr) f(*m);
    }
  }
  /// The same for the experts' matrices: f(matrix of every expert).
  template <typename F>
  void for_each_experts(F f) const {
    for (const ExpertMatrices* m : {&mixture.gate, &mixture.up, &mixture.down}) {
      if (m->count != 0) f(*m);
    }
  }
};

/// All weights of a model. Valid while the File lives.
struct Weights {
  Matrix embedding;            // [vocab_size, d_model]
  Matrix output;               // [vocab_size, d_model]; the embedding where the file has no matrix of its own
  Vector output_norm;          // [d_model]
  Matrix per_layer_embedding;  // [vocab_size, n_layers * per_layer_width]; empty unless per_layer_width
  Matrix per_layer_proj;       // [n_layers * per_layer_width, d_model]
  Vector per_layer_norm;       // [per_layer_width]
  Matrix stream_proj, stream_unproj;  // [(n_streams - 1) * d_model, d_model]; empty unless there are several
  Vector ones;                        // [largest head_dim] for norms without weights, or empty
  Vector rope_divisors;               // [head_dim / 2] of the ropes that are divided (Llama 3.1), or empty
  std::vector<LayerWeights> layers;   // [n_layers]

  /// Throws Error naming the tensor: kMissingTensor, kBadShape, kMalformed (a norm or rotary factor that is
  /// no possible number), kUnsupported (a tensor that would change the answer and is not run, e.g. a bias).
  static Weights from(const gguf::File& file, const ModelConfig& config, const kernels::KernelTable& kernels);

  /// Bytes that one decode step reads: all matrices, but of the experts only those that a token uses, and of
  /// the embeddings a row (not counted), unless the embedding is the output too.
  std::size_t step_bytes(const ModelConfig& config) const noexcept {
    std::size_t sum = output.size_bytes() + per_layer_proj.size_bytes() + stream_proj.size_bytes() +
                      stream_unproj.size_bytes();
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const std::size_t used = config.layers[i].feed_forward.experts.used;
      layers[i].for_each_matrix([&](const Matrix& m) { sum += m.size_bytes(); });
      layers[i].for_each_experts([&](const ExpertMatrices& m) { sum += used * m.first.size_bytes(); });
    }
    return sum;
  }
};

namespace detail {

/// Looks tensors up and checks their shapes.
class WeightReader {
 public:
  WeightReader(const gguf::File& file, const kernels::KernelTable& kernels)
      : file_(file), kernels_(kernels) {}

  Matrix matrix(const std::string& name, std::size_t rows, std::size_t cols) const {
    Matrix m = unscaled_matrix(name, rows, cols);
    m.scale = scale_of(name);
    return m;
  }
  /// The same where a tensor called STEM.scale means something else.
  Matrix unscaled_matrix(const std::string& name, std::size_t rows, std::size_t cols) const {
    const TensorView& t = checked(name, rows, cols);
    return {t.data.data(), t.type, rows, cols, t.row_size_bytes(), &kernels_.matmul_for(t.type)};
  }
  /// The factor of the product with matrix `name`, STEM.weight: the one element of STEM.scale (as llama.cpp's
  /// converter has it) or STEM.weight.scale; 1 where the file has neither.
  float scale_of(const std::string& name) const {
    constexpr std::string_view kSuffix = "weight";
    const std::string stem = name.substr(0, name.size() - kSuffix.size());
    for (const std::string& scale : {stem + "scale", name + ".scale"}) {
      if (file_.find_tensor(scale) != nullptr) return vector(scale, 1)[0];
    }
    return 1.0f;
  }
  Vector vector(const std::string& name, std::size_t size) const { return table(name, 1, size); }
  /// [rows, cols] of a small matrix, as floats.
  Vector table(const std::string& name, std::size_t rows, std::size_t cols) const {
    const TensorView& t = checked(name, rows, cols);
    Vector out(rows * cols, "norm weights");
    for (std::size_t r = 0; r < rows; ++r) {
      kernels_.dequantize[static_cast<std::size_t>(t.type)](t.row(r), cols, out.data() + r * cols);
    }
    // matrices are not read before they are used; these are read here anyway
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (!is_finite(out[i])) {
        fail(ErrorCode::kMalformed, t, "element " + std::to_string(i) + " is not a finite number");
      }
    }
    return out;
  }
  Vector vector_if(bool wanted, const std::string& name, std::size_t size) const {
    return wanted ? vector(name, size) : Vector{};
  }
  /// The same for n_experts matrices in one tensor, each [rows, cols]; or for a part of each, rows
  /// [begin, begin + rows) of `of`.
  ExpertMatrices experts(const std::string& name, std::size_t n_experts, std::size_t rows, std::size_t cols,
                         std::size_t begin, std::size_t of) const {
    Matrix all = unscaled_matrix(name, n_experts * of, cols);
    all.data += begin * all.row_bytes;
    all.rows = rows;
    return {all, n_experts, of * all.row_bytes};
  }
  /// The factors of experts' products, or nothing.
  Vector scales_of(const std::string& name, std::size_t n_experts) const {
    return vector_if(has(name), name, n_experts);
  }
  bool has(const std::string& name) const { return file_.find_tensor(name) != nullptr; }

  /// Throws for a tensor that other models of the architecture have, and that the configuration leaves out:
  /// ignoring it would give wrong answers. (Other extra tensors are normal.)
  void refuse(const std::string& name) const {
    if (const TensorView* t = file_.find_tensor(name)) {
      fail(ErrorCode::kUnsupported, *t, "models with this tensor are not run");
    }
  }

  [[noreturn]] void fail(ErrorCode code, const TensorView& t, const std::string& what) const {
    throw Error(code, file_.path_of(t.data) + ": tensor " + gemma::quoted(t.name) + " (at byte " +
                          std::to_string(file_.offset_of(t.data)) + "): " + what);
  }

 private:
  const TensorView& checked(const std::string& name, std::size_t rows, std::size_t cols) const {
    const TensorView& t = file_.tensor(name);
    if (!t.runs()) {
      const OtherType* other = find_other_type(t.type_id);
      fail(ErrorCode::kUnsupported, t,
           "its type " + describe_dtype_id(t.type_id) + " " +
               std::string(other != nullptr ? to_string(other->why) : "is not known") + " and does not run");
    }
    if (t.rows != rows || t.cols != cols) {
      auto shape = [](std::size_t r, std::size_t c) {
        return "[" + std::to_string(r) + ", " + std::to_string(c) + "]";
      };
      fail(ErrorCode::kBadShape, t,
           "its shape is " + shape(t.rows, t.cols) + ", the metadata asks for " + shape(rows, cols));
    }
    return t;
  }

  const gguf::File& file_;
  const kernels::KernelTable& kernels_;
};

inline Vector ones(std::size_t n) {
  Vector out(n, "norm weights");
  std::fill_n(out.data(), n, 1.0f);
  return out;
}

inline MixtureWeights read_mixture(const WeightReader& read, const ModelConfig& c, std::size_t index) {
  const std::string p = "blk." + std::to_string(index) + ".";
  const ExpertsConfig& e = c.layers[index].feed_forward.experts;
  MixtureWeights m;
  m.input_norm = read.vector(p + "pre_ffw_norm_2.weight", c.d_model);
  m.router_norm = read.vector(p + "ffn_gate_inp.scale", c.d_model);
  const float root = std::sqrt(static_cast<float>(c.d_model));
  for (std::size_t i = 0; i < c.d_model; ++i) m.router_norm[i] /= root;
  m.router = read.unscaled_matrix(p + "ffn_gate_inp.weight", e.count, c.d_model);
  if (const std::string both = p + "ffn_gate_up_exps.weight"; read.has(both)) {
    m.gate = read.experts(both, e.count, e.d_ff, c.d_model, 0, 2 * e.d_ff);
    m.up = read.experts(both, e.count, e.d_ff, c.d_model, e.d_ff, 2 * e.d_ff);
  } else {
    m.gate = read.experts(p + "ffn_gate_exps.weight", e.count, e.d_ff, c.d_model, 0, e.d_ff);
    m.up = read.experts(p + "ffn_up_exps.weight", e.count, e.d_ff, c.d_model, 0, e.d_ff);
  }
  const bool fused = read.has(p + "ffn_gate_up_exps.weight");
  m.gate.scale = read.scales_of(p + (fused ? "ffn_gate_up_exps.scale" : "ffn_gate_exps.scale"), e.count);
  m.up.scale = read.scales_of(p + (fused ? "ffn_gate_up_exps.scale" : "ffn_up_exps.scale"), e.count);
  m.down = read.experts(p + "ffn_down_exps.weight", e.count, c.d_model, e.d_ff, 0, c.d_model);
  if (const std::string scale = p + "ffn_down_exps.scale"; read.has(scale)) {
    m.scale = read.vector(scale, e.count);
  } else {
    m.scale = ones(e.count);
  }
  m.dense_post_norm = read.vector(p + "post_ffw_norm_1.weight", c.d_model);
  m.post_norm = read.vector(p + "post_ffw_norm_2.weight", c.d_model);
  return m;
}

inline StreamWeights read_streams(const WeightReader& read, const ModelConfig& c, const std::string& p) {
  const std::size_t n = c.streams.count, d = c.d_model;
  return {.router_norm = read.vector(p + "altup_router_norm.weight", d),
          .router = read.matrix(p + "altup_router.weight", n, d),
          .predict = read.table(p + "altup_predict_coef.weight", n * n, n),
          .correct = read.table(p + "altup_correct_coef.weight", n, n),
          .correct_scale = read.vector(p + "altup_correct_scale.weight", d),
          .low = read.matrix(p + "laurel_l.weight", c.streams.low_rank, d),
          .high = read.matrix(p + "laurel_r.weight", d, c.streams.low_rank),
          .low_rank_norm = read.vector(p + "laurel_post_norm.weight", d)};
}

inline LayerWeights read_layer(const WeightReader& read, const ModelConfig& c, std::size_t index) {
  const std::string p = "blk." + std::to_string(index) + ".";
  const AttentionConfig& a = c.layers[index].attention;
  const std::size_t d_ff = c.layers[index].feed_forward.d_ff;
  LayerWeights l;
  l.attn_norm = read.vector(p + "attn_norm.weight", c.d_model);
  l.q = read.matrix(p + "attn_q.weight", a.q_width(), c.d_model);
  l.q_norm = read.vector_if(a.qk_norm, p + "attn_q_norm.weight", a.head_dim);
  if (c.owns_kv(index)) {
    l.k = read.matrix(p + "attn_k.weight", a.kv_width(), c.d_model);
    if (!a.v_from_k) l.v = read.matrix(p + "attn_v.weight", a.kv_width(), c.d_model);
    l.k_norm = read.vector_if(a.qk_norm, p + "attn_k_norm.weight", a.head_dim);
  }
  l.attn_out = read.matrix(p + "attn_output.weight", c.d_model, a.q_width());
  l.post_attn_norm = read.vector_if(c.post_norms, p + "post_attention_norm.weight", c.d_model);
  l.ffn_norm = read.vector(p + "ffn_norm.weight", c.d_model);
  l.gate = read.matrix(p + "ffn_gate.weight", d_ff, c.d_model);
  l.up = read.matrix(p + "ffn_up.weight", d_ff, c.d_model);
  l.down = read.matrix(p + "ffn_down.weight", c.d_model, d_ff);
  l.post_ffn_norm = read.vector_if(c.post_norms, p + "post_ffw_norm.weight", c.d_model);
  if (c.layers[index].feed_forward.experts.count != 0) l.mixture = read_mixture(read, c, index);
  if (c.per_layer_width != 0) {
    l.per_layer = {read.matrix(p + "inp_gate.weight", c.per_layer_width, c.d_model),
                   read.matrix(p + "proj.weight", c.d_model, c.per_layer_width),
                   read.vector(p + "post_norm.weight", c.d_model)};
  }
  if (c.streams.count != 0) l.streams = read_streams(read, c, p);
  if (read.has(p + "layer_output_scale.weight")) {
    l.output_scale = read.vector(p + "layer_output_scale.weight", 1)[0];
  }
  for (const char* part : {"attn_q", "attn_k", "attn_v", "attn_output", "attn_norm", "ffn_norm", "ffn_gate",
                           "ffn_up", "ffn_down"})
    read.refuse(p + part + ".bias");
  if (!a.qk_norm) read.refuse(p + "attn_q_norm.weight");
  if (!a.qk_norm) read.refuse(p + "attn_k_norm.weight");
  if (!c.post_norms) read.refuse(p + "post_attention_norm.weight");
  if (!c.post_norms) read.refuse(p + "post_ffw_norm.weight");
  return l;
}

/// The divisors of the rotary frequencies that use them; empty when none does.
inline Vector read_rope_divisors(const WeightReader& read, const gguf::File& file, const ModelConfig& c) {
  constexpr const char* kName = "rope_freqs.weight";
  const auto divided =
      std::find_if(c.ropes.begin(), c.ropes.end(), [](const RopeConfig& r) { return r.divided; });
  if (divided == c.ropes.end()) return {};
  Vector out = read.vector(kName, divided->head_dim / 2);
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (out[i] <= 0.0f) {
      read.fail(ErrorCode::kMalformed, file.tensor(kName),
                "element " + std::to_string(i) + ", a divisor of frequencies, is not positive");
    }
  }
  return out;
}

}  // namespace detail

inline Weights Weights::from(const gguf::File& file, const ModelConfig& c,
                             const kernels::KernelTable& kernels) {
  const detail::WeightReader read(file, kernels);
  Weights w;
  for (const char* name : {"token_embd.scale", "token_embd.weight.scale"}) read.refuse(name);
  w.embedding = read.matrix("token_embd.weight", c.vocab_size, c.d_model);
  w.output = file.find_tensor("output.weight") != nullptr
                 ? read.matrix("output.weight", c.vocab_size, c.d_model)
                 : w.embedding;
  w.output_norm = read.vector("output_norm.weight", c.d_model);
  w.rope_divisors = detail::read_rope_divisors(read, file, c);
  if (const std::size_t width = c.n_layers() * c.per_layer_width; width != 0) {
    w.per_layer_embedding = read.matrix("per_layer_token_embd.weight", c.vocab_size, width);
    w.per_layer_proj = read.matrix("per_layer_model_proj.weight", width, c.d_model);
    w.per_layer_norm = read.vector("per_layer_proj_norm.weight", c.per_layer_width);
  }
  if (const std::size_t n = c.streams.count; n != 0) {
    w.stream_proj = read.matrix("altup_proj.weight", (n - 1) * c.d_model, c.d_model);
    w.stream_unproj = read.matrix("altup_unembd_proj.weight", (n - 1) * c.d_model, c.d_model);
  }
  if (c.largest([](const LayerConfig& l) { return l.attention.v_norm; }) != 0) {
    w.ones = detail::ones(c.largest([](const LayerConfig& l) { return l.attention.head_dim; }));
  }
  for (const char* name : {"output.bias", "output_norm.bias", "rope_factors_long.weight"}) read.refuse(name);
  w.layers.reserve(c.n_layers());
  for (std::size_t i = 0; i < c.n_layers(); ++i) w.layers.push_back(detail::read_layer(read, c, i));
  return w;
}

}  // namespace gemma
