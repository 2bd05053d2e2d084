// GGUF models in memory for tests, of any shape and type, with random weights. Every part can be changed
// before a model is opened, to create malformed files.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "gguf/file.hpp"
#include "gguf/half.hpp"
#include "gguf/writer.hpp"
#include "kernels/kernel_table.hpp"
#include "tests/random.hpp"

namespace gemma::test {

/// A model's parts. Copies are deep; bytes() may be called again after each change.
class ModelFile {
 public:
  struct Tensor {
    std::string name;
    DType type;
    std::vector<std::size_t> shape;  // row-major
    std::vector<std::byte> data;
  };

  /// Sets a key; an existing key keeps its position.
  template <typename T>
  ModelFile& set(const std::string& key, const T& value) {
    if constexpr (std::is_convertible_v<T, std::string_view>) {
      return put(key, [key, text = std::string(value)](gguf::Writer& w) { w.add(key, text); });
    } else {
      return put(key, [key, value](gguf::Writer& w) { w.add(key, value); });
    }
  }
  template <typename T>
  ModelFile& set_array(const std::string& key, std::vector<T> values) {
    return put(key, [key, values = std::move(values)](gguf::Writer& w) { w.add_array(key, values); });
  }
  ModelFile& erase(const std::string& key) {
    std::erase_if(pairs_, [&](const auto& p) { return p.first == key; });
    return *this;
  }

  ModelFile& add_tensor(std::string name, DType type, std::vector<std::size_t> shape,
                        std::vector<std::byte> data) {
    tensors_.push_back({std::move(name), type, std::move(shape), std::move(data)});
    return *this;
  }
  /// Adds a float32 tensor.
  ModelFile& add_floats(std::string name, std::vector<std::size_t> shape, const std::vector<float>& values) {
    std::vector<std::byte> data(values.size() * sizeof(float));
    std::memcpy(data.data(), values.data(), data.size());
    return add_tensor(std::move(name), DType::kF32, std::move(shape), std::move(data));
  }
  Tensor& tensor(std::string_view name) {
    for (Tensor& t : tensors_) {
      if (t.name == name) return t;
    }
    throw std::runtime_error("no tensor " + std::string(name));
  }
  ModelFile& erase_tensor(std::string_view name) {
    std::erase_if(tensors_, [&](const Tensor& t) { return t.name == name; });
    return *this;
  }
  std::vector<Tensor>& tensors() { return tensors_; }
  const std::vector<Tensor>& tensors() const { return tensors_; }

  std::vector<std::byte> bytes() const {
    gguf::Writer w;
    for (const auto& [key, add] : pairs_) add(w);
    for (const Tensor& t : tensors_) w.add_tensor(t.name, t.type, t.shape, t.data);
    return w.bytes();
  }

 private:
  using Add = std::function<void(gguf::Writer&)>;

  ModelFile& put(const std::string& key, Add add) {
    for (auto& p : pairs_) {
      if (p.first == key) {
        p.second = std::move(add);
        return *this;
      }
    }
    pairs_.emplace_back(key, std::move(add));
    return *this;
  }

  std::vector<std::pair<std::string, Add>> pairs_;
  std::vector<Tensor> tensors_;
};

/// The sizes and types of a random model. Zero or empty: the key or tensor is omitted.
struct Shape {
  std::string architecture = "llama";
  std::size_t n_layers = 2, d_model = 64, d_ff = 96, n_heads = 4, n_kv_heads = 2, head_dim = 16;
  std::size_t vocab_size = 317;
  std::size_t context = 2048;
  std::size_t window = 0;
  float rope_base = 0;
  float rope_factor = 0;  // linear scaling
  float attention_softcap = 0, logit_softcap = 0;
  float rms_eps = 1e-5f;
  bool rope_factors = false;     // a rope_freqs.weight
  bool separate_output = false;  // an output.weight
  bool vocabulary = false;       // tokens, so that text can be generated; needs vocab_size >= 260
  DType type = DType::kF32;      // type of every matrix that is not in `types`
  std::map<std::string, DType, std::less<>> types = {};  // by tensor name
  std::vector<std::size_t> dense = {};                   // widths of the linear layers after pooling
  bool ollama = false;  // an EmbeddingGemma as Ollama converts it, with renamed and missing keys
  std::uint64_t seed = 1;

