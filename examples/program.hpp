// What every program's main() does the same way: parse flags, run, and turn whatever is thrown into one line.
// Invariant: a failure, a full disk behind standard output included, prints exactly one line, "PROGRAM:
// message", on stderr and exits with status 1.
#pragma once

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <new>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <CLI/CLI.hpp>
#include <fcntl.h>
#include <unistd.h>

#include "examples/help_format.hpp"
#include "examples/printable.hpp"
#include "gguf/error.hpp"

namespace gemma::app {

/// Thrown by parse() after --help or --version has printed what was asked for.
struct Done {};

/// --version, and --help in HelpFormat; before subcommands, which take the format over.
inline void add_version(CLI::App& app) {
  app.formatter(std::make_shared<HelpFormat>());
  app.set_version_flag("--version", app.get_name() + " " + GEMMA_VERSION, "Print the version and exit");
}

/// For CLI::Option::check: digits only, in 64 bits. CLI11 reads "-1", and what is larger, as the largest
/// unsigned number.
inline std::string whole_number(const std::string& text) {
  std::uint64_t n = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, n);
  return rest == end && error == std::errc() ? "" : text + " is not a whole number of 64 bits";
}

/// Writes to standard output. Throws Error{kIo} when that fails.
inline void write_stdout(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) {
    throw Error(ErrorCode::kIo, "cannot write to standard output: " + std::generic_category().message(errno));
  }
}

/// Hands what is buffered to the system, so that a full disk is noticed. Throws Error{kIo}.
inline void flush_stdout() {
  const bool failed_before = std::ferror(stdout) != 0;
  if (std::fflush(stdout) != 0) {
    throw Error(ErrorCode::kIo, "cannot write to standard output: " + std::generic_category().message(errno));
  }
  if (failed_before) throw Error(ErrorCode::kIo, "cannot write to standard output");
}

/// Parses argv. Throws Done after --help and --version, Error{kInvalidArgument} naming what is wrong with a
/// flag.
inline void parse(CLI::App& app, int argc, char** argv) {
  std::string wrong;
  try {
    return app.parse(argc, argv);
  } catch (const CLI::Success& e) {
    std::ostringstream text;
    app.exit(e, text, text);  // the help or the version
    write_stdout(text.str());
    throw Done{};
  } catch (const CLI::ParseError& e) {
    // CLI11 looks for what is missing first, but a flag that nobody knows is the likelier mistake
    const std::vector<std::string> unknown = app.remaining(true);
    wrong = unknown.empty() ? e.what() : "there is no flag or argument " + unknown.front();
  }
  throw Error(ErrorCode::kInvalidArgument, wrong + " (--help lists the flags)");
}

/// Where a standard stream was closed (`program >&-`), the next file that is opened would take its number,
/// and be written into. Opens /dev/null the wrong way round there: using the stream is an error, as it was.
inline void reserve_standard_files() noexcept {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) != -1) continue;
    // the lowest free number is this one
    static_cast<void>(!::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY));
  }
}

/// `message` on one line of stderr: text of files and users may be in it, and is escaped.
inline void print_error(std::string_view program, std::string_view message) {
  const std::string line = std::string(program) + ": " + printable(message) + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

/// What a file lacks or gets wrong (Model::notes, Vocab::notes), a line each, on stderr as print_error().
inline void print_notes(std::string_view program, std::span<const std::string> notes) {
  for (const std::string& note : notes) print_error(program, "note: " + note);
}

/// Calls `run(argc, argv)` and returns its status, or 1 after printing what it threw.
template <typename F>
int run_program(int argc, char** argv, std::string_view name, F&& run) noexcept {
  // `program | head` ends quietly
  std::signal(SIGPIPE, SIG_DFL);
  // a file that grew to its limit (ulimit -f) is an error of the write, like a full disk
  std::signal(SIGXFSZ, SIG_IGN);
  reserve_standard_files();
  const auto run_and_flush = [&] {
    int status = 0;
    try {
      status = run(argc, argv);
    } catch (const Done&) {
    }
    flush_stdout();
    return status;
  };
  try {
    try {
      return run_and_flush();
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const std::exception& e) {
      print_error(name, e.what());
    } catch (...) {
      print_error(name, "unknown error");
    }
  } catch (...) {  // not even the message could be built
    std::fprintf(stderr, "%.*s: out of memory\n", static_cast<int>(name.size()), name.data());
  }
  return 1;
}

}  // namespace gemma::app
