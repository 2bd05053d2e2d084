// The flags of sampling and of the end of answers, for programs that generate.
// Invariant: options that are not given are those of the file (general.sampling.*), or else of its dialect.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

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

/// Values of --max-tokens and --stop.
struct AnswerFlags {
  std::int64_t max_tokens = 1024;  // -1: until the model ends the answer or the context is full
  std::vector<std::string> stop_strings;

  void add_to(CLI::App& app);

  /// max_tokens as a limit; SIZE_MAX: none.
  std::size_t limit() const noexcept {
    return max_tokens < 0 ? SIZE_MAX : static_cast<std::size_t>(max_tokens);
  }
};

}  // namespace gemma::app
