// The sequences whose forward passes gemma-bench times.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "gemma/gemma.hpp"

namespace gemma::bench {

/// Sizes of the sequences of one test.
struct SequencesOptions {
  std::size_t count;  // sequences
  std::size_t n_ctx;  // maximum number of tokens of each sequence
  std::size_t chunk;  // maximum number of tokens of one forward pass, all together; at least `count`
  std::size_t total;  // maximum number of tokens of all sequences, and so of one forward pass
  KvType kv;
  unsigned threads;
};

/// Sequences with a cache each, which share a workspace. Token ids are random: a forward pass reads all
/// weights whatever the ids are. For one thread at a time; the model must outlive it.
class Sequences {
 public:
  /// Throws Error{kOutOfMemory} and std::bad_alloc.
  Sequences(const Model& model, const SequencesOptions& options);

  /// Empties all caches.
  void clear() noexcept;

  /// Appends `n` tokens to each sequence, one sequence after another, in forward passes of `chunk` tokens;
  /// computes the logits of the last token of each. With `shared` the first sequence alone computes them, and
  /// the others, which must be empty, share its keys and values.
  void read_prompts(std::size_t n, bool shared = false);

  /// Appends a token to each sequence, in one forward pass, with logits for each.
  void step();

 private:
  void draw(std::size_t n);

  const Model& model_;
  Workspace ws_;
  std::vector<KvCache> caches_;
  std::vector<std::int32_t> ids_;
  std::vector<Chunk> chunks_;
  SplitMix64 random_{1};
};

}  // namespace gemma::bench
