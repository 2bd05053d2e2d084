// gemma-squad judge, report, merge and score.
#include <atomic>
#include <memory>

#include <fmt/format.h>

#include "examples/engine_flags.hpp"
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
  bool quiet = false;
  app::EngineFlags engine;
  JudgeFlags judge;
};

int run_judge(const Flags& flags) {
  const RunDirectory run = RunDirectory::read(flags.directory);
  if (run.n_models() < 2) {
    fail(ErrorCode::kInvalidArgument, "{}: one model: there is nothing to rank", flags.directory);
  }
  std::atomic<bool> cancel{false};
  const app::InterruptGuard guard(cancel);
  return judge_and_report(run, flags.judge, flags.engine, cancel, flags.quiet);
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
  flags.judge.check(flags.engine);
  merge_runs({flags.directories.begin(), flags.directories.end()}, flags.out);
  const RunDirectory run = RunDirectory::read(flags.out);
  std::atomic<bool> cancel{false};
  const app::InterruptGuard guard(cancel);
  return judge_and_report(run, flags.judge, flags.engine, cancel, flags.quiet);
}

void add_common(CLI::App& app, Flags& flags) {
  using Parts = app::EngineFlags;
  flags.engine.add_to(app, Parts::kThreads | Parts::kIsa | Parts::kKv | Parts::kMemory);
  flags.judge.add_to(app);
  app.add_flag("-q,--quiet", flags.quiet, "No progress and no table");
}

CLI::Option* add_directory(CLI::App& app, Flags& flags) {
  return app.add_option("DIR", flags.directory, "Directory of a run")->required();
}

}  // namespace

void add_judge(CLI::App& app, Command& chosen) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* judge = app.add_subcommand("judge", "Let a judge rank the answers of a run, then report");
  add_directory(*judge, *flags);
  add_common(*judge, *flags);
  judge->callback([flags, &chosen] { chosen = [flags] { return run_judge(*flags); }; });
}

void add_report(CLI::App& app, Command& chosen) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* report = app.add_subcommand("report", "Write a run's report again");
  add_directory(*report, *flags);
  option(*report, "--judge", "NAME", flags->judges, "Whose verdicts (default: all that are complete)");
  report->add_flag("-q,--quiet", flags->quiet, "No table");
  report->callback([flags, &chosen] {
    chosen = [flags] {
      write_report(RunDirectory::read(flags->directory), flags->judges, flags->quiet);
      return 0;
    };
  });
}

void add_merge(CLI::App& app, Command& chosen) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* merge = app.add_subcommand("merge", "Join the shards of a run, then judge and report");
  merge->add_option("DIR", flags->directories, "Directories of all shards")->required();
  option(*merge, "--out", "DIR", flags->out, "Directory of the whole run, a new one")->required();
  add_common(*merge, *flags);
  merge->callback([flags, &chosen] { chosen = [flags] { return run_merge(*flags); }; });
}

void add_score(CLI::App& app, Command& chosen) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* score =
      app.add_subcommand("score", "Exact match and F1 of a predictions file, as the official scripts");
  option(*score, "--squad", "FILE", flags->squad, "Questions, SQuAD v1.1 or v2.0, or its rows as JSON lines")
      ->required();
  option(*score, "--predictions", "FILE", flags->predictions, "Answers, {\"id\": \"answer\"}")->required();
  score->callback([flags, &chosen] { chosen = [flags] { return run_score(*flags); }; });
}

}  // namespace gemma::squad
