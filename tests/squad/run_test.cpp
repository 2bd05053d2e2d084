// A run on disk, with a fake model: each answer is stored once, runs continue after any kill, and merged
// shards have the bytes of one run.
#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <signal.h>
#include <sys/wait.h>

#include "examples/squad/json_lines.hpp"
#include "examples/squad/run_directory.hpp"
#include "examples/squad/runner.hpp"
#include "gguf/error.hpp"
#include "tests/squad/fake_source.hpp"
#include "tests/squad/run_files.hpp"
#include "tests/temporary_folder.hpp"

namespace gemma::squad {
namespace {

namespace fs = std::filesystem;
using gemma::test::TemporaryFolder;
using test::fake_factory;

using test::kNever;
using test::text_of;
using test::timeless;
const std::vector<ModelSpec> kModels = {{"gemma", "g.gguf"}, {"llama", "l.gguf"}, {"mistral", "m.gguf"}};

Dataset some_questions(std::size_t passages, std::size_t per_passage) {
  Dataset set;
  set.version = "1.1";
  for (std::size_t p = 0; p < passages; ++p) {
    set.passages.push_back({fmt::format("Title \"{}\"", p),
                            fmt::format("Passage {} of many, with words such as café and Łódź.", p)});
    for (std::size_t q = 0; q < per_passage; ++q) {
      set.questions.push_back({fmt::format("q{}-{}", p, q),
                               fmt::format("What is number {}?", q),
                               {{"Passage", 0}, {"many", 13}},
                               p});
    }
  }
  return set;
}

RunSettings settings_for(const Dataset& selection, Shard shard = {}) {
  RunSettings settings;
  settings.dataset = "set.json";
  settings.dataset_sha256 = "00";
  settings.n_questions = selection.questions.size();
  settings.seed = 1;
  settings.preset = make_preset("chat", false);
  for (const ModelSpec& model : kModels)
    settings.models.push_back({model.name, model.file.string(), "11", "fake"});
  settings.shard = shard;
  settings.machine = "this one";
  return settings;
}

Dataset selection(std::size_t n = 0) {
  return select_questions(some_questions(9, 4), n, 1);
}

void run_all(const fs::path& directory, Shard shard = {}, const test::FakeSource::Log& log = {},
             std::size_t batch = 1) {
  const Dataset questions = selection();
  RunDirectory run = RunDirectory::start(directory, settings_for(questions, shard), questions);
  EXPECT_TRUE(run_questions(run, kModels, fake_factory(log), kNever, nullptr, batch));
  EXPECT_TRUE(run.is_complete());
}

template <typename Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return std::string(error.message());
  }
  return "no error";
}

TEST(Selection, SquadJsonRoundTrip) {
  for (const bool is_v2 : {false, true}) {
    Dataset set = selection(17);
    set.is_v2 = is_v2;
    if (is_v2) {
      set.version = "v2.0";
      set.questions[3].truths.clear();
    }
    const Dataset back = parse_dataset(to_squad_json(set), "x");
    EXPECT_EQ(to_squad_json(back), to_squad_json(set));
    EXPECT_EQ(back.is_v2, is_v2);
    ASSERT_EQ(back.questions.size(), 17U);
    EXPECT_EQ(back.questions[5].truths[1].start, 13U);
    EXPECT_EQ(back.passages[back.questions[9].passage].text, set.passages[set.questions[9].passage].text);
  }
}

TEST(Run, EveryModelAnswersEveryQuestionOnceInOrder) {
  TemporaryFolder folder;
  std::map<std::string, int> asked;
  run_all(folder / "run", {}, [&](const std::string& model, const Prompt& prompt, bool share) {
    ++asked[model + prompt.text];
    EXPECT_TRUE(share);
    EXPECT_TRUE(prompt.chat);
  });
  EXPECT_EQ(asked.size(), 3U * 36U);
  for (const auto& [what, times] : asked) EXPECT_EQ(times, 1) << what;
  const RunDirectory run = RunDirectory::read(folder / "run");
  ASSERT_EQ(run.n_answers(), 108U);
  const auto lines = read_json_lines(folder / "run/answers.jsonl").lines;
  ASSERT_EQ(lines.size(), 108U);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i]["model"], run.model_name(i / 36));
    EXPECT_EQ(lines[i]["id"], run.questions().questions[i % 36].id);
    EXPECT_EQ(lines[i]["answer"], run.answer(i / 36, i % 36).text);
  }
}

