#include "examples/squad/verdicts.hpp"

#include <algorithm>
#include <set>
#include <unordered_map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "examples/squad/json_lines.hpp"
#include "examples/squad/progress.hpp"
#include "examples/squad/stats/rank_tests.hpp"
#include "gguf/error.hpp"

namespace gemma::squad {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

constexpr std::string_view kPrefix = "verdicts-", kSuffix = ".jsonl";

fs::path file_of(const fs::path& directory, const std::string& name) {
  return directory / fmt::format("{}{}{}", kPrefix, name, kSuffix);
}

std::string key_of(const std::string& id, const std::vector<std::size_t>& order) {
  return fmt::format("{}\n{}", id, fmt::join(order, ","));
}

std::string header_line(const Judge& judge, OrderPolicy policy) {
  return to_line(ordered_json{{"judge", judge.identity()}, {"order", to_string(policy)}});
}

std::string record_line(const RunDirectory& run, const VerdictRecord& record) {
  const auto& models = run.settings().models;
  ordered_json order = ordered_json::array(), ranks = ordered_json::object();
  for (const std::size_t m : record.order) order.push_back(models[m].name);
  for (std::size_t m = 0; m < models.size(); ++m) ranks[models[m].name] = record.verdict.ranks[m];
  return to_line(ordered_json{{"id", record.id},
                              {"order", order},
                              {"ranks", ranks},
                              {"attempts", record.verdict.attempts},
                              {"prompt_tokens", record.verdict.prompt_tokens},
                              {"completion_tokens", record.verdict.completion_tokens}});
}

VerdictRecord record_from(const RunDirectory& run, const json& line) {
  VerdictRecord record;
  record.id = line.at("id");
  for (const json& name : line.at("order")) {
    const auto& models = run.settings().models;
    const auto found =
        std::find_if(models.begin(), models.end(), [&](const auto& m) { return m.name == name; });
    if (found == models.end()) throw Error(ErrorCode::kMalformed, "a model that the run does not have");
    record.order.push_back(static_cast<std::size_t>(found - models.begin()));
  }
  for (const ModelIdentity& model : run.settings().models) {
    record.verdict.ranks.push_back(line.at("ranks").at(model.name));
  }
  const std::size_t k = run.settings().models.size();
  std::vector<std::size_t> sorted = record.order;
  std::sort(sorted.begin(), sorted.end());
  double sum = 0;
  bool good = sorted == permutation(0, k);
  for (const double rank : record.verdict.ranks) {
    sum += rank;
    good = good && rank >= 1 && rank <= static_cast<double>(k);
  }
  if (!good || 2 * sum != static_cast<double>(k * (k + 1))) {
    throw Error(ErrorCode::kMalformed, "not a ranking of the models");
  }
  record.verdict.attempts = line.at("attempts");
  record.verdict.prompt_tokens = line.at("prompt_tokens");
  record.verdict.completion_tokens = line.at("completion_tokens");
  return record;
}

Verdicts verdicts_from(const RunDirectory& run, const std::string& name, const JsonLines& stored) {
  Verdicts out;
  out.name = name;
  const auto bad = [&](std::size_t line) {
    return Error(ErrorCode::kMalformed, fmt::format("{}: line {} is not a verdict on this run",
                                                    file_of(run.path(), name).string(), line));
  };
  for (std::size_t i = 0; i < stored.lines.size(); ++i) {
    try {
      if (i == 0) {
        out.identity = stored.lines[0].at("judge").dump();
        out.policy = parse_order_policy(stored.lines[0].at("order").get_ref<const std::string&>());
      } else {
        out.records.push_back(record_from(run, stored.lines[i]));
      }
    } catch (const json::exception&) {
      throw bad(i + 1);
    } catch (const Error&) {
      throw bad(i + 1);
    }
  }
  return out;
}

JudgeTask task_of(const RunDirectory& run, const Question& question) {
  JudgeTask task{question.id, question.text, question.truths, run.questions().is_v2, {}};
  for (const ModelIdentity& model : run.settings().models) {
    task.answers.push_back(run.find(model.name, question.id)->answer.text);
  }
  return task;
}

/// The first line of a file that is there must be the one that this judge would write.
void check_header(const fs::path& file, const JsonLines& stored, const std::string& header) {
  if (stored.lines.empty() || stored.lines[0] == json::parse(header)) return;
  throw Error(
      ErrorCode::kInvalidArgument,
      fmt::format("{} holds verdicts of another judge ({}): choose another --judge-name, or remove it",
                  file.string(), stored.lines[0].dump()));
}

}  // namespace

std::size_t Verdicts::prompt_tokens() const noexcept {
  std::size_t sum = 0;
  for (const VerdictRecord& record : records) sum += record.verdict.prompt_tokens;
  return sum;
}

std::size_t Verdicts::completion_tokens() const noexcept {
  std::size_t sum = 0;
  for (const VerdictRecord& record : records) sum += record.verdict.completion_tokens;
  return sum;
}

std::size_t Verdicts::attempts() const noexcept {
  std::size_t sum = 0;
  for (const VerdictRecord& record : records) sum += record.verdict.attempts;
  return sum;
}

void check_judge_name(const std::string& name) {
  check_name("a judge", name);
  if (name.find('/') != std::string::npos) {
    throw Error(ErrorCode::kInvalidArgument, "a judge's name becomes part of a file name: no / in it");
  }
}

