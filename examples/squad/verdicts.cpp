#include "examples/squad/verdicts.hpp"

#include <algorithm>
#include <set>
#include <unordered_map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "examples/printable.hpp"
#include "examples/squad/fail.hpp"
#include "examples/squad/json_lines.hpp"
#include "examples/squad/progress.hpp"
#include "examples/squad/stats/rank_tests.hpp"

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
  ordered_json line = {{"id", record.id}, {"order", order}};
  if (record.verdict.ranks.empty()) {
    line["trouble"] = record.verdict.trouble;
  } else {
    for (std::size_t m = 0; m < models.size(); ++m) ranks[models[m].name] = record.verdict.ranks[m];
    line["ranks"] = ranks;
  }
  line.update(ordered_json{{"attempts", record.verdict.attempts},
                           {"prompt_tokens", record.verdict.prompt_tokens},
                           {"completion_tokens", record.verdict.completion_tokens}});
  return to_line(line);
}

/// Throws gemma::Error (malformed) unless `ranks` can be ranks of k models.
void check_ranks(const std::vector<double>& ranks, std::size_t k) {
  double sum = 0;
  bool good = ranks.size() == k;
  for (const double rank : ranks) {
    sum += rank;
    good = good && rank >= 1 && rank <= static_cast<double>(k);
  }
  if (!good || 2 * sum != static_cast<double>(k * (k + 1))) {
    throw Error(ErrorCode::kMalformed, "not a ranking of the models");
  }
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
  const std::size_t k = run.n_models();
  std::vector<std::size_t> sorted = record.order;
  std::sort(sorted.begin(), sorted.end());
  if (sorted != permutation(0, k)) throw Error(ErrorCode::kMalformed, "not an order of the models");
  if (line.contains("trouble")) {
    record.verdict.trouble = line.at("trouble");
  } else {
    for (const ModelIdentity& model : run.settings().models) {
      record.verdict.ranks.push_back(line.at("ranks").at(model.name));
    }
    check_ranks(record.verdict.ranks, k);
  }
  record.verdict.attempts = line.at("attempts");
  record.verdict.prompt_tokens = line.at("prompt_tokens");
  record.verdict.completion_tokens = line.at("completion_tokens");
  return record;
}

/// Adds a record; it replaces an earlier failure of the same question and order.
void add(Verdicts& verdicts, VerdictRecord record) {
  const auto before = std::find_if(
      verdicts.failures.begin(), verdicts.failures.end(),
      [&](const VerdictRecord& other) { return other.id == record.id && other.order == record.order; });
  if (before != verdicts.failures.end()) {
    verdicts.retried.push_back(std::move(*before));
    verdicts.failures.erase(before);
  }
  auto& place = record.verdict.ranks.empty() ? verdicts.failures : verdicts.records;
  place.push_back(std::move(record));
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
        add(out, record_from(run, stored.lines[i]));
      }
    } catch (const json::exception&) {
      throw bad(i + 1);
    } catch (const Error&) {
      throw bad(i + 1);
    }
  }
  return out;
}

JudgeTask task_of(const RunDirectory& run, std::size_t index) {
  const Question& question = run.questions().questions[index];
  JudgeTask task{question.id, question.text, question.truths, run.questions().is_v2, {}};
  for (std::size_t m = 0; m < run.n_models(); ++m) task.answers.push_back(run.answer(m, index).text);
  return task;
}

/// The first line of an existing file must be the one that this judge would write.
void check_header(const fs::path& file, const JsonLines& stored, const std::string& header) {
  if (stored.lines.empty() || stored.lines[0] == json::parse(header)) return;
  fail(ErrorCode::kInvalidArgument,
       "{} holds verdicts of another judge ({}): choose another --judge-name, or remove it", file.string(),
       stored.lines[0].dump());
}

