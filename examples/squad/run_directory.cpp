#include "examples/squad/run_directory.hpp"

#include <array>
#include <cmath>
#include <fstream>
#include <iterator>
#include <system_error>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "examples/squad/json_lines.hpp"
#include "examples/whole_file.hpp"
#include "gguf/error.hpp"

namespace gemma::squad {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char* kSettings = "settings.json";
constexpr const char* kQuestions = "questions.json";
constexpr const char* kAnswers = "answers.jsonl";
constexpr std::size_t kMissing = static_cast<std::size_t>(-1);

std::string key_of(std::string_view model, std::string_view id) {
  return fmt::format("{}\n{}", model, id);
}

std::string read_text(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw Error(ErrorCode::kIo, fmt::format("{}: cannot be opened", file.string()));
  return std::string(std::istreambuf_iterator<char>(in), {});
}

void write_text(const fs::path& file, std::string_view text) {
  app::WholeFile out(file.string());
  out.write(text);
  out.commit();
}

void make_directory(const fs::path& directory) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) {
    throw Error(ErrorCode::kIo, fmt::format("{}: cannot be made: {}", directory.string(), error.message()));
  }
}

/// Seconds to the microsecond: more digits say nothing.
double micro(double seconds) {
  return std::round(seconds * 1e6) / 1e6;
}

AnswerRecord record_from(const json& line, const fs::path& file, std::size_t number) {
  try {
    AnswerRecord record;
    record.model = line.at("model");
    record.id = line.at("id");
    Answer& answer = record.answer;
    answer.text = line.at("answer");
    answer.stop = line.at("stop");
    answer.prompt_tokens = line.at("prompt_tokens");
    answer.tokens = line.at("tokens");
    const json& timing = line.at("timing");
    answer.timing = {timing.at("total_s"), timing.at("prefill_s"), timing.at("first_token_s"),
                     timing.at("decode_s"), timing.at("cached_tokens")};
    return record;
  } catch (const json::exception&) {
    throw Error(ErrorCode::kMalformed, fmt::format("{}: line {} is not an answer", file.string(), number));
  }
}

}  // namespace

std::string to_line(const AnswerRecord& record) {
  const Answer& answer = record.answer;
  return to_line(ordered_json{{"model", record.model},
                              {"id", record.id},
                              {"answer", answer.text},
                              {"stop", answer.stop},
                              {"prompt_tokens", answer.prompt_tokens},
                              {"tokens", answer.tokens},
                              {"timing",
                               {{"total_s", micro(answer.timing.total_s)},
                                {"prefill_s", micro(answer.timing.prefill_s)},
                                {"first_token_s", micro(answer.timing.first_token_s)},
                                {"decode_s", micro(answer.timing.decode_s)},
                                {"cached_tokens", answer.timing.cached_tokens}}}});
}

RunDirectory::RunDirectory() = default;
RunDirectory::RunDirectory(RunDirectory&&) noexcept = default;
RunDirectory::~RunDirectory() = default;

void RunDirectory::expect() {
  for (const std::size_t question : own_questions()) {
    for (const ModelIdentity& model : settings_.models) {
      places_.emplace(key_of(model.name, questions_.questions[question].id), kMissing);
    }
  }
}

void RunDirectory::add(AnswerRecord record) {
  const auto place = places_.find(key_of(record.model, record.id));
  if (place == places_.end() || place->second != kMissing) {
    throw Error(
        ErrorCode::kMalformed,
        fmt::format("{}: the answer of {} to question {} {}", (path_ / kAnswers).string(), record.model,
                    record.id, place == places_.end() ? "is none of this run's" : "stands twice"));
  }
  place->second = answers_.size();
  answers_.push_back(std::move(record));
}

void RunDirectory::load() {
  const fs::path settings = path_ / kSettings;
  if (!fs::exists(settings)) {
    throw Error(ErrorCode::kIo, fmt::format("{}: holds no run (no {})", path_.string(), kSettings));
  }
  settings_ = settings_from_json(read_text(settings), settings.string());
  questions_ = read_dataset(path_ / kQuestions);
  expect();
}

