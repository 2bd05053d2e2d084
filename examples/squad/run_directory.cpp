#include "examples/squad/run_directory.hpp"

#include <algorithm>
#include <cmath>
#include <map>
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

/// Seconds rounded to microseconds: further digits mean nothing.
double micro(double seconds) {
  return std::round(seconds * 1e6) / 1e6;
}

Answer answer_from(const json& line) {
  Answer answer;
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
  return answer;
}

std::string line_of(const std::string& model, const std::string& id, const Answer& answer) {
  const Timing& time = answer.timing;
  ordered_json timing = {{"total_s", micro(time.total_s)},
                         {"prefill_s", micro(time.prefill_s)},
                         {"first_token_s", micro(time.first_token_s)},
                         {"decode_s", micro(time.decode_s)},
                         {"cached_tokens", time.cached_tokens}};
  if (time.batch > 1) {
    timing["batch"] = time.batch;
    timing["share_s"] = micro(time.share_s);
  }
  if (time.drafted > 0) {
    timing["drafted"] = time.drafted;
    timing["accepted"] = time.accepted;
  }
  if (time.batch > 1 || time.drafted > 0) timing["forwards"] = micro(time.forwards);
  return to_line(ordered_json{{"model", model},
                              {"id", id},
                              {"answer", answer.text},
                              {"stop", answer.stop},
                              {"prompt_tokens", answer.prompt_tokens},
                              {"tokens", answer.tokens},
                              {"timing", timing}});
}

/// The lines of all given answers, in the order of the models and of the questions.
std::string lines_of(const RunSettings& settings, const Dataset& set, const Answers& answers) {
  std::string text;
  for (std::size_t m = 0; m < answers.size(); ++m) {
    for (std::size_t q = 0; q < answers[m].size(); ++q) {
      if (!answers[m][q]) continue;
      text += line_of(settings.models[m].name, set.questions[q].id, *answers[m][q]) + "\n";
    }
  }
  return text;
}

/// The first few of `names`, and their number if there are more.
std::string some_of(const std::vector<std::string>& names) {
  constexpr std::size_t kMostNamed = 20;
  const std::size_t n = std::min(kMostNamed, names.size());
  const std::string out = fmt::format("{}", fmt::join(names.data(), names.data() + n, ", "));
  return n == names.size() ? out : fmt::format("{}, ... ({} in all)", out, names.size());
}

void check_of_one_run(const RunDirectory& run, const RunDirectory& first) {
  if (const std::string differs = difference(run.settings(), first.settings(), false); !differs.empty()) {
    refuse("{}: not of the same run as {}: {}", run.path().string(), first.path().string(), differs);
  }
  if (run.settings().shard.count != first.settings().shard.count ||
      to_squad_json(run.questions()) != to_squad_json(first.questions())) {
    refuse("{}: not a shard of the same selection as {}", run.path().string(), first.path().string());
  }
}

using Shards = std::map<std::size_t, RunDirectory>;  // by the number of the shard

/// What is missing in the shards, in one line; "" if they are complete.
std::string missing_from(const Shards& runs, std::size_t count) {
  std::vector<std::string> shards, parts;
  for (std::size_t index = 1; index <= count; ++index) {
    if (!runs.contains(index)) shards.push_back(fmt::format("{}/{}", index, count));
  }
  if (!shards.empty()) {
    parts.push_back(fmt::format("shard{} {} {} missing", shards.size() == 1 ? "" : "s", some_of(shards),
                                shards.size() == 1 ? "is" : "are"));
  }
  for (const auto& [index, run] : runs) {
    if (run.is_complete()) continue;
    std::vector<std::string> answers;
    for (std::size_t m = 0; m < run.n_models(); ++m) {
      for (const std::size_t q : run.missing(m)) {
        answers.push_back(fmt::format("{} to {}", run.model_name(m), run.question(q).id));
      }
    }
    parts.push_back(fmt::format("{}: {} of {} answers: continue that run first; missing: {}",
                                run.path().string(), run.n_answers(), run.n_wanted(), some_of(answers)));
  }
  return fmt::format("{}", fmt::join(parts, "; "));
}

}  // namespace

void write_text(const fs::path& file, std::string_view text) {
  app::WholeFile out(file.string());
  out.write(text);
  out.commit();
}

