// What follows the last answer: verdicts, and the report in all its forms.
// Invariant: files appear whole or not at all; what is there of an earlier report is replaced.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "examples/squad/judge_flags.hpp"
#include "examples/squad/run_directory.hpp"

namespace gemma::squad {

/// Status for a run that the user stopped (128 + SIGINT).
inline constexpr int kStopped = 130;

/// Judges a complete run (unless it has one model only) with what is stored already, and reports. What the
/// judge could not do is said on stderr: questions without a ranking, and why it ended before its time; the
/// report is written all the same. `quiet`: no progress and no table. Returns the program's status: 0, 1 when
/// the judge ended early, kStopped.
int judge_and_report(const RunDirectory& run, const JudgeFlags& flags, const EngineOptions& engine,
                     const std::atomic<bool>& cancel, bool quiet);

/// Writes report.html, summary.json, answers.csv and predictions-MODEL.json into the run's directory, and the
/// table to standard output. `judges`: whose verdicts; empty: all that are complete. `quiet`: no table.
void write_report(const RunDirectory& run, std::vector<std::string> judges, bool quiet);

/// Says on stderr how to go on after Ctrl-C.
void say_stopped(const RunDirectory& run);

}  // namespace gemma::squad
