// Definitions of weights.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>

#include "../gguf/finite.hpp"
#include "../gguf/linkage.hpp"
#include "engine_error_code.hpp"

namespace gemma {

namespace detail {

/// Looks tensors up and checks their shapes.
class WeightReader {
 public:
  /// Stores the changes that adapters make to matrices in `to`.
  WeightReader(const gguf::File& file, const kernels::KernelTable& kernels,
               std::span<const std::shared_ptr<const Adapter>> adapters, Weights& to)
      : file_(file), kernels_(kernels), adapters_(adapters), to_(to) {}

  Matrix matrix(const std::string& name, std::size_t rows, std::size_t cols) const {
    Matrix m = unscaled_matrix(name, rows, cols);
    m.scale = scale_of(name);
    return m;
  }
  /// A matrix whose tensor STEM.scale has another meaning.
  Matrix unscaled_matrix(const std::string& name, std::size_t rows, std::size_t cols) const {
    refuse_changes(name);
    return view_of(checked(name, rows, cols));
  }
  /// A matrix that adapters may change. Matrices with the same input must be read one after the other;
  /// `first` is true for the first of them.
  Matrix changeable(const std::string& name, std::size_t rows, std::size_t cols, bool first) {
    if (first) column_ = 0;
    Matrix m = view_of(checked(name, rows, cols));
    m.scale = scale_of(name);
    const LowRank** link = &m.changes;
    for (const auto& adapter : adapters_) {
      const Adapter::Change* change = adapter->find(name);
      if (change == nullptr) continue;
      LowRank& low = add_change(*change);
      low.column = column_;
      column_ += change->rank();
      *link = &low;
      link = &low.next;
    }
    to_.changes_width = std::max(to_.changes_width, column_);
    return m;
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
  FloatBuffer vector(const std::string& name, std::size_t size) const { return table(name, 1, size); }
  /// A small matrix [rows, cols], decoded to floats.
  FloatBuffer table(const std::string& name, std::size_t rows, std::size_t cols) const {
    refuse_changes(name);
    const TensorView& t = checked(name, rows, cols);
    FloatBuffer out = floats_of(t, "norm weights");
    // large matrices are not read when the model is loaded, so only small ones are checked
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (!is_finite(out[i])) {
        fail(ErrorCode::kMalformed, t, "element " + std::to_string(i) + " is not a finite number");
      }
    }
    return out;
  }
  FloatBuffer vector_if(bool wanted, const std::string& name, std::size_t size) const {
    return wanted ? vector(name, size) : FloatBuffer{};
  }
  /// n_experts matrices in one tensor, each [rows, cols]; or rows [begin, begin + rows) of each, which has
  /// `of` rows.
  ExpertMatrices experts(const std::string& name, std::size_t n_experts, std::size_t rows, std::size_t cols,
                         std::size_t begin, std::size_t of) const {
    Matrix all = unscaled_matrix(name, n_experts * of, cols);
    all.data += begin * all.row_bytes;
    all.rows = rows;
    return {all, n_experts, of * all.row_bytes};
  }
  /// The factors of the experts' products, or empty.
  FloatBuffer scales_of(const std::string& name, std::size_t n_experts) const {
    return vector_if(has(name), name, n_experts);
  }
  bool has(const std::string& name) const { return file_.find_tensor(name) != nullptr; }

  /// Throws if the file has a tensor that some models of the architecture have and the configuration does not
  /// use: ignoring it would give wrong answers. (Other extra tensors are allowed.)
  void refuse(const std::string& name) const {
    if (const TensorView* t = file_.find_tensor(name)) {
      fail(ErrorCode::kUnsupported, *t, "models with this tensor are not supported");
    }
  }

  [[noreturn]] void fail(ErrorCode code, const TensorView& t, const std::string& what) const {
    detail::refuse(code, [&] {
      return file_.path_of(t.data) + ": tensor " + gemma::quoted(t.name) + " (at byte " +
             std::to_string(file_.offset_of(t.data)) + "): " + what;
    });
  }

