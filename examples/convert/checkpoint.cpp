// Names and settings of each architecture, as data; their sources are the published configurations and the
// tensor names of the Python package gguf.
#include "examples/convert/checkpoint.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <numbers>
#include <optional>
#include <set>
#include <span>

#include "gguf/error.hpp"

namespace gemma::convert {
namespace {

struct Name {
  std::string_view from, to;  // {}: the layer
};
// every architecture's
constexpr Name kCommon[] = {
    {"model.embed_tokens.weight", "token_embd.weight"},
    {"model.norm.weight", "output_norm.weight"},
    {"lm_head.weight", "output.weight"},
    {"model.layers.{}.input_layernorm.weight", "blk.{}.attn_norm.weight"},
    {"model.layers.{}.self_attn.q_proj.weight", "blk.{}.attn_q.weight"},
    {"model.layers.{}.self_attn.k_proj.weight", "blk.{}.attn_k.weight"},
    {"model.layers.{}.self_attn.v_proj.weight", "blk.{}.attn_v.weight"},
    {"model.layers.{}.self_attn.o_proj.weight", "blk.{}.attn_output.weight"},
    {"model.layers.{}.mlp.gate_proj.weight", "blk.{}.ffn_gate.weight"},
    {"model.layers.{}.mlp.up_proj.weight", "blk.{}.ffn_up.weight"},
    {"model.layers.{}.mlp.down_proj.weight", "blk.{}.ffn_down.weight"},
};
// norms before attention and feed-forward
constexpr Name kPlainNorms[] = {
    {"model.layers.{}.post_attention_layernorm.weight", "blk.{}.ffn_norm.weight"},
};
// norms on both sides
constexpr Name kFourNorms[] = {
    {"model.layers.{}.post_attention_layernorm.weight", "blk.{}.post_attention_norm.weight"},
    {"model.layers.{}.pre_feedforward_layernorm.weight", "blk.{}.ffn_norm.weight"},
    {"model.layers.{}.post_feedforward_layernorm.weight", "blk.{}.post_ffw_norm.weight"},
    {"model.layers.{}.self_attn.q_norm.weight", "blk.{}.attn_q_norm.weight"},
    {"model.layers.{}.self_attn.k_norm.weight", "blk.{}.attn_k_norm.weight"},
};
// parts of names of what text alone does not need
constexpr std::string_view kOtherSenses[] = {"vision_tower.", "multi_modal_projector.", "audio_tower.",
                                             "embed_vision.", "embed_audio."};

/// What a value is where the configuration does not say; nullopt: it must.
using Default = std::optional<double>;

struct Architecture {
  std::string_view config_name;  // architectures[0] of config.json
  std::string_view name;         // general.architecture
  std::span<const Name> norms;
  float norm_offset;  // to be added to norms
  bool interleaves;   // rows of q and k: pairs (2i, 2i + 1) rotate
  bool tied;          // the head is the embedding: an lm_head is a copy of it
  Default head_dim, n_heads, n_kv_heads, context, rms_eps, rope_theta;
};
constexpr Architecture kArchitectures[] = {
    {"GemmaForCausalLM", "gemma", kPlainNorms, 1, false, true, 256, {}, {}, 8192, 1e-6, {}},
    {"Gemma2ForCausalLM", "gemma2", kFourNorms, 1, false, true, 256, {}, {}, 8192, 1e-6, {}},
    {"Gemma3ForCausalLM", "gemma3", kFourNorms, 1, false, true, 256, 8, 4, 131072, 1e-6, 1e6},
    {"Gemma3ForConditionalGeneration", "gemma3", kFourNorms, 1, false, true, 256, 8, 4, 131072, 1e-6, 1e6},
    {"LlamaForCausalLM", "llama", kPlainNorms, 0, true, false, {}, {}, {}, {}, {}, 1e4},
    {"MistralForCausalLM", "llama", kPlainNorms, 0, true, false, {}, {}, {}, {}, {}, 1e4},
};

/// Settings of config.json, each checked.
class Settings {
 public:
  Settings(const Json& json, std::string where) : json_(json), where_(std::move(where)) {}

