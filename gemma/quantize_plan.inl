// Definitions of quantize_plan.hpp and quantize_recipes.hpp.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "../gguf/file_kind.hpp"
#include "../gguf/layer_name.hpp"
#include "../gguf/linkage.hpp"
#include "../kernels/encoder.hpp"
#include "engine_error_code.hpp"

namespace gemma {
namespace detail {

GEMMA_INLINE char upper(char c) noexcept {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}

/// Whether `name` matches `pattern`, where "*" matches any characters. After a mismatch only the last "*" is
/// extended.
GEMMA_INLINE bool fits_pattern(std::string_view pattern, std::string_view name) noexcept {
  std::size_t p = 0, n = 0, star = std::string_view::npos, after = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      after = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p, ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++after;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

/// Chooses the types of a file's tensors.
class TypeChooser {
 public:
  TypeChooser(const gguf::File& file, const QuantizeOptions& options) : file_(file), options_(options) {
    for (const TensorView& t : file.tensors()) {
      const auto name = gguf::layer_name(t.name);
      if (name && rule_of(name->rest) != nullptr) layers_[rule_of(name->rest)].insert(name->layer);
    }
  }

  TensorChoice choose(const TensorView& t) {
    TensorChoice choice{&t, t.type, true, false, nullptr, {}};
    for (const Adapter* adapter : options_.adapters)
      if (const Adapter::Change* change = adapter->find(t.name)) choice.changes.push_back(change);
    const auto asked = asked_for(t);
    const bool changed = !choice.changes.empty();
    if (!asked && !is_matrix(t) && !changed) return choice;
    DType wanted = t.type;
    if (asked) {
      wanted = *asked;
    } else if (is_matrix(t)) {
      wanted = recipe_type(t.name);
    } else if (!kernels::can_encode(t.type)) {  // an adapter changes it, and its type cannot be encoded
      wanted = DType::kF16;
    }
    choice.type = wanted;
    if (t.cols % info(wanted).block_elements != 0) {
      if (asked) {
        detail::refuse(ErrorCode::kInvalidArgument, [&] {
          return file_.path() + ": tensor " + gemma::quoted(t.name) + " has rows of " +
                 std::to_string(t.cols) + ", which are not whole " + std::string(info(wanted).name) +
                 " blocks";
        });
      }
      choice.type = fallback(wanted, t.cols);
      choice.is_fallback = true;
    }
    choice.copied = choice.type == t.type && !changed;
    if (!choice.copied) choice.importances = importances_of(t);
    return choice;
  }

  /// The first pattern of options.tensors that matched no tensor, or nullptr.
  const std::string* unused() const {
    for (std::size_t i = 0; i < options_.tensors.size(); ++i)
      if (used_.count(i) == 0) return &options_.tensors[i].first;
    return nullptr;
  }

 private:
  std::optional<DType> asked_for(const TensorView& t) {
    std::optional<DType> type;
    for (std::size_t i = 0; i < options_.tensors.size(); ++i) {
      const auto& [pattern, wanted] = options_.tensors[i];
      if (!fits_pattern(pattern, t.name)) continue;
      used_.insert(i);
      if (!type) type = wanted;
    }
    if (type && !t.is_supported()) {
      detail::refuse(ErrorCode::kUnsupported, [&] {
        return file_.path() + ": tensor " + gemma::quoted(t.name) + " is of type " +
               describe_dtype_id(t.type_id) + ", which is not decoded";
      });
    }
    return type;
  }

  /// Whether the recipe applies to a tensor: it has more than one dimension, can be decoded, and is not in
  /// the list of kept tensors.
  static bool is_matrix(const TensorView& t) noexcept {
    if (t.n_dims < 2 || t.rows < 2 || !t.is_supported() || !t.name.ends_with("weight")) return false;
    return std::none_of(std::begin(kKeptTensors), std::end(kKeptTensors),
                        [&](std::string_view part) { return t.name.find(part) != std::string_view::npos; });
  }

  const RecipeRule* rule_of(std::string_view rest) const noexcept {
    const QuantizeRecipe& r = *options_.recipe;
    if (rest == "attn_v.weight") return &r.attn_v;
    if (rest == "attn_output.weight") return &r.attn_output;
    if (rest.starts_with("ffn_down") && rest.ends_with(".weight")) return &r.ffn_down;
    return nullptr;
  }

  /// Whether four or more heads share a key and value head in the layer.
  bool is_grouped(std::size_t layer) const {
    const std::string block = "blk." + std::to_string(layer) + ".";
    const TensorView* q = file_.find_tensor(block + "attn_q.weight");
    const TensorView* k = file_.find_tensor(block + "attn_k.weight");
    return q != nullptr && k != nullptr && q->rows / 4 >= k->rows;
  }

  DType recipe_type(std::string_view name) const {
    const QuantizeRecipe& r = *options_.recipe;
    const bool has_head = file_.find_tensor(kHeadTensor) != nullptr;
    if (name == kHeadTensor) return r.head;
    if (!has_head && (name == kEmbeddingTensor || name == kLayersEmbeddingTensor)) return r.head;
    const auto layer = gguf::layer_name(name);
    const RecipeRule* rule = layer ? rule_of(layer->rest) : nullptr;
    if (rule == nullptr) return r.base;
    // only layers that have the matrix are counted
    const auto& layers = layers_.at(rule);
    const auto index = static_cast<std::size_t>(std::distance(layers.begin(), layers.find(layer->layer)));
    const bool picked = is_picked(rule->pick, index, layers.size(), is_grouped(layer->layer),
                                  options_.importances != nullptr);
    return picked ? rule->special : rule->type;
  }

  static DType fallback(DType type, std::size_t cols) noexcept {
    for (const TypeFallback& f : kTypeFallbacks)
      if (f.type == type && cols % info(f.fallback).block_elements == 0) return f.fallback;
    return DType::kF16;
  }

  const Importances::Entry* importances_of(const TensorView& t) const {
    const Importances::Entry* e = options_.importances ? options_.importances->find(t.name) : nullptr;
    if (e == nullptr) return nullptr;
    const std::size_t n_matrices = t.n_dims < 3 ? 1 : t.dims[2] * t.dims[3];
    if (e->n_inputs != t.cols || (e->n_matrices() != n_matrices && e->n_matrices() != 1)) {
      detail::refuse(EngineErrorCode::kBadShape, [&] {
        return options_.importances->path() + ": importances of " + std::to_string(e->n_matrices()) + " x " +
               std::to_string(e->n_inputs) + " inputs for tensor " + gemma::quoted(t.name) + " of " +
               std::to_string(n_matrices) + " x " + std::to_string(t.cols);
      });
    }
    return e;
  }

  const gguf::File& file_;
  const QuantizeOptions& options_;
  std::map<const RecipeRule*, std::set<std::size_t>> layers_;  // layers that have the matrix of a rule
  std::set<std::size_t> used_;                                 // indices of options.tensors that matched
};

GEMMA_INLINE std::vector<TensorChoice> choose_types(const gguf::File& file, const QuantizeOptions& options) {
  if (options.recipe == nullptr) detail::refuse(ErrorCode::kInvalidArgument, "quantising needs a recipe");
  gguf::refuse_non_models(file);
  for (const Adapter* adapter : options.adapters) adapter->check(file);
  for (const auto& [pattern, type] : options.tensors) {
    if (!kernels::can_encode(type)) {
      detail::refuse(ErrorCode::kInvalidArgument, [&asked = pattern, wanted = type] {
        return "tensor " + gemma::quoted(asked) + ": type " +
               describe_dtype_id(static_cast<std::uint32_t>(wanted)) + " cannot be written";
      });
    }
  }
  std::vector<TensorChoice> choices;
  TypeChooser chooser(file, options);
  for (const TensorView& t : file.tensors()) {
    if (!t.is_supported()) {  // its size is not known, so it cannot be copied
      detail::refuse(ErrorCode::kUnsupported, [&] {
        return file.path() + ": tensor " + gemma::quoted(t.name) + " is of type " +
               describe_dtype_id(t.type_id) + ", which cannot be written";
      });
    }
    choices.push_back(chooser.choose(t));
  }
  if (const std::string* pattern = chooser.unused()) {
    detail::refuse(ErrorCode::kInvalidArgument,
                   [&] { return file.path() + ": there is no tensor " + gemma::quoted(*pattern); });
  }
  return choices;
}

}  // namespace detail

GEMMA_INLINE const QuantizeRecipe* find_recipe(std::string_view name) noexcept {
  for (const QuantizeRecipe& r : kQuantizeRecipes) {
    if (std::equal(r.name.begin(), r.name.end(), name.begin(), name.end(),
                   [](char a, char b) { return a == detail::upper(b); }))
      return &r;
  }
  return nullptr;
}

GEMMA_INLINE std::string recipe_names() {
  std::string names;
  for (const QuantizeRecipe& r : kQuantizeRecipes) names += (names.empty() ? "" : ", ") + std::string(r.name);
  return names;
}

}  // namespace gemma
