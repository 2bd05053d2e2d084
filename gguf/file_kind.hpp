// GGUF files that are not models: adapters, projectors, importance matrices. They are distributed with models
// and are easily confused with them; they are recognised by their metadata and tensor names.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "file.hpp"

namespace gemma::gguf {

/// Describes, for people, a GGUF file that is not a model.
struct NonModelKind {
  std::string_view what;    // "a LoRA adapter"
  std::string_view advice;  // how the file is used, and which file is needed instead
};

namespace detail {

/// The text of a key; "" if it is absent or not a text.
inline std::string_view text_of(const File& file, std::string_view key) {
  const Value* value = file.find(key);
  if (value == nullptr) return {};
  return value->as<std::string_view>().value_or(std::string_view());
}

inline bool has_tensor_ending(const File& file, std::string_view end) {
  const auto tensors = file.tensors();
  return std::any_of(tensors.begin(), tensors.end(),
                     [end](const TensorView& t) { return t.name.ends_with(end); });
}

}  // namespace detail

/// The kind of a file that is not a model; nullopt for models, vocabularies and unknown files. Examines
/// general.type and general.architecture as llama.cpp's converters write them, and keys and tensors that only
/// these kinds of files have. Does not throw for values of other types. The views are of literals.
inline std::optional<NonModelKind> non_model_kind(const File& file) {
  using namespace std::string_view_literals;
  const std::string_view type = detail::text_of(file, "general.type");
  const std::string_view architecture = detail::text_of(file, "general.architecture");
  const std::string_view adapter = detail::text_of(file, "adapter.type");
  if (type == "adapter" || !adapter.empty() || detail::has_tensor_ending(file, ".lora_a")) {
    const bool lora = adapter == "lora" || detail::has_tensor_ending(file, ".lora_a");
    return NonModelKind{
        lora ? "a LoRA adapter"sv : "an adapter"sv,
        "it changes a base model, which it does not hold: load it beside that one, or merge the two"};
  }
  if (type == "mmproj" || architecture == "clip") {
    return NonModelKind{"a projector for images or sound (mmproj)",
                        "the model that it belongs to is another file, and that runs without it"};
  }
  if (type == "imatrix" || architecture == "imatrix" || file.find("imatrix.chunk_count") != nullptr) {
    return NonModelKind{"an importance matrix (imatrix)",
                        "it guides the quantising of a model, which is another file"};
  }
  if (architecture == "controlvector") {
    return NonModelKind{"a control vector", "it steers a model, which is another file"};
  }
  return std::nullopt;
}

/// Throws Error{kUnsupported} for a file that is not a model; the message names its kind.
inline void refuse_non_models(const File& file) {
  if (const auto other = non_model_kind(file)) {
    gemma::detail::refuse(ErrorCode::kUnsupported, [&] {
      return file.path() + ": this is " + std::string(other->what) +
             ", not a model: " + std::string(other->advice);
    });
  }
}

}  // namespace gemma::gguf