  bool embeds() const { return architecture == "gemma-embedding"; }
  bool is_gemma() const { return architecture.starts_with("gemma"); }
  bool post_norms() const { return is_gemma() && architecture != "gemma"; }
  bool qk_norm() const { return (post_norms() && architecture != "gemma2") || architecture == "qwen3"; }
  bool rotates_halves() const { return is_gemma() || architecture == "qwen3"; }
};

/// Sets a block's scales so that its weights are d times integers or half-integers (grids: magnitudes), and
/// its minimum or offset, if any, so that their mean is about 0.
template <class Block>
void set_scale(Block& b, double d) {
  const auto half = [](double x) { return f32_to_f16(static_cast<float>(x)); };
  if constexpr (requires { b.d; }) {
    b.d = half(d);
    constexpr bool kFifthBit = std::is_same_v<Block, BlockQ5_1> || std::is_same_v<Block, BlockQ5_K>;
    constexpr double kMeanQ = kFifthBit ? 15.5 : std::is_same_v<Block, BlockQ2_K> ? 1.5 : 7.5;
    if constexpr (requires { b.m; }) b.m = half(-kMeanQ * d);
    if constexpr (requires { b.dmin; }) b.dmin = half(kMeanQ * d);
  } else if constexpr (std::is_same_v<Block, BlockIQ1_M>) {
    const std::uint16_t bits = half(d);
    for (int i = 0; i < 4; ++i)
      b.scales[i] = static_cast<std::uint16_t>((b.scales[i] & 0x0FFF) | ((bits >> (4 * i)) & 15) << 12);
  } else if constexpr (std::is_same_v<Block, BlockMXFP4>) {
    b.e = static_cast<std::uint8_t>(std::lround(std::log2(d)) + 128);
  } else {
    static_assert(std::is_same_v<Block, BlockNVFP4>, "a new type: where are its scales?");
    const double code = 8.0 * (std::floor(std::log2(d)) + 8);  // of 2^x with x >= -7
    for (std::uint8_t& scale : b.s) scale = static_cast<std::uint8_t>(std::clamp(code, 8.0, 112.0));
  }
}

/// `count` random weights of a type, in blocks, with mean 0 (about) and about the given standard deviation.
inline std::vector<std::byte> random_weights(DType type, std::size_t count, double deviation,
                                             Random& random) {
  const DTypeInfo& t = info(type);
  std::vector<std::byte> data(count / t.block_elements * t.block_bytes);
  if (t.block_elements == 1) {
    for (std::size_t i = 0; i < count; ++i) {
      const auto x = static_cast<float>(random.unit() * deviation);
      const std::uint16_t half = type == DType::kF16 ? f32_to_f16(x) : f32_to_bf16(x);
      if (type == DType::kF32) std::memcpy(data.data() + i * 4, &x, 4);
      if (type != DType::kF32) std::memcpy(data.data() + i * 2, &half, 2);
    }
    return data;
  }
  for (std::byte& b : data) b = static_cast<std::byte>(random.next() >> 56);
  const auto set_scales = [&](double scale, bool vary) {
    for_each_dtype([&]<DType kType>() {
      if constexpr (kBlockElements < kType >> 1) {
        if (kType != type) return;
        for (std::size_t at = 0; at < data.size(); at += t.block_bytes) {
          BlockOf<kType> block;
          std::memcpy(&block, data.data() + at, sizeof(block));
          set_scale(block, scale * (vary ? 1.0 + 0.1 * random.unit() : 1.0));
          std::memcpy(data.data() + at, &block, sizeof(block));
        }
      }
    });
  };
  set_scales(1.0, false);
  std::vector<float> decoded(count);
  kernels::find_table("scalar")->dequantize[static_cast<std::size_t>(type)](data.data(), count,
                                                                            decoded.data());
  double squares = 0;
  for (const float x : decoded) squares += static_cast<double>(x) * static_cast<double>(x);
  set_scales(deviation / std::sqrt(squares / static_cast<double>(count)), true);
  return data;
}

inline void add_vocabulary(ModelFile& file, std::size_t size) {
  std::vector<std::string> pieces = {"<pad>", "<eos>", "<bos>", "<unk>"};
  std::vector<std::int32_t> types = {3, 3, 3, 2};
  constexpr char kHex[] = "0123456789ABCDEF";
  for (int b = 0; b < 256; ++b) {
    pieces.push_back(std::string("<0x") + kHex[b >> 4] + kHex[b & 15] + ">");
    types.push_back(6);
  }
  while (pieces.size() < size) {
    pieces.push_back("\xE2\x96\x81t" + std::to_string(pieces.size()));
    types.push_back(1);
  }
  std::vector<float> scores(size);
  for (std::size_t i = 0; i < size; ++i) scores[i] = -static_cast<float>(i);
  file.set("tokenizer.ggml.model", "llama");
  file.set_array("tokenizer.ggml.tokens", pieces);
  file.set_array("tokenizer.ggml.scores", scores);
  file.set_array("tokenizer.ggml.token_type", types);
  file.set("tokenizer.ggml.bos_token_id", std::uint32_t{2});
  file.set("tokenizer.ggml.eos_token_id", std::uint32_t{1});
  file.set("tokenizer.ggml.add_space_prefix", false);
}

inline void add_metadata(ModelFile& file, const Shape& s) {
  const std::string architecture = s.ollama ? "gemma3" : s.architecture;
  const std::string p = architecture + ".";
  auto number = [&](const char* key, std::size_t n) { file.set(p + key, static_cast<std::uint32_t>(n)); };
  auto real = [&](const char* key, float x) {
    if (x != 0) file.set(p + key, x);
  };
  file.set("general.architecture", architecture);
  number("context_length", s.context);
  number("embedding_length", s.d_model);
  number("block_count", s.n_layers);
  number("feed_forward_length", s.d_ff);
  number("attention.head_count", s.n_heads);
  number("attention.head_count_kv", s.n_kv_heads);
  if (!s.ollama) real("attention.layer_norm_rms_epsilon", s.rms_eps);
  if (s.head_dim * s.n_heads != s.d_model) number("attention.key_length", s.head_dim);
  if (s.window != 0) number("attention.sliding_window", s.window);
  real(s.ollama ? "rope.global.freq_base" : "rope.freq_base", s.rope_base);
  real("rope.scaling.factor", s.rope_factor);
  real("attn_logit_softcapping", s.attention_softcap);
  real("final_logit_softcapping", s.logit_softcap);
  if (s.vocabulary) add_vocabulary(file, s.vocab_size);
}

/// A whole model. Matrices have deviation 1 / sqrt(inputs), so that activations keep their size; norms are
/// near 1.
inline ModelFile make_model(const Shape& s) {
  ModelFile file;
  add_metadata(file, s);
  Random random(s.seed);
  auto matrix = [&](const std::string& name, std::size_t rows, std::size_t cols) {
    const auto at = s.types.find(name);
    const DType type = at == s.types.end() ? s.type : at->second;
    const double deviation = 1.0 / std::sqrt(static_cast<double>(cols));
    file.add_tensor(name, type, {rows, cols}, random_weights(type, rows * cols, deviation, random));
  };
  auto norm = [&](const std::string& name, std::size_t n) {
    std::vector<float> w(n);
    for (float& x : w) x = static_cast<float>(1.0 + 0.05 * random.unit());
    file.add_floats(name, {n}, w);
  };
  matrix("token_embd.weight", s.vocab_size, s.d_model);
  for (std::size_t i = 0; i < s.n_layers; ++i) {
    const std::string b = "blk." + std::to_string(i) + ".";
    norm(b + "attn_norm.weight", s.d_model);
    matrix(b + "attn_q.weight", s.n_heads * s.head_dim, s.d_model);
    matrix(b + "attn_k.weight", s.n_kv_heads * s.head_dim, s.d_model);
    matrix(b + "attn_v.weight", s.n_kv_heads * s.head_dim, s.d_model);
    matrix(b + "attn_output.weight", s.d_model, s.n_heads * s.head_dim);
    if (s.qk_norm()) norm(b + "attn_q_norm.weight", s.head_dim);
    if (s.qk_norm()) norm(b + "attn_k_norm.weight", s.head_dim);
    if (s.post_norms()) norm(b + "post_attention_norm.weight", s.d_model);
    norm(b + "ffn_norm.weight", s.d_model);
    matrix(b + "ffn_gate.weight", s.d_ff, s.d_model);
    matrix(b + "ffn_up.weight", s.d_ff, s.d_model);
    matrix(b + "ffn_down.weight", s.d_model, s.d_ff);
    if (s.post_norms()) norm(b + "post_ffw_norm.weight", s.d_model);
  }
  norm("output_norm.weight", s.d_model);
  std::size_t width = s.d_model;
  for (std::size_t i = 0; i < s.dense.size(); ++i) {
    matrix((s.ollama ? "dense." + std::to_string(i) : "dense_" + std::to_string(i + 2)) + ".weight",
           s.dense[i], width);
    width = s.dense[i];
  }
  if (s.separate_output) matrix("output.weight", s.vocab_size, s.d_model);
  if (s.rope_factors) {
    std::vector<float> factors(s.head_dim / 2);
    for (float& f : factors)
      f = static_cast<float>(1.0 + 7.0 * static_cast<double>(random.below(1000)) / 1000);
    file.add_floats("rope_freqs.weight", {factors.size()}, factors);
  }
  return file;
}

/// All tensors of a file, decoded, by name.
inline std::map<std::string, std::vector<double>> decoded_tensors(const ModelFile& file) {
  std::map<std::string, std::vector<double>> out;
  for (const ModelFile::Tensor& t : file.tensors()) {
    std::size_t count = 1;
    for (const std::size_t n : t.shape) count *= n;
    std::vector<float> values(count);
    kernels::find_table("scalar")->dequantize[static_cast<std::size_t>(t.type)](t.data.data(), count,
                                                                                values.data());
    out[t.name].assign(values.begin(), values.end());
  }
  return out;
}

}  // namespace gemma::test
