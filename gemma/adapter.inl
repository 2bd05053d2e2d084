// Definitions of adapter.hpp.
#pragma once

#include <algorithm>
#include <string>
#include <utility>

#include "../gguf/file_kind.hpp"
#include "../gguf/finite.hpp"
#include "../gguf/linkage.hpp"
#include "engine_error_code.hpp"

namespace gemma {

GEMMA_INLINE Adapter Adapter::open(const std::string& path, float scale) {
  return from(gguf::File::open(path), scale);
}

GEMMA_INLINE Adapter Adapter::from(gguf::File file, float scale) {
  return detail::or_out_of_memory("no memory for an adapter", [&] {
    constexpr std::string_view kA = ".lora_a", kB = ".lora_b";
    Adapter adapter(std::move(file), scale);
    const gguf::File& f = adapter.file_;
    const auto refuse = [&f](ErrorCode code, const std::string& what) {
      detail::refuse(code, [&] { return f.path() + ": " + what; });
    };
    if (!is_finite(scale)) refuse(ErrorCode::kInvalidArgument, "the adapter's scale is not finite");
    const float alpha = f.get_or<float>("adapter.lora.alpha", 0.0f);
    if (!is_finite(alpha)) refuse(ErrorCode::kMalformed, "key 'adapter.lora.alpha' is not finite");
    const std::string_view type = gguf::detail::text_of(f, "adapter.type");
    if (!type.empty() && type != "lora")
      refuse(ErrorCode::kUnsupported, "an adapter of type " + gemma::quoted(type) + ", not 'lora'");
    if (f.find("adapter.alora.invocation_tokens") != nullptr)
      refuse(ErrorCode::kUnsupported,
             "changes only what follows certain tokens (aLoRA), which is not supported");
    for (const TensorView& t : f.tensors()) {
      if (!t.is_supported())
        refuse(ErrorCode::kUnsupported,
               "tensor " + gemma::quoted(t.name) + " is of a type that is not supported");
      if (t.name.ends_with(kB)) {
        f.tensor(std::string(t.name.substr(0, t.name.size() - kB.size())) + std::string(kA));
        continue;
      }
      if (!t.name.ends_with(kA))
        refuse(ErrorCode::kUnsupported, "tensor " + gemma::quoted(t.name) + " is not part of a LoRA adapter");
      const std::string name(t.name.substr(0, t.name.size() - kA.size()));
      const TensorView& b = f.tensor(name + std::string(kB));
      // the change of an embedding: llama.cpp looks up rows of A, so A is stored as B is for other matrices
      const bool by_rows = b.cols != t.rows && b.cols == t.cols;
      if (t.n_dims > 2 || b.n_dims > 2 || (b.cols != t.rows && !by_rows))
        refuse(EngineErrorCode::kBadShape,
               "tensors " + gemma::quoted(t.name) + " and " + gemma::quoted(b.name) +
                   " have different ranks: " + std::to_string(t.rows) + ", " + std::to_string(b.cols));
      const float by_rank = alpha != 0 ? alpha / static_cast<float>(b.cols) : 1.0f;
      adapter.changes_.emplace_back(name, Change{&t, &b, scale * by_rank, by_rows});
    }
    if (adapter.changes_.empty())
      refuse(ErrorCode::kUnsupported, "this is not a LoRA adapter: it changes no matrix");
    std::sort(adapter.changes_.begin(), adapter.changes_.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    return adapter;
  });
}

GEMMA_INLINE void Adapter::check(const gguf::File& base) const {
  detail::or_out_of_memory("no memory for an adapter", [&] {
    constexpr std::string_view kKey = "general.architecture";
    const std::string_view mine = gguf::detail::text_of(file_, kKey), its = gguf::detail::text_of(base, kKey);
    if (!mine.empty() && mine != its)
      detail::refuse(ErrorCode::kUnsupported, [&] {
        return path() + ": an adapter of " + gemma::quoted(mine) + " for a model of " + gemma::quoted(its) +
               " (" + base.path() + ")";
      });
    for (const auto& [name, change] : changes_) {
      const auto refuse = [&, &changed = name](ErrorCode code, const std::string& what) {
        detail::refuse(code, [&] { return path() + ": changes tensor " + gemma::quoted(changed) + what; });
      };
      const TensorView* found = base.find_tensor(name);
      if (found == nullptr) refuse(ErrorCode::kMissingTensor, ", which " + base.path() + " lacks");
      const TensorView& t = *found;
      if (t.n_dims != 2) refuse(EngineErrorCode::kBadShape, ", which is not a matrix in " + base.path());
      if (t.cols != change.n_inputs() || t.rows != change.n_outputs())
        refuse(EngineErrorCode::kBadShape, " as " + std::to_string(change.n_outputs()) + " x " +
                                               std::to_string(change.n_inputs()) + "; in " + base.path() +
                                               " it is " + std::to_string(t.rows) + " x " +
                                               std::to_string(t.cols));
    }
  });
}

GEMMA_INLINE const Adapter::Change* Adapter::find(std::string_view name) const noexcept {
  const auto it = std::lower_bound(changes_.begin(), changes_.end(), name,
                                   [](const auto& entry, std::string_view n) { return entry.first < n; });
  return it == changes_.end() || it->first != name ? nullptr : &it->second;
}

}  // namespace gemma
