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

/// Weights of one decoder layer. A matrix that the layer does not have is empty.
struct LayerWeights {
  Vector attn_norm;       // [d_model]
  Matrix q, k, v;         // [n_heads * head_dim, d_model], [n_kv_heads * head_dim, d_model] twice;
                          // k and v only where the layer owns its keys and values
  Vector q_norm, k_norm;  // [head_dim]; empty unless qk_norm
  Matrix attn_out;        // [d_model, n_heads * head_dim]
  Vector post_attn_norm;  // [d_model]; empty unless post_norms
  Vector ffn_norm;        // [d_model]
  Matrix gate, up;        // [d_ff, d_model]
  Matrix down;            // [d_model, d_ff]
  Vector post_ffn_norm;   // [d_model]; empty unless post_norms

  /// f(matrix) for each matrix that the layer has: the one list of them, for sizes, plans and benches.
  template <typename F>
  void for_each_matrix(F f) const {
    for (const Matrix* m : {&q, &k, &v, &attn_out, &gate, &up, &down}) {
      if (m->data != nullptr) f(*m);
    }
  }
};

/// All weights of a model. Valid while the File lives.
struct Weights {
  Matrix embedding;      // [vocab_size, d_model]
  Matrix output;         // [vocab_size, d_model]; the embedding where the file has no matrix of its own
  Vector output_norm;    // [d_model]
  Vector rope_divisors;  // [head_dim / 2] of the ropes that are divided (Llama 3.1), or empty
  std::vector<LayerWeights> layers;  // [n_layers]

  /// Throws Error naming the tensor: kMissingTensor, kBadShape, kMalformed (a norm or rotary factor that is
  /// no possible number), kUnsupported (a tensor that would change the answer and is not run, e.g. a bias).
  static Weights from(const gguf::File& file, const ModelConfig& config, const kernels::KernelTable& kernels);

  /// Bytes of all matrices, and of those that one decode step reads (the embedding only when it is the output
  /// too).
  std::size_t matrix_bytes() const noexcept {
    return step_bytes() + (output.data == embedding.data ? 0 : embedding.size_bytes());
  }
  /// See matrix_bytes().
  std::size_t step_bytes() const noexcept {
    std::size_t sum = output.size_bytes();
    for (const LayerWeights& l : layers) l.for_each_matrix([&](const Matrix& m) { sum += m.size_bytes(); });
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
    const TensorView& t = checked(name, rows, cols);
    return {t.data.data(), t.type, rows, cols, t.row_size_bytes(), &kernels_.matmul_for(t.type),
            scale_of(name)};
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
  Vector vector(const std::string& name, std::size_t size) const {
    const TensorView& t = checked(name, 1, size);
    Vector out(size, "norm weights");
    kernels_.dequantize[static_cast<std::size_t>(t.type)](t.data.data(), size, out.data());
    // matrices are not read before they are used; these are read here anyway
    for (std::size_t i = 0; i < size; ++i) {
      if (!is_finite(out[i])) {
        fail(ErrorCode::kMalformed, t, "element " + std::to_string(i) + " is not a finite number");
      }
    }
    return out;
  }
  Vector vector_if(bool wanted, const std::string& name, std::size_t size) const {
    return wanted ? vector(name, size) : Vector{};
  }
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
    l.v = read.matrix(p + "attn_v.weight", a.kv_width(), c.d_model);
    l.k_norm = read.vector_if(a.qk_norm, p + "attn_k_norm.weight", a.head_dim);
  }
  l.attn_out = read.matrix(p + "attn_output.weight", c.d_model, a.q_width());
  l.post_attn_norm = read.vector_if(c.post_norms, p + "post_attention_norm.weight", c.d_model);
  l.ffn_norm = read.vector(p + "ffn_norm.weight", c.d_model);
  l.gate = read.matrix(p + "ffn_gate.weight", d_ff, c.d_model);
  l.up = read.matrix(p + "ffn_up.weight", d_ff, c.d_model);
  l.down = read.matrix(p + "ffn_down.weight", c.d_model, d_ff);
  l.post_ffn_norm = read.vector_if(c.post_norms, p + "post_ffw_norm.weight", c.d_model);
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
  for (const char* name : {"output.bias", "output_norm.bias", "rope_factors_long.weight"}) read.refuse(name);
  w.layers.reserve(c.n_layers());
  for (std::size_t i = 0; i < c.n_layers(); ++i) w.layers.push_back(detail::read_layer(read, c, i));
  return w;
}

}  // namespace gemma
