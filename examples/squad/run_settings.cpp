// RunSettings and the selected questions as JSON, and what differs between two settings.
#include "examples/squad/run_settings.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <openssl/evp.h>

#include "examples/printable.hpp"
#include "examples/squad/fail.hpp"
#include "gguf/mapped_file.hpp"

namespace gemma::squad {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr int kFormat = 1;

/// Calls visit(key, member) for each member of settings.json that stands for itself, in the file's order.
template <typename Settings, typename Visit>
void for_each_member(Settings& settings, const Visit& visit) {
  auto& preset = settings.preset;
  visit("n", settings.n_questions);
  visit("seed", settings.seed);
  visit("preset", preset.name);
  visit("prompt_template", preset.prompt_template);
  visit("chat_template", preset.chat);
  visit("temperature", preset.sampling.temperature);
  visit("top_k", preset.sampling.top_k);
  visit("top_p", preset.sampling.top_p);
  visit("repeat_penalty", preset.sampling.repeat_penalty);
  visit("context", preset.context);
  visit("max_tokens", preset.sampling.max_tokens);
  visit("share_passages", preset.share_passages);
  visit("kv", settings.kv);
}

/// The first leaf that differs, as "name: a, not b"; empty if none does.
std::string first_difference(const ordered_json& a, const ordered_json& b, const std::string& name) {
  if (a == b) return "";
  if (a.is_object() && b.is_object()) {
    for (const auto& [key, value] : a.items()) {
      const std::string part = name.empty() ? key : fmt::format("{} {}", name, key);
      if (!b.contains(key)) return fmt::format("{} is set", part);
      if (std::string found = first_difference(value, b[key], part); !found.empty()) return found;
    }
  }
  if (a.is_array() && b.is_array()) {
    if (a.size() != b.size()) return fmt::format("{} {}, not {}", a.size(), name, b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      if (std::string found = first_difference(a[i], b[i], fmt::format("{} {}", name, i + 1));
          !found.empty()) {
        return found;
      }
    }
  }
  return fmt::format("{} {}, not {}", name, a.dump(), b.dump());
}

}  // namespace

std::string sha256_of_text(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1) {
    fail(ErrorCode::kUnsupported, "OpenSSL offers no SHA-256");
  }
  return fmt::format("{:02x}", fmt::join(digest.begin(), digest.begin() + size, ""));
}

std::string sha256_of(const std::filesystem::path& file) {
  const MappedFile mapped(file.string());
  return sha256_of_text({reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size()});
}

void check_name(std::string_view what, std::string_view name) {
  constexpr std::size_t kLongest = 100;  // bytes; file names may have 255
  if (name.empty() || name.size() > kLongest || app::printable(name) != name) {
    refuse("{}'s name is 1 to {} bytes of printable text, not {}", what, kLongest, quoted(name));
  }
}

std::string file_part(std::string name) {
  std::ranges::replace_if(
      name, [](char c) { return c == '/' || c == ' '; }, '-');
  return name;
}

ordered_json to_json(const ModelIdentity& model) {
  ordered_json out = {{"name", model.name},
                      {"file", model.file},
                      {"sha256", model.sha256},
                      {"description", model.description}};
  if (!model.turns.empty()) out["turns"] = model.turns;
  if (model.window) out["window"] = *model.window;
  for (const AdapterIdentity& a : model.adapters) {
    out["adapters"].push_back({{"file", a.file}, {"sha256", a.sha256}, {"scale", a.scale}});
  }
  return out;
}

ordered_json to_json(const RunSettings& settings) {
  ordered_json models = ordered_json::array();
  for (const ModelIdentity& model : settings.models) models.push_back(to_json(model));
  ordered_json out = {{"format", kFormat},
                      {"dataset", {{"file", settings.dataset}, {"sha256", settings.dataset_sha256}}}};
  for_each_member(settings, [&](const char* key, const auto& member) { out[key] = member; });
  out["models"] = models;
  out["shard"] = fmt::format("{}/{}", settings.shard.index, settings.shard.count);
  out["machine"] = settings.machine;
  return out;
}

RunSettings settings_from_json(const std::string& text, const std::string& name) {
  try {
    const json root = json::parse(text);
    if (root.at("format").get<int>() != kFormat) {
      fail(ErrorCode::kUnsupported, "{}: written by another version of this program", name);
    }
    RunSettings settings;
    settings.dataset = root.at("dataset").at("file");
    settings.dataset_sha256 = root.at("dataset").at("sha256");
    for_each_member(settings, [&](const char* key, auto& member) { root.at(key).get_to(member); });
    for (const json& model : root.at("models")) {
      settings.models.push_back({model.at("name"), model.at("file"), model.at("sha256"),
                                 model.at("description"), model.value("turns", "")});
      if (model.contains("window")) settings.models.back().window = model["window"].get<std::size_t>();
      if (!model.contains("adapters")) continue;
      for (const json& a : model["adapters"]) {
        settings.models.back().adapters.push_back({a.at("file"), a.at("sha256"), a.at("scale")});
      }
    }
    settings.shard = parse_shard(root.at("shard").get_ref<const std::string&>());
    settings.machine = root.at("machine");
    return settings;
  } catch (const json::exception& error) {
    fail(ErrorCode::kMalformed, "{}: not the settings of a run ({})", name, error.what());
  }
}

std::string difference(const RunSettings& there, const RunSettings& here, bool compare_shards) {
  const bool turns_known = std::ranges::none_of(there.models, &std::string::empty, &ModelIdentity::turns);
  const auto comparable = [&](RunSettings settings) {
    for (ModelIdentity& m : settings.models) m.turns = turns_known ? m.turns : "";
    ordered_json value = to_json(settings);
    value.erase("machine");
    if (!compare_shards) value.erase("shard");
    return value;
  };
  return first_difference(comparable(there), comparable(here), "");
}

std::string to_squad_json(const Dataset& dataset) {
  ordered_json data = ordered_json::array();
  const Question* before = nullptr;
  for (const Question& question : dataset.questions) {
    if (before == nullptr || before->passage != question.passage) {
      const Passage& passage = dataset.passages[question.passage];
      data.push_back({{"title", passage.title},
                      {"paragraphs",
                       ordered_json::array({{{"context", passage.text}, {"qas", ordered_json::array()}}})}});
    }
    before = &question;
    ordered_json answers = ordered_json::array();
    for (const Truth& truth : question.truths) {
      answers.push_back({{"text", truth.text}, {"answer_start", truth.start}});
    }
    ordered_json qa = {{"id", question.id}, {"question", question.text}, {"answers", answers}};
    if (dataset.is_v2) qa["is_impossible"] = question.truths.empty();
    data.back()["paragraphs"][0]["qas"].push_back(std::move(qa));
  }
  return ordered_json{{"version", dataset.version}, {"data", data}}.dump(1) + "\n";
}

}  // namespace gemma::squad
