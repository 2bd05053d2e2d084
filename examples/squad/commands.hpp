// The subcommands of gemma-squad.
// Invariant: parsing a subcommand only selects what main() runs.
#pragma once

#include <functional>

#include <CLI/CLI.hpp>

namespace gemma::squad {

/// Runs a subcommand. Returns the exit status; throws gemma::Error.
using Command = std::function<int()>;

/// Adds a flag whose value is shown as `type` in the help.
template <typename Value>
CLI::Option* option(CLI::App& app, const char* flag, const char* type, Value& value, const char* text) {
  return app.add_option(flag, value, text)->type_name(type);
}

void add_run(CLI::App& app, Command& chosen);
void add_demo(CLI::App& app, Command& chosen);
void add_judge(CLI::App& app, Command& chosen);
void add_report(CLI::App& app, Command& chosen);
void add_merge(CLI::App& app, Command& chosen);
void add_score(CLI::App& app, Command& chosen);

}  // namespace gemma::squad
