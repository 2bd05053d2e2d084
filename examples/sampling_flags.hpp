// The flags of how tokens are chosen, for programs that answer. Invariant: what is not given is the file's
// (general.sampling.*), or its dialect's.
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

  /// With what was not given. `chat_template`: name of the turns to use; "": the file's. Throws Error as
  /// ChatTemplate::from.
  SamplerOptions settled(const Model& model, const std::string& chat_template) const;
};

}  // namespace gemma::app
