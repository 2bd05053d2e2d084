// The subcommands of gemma-squad, and the steps with which several of them end.
// Invariant: parsing a subcommand only selects what main() runs.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include <CLI/CLI.hpp>

#include "examples/squad/judge_flags.hpp"
#include "examples/squad/run_directory.hpp"

namespace gemma::squad {

/// Runs a subcommand. Returns the exit status; throws gemma::Error.
using Command = std::function<int()>;

/// Adds a subcommand, which calls `run(flags)` when it is chosen. Returns its parser and its flags.
template <typename Flags, typename Run>
std::pair<CLI::App&, Flags&> add_command(CLI::App& app, Command& chosen, const char* name, const char* text,
                                         Run run) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* const command = app.add_subcommand(name, text);
  command->callback([flags, run, &chosen] { chosen = [flags, run] { return run(*flags); }; });
  return {*command, *flags};
}

/// Adds a flag whose value is shown as `type` in the help.
template <typename Value>
CLI::Option* option(CLI::App& app, const char* flag, const char* type, Value& value,
                    const std::string& text) {
  return app.add_option(flag, value, text)->type_name(type);
}

void add_run(CLI::App& app, Command& chosen);
void add_demo(CLI::App& app, Command& chosen);
void add_judge(CLI::App& app, Command& chosen);
void add_report(CLI::App& app, Command& chosen);
void add_merge(CLI::App& app, Command& chosen);
void add_score(CLI::App& app, Command& chosen);

/// Judges a complete run (unless it has only one model), using stored verdicts, and writes the report.
/// Problems of the judge are printed on stderr (questions without a ranking, an early end), and the report is
/// written anyway. Returns the program's status: 0, 1 if the judge ended early, InterruptGuard::exit_status()
/// if it was stopped.
int judge_and_report(const RunDirectory& run, const JudgeFlags& flags, const std::atomic<bool>& cancel);

/// Prints on stderr how to continue after Ctrl-C. Returns the program's status.
int stopped(const RunDirectory& run);

}  // namespace gemma::squad