 private:
  Matrix view_of(const TensorView& t) const {
    return {t.data.data(), t.type, t.rows, t.cols, t.row_size_bytes(), &kernels_.matmul_for(t.type)};
  }
  FloatBuffer floats_of(const TensorView& t, const char* what) const {
    FloatBuffer out(t.rows * t.cols, what);
    for (std::size_t r = 0; r < t.rows; ++r) {
      kernels_.dequantize[static_cast<std::size_t>(t.type)](t.row(r), t.cols, out.data() + r * t.cols);
    }
    return out;
  }

  /// Adds one adapter's change. Its rows are read as floats: in place, or from a decoded copy if the type has
  /// an 8-bit kernel or the matrices must be transposed.
  LowRank& add_change(const Adapter::Change& change) {
    LowRank& low = *to_.changes.emplace_back(std::make_unique<LowRank>());
    low.a = change.by_rows ? transposed(*change.b) : readable(*change.a);
    low.b = readable(change.by_rows ? *change.a : *change.b);
    low.b.scale = change.scale;
    return low;
  }
  Matrix readable(const TensorView& t) {
    const Matrix m = view_of(t);
    return m.kernel->quantized_activations ? keep(floats_of(t, "an adapter"), t.rows, t.cols) : m;
  }
  Matrix transposed(const TensorView& t) {
    const FloatBuffer from = floats_of(t, "an adapter");
    FloatBuffer out(from.size(), "an adapter");
    for (std::size_t i = 0; i < from.size(); ++i) out[i % t.cols * t.rows + i / t.cols] = from[i];
    return keep(std::move(out), t.cols, t.rows);
  }
  Matrix keep(FloatBuffer floats, std::size_t rows, std::size_t cols) {
    const FloatBuffer& kept = *to_.decoded.emplace_back(std::make_unique<FloatBuffer>(std::move(floats)));
    return {reinterpret_cast<const std::byte*>(kept.data()),
            DType::kF32,
            rows,
            cols,
            cols * sizeof(float),
            &kernels_.matmul_for(DType::kF32)};
  }
  void refuse_changes(const std::string& name) const {
    for (const auto& adapter : adapters_) {
      if (adapter->find(name) == nullptr) continue;
      detail::refuse(ErrorCode::kUnsupported, [&] {
        return adapter->path() + ": changes tensor " + gemma::quoted(name) +
               ", which is supported only when quantising merges it: it is not a matrix of attention or of "
               "a dense feed-forward block";
      });
    }
  }

  const TensorView& checked(const std::string& name, std::size_t rows, std::size_t cols) const {
    const TensorView& t = file_.tensor(name);
    if (!t.is_supported()) {
      const UnsupportedType* other = find_unsupported_type(t.type_id);
      fail(ErrorCode::kUnsupported, t,
           "its type " + describe_dtype_id(t.type_id) + " " +
               std::string(other != nullptr ? to_string(other->why) : "is not known") +
               " and is not supported");
    }
    if (t.rows != rows || t.cols != cols) {
      auto shape = [](std::size_t r, std::size_t c) {
        return "[" + std::to_string(r) + ", " + std::to_string(c) + "]";
      };
      fail(EngineErrorCode::kBadShape, t,
           "its shape is " + shape(t.rows, t.cols) + ", the metadata asks for " + shape(rows, cols));
    }
    return t;
  }

