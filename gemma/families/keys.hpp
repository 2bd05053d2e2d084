// Reading GGUF metadata that is the same in every family.
// Invariant: only families/ reads a model's configuration keys; every number that is returned is in its valid
// range; an Error for one that is not names the key, the value and its position in the file.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../../gguf/file.hpp"
#include "../../gguf/finite.hpp"
#include "../config.hpp"

namespace gemma::families {

/// Choices of the caller that replace or complete the file's values.
struct Overrides {
  std::optional<std::size_t> window =
      std::nullopt;                   // of sliding layers, in place of the file's value; 0: none
  bool bf16_embedding_scale = false;  // Gemma: round sqrt(d_model) to bfloat16, as the JAX reference does
};

/// The values that a family uses if a file has none.
struct Defaults {
  std::optional<float> rms_eps = std::nullopt;  // nullopt: the key is required
  bool head_dim_of_matrix = false;  // computed from the rows of attn_q instead of d_model / n_heads
};

/// Metadata of one architecture: keys are looked up as ARCHITECTURE.key. Its functions throw Error:
/// kMissingKey if there is no fallback, kWrongType, and kMalformed for values out of range.
class Keys {
 public:
  /// The file must outlive this object.
  Keys(const gguf::File& file, std::string architecture)
      : file_(file), architecture_(std::move(architecture)) {}

  /// A dimension of the model: 1 to ModelConfig::kMostSize.
  std::size_t size(const std::string& key) const {
    return checked_size(key, file_.get<std::uint64_t>(full(key)));
  }
  /// A dimension of each layer, [n_layers]: files have one number for all layers, or an array.
  std::vector<std::size_t> layer_sizes(const std::string& key, std::size_t n_layers) const {
    const gguf::Value* value = find(key);
    if (value == nullptr || value->type() != gguf::ValueType::kArray) {
      return std::vector<std::size_t>(n_layers, size(key));
    }
    std::vector<std::size_t> out;
    for (const std::uint64_t n : per_layer<std::uint64_t>(key, n_layers)) out.push_back(checked_size(key, n));
    return out;
  }
  /// A count that may be 0; `fallback` if the key is absent.
  std::uint64_t count_or(const std::string& key, std::uint64_t fallback) const {
    return file_.get_or<std::uint64_t>(full(key), fallback);
  }
  /// A count that some converters write as a float, which must be whole; `fallback` if the key is absent.
  std::size_t whole_number_or(const std::string& key, std::size_t fallback) const {
    const gguf::Value* value = find(key);
    const bool is_float = value != nullptr &&
                          (value->type() == gguf::ValueType::kF32 || value->type() == gguf::ValueType::kF64);
    if (!is_float) return static_cast<std::size_t>(count_or(key, fallback));
    const auto number = file_.get<double>(full(key));
    const bool whole =
        number >= 0 && number <= static_cast<double>(ModelConfig::kMostSize) && number == std::floor(number);
    if (!whole) malformed(key, std::to_string(number), "a whole number of 0 or more");
    return static_cast<std::size_t>(number);
  }
  /// The value as a finite number above 0.
  float positive(const std::string& key) const { return checked_positive(key, file_.get<float>(full(key))); }
  /// The value as a finite number above 0, or the fallback if the key is absent.
  float positive_or(const std::string& key, float fallback) const {
    return checked_positive(key, file_.get_or<float>(full(key), fallback));
  }
  /// A finite number, 0 ("none") or above, or the fallback if the key is absent.
  float non_negative_or(const std::string& key, float fallback) const {
    const auto value = file_.get_or<float>(full(key), fallback);
    if (!is_finite(value) || value < 0.0f) malformed(key, std::to_string(value), "a number of 0 or more");
    return value;
  }
  /// Text, or the fallback if the key is absent. Throws Error{kWrongType}.
  std::string_view text_or(const std::string& key, std::string_view fallback) const {
    return file_.get_or<std::string_view>(full(key), fallback);
  }
  /// An array of one value for each layer.
  template <typename T>
  std::vector<T> per_layer(const std::string& key, std::size_t n_layers) const {
    auto values = file_.get<std::vector<T>>(full(key));
    if (values.size() != n_layers) {
      malformed(key, "an array of " + std::to_string(values.size()),
                "one of " + std::to_string(n_layers) + " elements, one for each layer");
    }
    return values;
  }
  /// `key`, or `other`, another converter's spelling, if the file has only that one.
  std::string either(const std::string& key, const std::string& other) const {
    return find(key) == nullptr && find(other) != nullptr ? other : key;
  }
  /// "key 'ARCHITECTURE.KEY'", for notes.
  std::string name_of(const std::string& key) const { return "key " + gemma::quoted(full(key)); }
  /// The value of the key, or nullptr if the file does not have it.
  const gguf::Value* find(const std::string& key) const { return file_.find(full(key)); }

