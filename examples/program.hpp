// What every program's main() does the same way: parse flags, run, and turn whatever is thrown into one line.
// Invariant: a failure, a full disk behind standard output included, prints exactly one line, "PROGRAM:
// message", on stderr and exits with status 1.
//
// CLI11's functions are inline and many: what needs them whole is compiled once, in program.cpp.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "examples/printable.hpp"
#include "gguf/error.hpp"

namespace CLI {
class App;
}

namespace gemma::app {

/// Thrown by parse() after --help or --version has printed what was asked for.
struct Done {};

/// A parser of flags, made and destroyed where CLI11 is compiled.
struct CommandLineDeleter {
  void operator()(CLI::App* app) const noexcept;
};
using CommandLine = std::unique_ptr<CLI::App, CommandLineDeleter>;

/// The flags of the program `name`: --help (in HelpFormat; subcommands take the format over) and --version.
CommandLine command_line(const std::string& description, const std::string& name);

/// For CLI::Option::check: digits only, in 64 bits. CLI11 reads "-1", and what is larger, as the largest
/// unsigned number.
std::string whole_number(const std::string& text);

/// Writes to standard output. Throws Error{kIo} when that fails.
void write_stdout(std::string_view text);

/// Hands what is buffered to the system, so that a full disk is noticed. Throws Error{kIo}.
void flush_stdout();

/// Parses argv. Throws Done after --help and --version, Error{kInvalidArgument} naming what is wrong with a
/// flag.
void parse(CLI::App& app, int argc, char** argv);

/// `message` on one line of stderr: text of files and users may be in it, and is escaped.
void print_error(std::string_view program, std::string_view message);

/// What a file lacks or gets wrong (Model::notes, Vocab::notes), a line each, on stderr as print_error().
void print_notes(std::string_view program, std::span<const std::string> notes);

/// Calls `run(argc, argv)` and returns its status, or 1 after printing what it threw.
int run_program(int argc, char** argv, std::string_view name, int (*run)(int, char**)) noexcept;

}  // namespace gemma::app
