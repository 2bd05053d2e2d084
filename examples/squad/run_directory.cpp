#include "examples/squad/run_directory.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "examples/read_file.hpp"
#include "examples/squad/fail.hpp"
#include "examples/whole_file.hpp"

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

void make_directory(const fs::path& directory) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) {
    fail(ErrorCode::kIo, "{}: cannot be made: {}", directory.string(), error.message());
  }
}

/// Seconds rounded to microseconds: further digits mean nothing.
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
    answer.timing.batch = timing.value("batch", std::size_t{1});
    answer.timing.share_s = timing.value("share_s", answer.timing.total_s);
    answer.timing.forwards = timing.value("forwards", static_cast<double>(answer.tokens));
    answer.timing.drafted = timing.value("drafted", std::size_t{0});
    answer.timing.accepted = timing.value("accepted", std::size_t{0});
    return record;
  } catch (const json::exception&) {
    fail(ErrorCode::kMalformed, "{}: line {} is not an answer", file.string(), number);
  }
}

std::string lines_of(const std::vector<AnswerRecord>& answers) {
  std::string text;
  for (const AnswerRecord& record : answers) text += squad::to_line(record) + "\n";
  return text;
}

}  // namespace

void write_text(const fs::path& file, std::string_view text) {
  app::WholeFile out(file.string());
  out.write(text);
  out.commit();
}

std::string to_line(const AnswerRecord& record) {
  const Answer& answer = record.answer;
  ordered_json timing = {{"total_s", micro(answer.timing.total_s)},
                         {"prefill_s", micro(answer.timing.prefill_s)},
                         {"first_token_s", micro(answer.timing.first_token_s)},
                         {"decode_s", micro(answer.timing.decode_s)},
                         {"cached_tokens", answer.timing.cached_tokens}};
  if (answer.timing.batch > 1) {
    timing["batch"] = answer.timing.batch;
    timing["share_s"] = micro(answer.timing.share_s);
  }
  if (answer.timing.drafted > 0) {
    timing["drafted"] = answer.timing.drafted;
    timing["accepted"] = answer.timing.accepted;
  }
  if (answer.timing.batch > 1 || answer.timing.drafted > 0)
    timing["forwards"] = micro(answer.timing.forwards);
  return to_line(ordered_json{{"model", record.model},
                              {"id", record.id},
                              {"answer", answer.text},
                              {"stop", answer.stop},
                              {"prompt_tokens", answer.prompt_tokens},
                              {"tokens", answer.tokens},
                              {"timing", timing}});
}

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
    fail(ErrorCode::kMalformed, "{}: the answer of {} to question {} {}", (path_ / kAnswers).string(),
         record.model, record.id, place == places_.end() ? "does not belong to this run" : "appears twice");
  }
  place->second = answers_.size();
  answers_.push_back(std::move(record));
}

void RunDirectory::add_stored(const JsonLines& stored) {
  for (const json& line : stored.lines) add(record_from(line, path_ / kAnswers, answers_.size() + 1));
}

void RunDirectory::load() {
  const fs::path settings = path_ / kSettings;
  if (!fs::exists(settings)) {
    fail(ErrorCode::kIo, "{}: holds no run (no {})", path_.string(), kSettings);
  }
  settings_ = settings_from_json(app::read_file(settings), settings.string());
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
    fail(ErrorCode::kMalformed, "{}: answers without {}", directory.string(), kSettings);
  }
  if (stored.lines.empty()) {  // no answers yet: the settings may be replaced
    write_text(directory / kQuestions, questions);
    // written last: its presence means that the start was completed
    write_text(directory / kSettings, to_json(settings).dump(1) + "\n");
    run.settings_ = settings;
    run.questions_ = selection;
    run.expect();
  } else {
    run.load();
    std::string differs = difference(run.settings_, settings, true);
    if (differs.empty() && app::read_file(directory / kQuestions) != questions) differs = "other questions";
    if (!differs.empty()) {
      fail(ErrorCode::kInvalidArgument,
           "{} holds a run with other settings ({}): choose another "
           "--out or repeat its settings",
           directory.string(), differs);
    }
  }
  run.add_stored(stored);
  run.appender_ = std::make_unique<LineAppender>(directory / kAnswers, stored);
  return run;
}

RunDirectory RunDirectory::read(const fs::path& directory) {
  RunDirectory run;
  run.path_ = directory;
  run.load();
  run.add_stored(read_json_lines(directory / kAnswers));
  return run;
}

void RunDirectory::write(const fs::path& directory, const RunSettings& settings, const Dataset& selection,
                         const std::vector<AnswerRecord>& answers) {
  make_directory(directory);
  const DirectoryLock lock(directory);
  // the settings are written last: their presence means a complete run
  const std::array<std::pair<fs::path, std::string>, 3> files = {
      {{directory / kAnswers, lines_of(answers)},
       {directory / kQuestions, to_squad_json(selection)},
       {directory / kSettings, to_json(settings).dump(1) + "\n"}}};
  if (fs::exists(directory / kSettings)) {
    for (const auto& [file, content] : files) {
      if (app::read_file(file) != content) {
        fail(ErrorCode::kInvalidArgument, "{}: holds a run already", directory.string());
      }
    }
    return;
  }
  for (const auto& [file, content] : files) write_text(file, content);
}

std::vector<std::size_t> RunDirectory::own_questions() const {
  return questions_of(questions_, settings_.shard);
}

const AnswerRecord* RunDirectory::find(std::string_view model, std::string_view id) const {
  const auto found = places_.find(key_of(model, id));
  return found == places_.end() || found->second == kMissing ? nullptr : &answers_[found->second];
}