/// Whether nothing but a header and failures is stored.
bool holds_no_ranking(const JsonLines& stored) {
  return std::none_of(stored.lines.begin(), stored.lines.end(),
                      [](const json& line) { return line.is_object() && line.contains("ranks"); });
}

void say_unranked(std::FILE* log, const std::string& judge, const std::string& id, const Verdict& verdict) {
  const std::string line =
      fmt::format("judge {}: question {} has no ranking after {} attempt{}: {}", judge, id, verdict.attempts,
                  verdict.attempts == 1 ? "" : "s", verdict.trouble);
  fmt::print(log, "gemma-squad: {}\n", app::printable(line));
}

/// A verdict to ask for.
struct Wanted {
  std::size_t question = 0;  // index into run.questions()
  std::vector<std::size_t> order;
};

/// The missing verdicts: first those never asked for, so that questions that always fail cannot keep others
/// from being judged.
std::vector<Wanted> missing_from(const RunDirectory& run, const Verdicts& verdicts, OrderPolicy policy) {
  std::set<std::string> done, failed;
  for (const VerdictRecord& record : verdicts.records) done.insert(key_of(record.id, record.order));
  for (const VerdictRecord& record : verdicts.failures) failed.insert(key_of(record.id, record.order));
  std::vector<Wanted> first, second;
  const std::vector<Question>& questions = run.questions().questions;
  for (std::size_t i = 0; i < questions.size(); ++i) {
    for (std::vector<std::size_t>& order : orders_for(policy, i, run.n_models())) {
      const std::string key = key_of(questions[i].id, order);
      if (done.contains(key)) continue;
      (failed.contains(key) ? second : first).push_back({i, std::move(order)});
    }
  }
  first.insert(first.end(), std::make_move_iterator(second.begin()), std::make_move_iterator(second.end()));
  return first;
}

/// Counts failures and decides when to stop asking.
class Patience {
 public:
  explicit Patience(bool has_verdicts) : has_verdicts_(has_verdicts) {}

  /// Throws gemma::Error (io) if further requests would fail too.
  void note(const Verdict& verdict, const std::string& judge) {
    if (!verdict.ranks.empty()) {
      has_verdicts_ = true;
      n_down_ = 0;
      return;
    }
    n_down_ = verdict.is_endpoint_down ? n_down_ + 1 : 0;
    ++n_unranked_;
    if (n_down_ >= kMostDown) {
      fail(ErrorCode::kIo, "judge {}: no reply to {} questions in a row, the last: {}", judge, n_down_,
           verdict.trouble);
    }
    if (!has_verdicts_ && n_unranked_ >= kMostUnranked) {
      fail(ErrorCode::kIo,
           "judge {}: none of the first {} questions got a ranking, the "
           "last: {}",
           judge, n_unranked_, verdict.trouble);
    }
  }

 private:
  bool has_verdicts_;
  std::size_t n_down_ = 0, n_unranked_ = 0;
};

}  // namespace

std::size_t Verdicts::total(std::size_t Verdict::*count) const noexcept {
  std::size_t sum = 0;
  for (const auto* part : {&records, &failures, &retried}) {
    for (const VerdictRecord& record : *part) sum += record.verdict.*count;
  }
  return sum;
}

void check_judge_name(const std::string& name) {
  check_name("a judge", name);
  if (name.find('/') != std::string::npos) {
    throw Error(ErrorCode::kInvalidArgument, "a judge's name becomes part of a file name: no / in it");
  }
}

std::size_t n_wanted(const RunDirectory& run, OrderPolicy policy) {
  const std::size_t k = run.n_models();
  return run.questions().questions.size() * orders_for(policy, 0, k).size();
}

