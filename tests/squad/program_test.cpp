// The program gemma-squad from end to end, on the demo models: through kills, full disks, bad input and other
// processes.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <signal.h>
#include <sys/wait.h>

#include "examples/squad/random.hpp"
#include "tests/paths.hpp"
#include "tests/squad/fake_endpoint.hpp"
#include "tests/squad/fake_source.hpp"
#include "tests/squad/program_fixture.hpp"

namespace gemma::squad {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

using test::Result;
using test::text_of;
using test::timeless;

class Program : public test::ProgramTest {};

TEST_F(Program, RunsTheDemoModelsEndToEnd) {
  const std::string demo =
      fmt::format("demo -t 1 --models {} --out {}", (gemma::test::source_dir() / "examples/models").string(),
                  path("demo").string());
  const Result result = squad(demo);
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.out.find("report: "), std::string::npos);
  EXPECT_NE(result.err.find("questions/s"), std::string::npos);
  for (const char* name : {"settings.json", "questions.json", "answers.jsonl", "verdicts-f1.jsonl",
                           "summary.json", "answers.csv", "report.html", "predictions-gemma.json"}) {
    EXPECT_TRUE(fs::exists(path("demo") / name)) << name;
  }
  const json summary = json::parse(text_of(path("demo") / "summary.json"));
  ASSERT_EQ(summary["models"].size(), 3U);
  EXPECT_GE(summary["questions"], 90);
  for (const json& model : summary["models"]) {
    EXPECT_EQ(model["sha256"].get<std::string>().size(), 64U);
    // each passage is computed once for its three questions
    EXPECT_LT(model["computed_prompt_tokens"].get<double>(), 0.7 * model["prompt_tokens"].get<double>());
  }
  // far above a random span of the asked kind (F1 14): the models read their passages
  EXPECT_GT(summary["measures"]["f1"]["means"]["gemma"]["mean"], 25);
  EXPECT_GT(summary["measures"]["f1"]["means"]["mistral"]["mean"], 25);
  // questions that have answers are not asked again
  const std::string before = text_of(path("demo") / "answers.jsonl");
  ASSERT_EQ(squad(demo + " -q").status, 0);
  EXPECT_EQ(text_of(path("demo") / "answers.jsonl"), before);
  EXPECT_EQ(squad(fmt::format("score --squad {} --predictions {}", set(),
                              (path("demo") / "predictions-gemma.json").string()))
                .status,
            0);
}

TEST_F(Program, SharingAndThreadsChangeNoAnswer) {
  ASSERT_EQ(squad(run(15, "shared", "-t 2")).status, 0);
  ASSERT_EQ(squad(run(15, "alone", "-t 1 --alone")).status, 0);
  EXPECT_EQ(timeless(path("alone")), timeless(path("shared")));
  ASSERT_EQ(squad(run(15, "single", "--batch 1 --draft off")).status, 0);
  EXPECT_EQ(timeless(path("single")), timeless(path("shared")));
  const auto batch_of = [&](const char* out) {
    return json::parse(text_of(path(out) / "summary.json"))["models"][0]["batch"].get<int>();
  };
  EXPECT_EQ(batch_of("shared"), 15);  // as many as there are questions
  EXPECT_EQ(batch_of("alone"), 1);
  EXPECT_EQ(batch_of("single"), 1);
  EXPECT_EQ(text_of(path("alone") / "predictions-llama.json"),
            text_of(path("shared") / "predictions-llama.json"));
  const Result article =
      squad(run(6, "article", "--preset article --max-tokens 20 --batch 4 --draft lookup"));
  ASSERT_EQ(article.status, 0);
  EXPECT_NE(article.err.find("are asked one at a time"), std::string::npos) << article.err;
  EXPECT_NE(article.err.find("guesses no tokens"), std::string::npos) << article.err;
  EXPECT_EQ(batch_of("article"), 1);
  const json settings = json::parse(text_of(path("article") / "settings.json"));
  EXPECT_EQ(settings["context"], 1024);
  EXPECT_EQ(settings["temperature"], 0.7);
  std::ifstream answers(path("article") / "answers.jsonl");
  for (std::string line; std::getline(answers, line);) {
    EXPECT_EQ(json::parse(line)["timing"]["cached_tokens"], 0);
    EXPECT_FALSE(json::parse(line)["timing"].contains("drafted"));
  }
}

