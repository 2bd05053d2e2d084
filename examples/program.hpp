// The common part of every program's main(): parses flags, runs, and reports any exception in one line.
// Invariant: a failure, including a full disk behind standard output, prints exactly one line, "PROGRAM:
// message", on stderr and exits with status 1.
//
// CLI11's functions are inline and many: code that needs their definitions is compiled once, in program.cpp.
#pragma once

#include <cstdint>
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

/// Thrown by parse() after --help or --version has been printed.
struct Done {};

/// A parser of flags; created and destroyed in program.cpp, which compiles CLI11.
struct CommandLineDeleter {
  void operator()(CLI::App* app) const noexcept;
};
using CommandLine = std::unique_ptr<CLI::App, CommandLineDeleter>;

/// Makes the parser of the program `name` with --help (in HelpFormat, which subcommands inherit) and
/// --version.
CommandLine command_line(const std::string& description, const std::string& name);

/// For CLI::Option::check: accepts only digits, within 64 bits. CLI11 itself reads "-1", and larger numbers,
/// as the largest unsigned number, and "010" as 8.
std::string whole_number(const std::string& text);

/// For CLI::Option::check: accepts a whole number of decimal digits from `least` to `most`.
struct WholeNumber {
  std::int64_t least, most;
  std::string operator()(const std::string& text) const;
};

/// For CLI::Option::check: accepts a number from `least` to `most`; no infinity, no NaN, which CLI::Range
/// accepts.
struct RealNumber {
  double least, most;
  bool is_above = false;  // `least` itself is refused

  std::string operator()(const std::string& text) const;
};

/// Writes to standard output. Throws Error{kIo} when that fails.
void write_stdout(std::string_view text);

/// Flushes standard output, so that a full disk is noticed. Throws Error{kIo}.
void flush_stdout();

/// Parses argv. Throws Done after --help and --version, Error{kInvalidArgument} naming what is wrong with a
/// flag; also when the name of a file or a folder is empty, as an unset variable of a script makes it.
void parse(CLI::App& app, int argc, char** argv);

/// Prints `message` as one line on stderr, escaped, since it may contain text of files and users.
void print_error(std::string_view program, std::string_view message);

/// Prints notes about a file (Model::notes, Vocab::notes), a line each, on stderr as print_error() does.
void print_notes(std::string_view program, std::span<const std::string> notes);

/// Calls `run(argc, argv)` and returns its status, or prints what it threw and returns 1.
int run_program(int argc, char** argv, std::string_view name, int (*run)(int, char**)) noexcept;

}  // namespace gemma::app