  bool has(const char* key) const {
    const auto it = json_.find(key);
    return it != json_.end() && !it->is_null();
  }
  double number(const char* key, Default otherwise = {}) const {
    if (!has(key)) {
      if (otherwise) return *otherwise;
      throw Error(ErrorCode::kMissingKey, where_ + ": " + gemma::quoted(key) + " is missing");
    }
    const Json& value = json_.at(key);
    if (!value.is_number()) malformed(key, "a number");
    return value.get<double>();
  }
  std::uint32_t count(const char* key, Default otherwise = {}) const {
    const double n = number(key, otherwise);
    if (!(n >= 1 && n <= 2147483647.0 && n == std::floor(n))) malformed(key, "a whole number of 1 or more");
    return static_cast<std::uint32_t>(n);
  }
  float positive(const char* key, Default otherwise = {}) const {
    const double n = number(key, otherwise);
    if (!(n > 0 && n <= static_cast<double>(std::numeric_limits<float>::max())))
      malformed(key, "a number above 0");
    return static_cast<float>(n);
  }
  std::string text(const char* key) const {
    const auto it = json_.find(key);
    return it != json_.end() && it->is_string() ? it->get<std::string>() : "";
  }
  /// An object inside, or one that is empty.
  Settings inner(const char* key) const {
    static const Json kEmpty = Json::object();
    const auto it = json_.find(key);
    return {it != json_.end() && it->is_object() ? *it : kEmpty, where_ + " " + key};
  }
  [[noreturn]] void malformed(const char* key, const std::string& expected) const {
    throw Error(ErrorCode::kMalformed, where_ + ": " + gemma::quoted(key) + " is not " + expected);
  }

 private:
  const Json& json_;
  std::string where_;
};

/// "layers.7." apart: the name with {} for the layer, and the layer.
struct Split {
  std::string form;
  std::string layer;
};
Split split_name(std::string_view name) {
  constexpr std::string_view kLayers = "model.layers.";
  if (!name.starts_with(kLayers)) return {std::string(name), ""};
  const std::size_t end = std::min(name.find('.', kLayers.size()), name.size());
  const std::string_view digits = name.substr(kLayers.size(), end - kLayers.size());
  const bool number =
      !digits.empty() && digits.size() < 6 && digits.find_first_not_of("0123456789") == digits.npos;
  if (!number) return {std::string(name), ""};
  return {std::string(kLayers) + "{}" + std::string(name.substr(end)), std::string(digits)};
}

/// Models with pictures have their text part under one of two names.
std::string text_name(std::string_view name) {
  std::string out(name);
  for (const std::string_view part : {"language_model.model.", "model.language_model."})
    if (out.starts_with(part)) return "model." + out.substr(part.size());
  if (out == "language_model.lm_head.weight") return "lm_head.weight";
  return out;
}

/// Llama 3.1's divisors of the frequencies: those of long waves are slowed down by `factor`, between two
/// lengths gradually.
std::vector<float> llama3_divisors(const Settings& scaling, std::size_t head_dim, double base) {
  const double factor = scaling.number("factor", 8.0), low = scaling.number("low_freq_factor", 1.0);
  const double high = scaling.number("high_freq_factor", 4.0);
  const double old_context = scaling.number("original_max_position_embeddings", 8192.0);
  if (!(high > low) || !(factor > 0)) scaling.malformed("high_freq_factor", "above low_freq_factor");
  std::vector<float> out;
  for (std::size_t i = 0; i < head_dim; i += 2) {
    const double wave =
        2 * std::numbers::pi * std::pow(base, static_cast<double>(i) / static_cast<double>(head_dim));
    double divisor = 1;
    if (wave > old_context / low) {
      divisor = factor;
    } else if (wave >= old_context / high) {
      const double smooth = (old_context / wave - low) / (high - low);
      divisor = 1 / ((1 - smooth) / factor + smooth);
    }
    out.push_back(static_cast<float>(divisor));
  }
  return out;
}

class Converter {
 public:
  Converter(const Safetensors& checkpoint, const Architecture& a, const Settings& s, gguf::Writer& writer)
      : checkpoint_(checkpoint), a_(a), s_(s), writer_(writer) {
    n_layers_ = s.count("num_hidden_layers");
    d_model_ = s.count("hidden_size");
    n_heads_ = s.count("num_attention_heads", a.n_heads);
    n_kv_heads_ = s.has("num_key_value_heads") || a.n_kv_heads ? s.count("num_key_value_heads", a.n_kv_heads)
                                                               : n_heads_;
    head_dim_ = s.has("head_dim") || a.head_dim ? s.count("head_dim", a.head_dim) : d_model_ / n_heads_;
    if (head_dim_ == 0 || head_dim_ % 2 != 0) s.malformed("head_dim", "an even number");
  }

