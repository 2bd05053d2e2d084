// LoRA adapters (Hu et al. 2021, arXiv:2106.09685) in GGUF files: W' = W + scale * B * A for some matrices.
// They are merged when a file is quantised (QuantizeOptions::adapters), or added to each product when a model
// runs (ModelOptions::adapters).
// Invariant: an Adapter that exists is sound by itself: every A has its B, of the same rank.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../gguf/file.hpp"

namespace gemma {

/// Owns the mapped file. Immutable and safe to read from many threads; move-only.
class Adapter {
 public:
  /// The low-rank change of one matrix.
  struct Change {
    const TensorView* a = nullptr;  // [rank, n_inputs]; with `by_rows`: [n_outputs, rank]
    const TensorView* b = nullptr;  // [n_outputs, rank]; with `by_rows`: [n_inputs, rank]
    float scale = 0;       // factor of the product: the caller's, times alpha / rank if the file has alpha
    bool by_rows = false;  // the change is scale * A * B^T: the form for embeddings, whose rows are looked up

    /// Rows of B * A.
    std::size_t n_outputs() const noexcept { return by_rows ? a->rows : b->rows; }
    /// Columns of B * A.
    std::size_t n_inputs() const noexcept { return by_rows ? b->rows : a->cols; }
    /// Rank of the product B * A.
    std::size_t rank() const noexcept { return b->cols; }
  };

  /// Reads an adapter as llama.cpp's converter writes it: tensors NAME.lora_a and NAME.lora_b, and
  /// adapter.lora.alpha. `scale` multiplies every change. Throws Error: as gguf::File::open, {kUnsupported}
  /// for another kind of file or adapter, {kMissingTensor} for an A without its B or a B without its A,
  /// {kBadShape} for an A and B of different ranks, {kMalformed} for an alpha and {kInvalidArgument} for a
  /// scale that is not finite.
  static Adapter open(const std::string& path, float scale = 1);
  /// Overload for a file that is already open.
  static Adapter from(gguf::File file, float scale = 1);

  /// Throws Error{kUnsupported} if the adapter is for another architecture than that of `base`,
  /// {kMissingTensor} if it changes tensors that `base` does not have, {kBadShape} if their shapes differ.
  void check(const gguf::File& base) const;

  /// The change of the matrix called `name`; nullptr when the adapter does not change it.
  const Change* find(std::string_view name) const noexcept;
  /// Number of matrices that the adapter changes.
  std::size_t size() const noexcept { return changes_.size(); }
  /// The path that was given to open().
  const std::string& path() const noexcept { return file_.path(); }
  /// The file, with all its metadata.
  const gguf::File& file() const noexcept { return file_; }
  /// The scale that was given to open() or from().
  float scale() const noexcept { return scale_; }

 private:
  Adapter(gguf::File file, float scale) : file_(std::move(file)), scale_(scale) {}

  gguf::File file_;
  float scale_;
  std::vector<std::pair<std::string, Change>> changes_;  // by the name of the matrix
};

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "adapter.inl"
#endif
