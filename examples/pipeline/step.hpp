// One step of the pipeline: chunks of sequences, and the rows that enter a rank's layers. And what the ranks
// tell each other before the first and after the last.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "examples/pipeline/message.hpp"
#include "gemma/sampler.hpp"
#include "gemma/stage.hpp"

namespace gemma::app {

/// What the last rank does with logits.
enum class Wanted : std::uint8_t { kLogits, kToken };

/// Chunks that all ranks compute, one after another.
struct Step {
  struct Part {
    std::size_t sequence = 0;
    std::size_t n_tokens = 0;
    Logits logits = Logits::kNone;
  };
  Wanted wanted = Wanted::kToken;
  std::vector<Part> parts;
  std::vector<std::int32_t> tokens;  // of all parts
  std::vector<float> rows;           // that enter the layers; empty for the first rank

  /// Adds a part.
  void add(std::size_t sequence, std::span<const std::int32_t> ids, Logits logits);
  /// Views of the parts.
  std::vector<StageChunk> chunks() const;

  /// The same with `rows` in place of its own.
  std::vector<std::byte> encode(std::span<const float> rows) const;
  /// Throws Error{kMalformed}.
  static Step decode(std::span<const std::byte> bytes);
};

/// Of a rank's model, or why there is none.
struct Hello {
  std::string problem;  // "": none
  std::uint64_t fingerprint = 0;
  std::string isa, host;

  std::vector<std::byte> encode() const;
  static Hello decode(std::span<const std::byte> bytes);
};

/// What every rank makes its stage of, and its sampler.
struct Setup {
  std::vector<std::size_t> cuts;  // [n_ranks + 1]
  std::size_t n_sequences = 1, n_ctx = 1, chunk = 1, logit_rows = 1;
  SamplerOptions sampler;  // only rank 0 knows the vocabulary, and with it the defaults

  std::vector<std::byte> encode() const;
  static Setup decode(std::span<const std::byte> bytes);
};

/// What a rank did and took.
struct Stats {
  std::size_t begin = 0, end = 0;  // its layers
  std::size_t file_bytes = 0;      // of the file, its share
  std::size_t other_bytes = 0;     // caches and workspace, as planned
  std::size_t peak_bytes = 0;      // VmHWM
  double busy_seconds = 0;         // in its layers

  std::vector<std::byte> encode() const;
  static Stats decode(std::span<const std::byte> bytes);
};

}  // namespace gemma::app
