// The subcommands of gemma-squad.
// Invariant: parsing a subcommand only selects what main() runs.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include <CLI/CLI.hpp>

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

}  // namespace gemma::squad
