// gemma-squad judge, report, merge and score.
#include <csignal>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "examples/interrupt.hpp"
#include "examples/program.hpp"
#include "examples/squad/analysis.hpp"
#include "examples/squad/commands.hpp"
#include "examples/squad/fail.hpp"
#include "examples/squad/metrics.hpp"
#include "examples/squad/report/report.hpp"
#include "examples/squad/summary.hpp"
#include "examples/squad/verdicts.hpp"

namespace gemma::squad {
namespace {

struct Flags {
  std::string directory, out, squad, predictions;
  std::vector<std::string> directories, judges;
  bool quiet = false;  // of report
  JudgeFlags judge;
};

/// The judges whose verdicts are complete; prints a note about others.
std::vector<std::string> complete_judges(const RunDirectory& run) {
  std::vector<std::string> judges;
  for (const std::string& name : judges_of(run.path())) {
    const Verdicts verdicts = read_verdicts(run, name);
    if (is_settled(run, verdicts)) {
      judges.push_back(name);
    } else {
      app::print_error("gemma-squad", fmt::format("judge {} is left out: {} of {} verdicts", name,
                                                  verdicts.n_ranked(), n_wanted(run, verdicts.policy)));
    }
  }
  return judges;
}

/// While it exists, a closed connection to an endpoint fails one attempt only; a closed standard output ends
/// the program again afterwards.
struct IgnorePipe {
  decltype(std::signal(SIGPIPE, SIG_IGN)) before = std::signal(SIGPIPE, SIG_IGN);
  ~IgnorePipe() { std::signal(SIGPIPE, before); }
};

/// Writes report.html, summary.json, answers.csv and predictions-MODEL.json into the run's directory, and the
/// table to standard output unless `quiet`. `judges`: whose verdicts are used; empty: all that are complete.
/// Files are written completely or not at all; those of an earlier report are replaced.
void write_report(const RunDirectory& run, std::vector<std::string> judges, bool quiet) {
  const DirectoryLock lock(run.path());
  if (judges.empty() && run.n_models() > 1) judges = complete_judges(run);
  constexpr std::uint64_t kBootstrapSeed = 1;
  const Analysis analysis = analyse(run, judges, kBootstrapSeed);
  write_text(run.path() / "summary.json", summary_json(run, analysis).dump(1) + "\n");
  write_text(run.path() / "answers.csv", answers_csv(run, analysis));
  for (std::size_t m = 0; m < run.n_models(); ++m) {
    write_text(run.path() / fmt::format("predictions-{}.json", file_part(run.model_name(m))),
               predictions_json(run, m));
  }
  write_text(run.path() / "report.html", report::report_html(run, analysis));
  if (quiet) return;
  app::write_stdout(summary_text(run, analysis));
  app::write_stdout(fmt::format("\nreport: {}\n", app::printable((run.path() / "report.html").string())));
}

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

int judge_and_report(const RunDirectory& run, const JudgeFlags& flags, const std::atomic<bool>& cancel) {
  std::string trouble;
  if (flags.wanted() && run.n_models() >= 2) {
    const std::unique_ptr<Judge> judge = flags.make(run.settings().preset.name);
    std::FILE* const progress = judge->sees_order() && !flags.quiet ? stderr : nullptr;
    const IgnorePipe ignore;
    try {
      if (!judge_run(run, *judge, flags.verdicts_name(), parse_order_policy(flags.order), cancel, progress,
                     stderr)) {
        return stopped(run);
      }
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kIo) throw;  // not an error of the judge
      trouble = error.message();
    }
  }
  write_report(run, {}, flags.quiet);
  if (trouble.empty()) return 0;
  app::print_error("gemma-squad", trouble);
  return 1;
}

int stopped(const RunDirectory& run) {
  app::print_error("gemma-squad",
                   fmt::format("stopped; the answers so far are in {}: the same command continues from there",
                               run.path().string()));
  return app::InterruptGuard::exit_status();
}

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
