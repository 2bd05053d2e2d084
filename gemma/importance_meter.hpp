// Measures importances: the sum of squares of each input of each matrix, over the tokens of a text.
// Invariant: the output file is llama.cpp's GGUF form of an importance matrix; it is written whole or not at
// all.
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

#include "importances.hpp"
#include "model.hpp"

namespace gemma {

/// Options: how the text is split into windows.
struct ImportanceOptions {
  std::size_t n_ctx = 512;      // tokens of a window; windows are adjacent, and each begins with BOS
  std::size_t max_windows = 0;  // 0: all complete windows
  unsigned n_threads = 0;       // 0: physical_core_count()
  bool outside_layers = false;  // also matrices outside the layers (except the head: no logits are computed)
  const std::atomic<bool>* cancel = nullptr;  // when set by any thread, add() throws Error{kCancelled}
};

/// Collects importances of a model's matrices. The model must outlive it; used by one thread at a time.
class ImportanceMeter {
 public:
  /// Called with the number of windows measured and the total.
  using Progress = std::function<void(std::size_t done, std::size_t total)>;

  /// Throws Error{kOutOfMemory}.
  explicit ImportanceMeter(const Model& model, const ImportanceOptions& options = {});

  /// Computes the windows of a text's ids and adds up the squares of each matrix's inputs. Throws Error as
  /// Model::forward(), {kInvalidArgument} for a text of fewer tokens than a window.
  void add(std::vector<std::int32_t> ids, const Progress& progress = {});
  /// Adds importances that were measured before, on another text. Throws Error{kBadShape} if they were
  /// measured on another model.
  void add(const Importances& other);

  /// Number of windows measured so far, including those of importances that were merged in.
  std::size_t n_windows() const noexcept { return n_windows_; }
  /// Number of matrices measured so far.
  std::size_t n_matrices() const noexcept;

  /// Writes the file; `datasets` are names of the texts, for information. Throws as gguf::Writer::write().
  void write(const std::string& path, std::span<const std::string> datasets) const;

 private:
  struct Sums {
    std::string name;
    std::size_t n_inputs = 0;
    std::size_t bytes_each = 0;   // bytes of one matrix in the file
    std::vector<double> squares;  // [n_matrices, n_inputs]
    std::vector<double> counts;   // [n_matrices] number of tokens
  };
  struct Collector;

  const Model* model_;
  ImportanceOptions options_;
  std::vector<std::pair<const std::byte*, Sums>> sums_;  // by the address of the tensor's data
  std::size_t n_windows_ = 0;
};

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "importance_meter.inl"
#endif
