// The report of gguf-info about a file, as text for people and as JSON for programs.
// Invariant: whatever bytes the file holds, the text is safe to show on a terminal and the JSON is valid
// UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "gguf/file.hpp"

namespace gemma::app {

/// The size of all tensors of one type, or of all tensors.
struct Total {
  std::size_t tensors = 0;
  std::uint64_t elements = 0;
  std::uint64_t bytes = 0;

  void add(const TensorView& t) noexcept {
    ++tensors;
    elements += t.rows * t.cols;
    bytes += t.data.size();
  }
  double bits_per_weight() const noexcept {
    return elements == 0 ? 0.0 : 8.0 * static_cast<double>(bytes) / static_cast<double>(elements);
  }
};

/// The total of each type that occurs, largest first, and of everything.
struct Totals {
  struct OfType {
    std::string name;  // the type's name
    Total total;
  };
  std::vector<OfType> by_type;
  Total all;

  static Totals of(const gguf::File& file);
};

/// A tensor's shape, rows first: the file's dimensions reversed.
std::vector<std::size_t> shape_of(const TensorView& tensor);

/// Notes about a file, one line each; most files have none. They tell that a file is, for example, an adapter
/// and not a model; or which values are missing or wrong, and what is used instead. An unsupported model has
/// none.
std::vector<std::string> notes_of(const gguf::File& file);

/// Writes the report to standard output. Throws Error{kIo} when that fails.
void write_text(const gguf::File& file);
void write_json(const gguf::File& file);

}  // namespace gemma::app
