// A checkpoint as published: a folder of config.json, safetensors and a tokenizer, on its way into a GGUF
// file. Invariant: what is in the checkpoint either has a place in the file, is known to be left out, or is
// an error.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "examples/convert/safetensors.hpp"
#include "gguf/writer.hpp"

namespace gemma::convert {

using Json = nlohmann::json;

/// A tensor of the GGUF file, and how it comes from the checkpoint's.
struct Placed {
  const CheckpointTensor* from = nullptr;     // nullptr: `made`
  std::vector<const CheckpointTensor*> more;  // of the same type, behind it; what is left of the shape is 0
  std::string name;
  std::vector<std::size_t> shape;  // row-major
  bool keep_f32 = false;           // norms and the like stay in 32 bits
  float add = 0;                   // to each number: Gemma 1 to 3 store norms less 1
  std::size_t head_dim = 0;        // not 0: rows (i, i + head_dim / 2) of a head become (2i, 2i + 1)
  std::vector<float> made;         // numbers that the checkpoint has no tensor of
};

/// The whole file but for the vocabulary.
struct Conversion {
  std::string architecture;  // general.architecture
  std::vector<Placed> tensors;
  std::vector<std::string> left_out;  // of the checkpoint: vision, tied heads
};

/// Reads config.json's model (of models with pictures its text part), adds its metadata and gives its tensors
/// their names. Throws Error{kUnsupported} for another architecture, or tensors that are not known,
/// {kMissingKey, kMalformed} for settings, {kMissingTensor}.
Conversion place_tensors(const Safetensors& checkpoint, const Json& config, const std::string& where,
                         gguf::Writer& writer);

/// Architectures that are converted, as config.json names them.
std::string architecture_names();

/// Adds the vocabulary of a folder: tokenizer.model, or else tokenizer.json (always for Gemma 4), with
/// tokenizer_config.json, added_tokens.json and the chat template. For each row of the embedding there is a
/// piece: those that are missing are filled up. Throws Error{kIo, kMalformed, kUnsupported}.
void add_vocabulary(const std::string& folder, const Json& config, const Conversion& conversion,
                    gguf::Writer& writer);

/// The JSON object of a file. Throws Error{kIo, kMalformed}.
Json read_json(const std::string& path);

}  // namespace gemma::convert
