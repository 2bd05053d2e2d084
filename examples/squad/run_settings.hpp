// What decides the answers of a run, and the questions it asks, as they are written to its directory.
// Invariant: equal settings and equal questions mean equal answers (on one instruction set).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "examples/squad/prompts.hpp"
#include "examples/squad/squad.hpp"

namespace gemma::squad {

struct AdapterIdentity {
  std::string file;  // without its folder
  std::string sha256;
  double scale = 1;
};

struct ModelIdentity {
  std::string name;  // the user's
  std::string file;  // without its folder
  std::string sha256;
  std::string description;
  std::string turns = {};  // whose turns wrap a chat prompt; "": none, or written before this was noted
  std::optional<std::size_t> window = std::nullopt;  // sliding attention window in place of the file's
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
  std::string machine;  // where it ran, for the report; not compared
};

/// Throws gemma::Error (invalid_argument) for a name of a model or a judge (`what`) that cannot be shown or
/// become part of a file's name: empty, longer than 100 bytes, not UTF-8, with control characters.
void check_name(std::string_view what, std::string_view name);
/// A model's name as part of a file's: what could be a path or a space becomes a dash.
std::string file_part(std::string name);

nlohmann::ordered_json to_json(const RunSettings& settings);
/// `name` stands in messages for the file. Throws gemma::Error (malformed, unsupported).
RunSettings settings_from_json(const std::string& text, const std::string& name);

/// What the first difference is, e.g. "seed 1, not 2"; empty for equal settings. `machine` does not count.
std::string difference(const RunSettings& there, const RunSettings& here, bool compare_shards);

/// The selected questions as a data set of their own: one passage per group, in order.
Dataset selection_of(const Dataset& dataset, const std::vector<PassageGroup>& groups);
/// The groups of a data set as it stands: runs of questions about one passage.
std::vector<PassageGroup> groups_of(const Dataset& dataset);
/// SQuAD's format; parse_dataset() gives the same data set back.
std::string to_squad_json(const Dataset& dataset);

}  // namespace gemma::squad