void RunDirectory::add_stored(const JsonLines& stored) {
  const std::string file = (path_ / kAnswers).string();
  answers_.assign(n_models(), std::vector<std::optional<Answer>>(n_questions()));
  std::unordered_map<std::string, std::size_t> models, questions;
  for (std::size_t m = 0; m < n_models(); ++m) models.emplace(model_name(m), m);
  for (const std::size_t q : own_questions()) questions.emplace(question(q).id, q);
  for (std::size_t i = 0; i < stored.lines.size(); ++i) {
    try {
      const std::string name = stored.lines[i].at("model"), id = stored.lines[i].at("id");
      const auto model = models.find(name), question = questions.find(id);
      const bool is_known = model != models.end() && question != questions.end();
      if (!is_known || answers_[model->second][question->second]) {
        fail(ErrorCode::kMalformed, "{}: the answer of {} to question {} {}", file, name, id,
             is_known ? "appears twice" : "does not belong to this run");
      }
      answers_[model->second][question->second] = answer_from(stored.lines[i]);
    } catch (const json::exception&) {
      fail(ErrorCode::kMalformed, "{}: line {} is not an answer", file, i + 1);
    }
  }
  n_answers_ = stored.lines.size();
}

void RunDirectory::load() {
  const fs::path settings = path_ / kSettings;
  if (!fs::exists(settings)) fail(ErrorCode::kIo, "{}: holds no run (no {})", path_.string(), kSettings);
  settings_ = settings_from_json(app::read_file(settings), settings.string());
  questions_ = read_dataset(path_ / kQuestions);
}

RunDirectory RunDirectory::start(const fs::path& directory, const RunSettings& settings,
                                 const Dataset& selection) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) fail(ErrorCode::kIo, "{}: cannot be made: {}", directory.string(), error.message());
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
  } else {
    run.load();
    std::string differs = difference(run.settings_, settings, true);
    if (differs.empty() && app::read_file(directory / kQuestions) != questions) differs = "other questions";
    if (!differs.empty()) {
      refuse("{} holds a run with other settings ({}): choose another --out or repeat its settings",
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

std::vector<std::size_t> RunDirectory::missing(std::size_t model) const {
  std::vector<std::size_t> out = own_questions();
  std::erase_if(out, [&](std::size_t question) { return answers_[model][question].has_value(); });
  return out;
}

void RunDirectory::check_whole(std::string_view why) const {
  if (settings_.shard.count == 1 && is_complete()) return;
  refuse("{}: {} of {} answers: {}", path_.string(), n_answers_, n_questions() * n_models(), why);
}

void RunDirectory::append(std::size_t model, std::size_t question, Answer answer) {
  appender_->append(line_of(model_name(model), this->question(question).id, answer));
  answers_[model][question] = std::move(answer);
  ++n_answers_;
}

void RunDirectory::fill(Answers answers) {
  const std::string before = lines_of(settings_, questions_, answers_);
  if (!before.empty() && before != lines_of(settings_, questions_, answers)) {
    refuse("{}: holds a run already", path_.string());
  }
  answers_ = std::move(answers);
  n_answers_ = n_wanted();
  finish();
}

void RunDirectory::finish() {
  appender_.reset();
  if (!is_complete()) return;
  const std::string text = lines_of(settings_, questions_, answers_);
  if (text != app::read_file(path_ / kAnswers)) write_text(path_ / kAnswers, text);
}

void merge_runs(const std::vector<fs::path>& shards, const fs::path& out) {
  Shards runs;
  const RunDirectory* first = nullptr;
  for (const fs::path& directory : shards) {
    RunDirectory run = RunDirectory::read(directory);
    if (first != nullptr) check_of_one_run(run, *first);
    const Shard part = run.settings().shard;
    const auto [place, is_new] = runs.try_emplace(part.index, std::move(run));
    if (!is_new) {
      refuse("{}: shard {}/{} is there twice, in {} too", directory.string(), part.index, part.count,
             place->second.path().string());
    }
    if (first == nullptr) first = &place->second;
  }
  RunSettings settings = first->settings();
  if (const std::string missing = missing_from(runs, settings.shard.count); !missing.empty()) {
    refuse("{}", missing);
  }
  settings.shard = {};
  Answers answers = first->answers();
  std::vector<std::string> machines;  // in the order of shards, not of arguments
  for (const auto& [index, run] : runs) {
    for (std::size_t m = 0; m < run.n_models(); ++m) {
      for (const std::size_t q : run.own_questions()) answers[m][q] = run.answer(m, q);
    }
    const std::string& machine = run.settings().machine;
    if (std::ranges::find(machines, machine) == machines.end()) machines.push_back(machine);
  }
  settings.machine = some_of(machines);
  RunDirectory::start(out, settings, first->questions()).fill(std::move(answers));
}

}  // namespace gemma::squad
