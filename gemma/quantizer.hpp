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
#include "quantize_plan.hpp"

namespace gemma {

/// Error of one quantised tensor.
struct TensorReport {
  TensorChoice choice;        // what was done
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
  /// file that is no model, {kBadShape} for importances of other sizes than the tensors';
  /// as Adapter::check().
  Quantizer(const gguf::File& file, const QuantizeOptions& options);

  /// The choices for all tensors, in the order of the file.
  std::span<const TensorChoice> choices() const noexcept { return choices_; }
  /// Total size of the input tensors, in bytes.
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
