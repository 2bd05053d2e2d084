// gemma-squad judge, report, merge and score.
#include <atomic>

#include <fmt/format.h>

#include "examples/interrupt.hpp"
#include "examples/program.hpp"
#include "examples/squad/commands.hpp"
#include "examples/squad/fail.hpp"
#include "examples/squad/finish.hpp"
#include "examples/squad/metrics.hpp"

namespace gemma::squad {
namespace {

struct Flags {
  std::string directory, out, squad, predictions;
  std::vector<std::string> directories, judges;
  bool quiet = false;  // of report
  JudgeFlags judge;
};

int finish(const RunDirectory& run, const JudgeFlags& flags) {
  std::atomic<bool> cancel{false};
  const app::InterruptGuard guard(cancel);
  return judge_and_report(run, flags, cancel);
}

int run_judge(const Flags& flags) {
  const RunDirectory run = RunDirectory::read(flags.directory);
  if (run.n_models() < 2) refuse("{}: one model: there is nothing to rank", flags.directory);
  return finish(run, flags.judge);
}

int run_report(const Flags& flags) {
  write_report(RunDirectory::read(flags.directory), flags.judges, flags.quiet);
  return 0;
}

int run_score(const Flags& flags) {
  const Dataset dataset = read_dataset(flags.squad);
  const PredictionScores scores = score_predictions(dataset, read_predictions(flags.predictions));
  if (scores.missing > 0) {
    app::print_error("gemma-squad", fmt::format("{} questions have no prediction and {}", scores.missing,
                                                dataset.is_v2 ? "are left out" : "count as wrong"));
  }
  if (scores.unknown > 0) {
    app::print_error("gemma-squad", fmt::format("{} predictions are for questions that the set does not hold",
                                                scores.unknown));
  }
  if (!dataset.is_v2) {
    app::write_stdout(
        fmt::format("{{\"exact_match\": {}, \"f1\": {}}}\n", scores.all.exact(), scores.all.f1()));
    return 0;
  }
  std::string text = fmt::format("{{\n  \"exact\": {},\n  \"f1\": {},\n  \"total\": {}", scores.all.exact(),
                                 scores.all.f1(), scores.all.n);
  const auto part = [&](const char* name, const ScoreTotals& totals) {
    if (totals.n == 0) return;
    text += fmt::format(",\n  \"{0}_exact\": {1},\n  \"{0}_f1\": {2},\n  \"{0}_total\": {3}", name,
                        totals.exact(), totals.f1(), totals.n);
  };
  part("HasAns", scores.has_answer);
  part("NoAns", scores.no_answer);
  app::write_stdout(text + "\n}\n");
  return 0;
}

int run_merge(const Flags& flags) {
  flags.judge.check();
  merge_runs({flags.directories.begin(), flags.directories.end()}, flags.out);
  return finish(RunDirectory::read(flags.out), flags.judge);
}

}  // namespace

void add_judge(CLI::App& app, Command& chosen) {
  const auto [judge, flags] = add_command<Flags>(
      app, chosen, "judge", "Let a judge rank the answers of a run, then report", run_judge);
  judge.add_option("DIR", flags.directory, "Directory of a run")->required();
  flags.judge.add_to(judge);
}

void add_report(CLI::App& app, Command& chosen) {
  const auto [report, flags] =
      add_command<Flags>(app, chosen, "report", "Write a run's report again", run_report);
  report.add_option("DIR", flags.directory, "Directory of a run")->required();
  option(report, "--judge", "NAME", flags.judges, "Whose verdicts (default: all that are complete)");
  report.add_flag("-q,--quiet", flags.quiet, "No table");
}

void add_merge(CLI::App& app, Command& chosen) {
  const auto [merge, flags] =
      add_command<Flags>(app, chosen, "merge", "Join the shards of a run, then judge and report", run_merge);
  merge.add_option("DIR", flags.directories, "Directories of all shards")->required();
  option(merge, "--out", "DIR", flags.out, "Directory of the whole run, a new one")->required();
  flags.judge.add_to(merge);
}

void add_score(CLI::App& app, Command& chosen) {
  const auto [score, flags] = add_command<Flags>(
      app, chosen, "score", "Exact match and F1 of a predictions file, as the official scripts", run_score);
  option(score, "--squad", "FILE", flags.squad, "Questions, SQuAD v1.1 or v2.0, or its rows as JSON lines")
      ->required();
  option(score, "--predictions", "FILE", flags.predictions, "Answers, {\"id\": \"answer\"}")->required();
}

}  // namespace gemma::squad
