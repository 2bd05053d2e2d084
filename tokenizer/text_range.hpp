// A part of a text.
// Invariant: begin <= end, which its creator ensures.
#pragma once

#include <cstddef>

namespace gemma {

/// Bytes [begin, end) of a text.
struct TextRange {
  std::size_t begin = 0;  // the first byte
  std::size_t end = 0;    // one past the last
  friend bool operator==(const TextRange&, const TextRange&) = default;
};

}  // namespace gemma