// The program is killed 50 times at random moments by SIGKILL, which allows no clean-up.
TEST_F(Program, SurvivesFiftyKills) {
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_EQ(squad(run(20, "whole", "--judge none --batch 1")).status, 0);
  const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - begin;
  // a third of the time of a whole run: on any machine the program makes progress and rarely finishes
  const auto longest = static_cast<std::uint64_t>(std::clamp(took.count() / 3, 5e4, 1e6));
  const std::string arguments = run(20, "killed", "--judge none --batch 2");
  SplitMix64 random(29);
  int kills = 0;
  bool finished = false;
  std::set<std::size_t> lengths;  // of the file at each kill
  for (int round = 0; round < 1000 && (kills < 50 || !finished); ++round) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      const std::string command = fmt::format("exec {} {} 2>/dev/null", GEMMA_SQUAD_PROGRAM, arguments);
      ::execl("/bin/sh", "sh", "-c", command.c_str(), static_cast<char*>(nullptr));
      ::_exit(127);
    }
    if (kills < 50) {
      ::usleep(static_cast<useconds_t>(below(longest, random)));
      ::kill(pid, SIGKILL);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    kills += WIFSIGNALED(status) ? 1 : 0;
    finished = WIFEXITED(status);
    if (finished) {
      ASSERT_EQ(WEXITSTATUS(status), 0);
    }
    lengths.insert(text_of(path("killed") / "answers.jsonl").size());
    if (finished && kills < 50) fs::remove_all(path("killed"));  // too early: start again
  }
  EXPECT_EQ(kills, 50);
  EXPECT_GE(lengths.size(), 10U) << "the kills came at too few different moments";
  EXPECT_EQ(timeless(path("killed")), timeless(path("whole")));
  const std::string answers = text_of(path("killed") / "answers.jsonl");
  EXPECT_EQ(std::count(answers.begin(), answers.end(), '\n'), 60);
}

TEST_F(Program, ShardsOfParallelProcessesJoinToTheSameBytes) {
  ASSERT_EQ(squad(run(20, "whole")).status, 0);
  std::string together, parts;
  for (int i = 1; i <= 4; ++i) {
    together += fmt::format("{} {} >/dev/null & ", GEMMA_SQUAD_PROGRAM,
                            run(20, fmt::format("part{}", i), fmt::format("--shard {}/4", i)));
    parts += fmt::format(" {}", path(fmt::format("part{}", i)).string());
  }
  ASSERT_EQ(std::system((together + "wait").c_str()), 0);
  const Result result = squad(fmt::format("merge {} --out {}", parts, path("merged").string()));
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(timeless(path("merged")), timeless(path("whole")));
  for (const char* same :
       {"settings.json", "questions.json", "predictions-gemma.json", "verdicts-f1.jsonl"}) {
    EXPECT_EQ(text_of(path("merged") / same), text_of(path("whole") / same)) << same;
  }
}