bool judge_run(const RunDirectory& run, Judge& judge, const std::string& name, OrderPolicy policy,
               const std::atomic<bool>& cancel, std::FILE* progress, std::FILE* log) {
  const std::size_t k = run.n_models();
  if (k < 2) throw Error(ErrorCode::kInvalidArgument, "a judge ranks the answers of at least two models");
  if (!run.is_complete() || run.settings().shard.count > 1) {
    fail(ErrorCode::kInvalidArgument, "{}: {} of {} answers: a run is judged when it is whole",
         run.path().string(), run.n_answers(), run.questions().questions.size() * k);
  }
  check_judge_name(name);
  if (!judge.sees_order()) policy = OrderPolicy::kFixed;
  const fs::path file = file_of(run.path(), name);
  const DirectoryLock lock(run.path());
  JsonLines stored = read_json_lines(file);
  const std::string header = header_line(judge, policy);
  // a judge that never gave a verdict, for example at a mistyped URL, leaves nothing that could be mixed
  if (!stored.lines.empty() && stored.lines[0] != json::parse(header) && holds_no_ranking(stored))
    stored = {};
  check_header(file, stored, header);
  const Verdicts before = verdicts_from(run, name, stored);
  LineAppender out(file, stored);
  if (stored.lines.empty()) out.append(header);

  const std::vector<Question>& questions = run.questions().questions;
  Patience patience(!before.records.empty());
  Progress bar(progress, fmt::format("judge {}", name), "verdicts", before.records.size(),
               n_wanted(run, policy));
  for (Wanted& wanted : missing_from(run, before, policy)) {
    if (cancel.load()) return false;
    const Question& question = questions[wanted.question];
    try {
      const Verdict verdict = judge.judge(task_of(run, wanted.question), wanted.order, cancel);
      out.append(record_line(run, {question.id, std::move(wanted.order), verdict}));
      bar.step();
      if (log != nullptr && verdict.ranks.empty()) say_unranked(log, name, question.id, verdict);
      patience.note(verdict, name);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kCancelled) throw;
      return false;
    }
  }
  return true;
}

Verdicts read_verdicts(const RunDirectory& run, const std::string& name) {
  const fs::path file = file_of(run.path(), name);
  if (!fs::exists(file)) {
    fail(ErrorCode::kIo, "{}: no verdicts of a judge named {}", run.path().string(), name);
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

bool is_settled(const RunDirectory& run, const Verdicts& verdicts) {
  const std::size_t n = verdicts.records.size() + verdicts.failures.size();
  return !verdicts.records.empty() && n >= n_wanted(run, verdicts.policy);
}

RankColumns rank_columns(const RunDirectory& run, const Verdicts& verdicts) {
  const std::size_t k = run.n_models();
  const std::vector<Question>& questions = run.questions().questions;
  const std::size_t n_orders = orders_for(verdicts.policy, 0, k).size();
  std::unordered_map<std::string, std::size_t> place;
  for (std::size_t i = 0; i < questions.size(); ++i) place.emplace(questions[i].id, i);
  std::vector<std::vector<double>> sums(questions.size(), std::vector<double>(k, 0));
  std::vector<std::size_t> count(questions.size(), 0);
  for (const VerdictRecord& record : verdicts.records) {
    const auto found = place.find(record.id);
    if (found == place.end()) continue;
    for (std::size_t m = 0; m < k; ++m) sums[found->second][m] += record.verdict.ranks[m];
    ++count[found->second];
  }
  // a question needs all of its orders: else the mean rank would depend on the positions
  RankColumns columns{std::vector<std::vector<double>>(k), {}};
  for (std::size_t i = 0; i < questions.size(); ++i) {
    if (count[i] < n_orders) continue;
    columns.questions.push_back(i);
    for (std::size_t m = 0; m < k; ++m) {
      columns.ranks[m].push_back(sums[i][m] / static_cast<double>(count[i]));
    }
  }
  if (!is_settled(run, verdicts) || columns.questions.empty()) {
    fail(ErrorCode::kMalformed, "{}: judge {} has given {} of {} verdicts: continue with gemma-squad judge",
         run.path().string(), verdicts.name, verdicts.records.size(), n_wanted(run, verdicts.policy));
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
