// A file of floats (or of any type that is decoded) to a quantised one.
// Invariant: tensor by tensor and slab by slab: memory does not grow with the file; the output appears under
// its name when it is whole, or not at all. The bytes do not depend on the number of threads.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../gguf/file.hpp"
#include "importances.hpp"
#include "quantize_recipes.hpp"

namespace gemma {

/// How a file is quantised.
struct QuantizeOptions {
  const QuantizeRecipe* recipe = nullptr;  // required: see find_recipe()
  /// Types of tensors by name, "*" standing for any characters; the first that fits counts. A type that the
  /// tensor's rows cannot have is an error.
  std::vector<std::pair<std::string, DType>> tensors = {};
  const Importances* importances = nullptr;   // must outlive the quantizer
  unsigned n_threads = 0;                     // 0: one for each physical core
  const std::atomic<bool>* cancel = nullptr;  // when set by any thread, write() throws Error{kCancelled}
};

/// What becomes of a tensor.
struct TensorChoice {
  const TensorView* tensor = nullptr;  // in the file
  DType type = DType::kF32;            // to be written; unless it is copied
  bool copied = false;                 // as it is, whatever its type
  bool instead = false;                // the type stands in for one that the rows are no multiple of
  const Importances::Entry* importances = nullptr;

  /// Bytes to be written.
  std::size_t size_bytes() const noexcept {
    return copied ? tensor->data.size() : tensor->rows * row_bytes(type, tensor->cols);
  }
};

/// What it cost.
struct TensorReport {
  TensorChoice choice;
  double error = 0;           // sqrt(sum (x - y)^2 / sum x^2); 0 for copies
  double weighted_error = 0;  // the same with importances as weights, where there are some
};

/// One file to be quantised. Move-only; one thread at a time.
class Quantizer {
 public:
  /// Called after each slab with the bytes of input done, of `total_bytes()`.
  using Progress = std::function<void(const TensorChoice& choice, std::size_t done)>;
  /// Called when a tensor has been written.
  using Finished = std::function<void(const TensorReport& report)>;

  /// Chooses the types. The file must outlive it. Throws Error{kInvalidArgument} without a recipe and for
  /// options.tensors that fit no tensor, or whose type is not written or impossible; {kUnsupported} for a
  /// file that is no model, {kBadShape} for importances of other sizes than the tensors'.
  Quantizer(const gguf::File& file, const QuantizeOptions& options);

  /// In the order of the file.
  std::span<const TensorChoice> choices() const noexcept { return choices_; }
  /// Of input.
  std::size_t total_bytes() const noexcept;
  /// Whether a matrix is quantised already, so that its errors add up.
  bool requantizes() const noexcept;

  /// Writes `path` (gguf::Writer::write): metadata as they are but for general.file_type,
  /// .quantization_version and quantize.imatrix.*, and all tensors. Throws Error as that, {kNotFinite} naming
  /// a tensor that holds, or whose type cannot hold, numbers that are not finite, {kCancelled}, {kIo,
  /// kOutOfMemory}; the callbacks' exceptions pass through.
  std::vector<TensorReport> write(const std::string& path, const Progress& progress = {},
                                  const Finished& finished = {}) const;

 private:
  class Work;

  const gguf::File* file_;
  QuantizeOptions options_;
  std::vector<TensorChoice> choices_;
};

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "quantizer.inl"
#endif