const Answer& RunDirectory::answer(std::size_t model, std::size_t question) const {
  return find(model_name(model), questions_.questions[question].id)->answer;
}

std::size_t RunDirectory::n_wanted() const {
  return own_questions().size() * n_models();
}

void RunDirectory::append(AnswerRecord record) {
  appender_->append(squad::to_line(record));
  add(std::move(record));
}

namespace {

/// The answers of `runs`, in the order of the models and of the questions.
std::vector<AnswerRecord> in_order(const std::vector<const RunDirectory*>& runs) {
  std::vector<AnswerRecord> answers;
  for (const ModelIdentity& model : runs.front()->settings().models) {
    for (const Question& question : runs.front()->questions().questions) {
      for (const RunDirectory* run : runs) {
        if (const AnswerRecord* record = run->find(model.name, question.id)) answers.push_back(*record);
      }
    }
  }
  return answers;
}

/// The first few of `names`, and their number if there are more.
std::string some_of(const std::vector<std::string>& names) {
  constexpr std::size_t kMostNamed = 20;
  std::string out;
  for (std::size_t i = 0; i < std::min(kMostNamed, names.size()); ++i) {
    out += (i == 0 ? "" : ", ") + names[i];
  }
  return names.size() <= kMostNamed ? out : fmt::format("{}, ... ({} in all)", out, names.size());
}

void check_of_one_run(const RunDirectory& run, const RunDirectory& first) {
  if (const std::string differs = difference(run.settings(), first.settings(), false); !differs.empty()) {
    fail(ErrorCode::kInvalidArgument, "{}: not of the same run as {}: {}", run.path().string(),
         first.path().string(), differs);
  }
  if (run.settings().shard.count != first.settings().shard.count ||
      to_squad_json(run.questions()) != to_squad_json(first.questions())) {
    fail(ErrorCode::kInvalidArgument, "{}: not a shard of the same selection as {}", run.path().string(),
         first.path().string());
  }
}

/// What is missing in the shards, in one line; "" if they are complete. `runs` are in the order of their
/// shards.
std::string missing_from(const std::vector<RunDirectory>& runs) {
  std::vector<std::string> shards, parts;
  const std::size_t count = runs.front().settings().shard.count;
  for (std::size_t index = 1, at = 0; index <= count; ++index) {
    if (at < runs.size() && runs[at].settings().shard.index == index) {
      ++at;
    } else {
      shards.push_back(fmt::format("{}/{}", index, count));
    }
  }
  if (!shards.empty()) {
    parts.push_back(fmt::format("shard{} {} {} missing", shards.size() == 1 ? "" : "s", some_of(shards),
                                shards.size() == 1 ? "is" : "are"));
  }
  for (const RunDirectory& run : runs) {
    if (run.is_complete()) continue;
    std::vector<std::string> answers;
    for (const ModelIdentity& model : run.settings().models) {
      for (const std::size_t question : run.own_questions()) {
        const std::string& id = run.questions().questions[question].id;
        if (run.find(model.name, id) == nullptr) answers.push_back(fmt::format("{} to {}", model.name, id));
      }
    }
    parts.push_back(fmt::format("{}: {} of {} answers: continue that run first; missing: {}",
                                run.path().string(), run.answers().size(), run.n_wanted(), some_of(answers)));
  }
  std::string out;
  for (const std::string& part : parts) out += (out.empty() ? "" : "; ") + part;
  return out;
}

}  // namespace

void RunDirectory::finish() {
  appender_.reset();
  if (!is_complete()) return;
  std::vector<AnswerRecord> ordered = in_order({this});
  std::string text = lines_of(ordered);
  if (text == lines_of(answers_)) return;
  write_text(path_ / kAnswers, text);
  answers_ = std::move(ordered);
  for (std::size_t i = 0; i < answers_.size(); ++i) places_[key_of(answers_[i].model, answers_[i].id)] = i;
}

void merge_runs(const std::vector<fs::path>& shards, const fs::path& out) {
  std::vector<RunDirectory> runs;
  for (const fs::path& shard : shards) {
    runs.push_back(RunDirectory::read(shard));
    check_of_one_run(runs.back(), runs.front());
  }
  std::stable_sort(runs.begin(), runs.end(), [](const RunDirectory& a, const RunDirectory& b) {
    return a.settings().shard.index < b.settings().shard.index;
  });
  for (std::size_t i = 1; i < runs.size(); ++i) {
    const Shard part = runs[i].settings().shard;
    if (part.index != runs[i - 1].settings().shard.index) continue;
    fail(ErrorCode::kInvalidArgument, "{}: shard {}/{} is there twice, in {} too", runs[i].path().string(),
         part.index, part.count, runs[i - 1].path().string());
  }
  if (const std::string missing = missing_from(runs); !missing.empty()) {
    throw Error(ErrorCode::kInvalidArgument, missing);
  }
  RunSettings settings = runs.front().settings();
  settings.shard = {};
  std::vector<const RunDirectory*> parts;
  std::vector<std::string> machines;  // in the order of shards, not of arguments
  for (const RunDirectory& run : runs) {
    parts.push_back(&run);
    const std::string& machine = run.settings().machine;
    if (std::find(machines.begin(), machines.end(), machine) == machines.end()) machines.push_back(machine);
  }
  settings.machine = some_of(machines);
  RunDirectory::write(out, settings, runs.front().questions(), in_order(parts));
}

}  // namespace gemma::squad
