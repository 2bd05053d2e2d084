// Checkpoints of floats: safetensors files, alone or several with an index.
// Invariant: a Safetensors object is valid: every tensor lies in its file, has the number of bytes that its
// shape and type require, and overlaps no other; names are unique. Allocations are proportional to the size
// of the header.
//
//   file   = length:u64 header data              length: bytes of the header, at most 100,000,000
//   header = {"NAME": {"dtype": "BF16", "shape": [rows, cols], "data_offsets": [begin, end]}, "__metadata__":
//   ...}
// Offsets count from the end of the header; shapes are row-major.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/dtype.hpp"
#include "gguf/mapped_file.hpp"

namespace gemma::convert {

/// A tensor in its file. Valid while the Safetensors that it came from exists.
struct CheckpointTensor {
  std::string name;
  DType type = DType::kUnsupported;  // kF32, kF16 or kBF16; kUnsupported for all others
  std::string type_name;             // as in the file: "BF16", "I64"
  std::vector<std::size_t> shape;    // row-major; empty for a scalar
  std::span<const std::byte> data;   // unaligned
  const MappedFile* file = nullptr;

  std::size_t elements() const noexcept {
    std::size_t n = 1;
    for (const std::size_t d : shape) n *= d;
    return n;
  }
};

/// The tensors of a checkpoint, by name. Immutable; safe to read from many threads.
class Safetensors {
 public:
  /// Opens a file, one of several files, or a folder: the files of its model.safetensors.index.json, or else
  /// its only .safetensors file. Throws Error{kIo, kTruncated, kMalformed, kUnsupported}.
  static Safetensors open(const std::string& path);
  /// Reads one file in memory; `name` is used as its path in messages.
  static Safetensors from_memory(std::span<const std::byte> bytes, std::string name);

  const std::map<std::string, CheckpointTensor, std::less<>>& tensors() const noexcept { return tensors_; }
  /// The tensor called `name`, or nullptr.
  const CheckpointTensor* find(std::string_view name) const noexcept;

 private:
  void add(MappedFile file);
  void open_index(const std::string& folder, const std::string& index);

  std::vector<std::unique_ptr<MappedFile>> files_;
  std::map<std::string, CheckpointTensor, std::less<>> tensors_;
};

}  // namespace gemma::convert