// The same with the shards that a scheduler assigns; they are killed at random moments and started again by
// the same commands.
TEST_F(Program, ShardsOfSchedulersSurviveKills) {
  ASSERT_EQ(squad(run(20, "whole", "--judge none")).status, 0);
  const std::string out = "part{shard}";
  SplitMix64 random(31);
  int kills = 0;
  std::string parts;
  for (int rank = 3; rank >= 0; --rank) {
    const std::string command =
        fmt::format("OMPI_COMM_WORLD_RANK={} OMPI_COMM_WORLD_SIZE=4 exec {} {} 2>/dev/null >/dev/null", rank,
                    GEMMA_SQUAD_PROGRAM, run(20, out, "--shard auto --batch 2"));
    const fs::path part = path(fmt::format("part{}", rank + 1));
    parts += " " + part.string();
    for (bool finished = false; !finished;) {
      const std::string before = timeless(part);
      const pid_t pid = ::fork();
      if (pid == 0) {
        ::execl("/bin/sh", "sh", "-c", command.c_str(), static_cast<char*>(nullptr));
        ::_exit(127);
      }
      if (kills < 5 * (4 - rank)) {
        ::usleep(static_cast<useconds_t>(20000 + below(150000, random)));
        ::kill(pid, SIGKILL);
      }
      int status = 0;
      ASSERT_EQ(::waitpid(pid, &status, 0), pid);
      finished = WIFEXITED(status);
      kills += finished ? 0 : 1;
      if (finished) {
        ASSERT_EQ(WEXITSTATUS(status), 0);
      }
      EXPECT_GE(test::lines_among(before, timeless(part)), 0) << "an answer was lost";
    }
  }
  EXPECT_GE(kills, 1);
  const Result result = squad(fmt::format("merge {} --out {}", parts, path("merged").string()));
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(timeless(path("merged")), timeless(path("whole")));
}

TEST_F(Program, QuestionsFromAPipeHaveTheHashOfTheirText) {
  const std::string one =
      "run --model a=" + model("gemma") + " -n 1 -q --judge none --max-tokens 4 -t 1 --squad ";
  ASSERT_EQ(squad(one + set() + " --out " + path("file").string()).status, 0);
  const Result piped = squad(one + "/dev/stdin --out " + path("pipe").string(), "cat " + set() + " |");
  ASSERT_EQ(piped.status, 0) << piped.err;
  const auto hash_of_set = [&](const char* out) {
    return json::parse(text_of(path(out) / "settings.json"))["dataset"]["sha256"];
  };
  EXPECT_EQ(hash_of_set("pipe"), hash_of_set("file"));
}

