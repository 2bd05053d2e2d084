// Assigns a checkpoint's tensors to those of the GGUF file, by the tables of architectures.hpp.
#include "examples/convert/checkpoint.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <span>

#include "examples/convert/architectures.hpp"
#include "examples/convert/formulas.hpp"
#include "examples/convert/names.hpp"
#include "examples/convert/settings.hpp"
#include "examples/numbers.hpp"
#include "gemma/engine_error_code.hpp"
#include "gguf/layer_name.hpp"

namespace gemma::convert {
namespace {

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
    if (is_gemma4()) read_layers();
    if (is_gemma3n()) read_gemma3n_layers();
  }

  Conversion run() {
    add_metadata();
    for (const auto& [name, tensor] : checkpoint_.tensors()) place(tensor);
    add_stacks();
    add_rope_factors();
    check_layers();
    return std::move(result_);
  }

 private:
  bool is_gemma4() const noexcept { return a_.name == "gemma4"; }
  bool is_gemma3n() const noexcept { return a_.name == "gemma3n"; }

  /// Layers of two kinds: global layers have heads of another size, and may have fewer key/value heads.
  void read_layers() {
    slides_ = s_.layers_that_are("layer_types", "sliding_attention", n_layers_);
    full_head_dim_ = s_.count("global_head_dim", 512.0);
    full_kv_heads_ =
        s_.has("num_global_key_value_heads") ? s_.count("num_global_key_value_heads") : n_kv_heads_;
    n_shared_ = s_.count_or_none("num_kv_shared_layers");
    if (n_shared_ >= n_layers_) s_.malformed("num_kv_shared_layers", "below the number of layers");
  }
  /// One layer in five is global; all have heads of one size.
  void read_gemma3n_layers() {
    full_head_dim_ = head_dim_;
    full_kv_heads_ = n_kv_heads_;
    if (s_.has("layer_types")) {
      slides_ = s_.layers_that_are("layer_types", "sliding_attention", n_layers_);
    } else {
      for (std::uint32_t l = 0; l < n_layers_; ++l) slides_.push_back((l + 1) % 5 != 0);
    }
    n_shared_ = s_.count("num_kv_shared_layers", 15.0);
    if (n_shared_ >= n_layers_) s_.malformed("num_kv_shared_layers", "below the number of layers");
    n_streams_ = s_.count("altup_num_inputs", 4.0);
    if (n_streams_ < 2 || n_streams_ > 8) s_.malformed("altup_num_inputs", "2 to 8");
  }
  bool is_full(std::size_t layer) const noexcept { return layer < slides_.size() && !slides_[layer]; }
  std::size_t head_dim(std::size_t layer) const noexcept {
    return is_full(layer) ? full_head_dim_ : head_dim_;
  }
  std::size_t kv_heads(std::size_t layer) const noexcept {
    return is_full(layer) ? full_kv_heads_ : n_kv_heads_;
  }

  template <typename T>
  void add(const char* key, const T& value) {
    writer_.add(std::string(a_.name) + "." + key, value);
  }
  template <typename T>
  void add_list(const char* key, const std::vector<T>& values) {
    writer_.add_array(std::string(a_.name) + "." + key, values);
  }

