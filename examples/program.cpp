#include "examples/program.hpp"

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <new>
#include <sstream>
#include <system_error>
#include <vector>

#include <CLI/CLI.hpp>

#include "examples/help_format.hpp"
#include "examples/numbers.hpp"
#include "examples/process.hpp"
#include "gemma/version.hpp"

namespace gemma::app {
void CommandLineDeleter::operator()(CLI::App* app) const noexcept {
  delete app;
}

CommandLine command_line(const std::string& description, const std::string& name) {
  CommandLine app(new CLI::App(description, name));
  app->formatter(std::make_shared<HelpFormat>());
  app->set_version_flag("--version", name + " " GEMMA_VERSION_STRING, "Print the version and exit");
  return app;
}

std::string whole_number(const std::string& text) {
  return parse_number<std::uint64_t>(text) ? "" : text + " is not a whole number of 64 bits";
}

void write_stdout(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) {
    throw Error(ErrorCode::kIo, "cannot write to standard output: " + std::generic_category().message(errno));
  }
}

void flush_stdout() {
  const bool failed_before = std::ferror(stdout) != 0;
  if (std::fflush(stdout) != 0) {
    throw Error(ErrorCode::kIo, "cannot write to standard output: " + std::generic_category().message(errno));
  }
  if (failed_before) throw Error(ErrorCode::kIo, "cannot write to standard output");
}

void parse(CLI::App& app, int argc, char** argv) {
  std::string wrong;
  try {
    return app.parse(argc, argv);
  } catch (const CLI::Success& e) {
    std::ostringstream text;
    app.exit(e, text, text);  // the help or the version
    write_stdout(text.str());
    throw Done{};
  } catch (const CLI::ParseError& e) {
    // CLI11 reports missing arguments first, but an unknown flag is the likelier mistake
    const std::vector<std::string> unknown = app.remaining(true);
    wrong = unknown.empty() ? e.what() : "there is no flag or argument " + unknown.front();
  }
  throw Error(ErrorCode::kInvalidArgument, wrong + " (--help lists the flags)");
}

void print_error(std::string_view program, std::string_view message) {
  const std::string line = std::string(program) + ": " + printable(message) + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

void print_notes(std::string_view program, std::span<const std::string> notes) {
  for (const std::string& note : notes) print_error(program, "note: " + note);
}

int run_program(int argc, char** argv, std::string_view name, int (*run)(int, char**)) noexcept {
  prepare_process();
  const auto run_and_flush = [&] {
    int status = 0;
    try {
      Arguments arguments(argc, argv);
      status = run(arguments.argc(), arguments.argv());
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
  } catch (...) {  // no memory even for the message
    std::fprintf(stderr, "%.*s: out of memory\n", static_cast<int>(name.size()), name.data());
  }
  return 1;
}

}  // namespace gemma::app
