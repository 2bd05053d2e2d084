// The program gemma-squad in a folder of its own, on the demo models.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <sstream>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include "tests/paths.hpp"
#include "tests/squad/fake_source.hpp"
#include "tests/squad/run_files.hpp"
#include "tests/temporary_folder.hpp"

namespace gemma::squad::test {

/// How many lines `there` has when all of them are lines of `all`, each once; -1 otherwise.
inline int lines_among(const std::string& there, const std::string& all) {
  const auto lines_of = [](const std::string& text) {
    std::istringstream in(text);
    std::multiset<std::string> lines;
    for (std::string line; std::getline(in, line);) lines.insert(line);
    return lines;
  };
  const std::multiset<std::string> part = lines_of(there), whole = lines_of(all);
  return std::includes(whole.begin(), whole.end(), part.begin(), part.end()) ? static_cast<int>(part.size())
                                                                             : -1;
}

struct Result {
  int status = -1;
  std::string out, err;
};

class ProgramTest : public ::testing::Test {
 protected:
  std::filesystem::path path(const std::string& name) const { return folder_ / name; }
  std::string file(const std::string& name, const std::string& text) const {
    return folder_.write(name, text);
  }

  /// Runs `gemma-squad ARGUMENTS` in a shell; `before` comes before the program's name, `after` after it all.
  Result squad(const std::string& arguments, const std::string& before = "",
               const std::string& after = "") const {
    const std::string command = fmt::format("{} {} {} >{} 2>{} {}", before, GEMMA_SQUAD_PROGRAM, arguments,
                                            path("stdout").string(), path("stderr").string(), after);
    const int status = std::system(command.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, text_of(path("stdout")), text_of(path("stderr"))};
  }

  static std::string model(const std::string& name) { return gemma::test::demo_model(name); }
  static std::string models() {
    return fmt::format("--model gemma={} --model llama={} --model mistral={}", model("gemma"), model("llama"),
                       model("mistral"));
  }
  static std::string set() { return (gemma::test::source_dir() / "examples/squad/demo_set.json").string(); }
  /// Arguments of a run of `n` questions into `out`, by one thread if `more` does not say by how many: tests
  /// run beside each other.
  std::string run(int n, const std::string& out, const std::string& more = "") const {
    const char* threads = more.starts_with("-t ") ? "" : "-t 1";
    return fmt::format("run {} --squad {} -n {} --out {} -q {} {}", models(), set(), n, path(out).string(),
                       threads, more);
  }

 private:
  gemma::test::TemporaryFolder folder_;
};

}  // namespace gemma::squad::test