TEST(Run, AFinishedRunAsksNothing) {
  TemporaryFolder folder;
  run_all(folder / "run");
  const std::string before = text_of(folder / "run/answers.jsonl");
  run_all(folder / "run", {}, [](const auto&...) { FAIL() << "asked again"; });
  EXPECT_EQ(text_of(folder / "run/answers.jsonl"), before);
}

// Answers depend neither on how many questions are asked at once nor on the order in which they end.
TEST(Run, BatchesGiveTheSameFile) {
  TemporaryFolder folder;
  run_all(folder / "whole");
  for (const std::size_t batch : {2U, 5U, 1000U, 0U}) {
    const auto path = folder / fmt::format("batch{}", batch);
    run_all(path, {}, {}, batch);
    EXPECT_EQ(timeless(path), timeless(folder / "whole"));
    const RunDirectory run = RunDirectory::read(path);
    // never more than there are questions; 3 is what the fake's memory holds
    const std::size_t expected = batch == 0 ? 3 : std::min<std::size_t>(batch, 36);
    for (std::size_t m = 0; m < run.n_models(); ++m) {
      for (const auto& answer : run.answers()[m]) EXPECT_EQ(answer.value().timing.batch, expected);
    }
  }
  const Dataset questions = selection();
  RunSettings alone = settings_for(questions);
  alone.preset.share_passages = false;
  RunDirectory run = RunDirectory::start(folder / "alone", alone, questions);
  EXPECT_TRUE(run_questions(run, kModels, fake_factory(), kNever, nullptr, 7));
  EXPECT_EQ(run.answer(0, 0).timing.batch, 1U) << "questions that share nothing are asked one by one";
}

// The answers file cut at every byte of its second half: continuing gives the same file but for times, and
// asks only for the lines that were not whole.
TEST(Run, ContinuesFromAnyCut) {
  TemporaryFolder folder;
  run_all(folder / "whole");
  const std::string whole = text_of(folder / "whole/answers.jsonl");
  const std::string wanted = timeless(folder / "whole");
  const fs::path cut = folder / "cut";
  run_all(cut);
  for (std::size_t n = whole.size() - 700; n < whole.size(); n += n % 3 + 1) {
    std::ofstream(cut / "answers.jsonl", std::ios::binary) << whole.substr(0, n);
    const auto lines = std::count(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n), '\n');
    // a line that lacks only its newline is whole
    const std::ptrdiff_t kept = lines + (whole[n] == '\n' ? 1 : 0);
    std::ptrdiff_t asked = 0;
    run_all(
        cut, {}, [&](const auto&...) { ++asked; }, n % 4 + 1);
    EXPECT_EQ(asked, 108 - kept) << n;
    EXPECT_EQ(timeless(cut), wanted) << n;
  }
}