  const gguf::File& file_;
  const kernels::KernelTable& kernels_;
  std::span<const std::shared_ptr<const Adapter>> adapters_;
  Weights& to_;
  std::size_t column_ = 0;  // sum of the ranks of changes so far to matrices with the same input
};

inline FloatBuffer ones(std::size_t n) {
  FloatBuffer out(n, "norm weights");
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

inline LayerWeights read_layer(WeightReader& read, const ModelConfig& c, std::size_t index) {
  const std::string p = "blk." + std::to_string(index) + ".";
  const AttentionConfig& a = c.layers[index].attention;
  const std::size_t d_ff = c.layers[index].feed_forward.d_ff;
  LayerWeights l;
  l.attn_norm = read.vector(p + "attn_norm.weight", c.d_model);
  l.q = read.changeable(p + "attn_q.weight", a.q_width(), c.d_model, true);
  l.q_norm = read.vector_if(a.qk_norm, p + "attn_q_norm.weight", a.head_dim);
  if (c.owns_kv(index)) {
    l.k = read.changeable(p + "attn_k.weight", a.kv_width(), c.d_model, false);
    if (!a.v_from_k) l.v = read.changeable(p + "attn_v.weight", a.kv_width(), c.d_model, false);
    l.k_norm = read.vector_if(a.qk_norm, p + "attn_k_norm.weight", a.head_dim);
  }
  l.attn_out = read.changeable(p + "attn_output.weight", c.d_model, a.q_width(), true);
  l.post_attn_norm = read.vector_if(c.post_norms, p + "post_attention_norm.weight", c.d_model);
  l.ffn_norm = read.vector(p + "ffn_norm.weight", c.d_model);
  l.gate = read.changeable(p + "ffn_gate.weight", d_ff, c.d_model, true);
  l.up = read.changeable(p + "ffn_up.weight", d_ff, c.d_model, false);
  l.down = read.changeable(p + "ffn_down.weight", c.d_model, d_ff, true);
  l.post_ffn_norm = read.vector_if(c.post_norms, p + "post_ffw_norm.weight", c.d_model);
  if (c.layers[index].feed_forward.experts.count != 0) l.mixture = read_mixture(read, c, index);
  if (c.per_layer_width != 0) {
    l.per_layer = {read.changeable(p + "inp_gate.weight", c.per_layer_width, c.d_model, true),
                   read.changeable(p + "proj.weight", c.d_model, c.per_layer_width, true),
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

/// The linear layers after pooling.
inline std::vector<Matrix> read_dense(const WeightReader& read, const ModelConfig& c) {
  std::vector<Matrix> out;
  std::size_t width = c.d_model;
  for (const DenseConfig& dense : c.embedding.dense) {
    out.push_back(read.matrix(dense.name + ".weight", dense.width, width));
    read.refuse(dense.name + ".bias");
    width = dense.width;
  }
  return out;
}

/// The divisors of rotary frequencies, or empty if no rope uses them.
inline FloatBuffer read_rope_divisors(const WeightReader& read, const gguf::File& file,
                                      const ModelConfig& c) {
  constexpr const char* kName = "rope_freqs.weight";
  const auto divided =
      std::find_if(c.ropes.begin(), c.ropes.end(), [](const RopeConfig& r) { return r.divided; });
  if (divided == c.ropes.end()) return {};
  FloatBuffer out = read.vector(kName, divided->head_dim / 2);
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (out[i] <= 0.0f) {
      read.fail(ErrorCode::kMalformed, file.tensor(kName),
                "element " + std::to_string(i) + ", a divisor of frequencies, is not positive");
    }
  }
  return out;
}

}  // namespace detail

GEMMA_INLINE Weights Weights::from(const gguf::File& file, const ModelConfig& c,
                                   const kernels::KernelTable& kernels,
                                   std::span<const std::shared_ptr<const Adapter>> adapters) {
  for (const auto& adapter : adapters) {
    if (adapter == nullptr) detail::refuse(ErrorCode::kInvalidArgument, "an adapter is missing");
    adapter->check(file);
  }
  Weights w;
  detail::WeightReader read(file, kernels, adapters, w);
  for (const char* name : {"token_embd.scale", "token_embd.weight.scale"}) read.refuse(name);
  w.embedding = read.changeable("token_embd.weight", c.vocab_size, c.d_model, true);
  for (const detail::LowRank* change = w.embedding.changes; change != nullptr; change = change->next) {
    if (change->a.rows > kMostEmbeddingRank)
      read.fail(ErrorCode::kUnsupported, file.tensor("token_embd.weight"),
                "an adapter changes it by a rank of " + std::to_string(change->a.rows));
  }
  w.output = file.find_tensor("output.weight") != nullptr
                 ? read.changeable("output.weight", c.vocab_size, c.d_model, true)
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
  w.dense = detail::read_dense(read, c);
  if (c.largest([](const LayerConfig& l) { return l.attention.v_norm; }) != 0) {
    w.ones = detail::ones(c.largest([](const LayerConfig& l) { return l.attention.head_dim; }));
  }
  for (const char* name : {"output.bias", "output_norm.bias", "rope_factors_long.weight"}) read.refuse(name);
  w.layers.reserve(c.n_layers());
  for (std::size_t i = 0; i < c.n_layers(); ++i) w.layers.push_back(detail::read_layer(read, c, i));
  return w;
}

}  // namespace gemma
