// One step of the pipeline: chunks of sequences, and the input rows of a rank's layers. Also the messages of
// the ranks before the first step and after the last.
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

/// The result that the last rank returns.
enum class Wanted : std::uint8_t { kLogits, kToken };

/// Chunks that all ranks compute, one rank after another.
struct Step {
  struct Part {
    std::size_t sequence = 0;
    std::size_t n_tokens = 0;
    Logits logits = Logits::kNone;
  };
  Wanted wanted = Wanted::kToken;
  std::vector<Part> parts;
  std::vector<std::int32_t> tokens;  // tokens of all parts
  std::vector<float> rows;           // input of the layers; empty for the first rank

  /// Adds a part.
  void add(std::size_t sequence, std::span<const std::int32_t> ids, Logits logits);
  /// The parts as views.
  std::vector<StageChunk> chunks() const;

  /// Encodes the step with `given` in place of the step's rows.
  std::vector<std::byte> encode(std::span<const float> given) const;
  /// Decodes a step. Throws Error{kMalformed}.
  static Step decode(std::span<const std::byte> bytes);
};

/// Facts about a rank's model, or the error in loading it.
struct Hello {
  std::string problem;  // "": none
  std::uint64_t fingerprint = 0;
  std::string isa, host;

  std::vector<std::byte> encode() const;
  static Hello decode(std::span<const std::byte> bytes);
};

/// The data from which every rank creates its stage and its samplers.
struct Setup {
  std::vector<std::size_t> cuts;  // [n_ranks + 1]
  std::size_t n_sequences = 1, n_ctx = 1, chunk = 1, logit_rows = 1;
  SamplerOptions sampler;  // sent since only rank 0 reads the vocabulary and its defaults

  std::vector<std::byte> encode() const;
  static Setup decode(std::span<const std::byte> bytes);
};

/// Statistics of a rank.
struct Stats {
  std::size_t begin = 0, end = 0;  // its layers
  std::size_t file_bytes = 0;      // its share of the file
  std::size_t other_bytes = 0;     // caches and workspace, as planned
  std::size_t peak_bytes = 0;      // VmHWM
  double busy_seconds = 0;         // seconds spent computing its layers

  std::vector<std::byte> encode() const;
  static Stats decode(std::span<const std::byte> bytes);
};

}  // namespace gemma::app