// A child that runs the evaluator is killed at random moments, 50 times, and started again.
TEST(Run, SurvivesFiftyKills) {
  TemporaryFolder folder;
  run_all(folder / "whole");
  const fs::path killed = folder / "killed", log = folder / "asked";
  const auto child = [&] {
    const Dataset questions = selection();
    RunDirectory run = RunDirectory::start(killed, settings_for(questions), questions);
    std::ofstream asked(log, std::ios::app);
    run_questions(run, kModels, fake_factory([&](const std::string& model, const Prompt& prompt, bool) {
                    asked << hash_of(model + prompt.text) << std::endl;
                    ::usleep(100);
                  }),
                  kNever, nullptr, 4);
    ::_exit(0);
  };
  SplitMix64 random(17);
  int kills = 0;
  for (bool finished = false; !finished;) {
    ASSERT_LT(kills, 2000);
    const pid_t pid = ::fork();
    if (pid == 0) child();
    if (kills < 50) ::usleep(static_cast<useconds_t>(below(3000, random)));
    if (kills < 50) ::kill(pid, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    finished = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (finished && kills < 50) {  // finished before the fiftieth kill: start again
      fs::remove_all(killed);
      fs::remove(log);
      finished = false;
    }
    kills += WIFSIGNALED(status) ? 1 : 0;
  }
  EXPECT_EQ(kills, 50);
  EXPECT_EQ(timeless(killed), timeless(folder / "whole"));
  for (const auto& entry : fs::directory_iterator(killed)) EXPECT_NE(entry.path().extension(), ".part");
  // each kill can cost the answers that were on their way, nothing more
  std::ifstream in(log);
  const auto n_asked = std::count(std::istreambuf_iterator<char>(in), {}, '\n');
  EXPECT_LE(n_asked, 108 + 4 * kills);
}

TEST(Run, ADamagedLineInTheMiddleIsAnErrorThatNamesIt) {
  TemporaryFolder folder;
  run_all(folder / "run");
  std::string text = text_of(folder / "run/answers.jsonl");
  text.insert(text.find('\n') + 1, "half a line\n");
  std::ofstream(folder / "run/answers.jsonl", std::ios::binary) << text;
  EXPECT_NE(message_of([&] { RunDirectory::read(folder / "run"); }).find("line 2 is not a JSON object"),
            std::string::npos);
}

TEST(Run, ADoubledLineIsAnError) {
  TemporaryFolder folder;
  run_all(folder / "run");
  std::string text = text_of(folder / "run/answers.jsonl");
  text += text.substr(0, text.find('\n') + 1);
  std::ofstream(folder / "run/answers.jsonl", std::ios::binary) << text;
  EXPECT_NE(message_of([&] { RunDirectory::read(folder / "run"); }).find("appears twice"), std::string::npos);
}

// The number of lines is that of a complete run, but one is of another run: this run is not complete.
TEST(Run, AnAnswerOfAnotherRunIsAnError) {
  TemporaryFolder folder;
  for (const char* what : {"\"id\":\"q", "\"model\":\"gem"}) {
    run_all(folder / "run");
    std::string text = text_of(folder / "run/answers.jsonl");
    text.replace(text.find(what), std::string(what).size(), std::string(what) + "x");
    std::ofstream(folder / "run/answers.jsonl", std::ios::binary) << text;
    EXPECT_NE(message_of([&] { RunDirectory::read(folder / "run"); }).find("does not belong to this run"),
              std::string::npos);
    std::filesystem::remove_all(folder / "run");
  }
}

TEST(Run, OtherSettingsAreRefusedInOneLine) {
  TemporaryFolder folder;
  run_all(folder / "run");
  const Dataset questions = selection();
  const auto refusal = [&](auto change) {
    RunSettings other = settings_for(questions);
    change(other);
    const std::string message = message_of([&] { RunDirectory::start(folder / "run", other, questions); });
    EXPECT_EQ(message.find('\n'), std::string::npos);
    const std::size_t open = message.find('('), close = message.find("): ");
    return close == std::string::npos ? message : message.substr(open + 1, close - open - 1);
  };
  EXPECT_EQ(refusal([](RunSettings& s) { s.seed = 2; }), "seed 1, not 2");
  EXPECT_EQ(refusal([](RunSettings& s) { s.preset.sampling.temperature = 0.7; }), "temperature 0.0, not 0.7");
  EXPECT_EQ(refusal([](RunSettings& s) { s.models[1].sha256 = "22"; }), "models 2 sha256 \"11\", not \"22\"");
  EXPECT_EQ(refusal([](RunSettings& s) { s.models.pop_back(); }), "3 models, not 2");
  EXPECT_EQ(refusal([](RunSettings& s) { s.shard = {1, 2}; }), "shard \"1/1\", not \"1/2\"");
  EXPECT_EQ(refusal([](RunSettings& s) { s.machine = "another"; }), "no error");
}

TEST(Run, WithoutAnswersOtherSettingsAreWelcome) {
  TemporaryFolder folder;
  const Dataset questions = selection();
  RunSettings first = settings_for(questions);
  first.preset.context = 7;
  { RunDirectory run = RunDirectory::start(folder / "run", first, questions); }
  run_all(folder / "run");
  EXPECT_EQ(RunDirectory::read(folder / "run").settings().preset.context, 0);
}

TEST(Run, OneWriterAtATime) {
  TemporaryFolder folder;
  const Dataset questions = selection();
  const RunDirectory run = RunDirectory::start(folder / "run", settings_for(questions), questions);
  EXPECT_NE(message_of([&] {
              RunDirectory::start(folder / "run", settings_for(questions), questions);
            }).find("another process is writing there"),
            std::string::npos);
}

TEST(Run, CancelStoresWhatWasAnswered) {
  TemporaryFolder folder;
  const Dataset questions = selection();
  std::atomic<bool> cancel{false};
  int asked = 0;
  {
    RunDirectory run = RunDirectory::start(folder / "run", settings_for(questions), questions);
    EXPECT_FALSE(run_questions(run, kModels, fake_factory([&](const auto&...) { cancel = ++asked == 41; }),
                               cancel, nullptr));
  }
  EXPECT_EQ(RunDirectory::read(folder / "run").n_answers(), 40U);  // the 41st may have been cut short
  run_all(folder / "run");
  run_all(folder / "whole");
  EXPECT_EQ(timeless(folder / "run"), timeless(folder / "whole"));
}

TEST(Run, APromptThatDoesNotFitIsKnownBeforeTheFirstQuestion) {
  TemporaryFolder folder;
  Dataset questions = selection();
  questions.passages.back().text = std::string(5000, 'x');
  RunDirectory run = RunDirectory::start(folder / "run", settings_for(questions), questions);
  const std::string message = message_of([&] {
    run_questions(run, kModels, fake_factory([](const auto&...) { FAIL() << "asked"; }), kNever, nullptr);
  });
  EXPECT_NE(message.find("the window of 4096 leaves no room for an answer"), std::string::npos) << message;
  const std::size_t last = questions.passages.size() - 1;
  const auto first_of_it = std::find_if(questions.questions.begin(), questions.questions.end(),
                                        [&](const Question& question) { return question.passage == last; });
  EXPECT_NE(message.find(first_of_it->id), std::string::npos) << message;
}

TEST(Run, BadNames) {
  EXPECT_EQ(message_of([] { check_names({{"a", "x"}, {"a", "y"}}); }), "two models are named 'a'");
  EXPECT_NE(message_of([] { check_names({}); }), "no error");
  EXPECT_NE(message_of([] { check_names({{"", "x"}}); }), "no error");
  EXPECT_NE(message_of([] { check_names({{"a", ""}}); }), "no error");
  EXPECT_NE(message_of([] { check_names({{"a\xFF", "x"}}); }).find("printable"), std::string::npos);
  EXPECT_NE(message_of([] { check_names({{"a\nb", "x"}}); }).find("printable"), std::string::npos);
  EXPECT_NE(message_of([] {
              check_names({{std::string(300, 'a'), "x"}});
            }).find("100 bytes"),
            std::string::npos);
  EXPECT_NE(message_of([] {
              check_names({{"a/b", "x"}, {"a-b", "y"}});
            }).find("share predictions-a-b.json"),
            std::string::npos);
  EXPECT_EQ(message_of([] { check_names({{"Łódź 7B \"q\"", "x"}, {"a/b", "y"}}); }), "no error");
}

TEST(Run, DirectoriesThatAreNone) {
  TemporaryFolder folder;
  EXPECT_NE(message_of([&] { RunDirectory::read(folder / "nothing"); }).find("holds no run"),
            std::string::npos);
  std::ofstream(folder / "file") << "x";
  const Dataset questions = selection();
  const auto start = [&](const std::string& name) {
    return message_of([&] { RunDirectory::start(folder / name, settings_for(questions), questions); });
  };
  EXPECT_NE(start("file/run").find("cannot be made"), std::string::npos);
  EXPECT_NE(start("file"), "no error");
  fs::create_directory(folder / "stray");
  std::ofstream(folder / "stray/answers.jsonl") << "{}\n";
  EXPECT_NE(start("stray").find("answers without settings.json"), std::string::npos);
}

TEST(Merge, ShardsGiveTheBytesOfOneProcess) {
  TemporaryFolder folder;
  run_all(folder / "whole");
  for (const std::size_t count : {1U, 2U, 4U, 9U, 12U}) {  // 12: more shards than passages
    std::vector<fs::path> parts;
    for (std::size_t index = count; index >= 1; --index) {  // given in another order than the parts'
      parts.push_back(folder / fmt::format("{}-{}", count, index));
      run_all(parts.back(), {index, count});
    }
    const fs::path merged = folder / fmt::format("merged{}", count);
    merge_runs(parts, merged);
    EXPECT_EQ(timeless(merged), timeless(folder / "whole")) << count;
    EXPECT_EQ(text_of(merged / "questions.json"), text_of(folder / "whole/questions.json"));
    EXPECT_EQ(text_of(merged / "settings.json"), text_of(folder / "whole/settings.json"));
    EXPECT_TRUE(RunDirectory::read(merged).is_complete());
  }
}

// Shards of several machines: the order of the arguments does not matter.
TEST(Merge, TheOrderOfShardsDoesNotMatter) {
  TemporaryFolder folder;
  const Dataset questions = selection();
  std::vector<fs::path> parts;
  for (std::size_t index = 1; index <= 4; ++index) {
    RunSettings settings = settings_for(questions, {index, 4});
    settings.machine = fmt::format("machine {}", 5 - index % 3);
    parts.push_back(folder / fmt::format("part{}", index));
    RunDirectory run = RunDirectory::start(parts.back(), settings, questions);
    EXPECT_TRUE(run_questions(run, kModels, fake_factory(), kNever, nullptr, index));
  }
  SplitMix64 random(3);
  for (int i = 0; i < 5; ++i) {
    merge_runs(parts, folder / fmt::format("out{}", i));
    shuffle(parts, random);
    for (const char* file : {"settings.json", "questions.json", "answers.jsonl"}) {
      EXPECT_EQ(text_of(folder / fmt::format("out{}", i) / file), text_of(folder / "out0" / file));
    }
  }
  EXPECT_EQ(RunDirectory::read(folder / "out0").settings().machine, "machine 4, machine 3, machine 5");
}

TEST(Merge, WhatDoesNotFitIsNamed) {
  TemporaryFolder folder;
  run_all(folder / "a", {1, 2});
  run_all(folder / "b", {2, 2});
  run_all(folder / "c", {2, 3});
  const auto merge = [&](std::vector<fs::path> parts) {
    return message_of([&] { merge_runs(parts, folder / "out"); });
  };
  EXPECT_EQ(merge({folder / "a"}), "shard 2/2 is missing");
  EXPECT_EQ(merge({folder / "c"}), "shards 1/3, 3/3 are missing");
  EXPECT_NE(merge({folder / "a", folder / "a"}).find("shard 1/2 is there twice"), std::string::npos);
  EXPECT_NE(merge({folder / "a", folder / "c"}).find("not a shard of the same selection"), std::string::npos);
  const Dataset questions = selection();
  RunSettings other = settings_for(questions, {2, 2});
  other.seed = 5;
  { RunDirectory run = RunDirectory::start(folder / "d", other, questions); }
  EXPECT_NE(merge({folder / "a", folder / "d"}).find("seed 5, not 1"), std::string::npos);
  { RunDirectory run = RunDirectory::start(folder / "e", settings_for(questions, {2, 2}), questions); }
  EXPECT_NE(merge({folder / "a", folder / "e"}).find("0 of 48 answers"), std::string::npos);
  {  // all but two
    run_all(folder / "f", {2, 2});
    std::string text = text_of(folder / "f/answers.jsonl");
    for (int i = 0; i < 2; ++i) text.erase(0, text.find('\n') + 1);
    std::ofstream(folder / "f/answers.jsonl", std::ios::binary) << text;
    const std::vector<std::size_t> own = RunDirectory::read(folder / "f").own_questions();
    const std::string message = merge({folder / "f"});
    EXPECT_NE(message.find(fmt::format("shard 1/2 is missing; {}: 46 of 48 answers: continue that run first; "
                                       "missing: gemma to {}, gemma to {}",
                                       (folder / "f").string(), questions.questions[own[0]].id,
                                       questions.questions[own[1]].id)),
              std::string::npos)
        << message;
  }
  EXPECT_EQ(merge({folder / "a", folder / "b"}), "no error");
  // again, as after a kill while the merged run was judged: the same answers are there already
  const std::string before = text_of(folder / "out/answers.jsonl");
  EXPECT_EQ(merge({folder / "a", folder / "b"}), "no error");
  EXPECT_EQ(text_of(folder / "out/answers.jsonl"), before);
  run_all(folder / "a2", {1, 1});
  std::string other_times = text_of(folder / "a2/answers.jsonl");
  other_times.replace(other_times.find("\"decode_s\":0.1"), 14, "\"decode_s\":0.2");
  std::ofstream(folder / "a2/answers.jsonl", std::ios::binary) << other_times;
  EXPECT_NE(merge({folder / "a2"}).find("holds a run already"), std::string::npos);
}

}  // namespace
}  // namespace gemma::squad