TEST_F(Program, BadInputIsOneLine) {
  const std::string out = " --out " + path("out").string(), one = "run --model a=" + model("gemma");
  const std::string text = file("text.json", "not JSON"), other = file("other.json", "{\"a\": 1}");
  const std::string empty = file("empty.json", R"({"version": "1.1", "data": []})");
  const std::string plain = file("plain.txt", "Answer!");
  ASSERT_EQ(squad(run(2, "done")).status, 0);
  ASSERT_EQ(squad(run(3, "other")).status, 0);
  struct Case {
    std::string arguments, says;
  };
  const std::vector<Case> cases = {
      {"", "subcommand"},
      {"walk", "walk"},
      {one + " --squad /nowhere.json" + out, "/nowhere.json: cannot be read"},
      {one + " --squad " + text + out, text},
      {one + " --squad " + other + out, other},
      {one + " --squad " + empty + out, "no question"},
      {one + " --squad " + set() + " --out /dev/null/run", "/dev/null/run: cannot be made: Not a directory"},
      {one + " --squad " + set() + " --out /proc/run", "/proc/run"},
      {one + " --model a=" + model("llama") + " --squad " + set() + out, "two models are named 'a'"},
      {one + " --squad " + set() + out + " -c 100000",
       "a: a window of 100000 tokens is asked for; the model"},
      {one + " --squad " + set() + out + " -c 40", "the window of 40 leaves no room for an answer"},
      {"run --model /nowhere.gguf --squad " + set() + out, "/nowhere.gguf"},
      {"run --model =" + model("gemma") + " --squad " + set() + out, "a model needs a name"},
      {"run --model a=" + set() + " --squad " + set() + out, "demo_set.json"},
      {"run --squad " + set() + out, "--model"},
      {one + " --squad " + set() + out + " --preset chatty", "chatty"},
      {one + " --squad " + set() + out + " --max-memory 10MB", "the largest that fits is "},
      {one + " --squad " + set() + out + " --max-memory much", "--max-memory: 'much' is not a size"},
      {one + " --squad " + set() + out + " --shard 3/2", "3/2"},
      {one + " --squad " + set() + out + " --shard auto", "no shard in the environment"},
      {one + " --squad " + set() + out + " --batch 0x", "0x"},
      {one + " --squad " + set() + out + " --draft /nowhere.gguf", "/nowhere.gguf"},
      {one + " --squad " + set() + out + " -n 9 --batch 9 --max-memory 12MB", "bytes (file"},
      {one + " --squad " + set() + out + " -n -3", "-3"},
      {one + " --squad " + set() + out + " --isa mmx", "mmx"},
      {one + " --squad " + set() + out + " --template " + plain, "{context}"},
      {one + " --squad " + set() + " --out " + path("done").string(), "holds a run with other settings"},
      {one + " --squad " + set() + out + " -n 2 --model b=" + model("llama") + " -q --judge gguf",
       "--judge-file"},
      {"score --squad " + set() + " --predictions " + text, text},
      {"score --squad " + set() + " --predictions /nowhere.json", "/nowhere.json"},
      {"report " + path("nothing").string(), "holds no run"},
      {"report " + path("done").string() + " --judge nobody", "nobody"},
      {"judge " + path("nothing").string(), "holds no run"},
      {"judge " + path("done").string() + " --judge openai --judge-key-variable NO_SUCH_KEY", "NO_SUCH_KEY"},
      {"judge " + path("done").string() + " --judge openai --judge-url nowhere", "nowhere"},
      {"merge " + path("nothing").string() + " --out " + path("m").string(), "holds no run"},
      {"merge " + path("done").string() + " --out " + path("other").string(),
       "holds a run with other settings (n 3, not 2)"},
      {one + " --squad " + set() + out + " --model 'a\xFF=" + model("llama") + "'", "printable text"},
      {one + " --squad " + set() + out + " --model a/b=" + model("llama") + " --model a-b=" + model("llama"),
       "would share predictions-a-b.json"},
      {"run --model a= --squad " + set() + out, "a model needs a name and a file"},
      {one + " --squad " + set() + out + " --judge-name x/y", "a judge's name"},
      {one + " --squad " + set() + out + " --temp nan", "--temp: nan is not a number from 0 to 100"},
      {one + " --squad " + set() + out + " --judge-timeout nan",
       "--judge-timeout: nan is not a number from 0.1 to 3600"},
      {one + " --squad " + set() + out + " --seed 18446744073709551616", "18446744073709551616"},
      {one + " --squad " + set() + out + " --template /", "/: cannot be read"},
      {one + " --squad " + set() + out + " --template " + file("latin1.txt", "{context} \xE9 {question}"),
       "UTF-8"},
      {"demo --models /nowhere" + out, "/nowhere: no demo models there"}};
  for (const Case& bad : cases) {
    const Result result = squad(bad.arguments);
    EXPECT_EQ(result.status, 1) << bad.arguments;
    EXPECT_EQ(result.out, "") << bad.arguments;
    EXPECT_TRUE(result.err.starts_with("gemma-squad: ")) << bad.arguments << "\n" << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << bad.arguments << "\n"
                                                                         << result.err;
    EXPECT_NE(result.err.find(bad.says), std::string::npos) << bad.arguments << "\n" << result.err;
  }
}

