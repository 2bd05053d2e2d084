#include "examples/squad/verdicts.hpp"

#include <algorithm>
#include <numeric>
#include <unordered_map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "examples/print_note.hpp"
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

std::string line_of(const RunDirectory& run, const Showing& showing, const Verdict& verdict) {
  ordered_json order = ordered_json::array(), ranks = ordered_json::object();
  for (const std::size_t m : showing.order) order.push_back(run.model_name(m));
  ordered_json line = {{"id", run.question(showing.question).id}, {"order", order}};
  if (verdict.ranks.empty()) {
    line["trouble"] = verdict.trouble;
  } else {
    for (std::size_t m = 0; m < run.n_models(); ++m) ranks[run.model_name(m)] = verdict.ranks[m];
    line["ranks"] = ranks;
  }
  line.update(ordered_json{{"attempts", verdict.attempts},
                           {"prompt_tokens", verdict.prompt_tokens},
                           {"completion_tokens", verdict.completion_tokens}});
  return to_line(line);
}

std::vector<std::size_t> order_from(const RunDirectory& run, const json& names) {
  std::vector<std::size_t> order;
  const std::vector<ModelIdentity>& models = run.settings().models;
  for (const std::string name : names) {
    const auto found = std::ranges::find(models, name, &ModelIdentity::name);
    order.push_back(static_cast<std::size_t>(found - models.begin()));
  }
  if (!std::ranges::is_permutation(order, permutation(0, models.size()))) {
    fail(ErrorCode::kMalformed, "not an order of the models");
  }
  return order;
}

Verdict verdict_from(const RunDirectory& run, const json& line) {
  Verdict verdict;
  if (line.contains("trouble")) {
    verdict.trouble = line.at("trouble");
  } else {
    for (const ModelIdentity& model : run.settings().models) {
      verdict.ranks.push_back(line.at("ranks").at(model.name));
    }
    const double k = static_cast<double>(run.n_models());
    const bool within =
        std::ranges::all_of(verdict.ranks, [&](double rank) { return rank >= 1 && rank <= k; });
    const double sum = std::accumulate(verdict.ranks.begin(), verdict.ranks.end(), 0.0);
    if (!within || 2 * sum != k * (k + 1)) fail(ErrorCode::kMalformed, "not a ranking of the models");
  }
  verdict.attempts = line.at("attempts");
  verdict.prompt_tokens = line.at("prompt_tokens");
  verdict.completion_tokens = line.at("completion_tokens");
  return verdict;
}

Verdicts verdicts_from(const RunDirectory& run, const std::string& name, const JsonLines& stored) {
  Verdicts out;
  out.name = name;
  std::unordered_map<std::string, std::size_t> places;
  for (const Question& question : run.questions().questions) places.emplace(question.id, places.size());
  for (std::size_t i = 0; i < stored.lines.size(); ++i) {
    try {
      const json& line = stored.lines[i];
      if (i == 0) {
        out.identity = line.at("judge").dump();
        out.policy = parse_order_policy(line.at("order").get_ref<const std::string&>());
      } else {
        const Verdict verdict = verdict_from(run, line);
        out.latest.insert_or_assign({places.at(line.at("id")), order_from(run, line.at("order"))}, verdict);
        out.attempts += verdict.attempts;
        out.prompt_tokens += verdict.prompt_tokens;
        out.completion_tokens += verdict.completion_tokens;
      }
    } catch (const std::exception&) {
      fail(ErrorCode::kMalformed, "{}: line {} is not a verdict on this run",
           file_of(run.path(), name).string(), i + 1);
    }
  }
  return out;
}

JudgeTask task_of(const RunDirectory& run, std::size_t index) {
  const Question& question = run.question(index);
  JudgeTask task{question.id, question.text, question.truths, run.questions().is_v2, {}};
  for (std::size_t m = 0; m < run.n_models(); ++m) task.answers.push_back(run.answer(m, index).text);
  return task;
}

void say_unranked(std::FILE* log, const std::string& judge, const std::string& id, const Verdict& verdict) {
  const std::string line =
      fmt::format("judge {}: question {} has no ranking after {} attempt{}: {}", judge, id, verdict.attempts,
                  verdict.attempts == 1 ? "" : "s", verdict.trouble);
  app::print_note(log, "gemma-squad: " + app::printable(line) + "\n");
}

/// What has no ranking: first what was never asked for, so that failing questions do not block the others.
std::vector<Showing> missing_from(const RunDirectory& run, const Verdicts& verdicts, OrderPolicy policy) {
  std::vector<Showing> missing;
  for (std::size_t i = 0; i < run.n_questions(); ++i) {
    for (std::vector<std::size_t>& order : orders_for(policy, i, run.n_models())) {
      Showing showing{i, std::move(order)};
      const auto stored = verdicts.latest.find(showing);
      if (stored != verdicts.latest.end() && !stored->second.ranks.empty()) continue;
      missing.push_back(std::move(showing));
    }
  }
  std::stable_partition(missing.begin(), missing.end(),
                        [&](const auto& showing) { return !verdicts.latest.contains(showing); });
  return missing;
}

}  // namespace

std::size_t Verdicts::n_ranked() const noexcept {
  const auto is_ranked = [](const auto& stored) { return !stored.second.ranks.empty(); };
  return static_cast<std::size_t>(std::ranges::count_if(latest, is_ranked));
}

void check_judge_name(const std::string& name) {
  check_name("a judge", name);
  if (name.find('/') != std::string::npos) refuse("a judge's name becomes part of a file name: no / in it");
}