  /// Throws Error{kMalformed}: the value of `key` is `value`, but `expected` is needed.
  [[noreturn]] void malformed(const std::string& key, const std::string& value,
                              const std::string& expected) const {
    detail::refuse(ErrorCode::kMalformed, [&] {
      return named(key) + " is " + value + " where " + expected + " is needed" + place(key);
    });
  }
  /// Throws Error{kUnsupported}: the value of `key` asks for a feature that is not supported.
  [[noreturn]] void unsupported(const std::string& key, const std::string& what) const {
    detail::refuse(ErrorCode::kUnsupported,
                   [&] { return named(key) + " " + what + ", which is not supported" + place(key); });
  }
  /// The file whose metadata is read.
  const gguf::File& file() const noexcept { return file_; }
  /// general.architecture.
  const std::string& architecture() const noexcept { return architecture_; }

 private:
  std::string full(const std::string& key) const { return architecture_ + "." + key; }
  std::string named(const std::string& key) const {
    return file_.path() + ": key " + gemma::quoted(full(key));
  }
  std::string place(const std::string& key) const {
    const gguf::Value* value = find(key);
    return value == nullptr ? "" : " (at byte " + std::to_string(file_.offset_of(value->bytes())) + ")";
  }
  std::size_t checked_size(const std::string& key, std::uint64_t n) const {
    if (n < 1 || n > ModelConfig::kMostSize) {
      malformed(key, std::to_string(n), "1 to " + std::to_string(ModelConfig::kMostSize));
    }
    return static_cast<std::size_t>(n);
  }
  float checked_positive(const std::string& key, const float& value) const {
    if (!is_finite(value) || value <= 0.0f) malformed(key, std::to_string(value), "a number above 0");
    return value;
  }

