// The subcommands of gemma-squad.
// Invariant: parsing a subcommand only selects what main() runs.
#pragma once

#include <functional>

#include <CLI/CLI.hpp>

namespace gemma::squad {

/// Runs a subcommand. Returns the exit status; throws gemma::Error.
using Command = std::function<int()>;

void add_run(CLI::App& app, Command& chosen);
void add_demo(CLI::App& app, Command& chosen);
void add_judge(CLI::App& app, Command& chosen);
void add_report(CLI::App& app, Command& chosen);
void add_merge(CLI::App& app, Command& chosen);
void add_score(CLI::App& app, Command& chosen);

}  // namespace gemma::squad