RunDirectory RunDirectory::start(const fs::path& directory, const RunSettings& settings,
                                 const Dataset& selection) {
  make_directory(directory);
  RunDirectory run;
  run.path_ = directory;
  run.lock_ = std::make_unique<DirectoryLock>(directory);
  const std::string questions = to_squad_json(selection);
  const JsonLines stored = read_json_lines(directory / kAnswers);
  if (!fs::exists(directory / kSettings) && !stored.lines.empty()) {
    throw Error(ErrorCode::kMalformed, fmt::format("{}: answers without {}", directory.string(), kSettings));
  }
  if (stored.lines.empty()) {  // nothing depends on what may be there: other settings are welcome
    write_text(directory / kQuestions, questions);
    write_text(directory / kSettings,
               to_json(settings).dump(1) + "\n");  // last: its presence means a whole start
    run.settings_ = settings;
    run.questions_ = selection;
    run.expect();
  } else {
    run.load();
    std::string differs = difference(run.settings_, settings, true);
    if (differs.empty() && read_text(directory / kQuestions) != questions) differs = "other questions";
    if (!differs.empty()) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("{} holds a run with other settings ({}): choose another "
                              "--out or repeat its settings",
                              directory.string(), differs));
    }
  }
  for (const json& line : stored.lines) {
    run.add(record_from(line, directory / kAnswers, run.answers_.size() + 1));
  }
  run.appender_ = std::make_unique<LineAppender>(directory / kAnswers, stored);
  return run;
}

RunDirectory RunDirectory::read(const fs::path& directory) {
  RunDirectory run;
  run.path_ = directory;
  run.load();
  for (const json& line : read_json_lines(directory / kAnswers).lines) {
    run.add(record_from(line, directory / kAnswers, run.answers_.size() + 1));
  }
  return run;
}

void RunDirectory::write(const fs::path& directory, const RunSettings& settings, const Dataset& selection,
                         const std::vector<AnswerRecord>& answers) {
  make_directory(directory);
  const DirectoryLock lock(directory);
  std::string text;
  for (const AnswerRecord& record : answers) text += squad::to_line(record) + "\n";
  // the settings come last: their presence means a whole run
  const std::array<std::pair<fs::path, std::string>, 3> files = {
      {{directory / kAnswers, std::move(text)},
       {directory / kQuestions, to_squad_json(selection)},
       {directory / kSettings, to_json(settings).dump(1) + "\n"}}};
  if (fs::exists(directory / kSettings)) {
    for (const auto& [file, content] : files) {
      if (read_text(file) != content) {
        throw Error(ErrorCode::kInvalidArgument, fmt::format("{}: holds a run already", directory.string()));
      }
    }
    return;
  }
  for (const auto& [file, content] : files) write_text(file, content);
}

std::vector<std::size_t> RunDirectory::own_questions() const {
  return questions_of(shard_of(groups_of(questions_), settings_.shard));
}

const AnswerRecord* RunDirectory::find(std::string_view model, std::string_view id) const {
  const auto found = places_.find(key_of(model, id));
  return found == places_.end() || found->second == kMissing ? nullptr : &answers_[found->second];
}

std::size_t RunDirectory::n_wanted() const {
  return own_questions().size() * settings_.models.size();
}

void RunDirectory::append(AnswerRecord record) {
  appender_->append(squad::to_line(record));
  add(std::move(record));
}

void merge_runs(const std::vector<fs::path>& shards, const fs::path& out) {
  std::vector<RunDirectory> runs;
  std::unordered_set<std::size_t> seen;
  for (const fs::path& shard : shards) {
    runs.push_back(RunDirectory::read(shard));
    const RunDirectory& run = runs.back();
    const auto complain = [&](const std::string& what) {
      throw Error(ErrorCode::kInvalidArgument, fmt::format("{}: {}", shard.string(), what));
    };
    const RunDirectory& first = runs.front();
    if (const std::string differs = difference(run.settings(), first.settings(), false); !differs.empty()) {
      complain(fmt::format("not of the same run as {}: {}", first.path().string(), differs));
    }
    if (run.settings().shard.count != first.settings().shard.count ||
        to_squad_json(run.questions()) != to_squad_json(first.questions())) {
      complain(fmt::format("not a shard of the same selection as {}", first.path().string()));
    }
    const Shard part = run.settings().shard;
    if (!seen.insert(part.index).second)
      complain(fmt::format("shard {}/{} is there twice", part.index, part.count));
    if (!run.is_complete()) {
      complain(
          fmt::format("{} of {} answers: continue that run first", run.answers().size(), run.n_wanted()));
    }
  }
  const RunDirectory& first = runs.front();
  for (std::size_t index = 1; index <= first.settings().shard.count; ++index) {
    if (!seen.contains(index)) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("shard {}/{} is missing", index, first.settings().shard.count));
    }
  }
  std::vector<AnswerRecord> answers;
  for (const ModelIdentity& model : first.settings().models) {
    for (const Question& question : first.questions().questions) {
      for (const RunDirectory& run : runs) {
        if (const AnswerRecord* record = run.find(model.name, question.id)) answers.push_back(*record);
      }
    }
  }
  RunSettings settings = first.settings();
  settings.shard = {};
  RunDirectory::write(out, settings, first.questions(), answers);
}

}  // namespace gemma::squad