  const gguf::File& file_;
  std::string architecture_;
};

/// The size of a layer's heads: the file's, else that of its query matrix if `defaults` request it, else
/// d_model / n_heads.
inline std::size_t head_dim_of(const Keys& keys, const Defaults& defaults, std::size_t layer,
                               std::size_t d_model, std::size_t n_heads) {
  if (keys.find("attention.key_length") != nullptr) return keys.size("attention.key_length");
  const TensorView* q = keys.file().find_tensor("blk." + std::to_string(layer) + ".attn_q.weight");
  if (defaults.head_dim_of_matrix && q != nullptr && q->rows % n_heads == 0) return q->rows / n_heads;
  if (d_model % n_heads != 0) {
    keys.malformed("attention.head_count", std::to_string(n_heads),
                   "a divisor of embedding_length, " + std::to_string(d_model) + ",");
  }
  return d_model / n_heads;
}

/// Refuses files whose value heads, or the part of a head that RoPE rotates, have another size than key
/// heads. `suffix` ends the names of the keys, for heads of another kind of layer.
inline void check_head_sizes(const Keys& keys, std::size_t head_dim, const std::string& suffix = "") {
  for (const char* name : {"attention.value_length", "rope.dimension_count"}) {
    const std::string same = name + suffix;
    const std::uint64_t n = keys.count_or(same, head_dim);
    if (n != head_dim) {
      keys.unsupported(same, "is " + std::to_string(n) + " and a head's size " + std::to_string(head_dim));
    }
  }
}

/// Reads heads and feed-forward widths of all layers; each layer owns its keys and values. Scores are scaled
/// by 1 / sqrt(head_dim). Window and rope of the layers stay 0.
inline void read_layers(const Keys& keys, const Defaults& defaults, ModelConfig& c) {
  const std::size_t n_layers = c.n_layers();
  const auto d_ff = keys.layer_sizes("feed_forward_length", n_layers);
  const auto n_heads = keys.layer_sizes("attention.head_count", n_layers);
  const bool grouped = keys.find("attention.head_count_kv") != nullptr;
  const auto n_kv_heads = grouped ? keys.layer_sizes("attention.head_count_kv", n_layers) : n_heads;
  for (std::size_t i = 0; i < n_layers; ++i) {
    if (n_heads[i] % n_kv_heads[i] != 0) {
      keys.malformed("attention.head_count_kv", std::to_string(n_kv_heads[i]),
                     "a divisor of attention.head_count, " + std::to_string(n_heads[i]) + " (layer " +
                         std::to_string(i) + "),");
    }
    const std::size_t head_dim = head_dim_of(keys, defaults, i, c.d_model, n_heads[i]);
    check_head_sizes(keys, head_dim);
    c.layers[i].feed_forward.d_ff = d_ff[i];
    c.layers[i].attention = {.n_heads = n_heads[i],
                             .n_kv_heads = n_kv_heads[i],
                             .head_dim = head_dim,
                             .scale = 1.0f / std::sqrt(static_cast<float>(head_dim)),
                             .kv_layer = i};
  }
}

/// The vocabulary's size is the number of rows of the embedding, whatever a key says (pruned and padded files
/// keep the old number).
inline void read_vocab_size(const Keys& keys, ModelConfig& c) {
  c.vocab_size = keys.file().tensor("token_embd.weight").rows;
  if (const std::uint64_t n = keys.count_or("vocab_size", c.vocab_size); n != c.vocab_size) {
    c.notes.push_back(keys.name_of("vocab_size") + " is " + std::to_string(n) + ", not " +
                      std::to_string(c.vocab_size) + ", the rows of the embedding, which count");
  }
}

/// Reads the epsilon of the norms; the family's if the file has none.
inline void read_epsilon(const Keys& keys, const Defaults& defaults, ModelConfig& c) {
  constexpr const char* kKey = "attention.layer_norm_rms_epsilon";
  if (defaults.rms_eps && keys.find(kKey) == nullptr) {
    c.rms_eps = *defaults.rms_eps;
    c.notes.push_back(keys.name_of(kKey) + " is missing: the family's value " + std::to_string(c.rms_eps) +
                      " is used");
  } else {
    c.rms_eps = keys.positive(kKey);
  }
}

/// Adds a note if the file also has parts for images and sound (Ollama's files), which are not used.
inline void note_other_parts(const Keys& keys, ModelConfig& c) {
  for (const TensorView& t : keys.file().tensors()) {
    for (const std::string_view prefix : {"v.", "a.", "mm."}) {
      if (!t.name.starts_with(prefix)) continue;
      c.notes.push_back("its parts for images or sound are not used: text only");
      return;
    }
  }
}

/// The file's pooling of texts; `fallback` for 0 and for unknown values.
inline Pooling pooling_or(const Keys& keys, Pooling fallback) {
  switch (keys.count_or("pooling_type", 0)) {
    case 1:
      return Pooling::kMean;
    case 2:
      return Pooling::kFirst;
    case 3:
      return Pooling::kLast;
    default:
      return fallback;
  }
}

/// Reads the fields whose keys are the same for all families.
inline ModelConfig read_common(const Keys& keys, const Defaults& defaults = {}) {
  const gguf::File& file = keys.file();
  ModelConfig c;
  c.architecture = keys.architecture();
  c.name = std::string(file.get_or<std::string_view>("general.name", ""));
  if (file.tensors().empty()) {
    detail::refuse(ErrorCode::kMissingTensor,
                   [&] { return file.path() + ": there are no tensors in the file, so it is not a model"; });
  }
  const std::size_t n_layers = keys.size("block_count");
  // each layer has its own tensors: a larger count is refused before anything is allocated for it
  if (n_layers > file.tensors().size()) {
    keys.malformed("block_count", std::to_string(n_layers),
                   "no more than the " + std::to_string(file.tensors().size()) + " tensors of the file");
  }
  c.layers.resize(n_layers);
  c.d_model = keys.size("embedding_length");
  read_layers(keys, defaults, c);
  c.max_seq_len = keys.size("context_length");
  read_epsilon(keys, defaults, c);
  read_vocab_size(keys, c);
  note_other_parts(keys, c);
  c.embedding.pooling = pooling_or(keys, Pooling::kLast);
  return c;
}

/// Whether the file has divisors of the rotary frequencies (Llama 3.1 and later).
inline bool has_rope_divisors(const Keys& keys) {
  return keys.file().find_tensor("rope_freqs.weight") != nullptr;
}

/// Whether the file has a tensor of this name in a layer.
inline bool has_layer_tensor(const Keys& keys, std::size_t layer, const std::string& name) {
  return keys.file().find_tensor("blk." + std::to_string(layer) + "." + name) != nullptr;
}

/// The last layers use the keys and values of the last layer before them that has its own and is of the same
/// kind (with or without a window).
inline void share_kv(const Keys& keys, ModelConfig& c, const std::vector<bool>& slides) {
  const std::size_t shared = keys.whole_number_or("attention.shared_kv_layers", 0);
  if (shared >= c.n_layers()) {
    keys.malformed("attention.shared_kv_layers", std::to_string(shared),
                   "fewer than the " + std::to_string(c.n_layers()) + " layers");
  }
  const std::size_t n_own = c.n_layers() - shared;
  for (std::size_t i = n_own; i < c.n_layers(); ++i) {
    std::size_t from = n_own;
    while (from > 0 && slides[from - 1] != slides[i]) --from;
    if (from == 0) {
      keys.malformed("attention.shared_kv_layers", std::to_string(shared),
                     "a number that leaves a layer of the kind of layer " + std::to_string(i) + " its own");
    }
    c.layers[i].attention.kv_layer = from - 1;
  }
}

/// Tokens that must never be generated according to the file; their logits become -infinity.
inline std::vector<std::size_t> suppressed_tokens(const Keys& keys) {
  constexpr const char* kKey = "tokenizer.ggml.suppress_tokens";
  if (keys.file().find(kKey) == nullptr) return {};
  std::vector<std::size_t> out;
  for (const std::uint64_t id : keys.file().get<std::vector<std::uint64_t>>(kKey)) {
    out.push_back(static_cast<std::size_t>(id));
  }
  return out;
}

/// Sets the window and the rotary frequencies of a layer; the frequencies are for heads of the layer's size.
inline void set_position(ModelConfig& c, LayerConfig& layer, std::size_t window, RopeConfig rope) {
  rope.head_dim = layer.attention.head_dim;
  layer.attention.window = window;
  layer.attention.rope = c.rope_index(rope);
}

/// Whether the file has keys of RoPE scaling.
inline bool has_rope_scaling(const Keys& keys) {
  for (const char* key : {"rope.scaling.type", "rope.scaling.factor", "rope.scale_linear"}) {
    if (keys.find(key) != nullptr) return true;
  }
  return false;
}

/// Linear RoPE scaling as 1 / factor; refuses kinds of scaling that are not supported.
inline float rope_scale(const Keys& keys) {
  const std::string_view type = keys.text_or("rope.scaling.type", "linear");
  if (type == "none") return 1.0f;
  if (type != "linear") keys.unsupported("rope.scaling.type", "is " + gemma::quoted(type));
  const char* key = keys.find("rope.scaling.factor") != nullptr ? "rope.scaling.factor" : "rope.scale_linear";
  const float factor = keys.non_negative_or(key, 1.0f);
  if (factor == 0.0f) return 1.0f;  // converters write 0 for "no scaling"
  const float scale = 1.0f / factor;
  if (!is_finite(scale) || scale == 0.0f) keys.malformed(key, std::to_string(factor), "a possible scale");
  return scale;
}

/// The window of the sliding layers: the caller's, else the file's, else `fallback` (without a fallback the
/// key is required). 0: no window; also for a window that no context can exceed.
inline std::size_t sliding_window(const Keys& keys, const Overrides& overrides,
                                  std::optional<std::uint64_t> fallback) {
  constexpr const char* kKey = "attention.sliding_window";
  std::uint64_t window = 0;
  if (overrides.window) {
    window = *overrides.window;
  } else if (fallback) {
    window = keys.count_or(kKey, *fallback);
  } else {
    window = keys.file().get<std::uint64_t>(keys.architecture() + "." + kKey);
  }
  return window > ModelConfig::kMostPositions ? 0 : static_cast<std::size_t>(window);
}

/// Which layers slide, [n_layers]: the file's `attention.sliding_window_pattern`, which is a period (every
/// period-th layer is global) or a bool for each layer; else the family's period.
inline std::vector<bool> sliding_layers(const Keys& keys, std::size_t n_layers, std::uint64_t period) {
  constexpr const char* kKey = "attention.sliding_window_pattern";
  const gguf::Value* value = keys.find(kKey);
  if (value != nullptr && value->type() == gguf::ValueType::kArray)
    return keys.per_layer<bool>(kKey, n_layers);
  period = keys.count_or(kKey, period);
  if (period == 0) keys.malformed(kKey, "0", "a period of at least 1");
  std::vector<bool> slides(n_layers);
  for (std::size_t i = 0; i < n_layers; ++i) slides[i] = i % period != period - 1;
  return slides;
}

}  // namespace gemma::families
