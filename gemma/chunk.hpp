// What a forward pass is asked for: tokens of sequences, and which logits. Invariant: plain data; the caller
// owns what it points to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace gemma {

class KvCache;

/// Which tokens of a chunk get logits.
enum class Logits : std::uint8_t { kNone, kLast, kAll };

/// Tokens that continue the sequence in `cache`, and which of their logits are wanted.
struct Chunk {
  std::span<const std::int32_t> tokens;  // at least one
  KvCache* cache = nullptr;              // of the sequence: they are appended
  Logits logits = Logits::kLast;         // whose are wanted
};

namespace detail {

/// A named intermediate of one layer, for tests that look for the first wrong one: rows of [width] floats.
/// Called by worker 0 while the others wait. Costs a barrier per value when set, nothing otherwise.
struct Trace {
  virtual ~Trace() = default;
  virtual void value(const char* name, std::size_t layer, const float* rows, std::size_t n_rows,
                     std::size_t width) = 0;
};

}  // namespace detail
}  // namespace gemma