  void add_gemma4_metadata() {
    const std::uint32_t d_ff = s_.count("intermediate_size");
    if (s_.flag("use_double_wide_mlp")) {  // applies to layers that share keys and values
      std::vector<std::int32_t> sizes;
      for (std::uint32_t l = 0; l < n_layers_; ++l)
        sizes.push_back(static_cast<std::int32_t>(l < n_layers_ - n_shared_ ? d_ff : 2 * d_ff));
      add_list("feed_forward_length", sizes);
    } else {
      add("feed_forward_length", d_ff);
    }
    if (full_kv_heads_ != n_kv_heads_) {
      std::vector<std::int32_t> heads;
      for (std::uint32_t l = 0; l < n_layers_; ++l) heads.push_back(static_cast<std::int32_t>(kv_heads(l)));
      add_list("attention.head_count_kv", heads);
    } else {
      add("attention.head_count_kv", n_kv_heads_);
    }
    for (const char* key : {"attention.key_length", "attention.value_length", "rope.dimension_count"}) {
      add(key, full_head_dim_);
      writer_.add(std::string(a_.name) + "." + key + "_swa", head_dim_);
    }
    add_list("attention.sliding_window_pattern", slides_);
    add("attention.shared_kv_layers", n_shared_);
    add("embedding_length_per_layer_input", s_.count_or_none("hidden_size_per_layer_input"));
    const Settings rope = s_.inner("rope_parameters");
    add("rope.freq_base", rope.inner("full_attention").positive("rope_theta", 1e6));
    add("rope.freq_base_swa", rope.inner("sliding_attention").positive("rope_theta", 1e4));
    if (!s_.flag("enable_moe_block") && s_.count_or_none("num_experts") == 0) return;
    add("expert_count", s_.count("num_experts"));
    add("expert_used_count", s_.count("top_k_experts"));
    add("expert_feed_forward_length",
        s_.count(s_.has("moe_intermediate_size") ? "moe_intermediate_size" : "expert_intermediate_size"));
  }

  void add_gemma3n_metadata() {
    const std::vector<std::int32_t> d_ff = s_.counts_of_layers("intermediate_size", n_layers_);
    if (std::all_of(d_ff.begin(), d_ff.end(), [&](std::int32_t n) { return n == d_ff.front(); })) {
      add("feed_forward_length", static_cast<std::uint32_t>(d_ff.front()));
    } else {
      add_list("feed_forward_length", d_ff);
    }
    std::vector<float> sparsity;  // gate values below mean + sparsity * deviation are cut off
    if (s_.has("activation_sparsity_pattern")) {
      for (const double p : s_.numbers_of_layers("activation_sparsity_pattern", n_layers_)) {
        if (!(p >= 0 && p < 1)) s_.malformed("activation_sparsity_pattern", "from 0 to below 1");
        sparsity.push_back(normal_quantile(static_cast<float>(p)));
      }
    } else {  // as in the reference
      for (std::uint32_t l = 0; l < n_layers_; ++l)
        sparsity.push_back(normal_quantile(l < 10 && n_layers_ > 10 ? 0.95f : 0.0f));
    }
    add_list("activation_sparsity_scale", sparsity);
    add("attention.head_count_kv", n_kv_heads_);
    add("attention.key_length", head_dim_);
    add("attention.value_length", head_dim_);
    add_list("attention.sliding_window_pattern", slides_);
    add("attention.shared_kv_layers", n_shared_);
    add("embedding_length_per_layer_input", s_.count("hidden_size_per_layer_input", 256.0));
    add("altup.active_idx", s_.count_or_none("altup_active_idx"));
    add("altup.num_inputs", n_streams_);
    const Settings slow = s_.inner("rope_parameters").inner("sliding_attention");
    add("rope.freq_base_swa",
        slow.has("rope_theta") ? slow.positive("rope_theta") : s_.positive("rope_local_base_freq", 1e4));
    if (!s_.has("final_logit_softcapping")) add("final_logit_softcapping", 30.0f);
    if (!s_.has("sliding_window")) add("attention.sliding_window", std::uint32_t{512});
  }

