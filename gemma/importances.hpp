// How important each input of a matrix is: the mean of its square over a text, as importance matrices
// (imatrix files) store it.
// Invariant: the values that find() returns are finite and not negative.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../gguf/file.hpp"

namespace gemma {

/// Importances by the names of matrices. Immutable once read; safe to read from many threads.
class Importances {
 public:
  /// Importances of the inputs of one matrix, or of the matrices of all experts in one tensor.
  struct Entry {
    std::size_t n_inputs = 0;   // inputs of one matrix
    std::vector<float> means;   // [n_matrices, n_inputs]: mean squares; 0 for experts that no token used
    std::vector<float> counts;  // [n_matrices]: number of tokens they were measured on
    /// Number of slices: 1, or the number of experts.
    std::size_t n_matrices() const noexcept { return n_inputs == 0 ? 0 : means.size() / n_inputs; }
  };

  Importances() = default;

  /// Reads llama.cpp's GGUF form: for each matrix NAME the tensors NAME.in_sum2, [n_matrices, n_inputs] sums
  /// of squares, and NAME.counts, [n_matrices, 1]. Throws Error: as gguf::File::open(), {kUnsupported} for
  /// another kind of file, {kMissingTensor, kBadShape, kWrongType} for tensors that do not match,
  /// {kMalformed} for numbers that are negative or not finite.
  static Importances read(const std::string& path);
  /// Overload for a file that is already open.
  static Importances from(const gguf::File& file);

  /// The importances of the matrix called `name`, or nullptr.
  const Entry* find(std::string_view name) const noexcept;
  /// Number of matrices that have importances.
  std::size_t size() const noexcept { return entries_.size(); }
  /// The path given to read(), or "".
  const std::string& path() const noexcept { return path_; }
  /// Names of the texts that they were measured on, if the file has them.
  const std::vector<std::string>& datasets() const noexcept { return datasets_; }
  /// Number of chunks of text that they were measured on; 0 if the file does not say.
  std::uint32_t n_chunks() const noexcept { return n_chunks_; }

 private:
  std::string path_;
  std::vector<std::string> datasets_;
  std::uint32_t n_chunks_ = 0;
  std::vector<std::pair<std::string, Entry>> entries_;  // by name
};

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "importances.inl"
#endif
