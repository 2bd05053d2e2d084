// Chooses the type of each tensor of a file that is to be quantised.
// Invariant: a plan can be carried out: rows are whole blocks, types can be written, importances and adapters
// fit.
#pragma once

#include <atomic>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "../gguf/file.hpp"
#include "adapter.hpp"
#include "importances.hpp"
#include "quantize_recipes.hpp"

namespace gemma {

/// Options of a Quantizer.
struct QuantizeOptions {
  const QuantizeRecipe* recipe = nullptr;  // required: see find_recipe()
  /// Types of tensors by name, where "*" matches any characters; the first match is used. A type that does
  /// not fit the tensor's rows is an error.
  std::vector<std::pair<std::string, DType>> tensors = {};
  const Importances* importances = nullptr;   // must outlive the quantizer
  std::vector<const Adapter*> adapters = {};  // merged into the matrices; must outlive the quantizer
  unsigned n_threads = 0;                     // 0: physical_core_count()
  const std::atomic<bool>* cancel = nullptr;  // when set by any thread, write() throws Error{kCancelled}
};

/// The type chosen for one tensor.
struct TensorChoice {
  const TensorView* tensor = nullptr;               // in the file
  DType type = DType::kF32;                         // type in the output, unless it is copied
  bool copied = false;                              // written unchanged, whatever its type
  bool is_fallback = false;                         // `type` replaces one whose blocks do not divide the rows
  const Importances::Entry* importances = nullptr;  // of the inputs; nullptr: all count equally
  std::vector<const Adapter::Change*> changes = {};  // changes of adapters, added before encoding

  /// Size of the tensor in the output, in bytes.
  std::size_t size_bytes() const noexcept {
    return copied ? tensor->data.size() : tensor->rows * row_bytes(type, tensor->cols);
  }
};

namespace detail {

/// The choices for all tensors, in the order of the file. Throws as Quantizer's constructor.
std::vector<TensorChoice> choose_types(const gguf::File& file, const QuantizeOptions& options);

}  // namespace detail
}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "quantize_plan.inl"
#endif