std::size_t n_wanted(const RunDirectory& run, OrderPolicy policy) {
  const std::size_t k = run.n_models();
  return run.n_questions() * orders_for(policy, 0, k).size();
}

bool judge_run(const RunDirectory& run, Judge& judge, const std::string& name, OrderPolicy policy,
               const std::atomic<bool>& cancel, std::FILE* progress, std::FILE* log) {
  const std::size_t k = run.n_models();
  if (k < 2) refuse("a judge ranks the answers of at least two models");
  run.check_whole("a run is judged when it is whole");
  check_judge_name(name);
  if (!judge.sees_order()) policy = OrderPolicy::kFixed;
  const fs::path file = file_of(run.path(), name);
  const DirectoryLock lock(run.path());
  JsonLines stored = read_json_lines(file);
  const std::string header = to_line(ordered_json{{"judge", judge.identity()}, {"order", to_string(policy)}});
  if (!stored.lines.empty() && stored.lines[0] != json::parse(header)) {
    // a judge that never gave a verdict, for example at a mistyped URL, leaves nothing that could be mixed
    if (std::ranges::any_of(stored.lines, [](const json& line) { return line.contains("ranks"); })) {
      refuse("{} holds verdicts of another judge ({}): choose another --judge-name, or remove it",
             file.string(), stored.lines[0].dump());
    }
    stored = {};
  }
  const Verdicts before = verdicts_from(run, name, stored);
  LineAppender out(file, stored);
  if (stored.lines.empty()) out.append(header);

  std::size_t n_ranked = before.n_ranked(), n_unranked = 0, n_down = 0;  // n_down: in a row
  Progress bar(progress, fmt::format("judge {}", name), "verdicts", n_ranked, n_wanted(run, policy));
  for (const Showing& showing : missing_from(run, before, policy)) {
    if (cancel.load()) return false;
    try {
      const JudgeTask task = task_of(run, showing.question);
      const Verdict verdict = judge.judge(task, showing.order, cancel);
      out.append(line_of(run, showing, verdict));
      bar.step();
      if (!verdict.ranks.empty()) {
        ++n_ranked;
        n_down = 0;
        continue;
      }
      if (log != nullptr) say_unranked(log, name, task.id, verdict);
      ++n_unranked;
      n_down = verdict.is_endpoint_down ? n_down + 1 : 0;
      // further requests would fail too
      if (n_down >= kMostDown) {
        fail(ErrorCode::kIo, "judge {}: no reply to {} questions in a row, the last: {}", name, n_down,
             verdict.trouble);
      }
      if (n_ranked == 0 && n_unranked >= kMostUnranked) {
        fail(ErrorCode::kIo, "judge {}: none of the first {} questions got a ranking, the last: {}", name,
             n_unranked, verdict.trouble);
      }
    } catch (const Error& error) {
      if (error.code() != EngineErrorCode::kCancelled) throw;
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
  std::ranges::sort(names);
  return names;
}

bool is_settled(const RunDirectory& run, const Verdicts& verdicts) {
  return verdicts.n_ranked() > 0 && verdicts.latest.size() >= n_wanted(run, verdicts.policy);
}

RankColumns rank_columns(const RunDirectory& run, const Verdicts& verdicts) {
  const std::size_t k = run.n_models(), n = run.n_questions();
  const std::size_t n_orders = orders_for(verdicts.policy, 0, k).size();
  std::vector<std::vector<double>> sums(n, std::vector<double>(k, 0));
  std::vector<std::size_t> count(n, 0);
  for (const auto& [showing, verdict] : verdicts.latest) {
    if (verdict.ranks.empty()) continue;
    for (std::size_t m = 0; m < k; ++m) sums[showing.question][m] += verdict.ranks[m];
    ++count[showing.question];
  }
  // a question needs verdicts in all of its orders: otherwise its mean rank would depend on positions
  RankColumns columns{std::vector<std::vector<double>>(k), {}};
  for (std::size_t i = 0; i < n; ++i) {
    if (count[i] < n_orders) continue;
    columns.questions.push_back(i);
    for (std::size_t m = 0; m < k; ++m) {
      columns.ranks[m].push_back(sums[i][m] / static_cast<double>(count[i]));
    }
  }
  if (!is_settled(run, verdicts) || columns.questions.empty()) {
    fail(ErrorCode::kMalformed, "{}: judge {} has given {} of {} verdicts: continue with gemma-squad judge",
         run.path().string(), verdicts.name, verdicts.n_ranked(), n_wanted(run, verdicts.policy));
  }
  return columns;
}

PositionBias position_bias(const Verdicts& verdicts, std::size_t k) {
  PositionBias bias;
  bias.is_known = verdicts.policy != OrderPolicy::kFixed && verdicts.n_ranked() > 0;
  stats::Columns by_position(k);
  for (const auto& [showing, verdict] : verdicts.latest) {
    if (verdict.ranks.empty()) continue;
    for (std::size_t i = 0; i < k; ++i) by_position[i].push_back(verdict.ranks[showing.order[i]]);
  }
  for (const std::vector<double>& ranks : by_position) {
    const double sum = std::accumulate(ranks.begin(), ranks.end(), 0.0);
    bias.mean_rank.push_back(ranks.empty() ? 0 : sum / static_cast<double>(ranks.size()));
  }
  if (bias.is_known) bias.p = stats::friedman(by_position).p;
  return bias;
}

}  // namespace gemma::squad