std::size_t n_wanted(const RunDirectory& run, OrderPolicy policy) {
  const std::size_t k = run.settings().models.size();
  return run.questions().questions.size() * orders_for(policy, 0, k).size();
}

bool judge_run(const RunDirectory& run, Judge& judge, const std::string& name, OrderPolicy policy,
               const std::atomic<bool>& cancel, std::FILE* progress) {
  const std::size_t k = run.settings().models.size();
  if (k < 2) throw Error(ErrorCode::kInvalidArgument, "a judge ranks the answers of at least two models");
  if (!run.is_complete() || run.settings().shard.count > 1) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("{}: {} of {} answers: a run is judged when it is whole", run.path().string(),
                            run.answers().size(), run.questions().questions.size() * k));
  }
  check_judge_name(name);
  if (!judge.sees_order()) policy = OrderPolicy::kFixed;
  const fs::path file = file_of(run.path(), name);
  const DirectoryLock lock(run.path());
  JsonLines stored = read_json_lines(file);
  const std::string header = header_line(judge, policy);
  // a judge that never gave a verdict, e.g. at a mistyped URL, leaves nothing that others could be mixed with
  if (stored.lines.size() == 1 && stored.lines[0] != json::parse(header)) stored = {};
  check_header(file, stored, header);
  const Verdicts before = verdicts_from(run, name, stored);
  std::set<std::string> done;
  for (const VerdictRecord& record : before.records) done.insert(key_of(record.id, record.order));
  LineAppender out(file, stored);
  if (stored.lines.empty()) out.append(header);

  const std::vector<Question>& questions = run.questions().questions;
  Progress bar(progress, fmt::format("judge {}", name), "verdicts", done.size(), n_wanted(run, policy));
  for (std::size_t i = 0; i < questions.size(); ++i) {
    for (std::vector<std::size_t>& order : orders_for(policy, i, k)) {
      if (done.contains(key_of(questions[i].id, order))) continue;
      if (cancel.load()) return false;
      try {
        Verdict verdict = judge.judge(task_of(run, questions[i]), order, cancel);
        out.append(record_line(run, {questions[i].id, std::move(order), std::move(verdict)}));
      } catch (const Error& error) {
        if (error.code() != ErrorCode::kCancelled) throw;
        return false;
      }
      bar.step();
    }
  }
  return true;
}

Verdicts read_verdicts(const RunDirectory& run, const std::string& name) {
  const fs::path file = file_of(run.path(), name);
  if (!fs::exists(file)) {
    throw Error(ErrorCode::kIo,
                fmt::format("{}: no verdicts of a judge named {}", run.path().string(), name));
  }
  return verdicts_from(run, name, read_json_lines(file));
}

std::vector<std::string> judges_of(const fs::path& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string file = entry.path().filename().string();
    if (file.size() > kPrefix.size() + kSuffix.size() && file.starts_with(kPrefix) &&
        file.ends_with(kSuffix)) {
      names.push_back(file.substr(kPrefix.size(), file.size() - kPrefix.size() - kSuffix.size()));
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::vector<double>> rank_columns(const RunDirectory& run, const Verdicts& verdicts) {
  const std::size_t k = run.settings().models.size();
  const std::vector<Question>& questions = run.questions().questions;
  if (verdicts.records.size() < n_wanted(run, verdicts.policy)) {
    throw Error(ErrorCode::kMalformed,
                fmt::format("{}: judge {} has given {} of {} verdicts: continue with gemma-squad judge",
                            run.path().string(), verdicts.name, verdicts.records.size(),
                            n_wanted(run, verdicts.policy)));
  }
  std::unordered_map<std::string, std::size_t> place;
  for (std::size_t i = 0; i < questions.size(); ++i) place.emplace(questions[i].id, i);
  std::vector<std::vector<double>> columns(k, std::vector<double>(questions.size(), 0));
  std::vector<double> count(questions.size(), 0);
  for (const VerdictRecord& record : verdicts.records) {
    const auto found = place.find(record.id);
    if (found == place.end()) continue;
    for (std::size_t m = 0; m < k; ++m) columns[m][found->second] += record.verdict.ranks[m];
    count[found->second] += 1;
  }
  for (std::size_t i = 0; i < questions.size(); ++i) {
    if (count[i] == 0) {
      throw Error(ErrorCode::kMalformed,
                  fmt::format("{}: judge {} has not judged question {}: continue with gemma-squad judge",
                              run.path().string(), verdicts.name, questions[i].id));
    }
    for (std::size_t m = 0; m < k; ++m) columns[m][i] /= count[i];
  }
  return columns;
}

PositionBias position_bias(const Verdicts& verdicts, std::size_t k) {
  PositionBias bias;
  bias.is_known = verdicts.policy != OrderPolicy::kFixed && !verdicts.records.empty();
  stats::Columns by_position(k);
  for (const VerdictRecord& record : verdicts.records) {
    for (std::size_t i = 0; i < k; ++i) by_position[i].push_back(record.verdict.ranks[record.order[i]]);
  }
  for (const std::vector<double>& ranks : by_position) {
    double sum = 0;
    for (const double rank : ranks) sum += rank;
    bias.mean_rank.push_back(ranks.empty() ? 0 : sum / static_cast<double>(ranks.size()));
  }
  if (bias.is_known) bias.p = stats::friedman(by_position).p;
  return bias;
}

}  // namespace gemma::squad
