// The steps after the last answer: verdicts, and the report in all its forms.
// Invariant: files are written completely or not at all; files of an earlier report are replaced.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "examples/squad/judge_flags.hpp"
#include "examples/squad/run_directory.hpp"

namespace gemma::squad {

/// Judges a complete run (unless it has only one model), using stored verdicts, and writes the report.
/// Problems of the judge are printed on stderr (questions without a ranking, an early end), and the report is
/// written anyway. Returns the program's status: 0, 1 if the judge ended early, InterruptGuard::exit_status()
/// if it was stopped.
int judge_and_report(const RunDirectory& run, const JudgeFlags& flags, const std::atomic<bool>& cancel);

/// Writes report.html, summary.json, answers.csv and predictions-MODEL.json into the run's directory, and the
/// table to standard output. `judges`: whose verdicts are used; empty: all that are complete. `quiet`: no
/// table.
void write_report(const RunDirectory& run, std::vector<std::string> judges, bool quiet);

/// Prints on stderr how to continue after Ctrl-C. Returns the program's status.
int stopped(const RunDirectory& run);

}  // namespace gemma::squad