  Conversion run() {
    add_metadata();
    for (const auto& [name, tensor] : checkpoint_.tensors()) place(tensor);
    add_rope_factors();
    check_layers();
    return std::move(result_);
  }

 private:
  template <typename T>
  void add(const char* key, const T& value) {
    writer_.add(std::string(a_.name) + "." + key, value);
  }

  void add_metadata() {
    add("context_length", s_.count("max_position_embeddings", a_.context));
    add("embedding_length", d_model_);
    add("block_count", n_layers_);
    add("feed_forward_length", s_.count("intermediate_size"));
    add("attention.head_count", n_heads_);
    add("attention.head_count_kv", n_kv_heads_);
    add("attention.layer_norm_rms_epsilon", s_.positive("rms_norm_eps", a_.rms_eps));
    add("attention.key_length", head_dim_);
    add("attention.value_length", head_dim_);
    if (a_.interleaves) {
      add("vocab_size", s_.count("vocab_size"));
      add("rope.dimension_count", head_dim_);
    }
    if (a_.rope_theta) add("rope.freq_base", rope_theta());
    for (const auto& [from, to] : {std::pair{"attn_logit_softcapping", "attn_logit_softcapping"},
                                   std::pair{"final_logit_softcapping", "final_logit_softcapping"}})
      if (s_.has(from)) add(to, s_.positive(from));
    if (s_.has("sliding_window") && a_.name != "gemma")
      add("attention.sliding_window", s_.count("sliding_window"));
    const Settings scaling = rope_scaling();
    const std::string kind = kind_of(scaling);
    if (kind == "linear") {
      writer_.add(std::string(a_.name) + ".rope.scaling.type", "linear");
      add("rope.scaling.factor", scaling.positive("factor"));
    } else if (!kind.empty() && kind != "default" && kind != "llama3") {
      throw Error(ErrorCode::kUnsupported,
                  "config.json: rope scaling " + gemma::quoted(kind) + " is not converted");
    }
  }

  /// Newer configurations have rotations in an object of their own, one for each kind of layer.
  Settings rope_parameters() const {
    const Settings all = s_.inner("rope_parameters");
    return all.has("full_attention") ? all.inner("full_attention") : all;
  }
  float rope_theta() const {
    const Settings inner = rope_parameters();
    return inner.has("rope_theta") ? inner.positive("rope_theta") : s_.positive("rope_theta", a_.rope_theta);
  }
  Settings rope_scaling() const {
    return s_.has("rope_scaling") ? s_.inner("rope_scaling") : rope_parameters();
  }
  static std::string kind_of(const Settings& scaling) {
    return scaling.has("rope_type") ? scaling.text("rope_type") : scaling.text("type");
  }

  void place(const CheckpointTensor& t) {
    const std::string name = text_name(t.name);
    const bool other_sense = std::any_of(std::begin(kOtherSenses), std::end(kOtherSenses),
                                         [&](auto part) { return name.find(part) != name.npos; });
    const Split split = split_name(name);
    if (other_sense || (a_.tied && name == "lm_head.weight") || name.ends_with(".rotary_emb.inv_freq")) {
      result_.left_out.push_back(t.name);
      return;
    }
    const Name* known = nullptr;
    for (const auto names : {std::span<const Name>(kCommon), a_.norms})
      for (const Name& n : names)
        if (n.from == split.form) known = &n;
    if (known == nullptr)
      throw Error(ErrorCode::kUnsupported,
                  "tensor " + gemma::quoted(t.name) + " is not known of " + std::string(a_.config_name));
    if (t.type == DType::kOther)
      throw Error(ErrorCode::kUnsupported, "tensor " + gemma::quoted(t.name) + " is of type " + t.type_name);
    Placed p;
    p.from = &t;
    p.name = std::string(known->to);
    if (const std::size_t at = p.name.find("{}"); at != p.name.npos) p.name.replace(at, 2, split.layer);
    p.shape = t.shape;
    p.keep_f32 = p.name.ends_with("_norm.weight");
    check_shape(p, known->to);
    if (p.keep_f32) p.add = a_.norm_offset;
    if (a_.interleaves && (known->to == "blk.{}.attn_q.weight" || known->to == "blk.{}.attn_k.weight"))
      p.head_dim = head_dim_;
    if (!names_.insert(p.name).second)
      throw Error(ErrorCode::kMalformed, "two tensors of the checkpoint are " + gemma::quoted(p.name));
    result_.tensors.push_back(std::move(p));
  }