  void add_metadata() {
    add("context_length", s_.count("max_position_embeddings", a_.context));
    add("embedding_length", d_model_);
    add("block_count", n_layers_);
    add("attention.head_count", n_heads_);
    add("attention.layer_norm_rms_epsilon", s_.positive("rms_norm_eps", a_.rms_eps));
    if (is_gemma4()) {
      add_gemma4_metadata();
    } else if (is_gemma3n()) {
      add_gemma3n_metadata();
    } else {
      add("feed_forward_length", s_.count("intermediate_size"));
      add("attention.head_count_kv", n_kv_heads_);
      add("attention.key_length", head_dim_);
      add("attention.value_length", head_dim_);
    }
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
    if (is_gemma4()) return;  // its rotary divisors are tensors
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

  /// Newer configurations have a separate object of rotary parameters for each kind of layer.
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
                  "tensor " + gemma::quoted(t.name) + " is unknown for " + std::string(a_.config_name));
    if (t.type == DType::kUnsupported)
      throw Error(ErrorCode::kUnsupported, "tensor " + gemma::quoted(t.name) + " is of type " + t.type_name);
    Placed p;
    p.from = &t;
    p.name = std::string(known->to);
    if (const std::size_t at = p.name.find("{}"); at != p.name.npos) p.name.replace(at, 2, split.number);
    p.shape = t.shape;
    if (p.shape.empty()) p.shape = {1};  // a scalar
    p.keep_f32 = p.shape.size() == 1 ||
                 std::find(std::begin(kKeptNames), std::end(kKeptNames), known->to) != std::end(kKeptNames);
    const std::size_t number = app::parse_number<std::size_t>(split.number).value_or(0);
    check_shape(p, known->to, number);
    if (p.name.ends_with("_norm.weight")) p.add = a_.norm_offset;
    if (a_.interleaves && (known->to == "blk.{}.attn_q.weight" || known->to == "blk.{}.attn_k.weight"))
      p.head_dim = head_dim_;
    if (!split.number.empty() && known->to.find("{}") == known->to.npos) {  // a part of a stacked tensor
      auto& parts = stacks_[p.name];
      if (!parts.emplace(number, std::move(p)).second)
        throw Error(ErrorCode::kMalformed, "tensor " + gemma::quoted(t.name) + " appears twice");
      return;
    }
    if (!names_.insert(p.name).second)
      throw Error(ErrorCode::kMalformed, "two tensors of the checkpoint map to " + gemma::quoted(p.name));
    result_.tensors.push_back(std::move(p));
  }

  /// Adds matrices that the file stores in one tensor, one after the other.
  void add_stacks() {
    for (auto& [name, parts] : stacks_) {
      Placed all = parts.begin()->second;
      for (const auto& [number, part] : parts) {
        if (part.shape != all.shape || part.from->type != all.from->type || number >= parts.size())
          throw Error(EngineErrorCode::kBadShape, "the parts of tensor " + gemma::quoted(name) +
                                                      " are not of one shape and type, or some are missing");
        if (number != 0) all.more.push_back(part.from);
      }
      if (parts.size() + 1 != n_streams_)
        throw Error(ErrorCode::kMissingTensor, "tensor " + gemma::quoted(name) + " has " +
                                                   std::to_string(parts.size()) + " parts, not " +
                                                   std::to_string(n_streams_ - 1));
      all.shape.insert(all.shape.begin(), parts.size());
      names_.insert(name);
      result_.tensors.push_back(std::move(all));
    }
    pad_layer_embedding();
  }
  /// The checkpoint has no rows for tokens of images and sound: they are filled with zeros.
  void pad_layer_embedding() {
    const auto named = [&](std::string_view name) {
      return std::find_if(result_.tensors.begin(), result_.tensors.end(),
                          [&](const Placed& p) { return p.name == name; });
    };
    const auto whole = named("token_embd.weight"), part = named("per_layer_token_embd.weight");
    if (!is_gemma3n() || whole == result_.tensors.end() || part == result_.tensors.end()) return;
    if (part->shape[0] < whole->shape[0]) part->shape[0] = whole->shape[0];
  }

  void check_shape(const Placed& p, std::string_view form, std::size_t layer) const {
    const bool is_vector = form.find("norm") != form.npos || form.find("scale") != form.npos;
    const std::size_t n_dims = is_vector ? 1 : form.ends_with("_exps.weight") ? 3 : 2;
    bool good = p.shape.size() == n_dims && p.from->elements() > 0;
    if (good && form == "blk.{}.attn_q.weight") good = p.shape[0] == n_heads_ * head_dim(layer);
    if (good && (form == "blk.{}.attn_k.weight" || form == "blk.{}.attn_v.weight"))
      good = p.shape[0] == kv_heads(layer) * head_dim(layer);
    if (good) return;
    std::string shape;
    for (const std::size_t d : p.shape) shape += (shape.empty() ? "" : " x ") + std::to_string(d);
    throw Error(EngineErrorCode::kBadShape,
                "tensor " + gemma::quoted(p.from->name) + " of " + shape + " does not fit config.json");
  }

  void add_rope_factors() {
    const Settings scaling = rope_scaling();
    Placed p;
    p.name = "rope_freqs.weight";
    p.keep_f32 = true;
    if (is_gemma4()) {  // in global layers only some pairs rotate: the others get a divisor of 1e30
      const Settings full = s_.inner("rope_parameters").inner("full_attention");
      const double part = full.number("partial_rotary_factor", 0.25);
      if (!(part > 0 && part <= 1)) full.malformed("partial_rotary_factor", "above 0 and at most 1");
      p.made.assign(full_head_dim_ / 2, 1e30f);
      const auto n = static_cast<std::size_t>(static_cast<double>(full_head_dim_) * part / 2);
      std::fill_n(p.made.begin(), n, 1.0f);
    } else if (kind_of(scaling) == "llama3") {
      p.made = llama3_divisors(scaling, head_dim_, static_cast<double>(rope_theta()));
    } else {
      return;
    }
    p.shape = {p.made.size()};
    result_.tensors.push_back(std::move(p));
  }

  void check_layers() const {
    std::vector<std::string> wanted = {"token_embd.weight", "output_norm.weight"};
    if (is_gemma3n()) wanted.insert(wanted.end(), {"altup_proj.weight", "altup_unembd_proj.weight"});
    for (std::uint32_t i = 0; i < n_layers_; ++i)
      for (const Name& n : kCommon)
        if (n.to.find("{}") != n.to.npos && !may_lack(n.to, i))
          wanted.push_back("blk." + std::to_string(i) + std::string(n.to.substr(n.to.find("{}") + 2)));
    for (const std::string& name : wanted)
      if (names_.count(name) == 0)
        throw Error(ErrorCode::kMissingTensor, "the checkpoint has no tensor for " + gemma::quoted(name));
  }

  /// Whether the tensor may be missing: a layer may use the keys and values of another layer, or its keys as
  /// values.
  bool may_lack(std::string_view form, std::size_t layer) const noexcept {
    const bool key = form == "blk.{}.attn_k.weight", value = form == "blk.{}.attn_v.weight";
    if (!key && !value) return false;
    return (n_shared_ != 0 && layer >= n_layers_ - n_shared_) || (is_gemma4() && value && is_full(layer));
  }

  const Safetensors& checkpoint_;
  const Architecture& a_;
  const Settings& s_;
  gguf::Writer& writer_;
  std::uint32_t n_layers_, d_model_, n_heads_, n_kv_heads_, head_dim_;
  std::vector<bool> slides_;  // Gemma 3n and 4: [n_layers]
  std::uint32_t full_head_dim_ = 0, full_kv_heads_ = 0, n_shared_ = 0, n_streams_ = 0;
  std::map<std::string, std::map<std::size_t, Placed>> stacks_;  // indexed by name and number
  std::set<std::string> names_;
  Conversion result_;
};

/// Order of tensors: those of no layer first, blk.2 before blk.10.
bool comes_before(const Placed& a, const Placed& b) {
  const auto key = [](const Placed& p) {
    const auto name = gguf::layer_name(p.name);
    return std::pair(name ? std::optional(name->layer) : std::nullopt, std::string_view(p.name));
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
                                             " is not supported; supported are: " + architecture_names());
  writer.add("general.architecture", a->name).add("general.type", "model");
  const std::string architecture(a->name);
  const auto text = config.find("text_config");
  const Settings settings(text != config.end() && text->is_object() ? *text : config, where);
  try {
    Conversion c = Converter(checkpoint, *a, settings, writer).run();
    c.architecture = architecture;
    std::sort(c.tensors.begin(), c.tensors.end(), comes_before);
    return c;
  } catch (const Error& e) {
    const std::string message(e.message());
    throw Error(e.code(), message.starts_with(where) ? message : where + ": " + message);
  }
}

}  // namespace gemma::convert