TEST_F(Program, WindowsInPlaceOfTheFiles) {
  const auto answers = [&](const std::string& out, const std::string& more) {
    const Result result = squad(run(3, out, "--max-tokens 8 --judge none " + more));
    EXPECT_EQ(result.status, 0) << result.err;
    return timeless(path(out));
  };
  const auto window_of = [&](const std::string& out, std::size_t model) {
    return nlohmann::json::parse(text_of(path(out) / "settings.json"))["models"][model].value("window", -1);
  };
  const auto only = [](const std::string& lines, const std::string& model) {  // the answers of one model
    std::istringstream in(lines);
    std::string out;
    for (std::string line; std::getline(in, line);) {
      if (line.find("\"" + model + "\"") != std::string::npos) out += line + "\n";
    }
    EXPECT_NE(out, "") << model;
    return out;
  };
  const std::string plain = answers("plain", "");
  EXPECT_EQ(window_of("plain", 2), -1);
  EXPECT_EQ(answers("files", "--window mistral=256"), plain);  // what the file says itself
  EXPECT_EQ(window_of("files", 2), 256);
  EXPECT_EQ(window_of("files", 0), -1);
  const std::string narrow = answers("narrow", "--window mistral=4");
  EXPECT_NE(only(narrow, "mistral"), only(plain, "mistral"));
  EXPECT_EQ(only(narrow, "llama"), only(plain, "llama"));
  EXPECT_NE(text_of(path("narrow") / "report.html").find("sliding window 4"), std::string::npos);
  answers("all", "--window 4 --window llama=0");
  EXPECT_EQ(window_of("all", 0), 4);
  EXPECT_EQ(window_of("all", 1), 0);
  // another window is another run
  const Result other = squad(run(3, "narrow", "--max-tokens 8 --judge none --window mistral=5"));
  EXPECT_EQ(other.status, 1);
  EXPECT_NE(other.err.find("window 4, not 5"), std::string::npos) << other.err;
  for (const char* wrong : {"--window x", "--window -1", "--window mistral=", "--window other=4",
                            "--window 99999999999999999999"}) {
    const Result refused = squad(run(3, "wrong", wrong));
    EXPECT_EQ(refused.status, 1) << wrong;
    EXPECT_NE(refused.err.find("--window"), std::string::npos) << refused.err;
    EXPECT_EQ(std::count(refused.err.begin(), refused.err.end(), '\n'), 1) << refused.err;
  }
}

TEST_F(Program, HelpIsThere) {
  for (const char* command : {"", "run", "demo", "judge", "report", "merge", "score"}) {
    const Result result = squad(fmt::format("{} --help", command));
    EXPECT_EQ(result.status, 0) << command;
    EXPECT_NE(result.out.find("Usage: gemma-squad"), std::string::npos) << command;
    EXPECT_EQ(result.err, "") << command;
  }
  EXPECT_EQ(squad("--version").out.substr(0, 12), "gemma-squad ");
}

// A limit on the size of files acts like a full disk: the write that reaches it comes back short, the next
// one fails.
TEST_F(Program, AFullDiskIsOneLineAndLosesNothing) {
  ASSERT_EQ(squad(run(12, "whole")).status, 0);
  const std::string wanted = timeless(path("whole"));
  for (const int kilobytes : {1, 6, 7}) {  // 1: not even the questions fit; else some of the answers
    const std::string out = fmt::format("full{}", kilobytes);
    const Result full = squad(run(12, out), fmt::format("bash -c \"ulimit -f {}; exec", kilobytes), "\"");
    EXPECT_EQ(full.status, 1) << kilobytes;
    EXPECT_EQ(std::count(full.err.begin(), full.err.end(), '\n'), 1) << full.err;
    EXPECT_NE(full.err.find("File too large"), std::string::npos) << full.err;
    const int there = test::lines_among(timeless(path(out)), wanted);
    EXPECT_GE(there, 0);
    EXPECT_LT(there, 36);
    ASSERT_EQ(squad(run(12, out)).status, 0);
    EXPECT_EQ(timeless(path(out)), wanted);
  }
  const Result device = squad("report " + path("whole").string(), "", ">/dev/full");
  EXPECT_EQ(device.status, 1);
  EXPECT_NE(device.err.find("cannot write to standard output: No space left on device"), std::string::npos)
      << device.err;
  EXPECT_EQ(timeless(path("whole")), wanted);
}

