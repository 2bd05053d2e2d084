// The flags of sampling, for programs that generate.
// Invariant: options that are not given are those of the file (general.sampling.*), or else of its dialect.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "gemma/gemma.hpp"

namespace CLI {
class App;
}

namespace gemma::app {

/// Values of --temp, --top-k, --top-p, --min-p, --repeat-penalty and --seed.
struct SamplingFlags {
  std::optional<float> temperature, top_p, min_p, repeat_penalty;
  std::optional<std::size_t> top_k;
  std::optional<std::uint64_t> seed;  // none: a random one

  void add_to(CLI::App& app);

  /// The options, with those that were not given filled in. `chat_template`: name of the template; "": the
  /// file's. Throws Error as ChatTemplate::from.
  SamplerOptions settled(const Model& model, const std::string& chat_template) const;
};

}  // namespace gemma::app
