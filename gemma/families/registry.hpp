// general.architecture -> ModelConfig. To add a family, add a header of its configuration to this folder, and
// a line to kFamilies here.
#pragma once

#include <string>
#include <string_view>

#include "../../gguf/file_kind.hpp"
#include "embedding_gemma.hpp"
#include "gemma.hpp"
#include "gemma3n.hpp"
#include "gemma4.hpp"
#include "keys.hpp"
#include "llama.hpp"
#include "qwen.hpp"

namespace gemma::families {

/// A family: its name in files, and the function that reads its configuration.
struct Family {
  std::string_view architecture;                       // general.architecture
  ModelConfig (*read)(const Keys&, const Overrides&);  // throws Error as read_config() does
};

/// Files that say gemma3: Gemma 3, or an EmbeddingGemma in Ollama's conversion.
inline ModelConfig read_any_gemma3(const Keys& keys, const Overrides& overrides) {
  return is_embedding_gemma(keys) ? read_embedding_gemma(keys, overrides) : read_gemma3(keys, overrides);
}

/// All model families, by architecture.
inline constexpr Family kFamilies[] = {
    {"gemma", read_gemma1},    {"gemma2", read_gemma2}, {"gemma3", read_any_gemma3},
    {"gemma3n", read_gemma3n}, {"gemma4", read_gemma4}, {"gemma-embedding", read_embedding_gemma},
    {"llama", read_llama},     {"qwen3", read_qwen3},
};

/// Reads and validates the configuration. Throws Error: kUnsupported for an unknown architecture or a file
/// that is not a model (an adapter, for example), kMissingKey, kWrongType, kMissingTensor or kMalformed for
/// metadata that does not describe a model.
inline ModelConfig read_config(const gguf::File& file, const Overrides& overrides = {}) {
  gguf::refuse_non_models(file);
  const auto architecture = file.get<std::string_view>("general.architecture");
  for (const Family& family : kFamilies) {
    if (family.architecture != architecture) continue;
    ModelConfig config = family.read(Keys(file, std::string(architecture)), overrides);
    config.validate(file.path());
    return config;
  }
  std::string known;
  for (const Family& family : kFamilies)
    known += (known.empty() ? "" : ", ") + std::string(family.architecture);
  detail::refuse(ErrorCode::kUnsupported, [&] {
    return file.path() + ": architecture " + gemma::quoted(architecture) +
           " is not supported; supported are " + known;
  });
}

}  // namespace gemma::families