// A disk that is really full: some pages of memory, where the system lets us mount them, with room for the
// settings, the questions and about half of the answers.
TEST_F(Program, AFullFileSystemIsOneLineAndLosesNothing) {
  fs::create_directory(path("disk"));
  const auto mount = [&](std::size_t pages) {
    return fmt::format("mount -t tmpfs -o size={} none {} 2>/dev/null", pages * 4096, path("disk").string());
  };
  if (std::system(fmt::format("unshare --mount sh -c '{}' 2>/dev/null", mount(8)).c_str()) != 0) {
    GTEST_SKIP() << "mounting is not allowed here";
  }
  ASSERT_EQ(squad(run(12, "whole", "--judge none")).status, 0);
  const auto pages_of = [&](const char* file) { return (fs::file_size(path("whole") / file) + 4095) / 4096; };
  const std::size_t pages =
      pages_of("settings.json") + pages_of("questions.json") + pages_of("answers.jsonl") / 2;
  const Result full =
      squad(run(12, "disk/run", "--judge none"), fmt::format("unshare --mount sh -c '{};", mount(pages)),
            fmt::format("; status=$?; cp -r {} {}; exit $status'", path("disk/run").string(),
                        path("saved").string()));
  EXPECT_EQ(full.status, 1);
  EXPECT_EQ(std::count(full.err.begin(), full.err.end(), '\n'), 1) << full.err;
  EXPECT_NE(full.err.find("No space left on device"), std::string::npos) << full.err;
  const std::string there = timeless(path("saved")), wanted = timeless(path("whole"));
  EXPECT_GT(test::lines_among(there, wanted), 0);
  EXPECT_LT(there.size(), wanted.size());
  ASSERT_EQ(squad(run(12, "saved", "--judge none")).status, 0);
  EXPECT_EQ(timeless(path("saved")), wanted);
}

TEST_F(Program, CtrlCKeepsWhatWasAnswered) {
  ASSERT_EQ(squad(run(30, "whole", "--judge none")).status, 0);
  const std::string err = path("err").string();
  const pid_t pid = ::fork();
  if (pid == 0) {
    const std::string command =
        fmt::format("exec {} {} 2>{}", GEMMA_SQUAD_PROGRAM, run(30, "stopped", "--judge none"), err);
    ::execl("/bin/sh", "sh", "-c", command.c_str(), static_cast<char*>(nullptr));
    ::_exit(127);
  }
  for (int i = 0; i < 5000 && text_of(path("stopped") / "answers.jsonl").empty(); ++i) ::usleep(1000);
  ::kill(pid, SIGINT);
  int status = 0;
  ::waitpid(pid, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130);
  EXPECT_NE(text_of(err).find("the same command continues from there"), std::string::npos);
  const std::string there = timeless(path("stopped")), wanted = timeless(path("whole"));
  EXPECT_LT(there.size(), wanted.size());
  EXPECT_GT(test::lines_among(there, wanted), 0);
  ASSERT_EQ(squad(run(30, "stopped", "--judge none")).status, 0);
  EXPECT_EQ(timeless(path("stopped")), wanted);
}

TEST_F(Program, ALocalModelJudges) {
  ASSERT_EQ(squad(run(4, "run", "--judge none")).status, 0);
  const std::string judge = fmt::format("judge {} -t 1 --judge gguf --judge-file {} --judge-order all",
                                        path("run").string(), model("gemma"));
  const Result result = squad(judge);
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.out.find("RAQ gguf"), std::string::npos);
  const std::string verdicts = text_of(path("run") / "verdicts-gguf.jsonl");
  EXPECT_EQ(std::count(verdicts.begin(), verdicts.end(), '\n'), 1 + 4 * 6);
  ASSERT_EQ(squad(judge).status, 0);
  EXPECT_EQ(text_of(path("run") / "verdicts-gguf.jsonl"), verdicts);
}

// Temporary files of killed reports do not disturb the next report, even one with the same process id, and
// are removed.
TEST_F(Program, PartsOfKilledReportsAreRemoved) {
  ASSERT_EQ(squad(run(4, "run")).status, 0);
  // the shell's id becomes the program's, as a container's first process has the same one each time
  const Result result =
      squad("report " + path("run").string(),
            fmt::format("sh -c 'for f in summary.json report.html; do : >{}/$f.$$.part; done; exec",
                        path("run").string()),
            "'");
  EXPECT_EQ(result.status, 0) << result.err;
  for (const auto& entry : fs::directory_iterator(path("run"))) EXPECT_NE(entry.path().extension(), ".part");
}

