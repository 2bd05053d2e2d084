// The settings that determine the answers of a run, and its questions, as they are written to its directory.
// Invariant: equal settings and equal questions mean equal answers (on one instruction set).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "examples/squad/prompts.hpp"
#include "examples/squad/squad.hpp"

namespace gemma::squad {

struct AdapterIdentity {
  std::string file;  // file name without its folder
  std::string sha256;
  double scale = 1;
};

struct ModelIdentity {
  std::string name;  // given by the user
  std::string file;  // file name without its folder
  std::string sha256;
  std::string description;
  std::string turns = {};  // name of the template of a chat prompt; "": none, or a run of an older version
  std::optional<std::size_t> window = std::nullopt;  // sliding attention window that replaces the file's
  std::vector<AdapterIdentity> adapters = {};
};

struct RunSettings {
  std::string dataset;  // file name without its folder
  std::string dataset_sha256;
  std::size_t n_questions = 0;
  std::uint64_t seed = 0;
  Preset preset;
  std::string kv = "f16";  // how keys and values are stored
  std::vector<ModelIdentity> models;
  Shard shard;
  std::string machine;  // the machine, for the report; not compared
};

/// Lower-case hexadecimal SHA-256 of a text, and of the bytes of a file, which is mapped: models and data
/// sets are identified by it. Throws gemma::Error (io).
std::string sha256_of_text(std::string_view text);
std::string sha256_of(const std::filesystem::path& file);

/// Throws gemma::Error (invalid_argument) for a name of a model or a judge (`what`) that cannot be shown or
/// be part of a file's name: empty, longer than 100 bytes, not UTF-8, or with control characters.
void check_name(std::string_view what, std::string_view name);
/// A model's name as part of a file's name: spaces and characters of paths become dashes.
std::string file_part(std::string name);

/// Turns, window and adapters are only there where they are set.
nlohmann::ordered_json to_json(const ModelIdentity& model);
nlohmann::ordered_json to_json(const RunSettings& settings);
/// Parses settings; `name` is the file's name in messages. Throws gemma::Error (malformed, unsupported).
RunSettings settings_from_json(const std::string& text, const std::string& name);

/// The first difference, e.g. "seed 1, not 2"; empty for equal settings. `machine` is not compared.
std::string difference(const RunSettings& there, const RunSettings& here, bool compare_shards);

/// The data set in SQuAD's format; parse_dataset() reads the same data set back.
std::string to_squad_json(const Dataset& dataset);

}  // namespace gemma::squad