  void check_shape(const Placed& p, std::string_view form) const {
    const std::size_t n_dims = p.keep_f32 ? 1 : 2;
    bool good = p.shape.size() == n_dims && p.shape[0] > 0 && p.shape.back() > 0;
    if (form == "blk.{}.attn_q.weight") good = good && p.shape[0] == std::size_t{n_heads_} * head_dim_;
    if (form == "blk.{}.attn_k.weight" || form == "blk.{}.attn_v.weight")
      good = good && p.shape[0] == std::size_t{n_kv_heads_} * head_dim_;
    if (good) return;
    std::string shape;
    for (const std::size_t d : p.shape) shape += (shape.empty() ? "" : " x ") + std::to_string(d);
    throw Error(ErrorCode::kBadShape,
                "tensor " + gemma::quoted(p.from->name) + " of " + shape + " does not fit config.json");
  }

  void add_rope_factors() {
    const Settings scaling = rope_scaling();
    if (kind_of(scaling) != "llama3") return;
    Placed p;
    p.name = "rope_freqs.weight";
    p.keep_f32 = true;
    p.made = llama3_divisors(scaling, head_dim_, static_cast<double>(rope_theta()));
    p.shape = {p.made.size()};
    result_.tensors.push_back(std::move(p));
  }

  void check_layers() const {
    std::vector<std::string> wanted = {"token_embd.weight", "output_norm.weight"};
    for (std::uint32_t i = 0; i < n_layers_; ++i)
      for (const Name& n : kCommon)
        if (n.to.find("{}") != n.to.npos)
          wanted.push_back("blk." + std::to_string(i) + std::string(n.to.substr(n.to.find("{}") + 2)));
    for (const std::string& name : wanted)
      if (names_.count(name) == 0)
        throw Error(ErrorCode::kMissingTensor,
                    "the checkpoint has nothing for tensor " + gemma::quoted(name));
  }

  const Safetensors& checkpoint_;
  const Architecture& a_;
  const Settings& s_;
  gguf::Writer& writer_;
  std::uint32_t n_layers_, d_model_, n_heads_, n_kv_heads_, head_dim_;
  std::set<std::string> names_;
  Conversion result_;
};

/// blk.2 before blk.10, what belongs to no layer first.
bool comes_before(const Placed& a, const Placed& b) {
  const auto key = [](const Placed& p) {
    int layer = -1;
    if (p.name.starts_with("blk.")) std::from_chars(p.name.data() + 4, p.name.data() + p.name.size(), layer);
    return std::pair<int, std::string_view>(layer, p.name);
  };
  return key(a) < key(b);
}

}  // namespace

std::string architecture_names() {
  std::string names;
  for (const Architecture& a : kArchitectures)
    names += (names.empty() ? "" : ", ") + std::string(a.config_name);
  return names;
}

Conversion place_tensors(const Safetensors& checkpoint, const Json& config, const std::string& where,
                         gguf::Writer& writer) {
  const auto list = config.find("architectures");
  const bool named = list != config.end() && list->is_array() && !list->empty() && list->front().is_string();
  const std::string name = named ? list->front().get<std::string>() : "";
  const auto* a = std::find_if(std::begin(kArchitectures), std::end(kArchitectures),
                               [&](const Architecture& known) { return known.config_name == name; });
  if (a == std::end(kArchitectures))
    throw Error(ErrorCode::kUnsupported, where + ": architecture " + gemma::quoted(name) +
                                             " is not converted; these are: " + architecture_names());
  writer.add("general.architecture", a->name).add("general.type", "model");
  const auto text = config.find("text_config");
  const Settings settings(text != config.end() && text->is_object() ? *text : config, where);
  try {
    Conversion c = Converter(checkpoint, *a, settings, writer).run();
    std::sort(c.tensors.begin(), c.tensors.end(), comes_before);
    return c;
  } catch (const Error& e) {
    const std::string message(e.message());
    throw Error(e.code(), message.starts_with(where) ? message : where + ": " + message);
  }
}

}  // namespace gemma::convert