// Another file under the name of a model's file is another model, whatever its modification time.
TEST_F(Program, AnotherFileOfTheSameNameIsAnotherModel) {
  for (const char* folder : {"a", "b"}) fs::create_directory(path(folder));
  fs::copy(model("gemma"), path("a/m.gguf"));
  fs::copy(model("llama"), path("b/m.gguf"));
  const auto ask = [&](const char* folder, int n) {
    return squad(fmt::format("run --model m={} --squad {} -n {} --out {} -q",
                             path(folder).string() + "/m.gguf", set(), n, path("run").string()));
  };
  ASSERT_EQ(ask("a", 3).status, 0);
  const Result result = ask("b", 3);
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("models 1 sha256"), std::string::npos) << result.err;
}

TEST_F(Program, AReaderThatLeavesEndsItQuietly) {
  ASSERT_EQ(squad(run(4, "run")).status, 0);
  for (const char* command : {"report", "judge"}) {
    const int status =
        std::system(fmt::format("bash -c 'set -o pipefail; (sleep 0.3; exec {} {} {} 2>{}) | true'",
                                GEMMA_SQUAD_PROGRAM, command, path("run").string(), path("stderr").string())
                        .c_str());
    EXPECT_EQ(WEXITSTATUS(status), 128 + SIGPIPE) << command;
    EXPECT_EQ(text_of(path("stderr")), "") << command;
  }
}

// An interrupted judge does not prevent a report with the verdicts of the other judges.
TEST_F(Program, AnUnfinishedJudgeIsLeftOut) {
  ASSERT_EQ(squad(run(4, "run")).status, 0);
  const auto verdicts = path("run") / "verdicts-late.jsonl";
  std::ofstream(verdicts) << R"({"judge":{"judge":"late"},"order":"rotate"})"
                          << "\n";
  const Result result = squad("report " + path("run").string());
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.err, "gemma-squad: judge late is left out: 0 of 4 verdicts\n");
  EXPECT_NE(result.out.find("RAQ f1"), std::string::npos);
  EXPECT_EQ(squad("report " + path("run").string() + " --judge late").status, 1);
}

// An endpoint that fails half-way: its verdicts are kept, and each is asked for once.
TEST_F(Program, AnEndpointThatGoesDownIsAskedForTheRestLater) {
  const std::string good = json{
      {"choices",
       {{{"message", {{"function_call", {{"name", "return_rank"}, {"arguments", R"({"rank":"2,1,3"})"}}}}}}}},
      {"usage",
       {{"prompt_tokens", 1000},
        {"completion_tokens",
         100}}}}.dump();
  std::atomic<std::size_t> served{0};
  std::atomic<bool> is_up{true};
  test::FakeEndpoint endpoint([&](std::size_t number, const std::string& request) {
    EXPECT_NE(request.find("Authorization: Bearer of bad news\r\n"), std::string::npos);
    if (!is_up) return test::http(401, R"({"error":{"message":"down"}})");
    if (number % 3 == 0) return test::http(429, "{}", "Retry-After: 0\r\n");
    if (++served == 5) is_up = false;
    return test::http(200, good);
  });
  ASSERT_EQ(squad(run(10, "run", "--judge none")).status, 0);
  const std::string judge =
      fmt::format("judge {} --judge openai --judge-model gpt-3.5-turbo --judge-url {} -q",
                  path("run").string(), endpoint.url());
  const std::string key = "OPENAI_API_KEY='of bad news'";
  const Result first = squad(judge, key);
  EXPECT_EQ(first.status, 1);
  EXPECT_NE(first.err.find("HTTP 401: down"), std::string::npos) << first.err;
  EXPECT_EQ(first.err.find("of bad news"), std::string::npos);
  is_up = true;
  const Result second = squad(judge, key);
  ASSERT_EQ(second.status, 0) << second.err;
  EXPECT_EQ(served, 10U);
  const std::string report = squad("report " + path("run").string()).out;
  EXPECT_NE(report.find("10000 prompt and 1000 completion tokens, about $0.0065 at list price"),
            std::string::npos)
      << report;
  for (const auto& entry : fs::directory_iterator(path("run"))) {
    EXPECT_EQ(text_of(entry.path()).find("of bad news"), std::string::npos) << entry.path();
  }
}

}  // namespace
}  // namespace gemma::squad
