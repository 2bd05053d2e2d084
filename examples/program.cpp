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

namespace {

/// CLI11 would read "010" as octal.
bool begins_with_zero(std::string_view digits) noexcept {
  if (digits.starts_with('-')) digits.remove_prefix(1);
  return digits.size() > 1 && digits.front() == '0';
}

std::string shown(const std::string& text) {
  return text.empty() ? "an empty value" : text;
}

/// CLI11's messages about values and their number, in words for users.
std::string in_plain_words(const std::string& message) {
  constexpr std::string_view kNotIn = " not in {";
  if (const std::size_t at = message.rfind(kNotIn); at != std::string::npos && message.ends_with('}')) {
    std::string out = message.substr(0, at) + " is not one of ";
    for (const char c : message.substr(at + kNotIn.size(), message.size() - at - kNotIn.size() - 1))
      out += c == ',' ? ", " : std::string(1, c);
    return out;
  }
  constexpr std::string_view kTooMany = ": At Most 1 required but received ", kMissing = ": 1 required ",
                             kMissingEnd = " missing";
  if (const std::size_t at = message.find(kTooMany); at != std::string::npos) {
    const std::string count = message.substr(at + kTooMany.size());
    return message.substr(0, at) + " is given " + (count == "2" ? "twice" : count + " times");
  }
  const std::size_t at = message.find(kMissing);
  if (at == std::string::npos || !message.ends_with(kMissingEnd)) return message;
  const std::size_t begin = at + kMissing.size();
  const std::string kind = message.substr(begin, message.size() - kMissingEnd.size() - begin);
  const bool is_vowel =
      kind.starts_with("I") || kind.starts_with("O") || kind == "N" || kind == "X" || kind == "S";
  return message.substr(0, at) + (is_vowel ? " needs an " : " needs a ") + kind;
}

/// Throws Error for a file or a folder with an empty name.
void check_names_of_files(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options()) {
    const std::string kind =
        option->nonpositional() ? option->get_type_name() : option->get_name();  // positional ones: "IN"
    const bool names_file = kind.find("FILE") != std::string::npos || kind == "DIR" || kind == "FOLDER" ||
                            kind == "IN" || kind == "OUT";
    for (const std::string& value : option->results()) {
      if (names_file && value.empty())
        throw Error(ErrorCode::kInvalidArgument, option->get_name() + ": the file's name is empty");
    }
  }
  for (const CLI::App* chosen : app.get_subcommands()) check_names_of_files(*chosen);
}

}  // namespace

std::string whole_number(const std::string& text) {
  const bool good = parse_number<std::uint64_t>(text) && !begins_with_zero(text);
  return good ? "" : shown(text) + " is not a whole number of 64 bits";
}

std::string WholeNumber::operator()(const std::string& text) const {
  const auto value = parse_number<std::int64_t>(text);
  if (value && *value >= least && *value <= most && !begins_with_zero(text)) return "";
  return shown(text) + " is not a whole number from " + std::to_string(least) + " to " + std::to_string(most);
}

std::string RealNumber::operator()(const std::string& text) const {
  const auto value = parse_number<double>(text);
  if (value && (is_above ? *value > least : *value >= least) && *value <= most) return "";
  std::ostringstream why;
  why.precision(15);
  why << shown(text) << " is not a number " << (is_above ? "above " : "from ") << least
      << (is_above ? " and at most " : " to ") << most;
  return why.str();
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
    app.parse(argc, argv);
    return check_names_of_files(app);
  } catch (const CLI::Success& e) {
    std::ostringstream text;
    app.exit(e, text, text);  // the help or the version
    write_stdout(text.str());
    throw Done{};
  } catch (const CLI::ParseError& e) {
    // CLI11 reports missing arguments first, but an unknown flag is the likelier mistake
    const std::vector<std::string> unknown = app.remaining(true);
    wrong = unknown.empty() ? in_plain_words(e.what()) : "there is no flag or argument " + unknown.front();
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
