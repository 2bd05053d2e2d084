// Splits a text into the pre-tokens of byte-level BPE; merges never cross their boundaries.
// Invariant: the pre-tokens of a text are its bytes in order, none empty, none left out.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "dialects/pre_tokenizers.hpp"

namespace gemma::detail {

/// A compiled PCRE2 pattern; uses the JIT if there is one. Safe to use from many threads.
class Pretokenizer {
 public:
  /// Throws Error{kOutOfMemory} when the pattern cannot be compiled.
  explicit Pretokenizer(PrePattern pattern = PrePattern::kLlama3);
  ~Pretokenizer();
  Pretokenizer(const Pretokenizer&) = delete;
  Pretokenizer& operator=(const Pretokenizer&) = delete;

  /// Sets `ends` to the offset one past each pre-token of `text`, which must be valid UTF-8. If the JIT's
  /// stack is too small, the interpreter, which uses the heap, repeats the match. Throws Error{kOutOfMemory}
  /// if that fails too.
  void split(std::string_view text, std::vector<std::size_t>& ends) const;

 private:
  struct Pattern;
  std::unique_ptr<const Pattern> pattern_;
};

}  // namespace gemma::detail
