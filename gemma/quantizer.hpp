// Quantises a file of floats (or of any type that can be decoded).
// Invariant: it works tensor by tensor in slabs, so memory does not grow with the file; the output appears
// under its name when it is complete, or not at all. Its bytes do not depend on the number of threads.
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
  TensorChoice choice;        // the type that was written
  double error = 0;           // sqrt(sum (x - y)^2 / sum x^2); 0 for copies
  double weighted_error = 0;  // the same, weighted by importances if there are any
};

/// Quantises one file. Move-only; used by one thread at a time.
class Quantizer {
 public:
  /// Called after each slab with the bytes of input that are done, out of `total_bytes()`.
  using Progress = std::function<void(const TensorChoice& choice, std::size_t done)>;
  /// Called when a tensor has been written.
  using Finished = std::function<void(const TensorReport& report)>;

  /// Chooses the types. The file must outlive this object. Throws Error{kInvalidArgument} without a recipe,
  /// for patterns of options.tensors that match no tensor, and for types that cannot be written or do not
  /// fit; {kUnsupported} for a file that is not a model, {kBadShape} for importances of other sizes than the
  /// tensors'; and as Adapter::check().
  Quantizer(const gguf::File& file, const QuantizeOptions& options);

  /// The choices for all tensors, in the order of the file.
  std::span<const TensorChoice> choices() const noexcept { return choices_; }
  /// Total size of the input tensors, in bytes.
  std::size_t total_bytes() const noexcept;
  /// Whether any matrix to be encoded is quantised already, so that errors accumulate.
  bool requantizes() const noexcept;

  /// Writes `path` (gguf::Writer::write): the metadata unchanged except general.file_type,
  /// .quantization_version and quantize.imatrix.*, and all tensors. Throws Error as that does; {kNotFinite}
  /// naming a tensor whose values are not finite, or not finite in the new type; {kCancelled}, {kIo,
  /// kOutOfMemory}; exceptions of callbacks pass through.
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
