// Converts a published checkpoint (a folder of config.json, safetensors and a tokenizer) to the parts of a
// GGUF file.
// Invariant: every tensor of the checkpoint is placed in the file, is known to be left out, or is an error.
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

/// A tensor of the GGUF file, and how it is made from the checkpoint's.
struct Placed {
  const CheckpointTensor* from = nullptr;     // nullptr: the values are `made`
  std::vector<const CheckpointTensor*> more;  // appended to `from`; the rest of the shape is 0
  std::string name;
  std::vector<std::size_t> shape;  // row-major
  bool keep_f32 = false;           // true: stays in 32 bits, as norms do
  float add = 0;                   // added to each element: Gemma 1 to 3 store norms minus 1
  std::size_t head_dim = 0;        // not 0: rows (i, i + head_dim / 2) of a head become (2i, 2i + 1)
  std::vector<float> made;         // computed values, if `from` is nullptr
};

/// Everything of the file except the vocabulary.
struct Conversion {
  std::string architecture;  // general.architecture
  std::vector<Placed> tensors;
  std::vector<std::string> left_out;  // tensors that are not converted: vision, tied heads
};

/// Reads the model of config.json (the text part of a multimodal one), adds its metadata to `writer` and
/// gives its tensors their names. Throws Error{kUnsupported} for other architectures and unknown tensors,
/// {kMissingKey, kMalformed} for settings, {kMissingTensor}.
Conversion place_tensors(const Safetensors& checkpoint, const Json& config, const std::string& where,
                         gguf::Writer& writer);

/// The names of the supported architectures, as in config.json.
std::string architecture_names();

/// Adds the vocabulary of a folder: tokenizer.model, or else tokenizer.json (always for Gemma 4), with
/// tokenizer_config.json, added_tokens.json and the chat template. Every row of the embedding gets a piece;
/// missing ones are filled in. Throws Error{kIo, kMalformed, kUnsupported}.
void add_vocabulary(const std::string& folder, const Json& config, const Conversion& conversion,
                    gguf::Writer& writer);

/// Reads a file that holds a JSON object. Throws Error{kIo, kMalformed}.
Json read_json(const std::string& path);

}  // namespace gemma::convert
