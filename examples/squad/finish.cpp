#include "examples/squad/finish.hpp"

#include <csignal>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "examples/interrupt.hpp"
#include "examples/program.hpp"
#include "examples/squad/analysis.hpp"
#include "examples/squad/json_lines.hpp"
#include "examples/squad/report/report.hpp"
#include "examples/squad/summary.hpp"
#include "examples/squad/verdicts.hpp"

namespace gemma::squad {
namespace {

constexpr std::uint64_t kBootstrapSeed = 1;

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

void write_report(const RunDirectory& run, std::vector<std::string> judges, bool quiet) {
  const DirectoryLock lock(run.path());
  if (judges.empty() && run.n_models() > 1) judges = complete_judges(run);
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

int stopped(const RunDirectory& run) {
  app::print_error("gemma-squad",
                   fmt::format("stopped; the answers so far are in {}: the same command continues from there",
                               run.path().string()));
  return app::InterruptGuard::exit_status();
}

}  // namespace gemma::squad
