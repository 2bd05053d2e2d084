// Input of a forward pass: tokens of sequences, and which logits are wanted.
// Invariant: plain data; the caller owns the memory it points to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace gemma {

class KvCache;
namespace kernels {
struct Q8Group;
}

/// The tokens of a chunk whose logits are computed.
enum class Logits : std::uint8_t { kNone, kLast, kAll };

/// Tokens that continue the sequence in `cache`, and which of their logits are wanted.
struct Chunk {
  std::span<const std::int32_t> tokens;  // at least one
  KvCache* cache = nullptr;              // of the sequence, to which the tokens are appended
  Logits logits = Logits::kLast;         // the tokens whose logits are computed
};

namespace detail {

/// Observes the intermediates of a pass. Called by worker 0 while the others wait; must not throw. Costs two
/// barriers for each value when it is set, nothing otherwise.
struct Trace {
  virtual ~Trace() = default;
  /// A named intermediate of one layer, n_rows rows of `width` floats: tests find the first wrong one.
  virtual void value(const char* name, std::size_t layer, const float* rows, std::size_t n_rows,
                     std::size_t width) = 0;
  /// The input of the matrix whose first row is at `matrix` in the file, as its kernel reads it: n rows of k
  /// floats or, if `rows` is nullptr, of k 8-bit numbers in groups of 32.
  virtual void input(const std::byte* matrix, std::size_t n, std::size_t k, const float* rows,
                     const std::int8_t* quants, const kernels::Q8Group* groups) {
    static_cast<void>(matrix), static_cast<void>(n), static_cast<void>(k), static_cast<void>(rows);
    static_cast<void>(quants), static_cast<void>(groups);
  }
};

}  // namespace detail
}  // namespace gemma
