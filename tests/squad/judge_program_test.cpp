// gemma-squad with judges behind an endpoint that refuse the temperature, answer in prose, fail for one
// question, or never give a ranking.
#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/squad/fake_endpoint.hpp"
#include "tests/squad/program_fixture.hpp"

namespace gemma::squad {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::Result;
using test::text_of;
using test::timeless;

class JudgeProgram : public test::ProgramTest {};

/// A completion whose message says `content`.
std::string says(const std::string& content) {
  return json{{"choices", {{{"message", {{"content", content}}}}}}}.dump();
}

// One question never gets a ranking: the others do, it is named, and the report says so.
TEST_F(JudgeProgram, AJudgeThatFailsForOneQuestion) {
  ASSERT_EQ(squad(run(10, "run", "--judge none")).status, 0);
  const json questions = json::parse(text_of(path("run") / "questions.json"));
  const json& unlucky = questions["data"][1]["paragraphs"][0]["qas"][0];
  const std::string truth = unlucky["answers"][0]["text"], id = unlucky["id"];
  const std::vector<std::pair<std::string, test::Reply>> replies = {
      {"prose", test::http(200, says("I like them all."))},
      {"filter", test::http(400, R"({"error":"filtered"})")},
      {"crash", test::http(500, "oops", "Retry-After: 0\r\n")}};
  for (const auto& [name, reply] : replies) {
    std::set<std::string> hit;
    test::FakeEndpoint endpoint([&, &reply = reply](std::size_t, const std::string& request) {
      if (request.find("correct answer: " + truth + ", rank") == std::string::npos) {
        return test::http(200, says("<think>hm, 1, 2, 3?</think>\n```json\n{\"rank\": [2, 1, 3]}\n```"));
      }
      hit.insert(request.substr(request.find("\r\n\r\n")));
      return reply;
    });
    const Result result =
        squad(fmt::format("judge {} --judge openai --judge-name {} --judge-url {} --judge-attempts 2",
                          path("run").string(), name, endpoint.url()));
    ASSERT_EQ(result.status, 0) << result.err;
    const json summary = json::parse(text_of(path("run") / "summary.json"));
    const auto judge = std::find_if(summary["judges"].begin(), summary["judges"].end(),
                                    [&, &name = name](const json& j) { return j["name"] == name; });
    ASSERT_NE(judge, summary["judges"].end()) << name;
    EXPECT_EQ((*judge)["verdicts"], 10 - hit.size());
    EXPECT_EQ((*judge)["questions"], 10 - hit.size());
    EXPECT_EQ((*judge)["unranked"].size(), hit.size());
    EXPECT_NE(result.err.find(fmt::format("judge {}: question {} has no ranking", name, id)),
              std::string::npos)
        << result.err;
    EXPECT_NE(result.out.find(fmt::format("judge {}: no ranking of {} of 10 questions", name, hit.size())),
              std::string::npos)
        << result.out;
    EXPECT_NE(text_of(path("run") / "report.html").find("no ranking of"), std::string::npos);
    EXPECT_EQ((*judge)["identity"]["format"], "schema");
  }
}

// A judge that never gives a ranking: the report is written without it, and the reason is printed last.
TEST_F(JudgeProgram, AJudgeThatEndsEarlyLeavesAReport) {
  test::FakeEndpoint prose([&](std::size_t, const std::string&) { return test::http(200, says("Good.")); });
  test::FakeEndpoint hot([&](std::size_t, const std::string& request) {
    return request.find("temperature") == std::string::npos
               ? test::http(200, says("1,2,3"))
               : test::http(400, R"({"error":{"message":"only 1","param":"temperature"}})");
  });
  Result result = squad(run(12, "prose", "--judge openai --judge-attempts 1 --judge-url " + prose.url()));
  EXPECT_EQ(result.status, 1);
  EXPECT_TRUE(fs::exists(path("prose") / "report.html"));
  EXPECT_NE(result.err.find("none of the first 10 questions got a ranking, the last: not a ranking of 3: "),
            std::string::npos)
      << result.err;
  const std::string arguments = run(3, "hot", "--judge openai --judge-url " + hot.url());
  result = squad(arguments);
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("gpt-4.1-mini refuses the temperature 0"), std::string::npos) << result.err;
  EXPECT_TRUE(fs::exists(path("hot") / "report.html"));
  result = squad(arguments + " --judge-temperature none");
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_NE(text_of(path("hot") / "summary.json").find("raq_openai"), std::string::npos);
  for (const char* bad : {"-1", "2.5", "nan", "some", ""}) {
    result = squad(arguments + fmt::format(" --judge-temperature '{}'", bad));
    EXPECT_EQ(result.status, 1) << bad;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  }
}

TEST_F(JudgeProgram, TheArticlesPresetKeepsTheArticlesJudge) {
  std::string seen;
  test::FakeEndpoint endpoint([&](std::size_t, const std::string& request) {
    seen = request;
    return test::http(200, says("1,2,3"));
  });
  const std::string judge = " --judge openai --judge-url " + endpoint.url();
  ASSERT_EQ(squad(run(2, "run", "--preset article --max-tokens 8 -c 700" + judge)).status, 0);
  EXPECT_NE(seen.find("\"function_call\""), std::string::npos);
  EXPECT_NE(seen.find("gpt-3.5-turbo"), std::string::npos);
  EXPECT_EQ(json::parse(text_of(path("run") / "settings.json"))["context"], 700);
  const std::string other = " --judge-name b --judge-format schema";
  ASSERT_EQ(squad("judge " + path("run").string() + judge + other).status, 0);
  EXPECT_NE(seen.find("\"json_schema\""), std::string::npos);
  EXPECT_NE(seen.find("gpt-3.5-turbo"), std::string::npos);
}

// The same set as a file and as rows: the same questions, answers and scores.
TEST_F(JudgeProgram, RowsAreTheSameSet) {
  const json whole = json::parse(text_of(set()));
  std::string rows;
  for (const json& article : whole["data"]) {
    for (const json& paragraph : article["paragraphs"]) {
      for (const json& qa : paragraph["qas"]) {
        json row = {{"id", qa["id"]},
                    {"title", article["title"]},
                    {"context", paragraph["context"]},
                    {"question", qa["question"]}};
        for (const json& answer : qa["answers"]) {
          row["answers"]["text"].push_back(answer["text"]);
          row["answers"]["answer_start"].push_back(answer["answer_start"]);
        }
        rows += row.dump() + "\n";
      }
    }
  }
  const std::string jsonl = file("rows.jsonl", rows);
  ASSERT_EQ(squad(run(9, "whole", "--judge none")).status, 0);
  const std::string arguments =
      fmt::format("run {} --squad {} -n 9 --out {} -q --judge none", models(), jsonl, path("rows").string());
  ASSERT_EQ(squad(arguments).status, 0);
  EXPECT_EQ(timeless(path("rows")), timeless(path("whole")));
  const std::string predictions = " --predictions " + (path("whole") / "predictions-gemma.json").string();
  EXPECT_EQ(squad("score --squad " + jsonl + predictions).out,
            squad("score --squad " + set() + predictions).out);
}

}  // namespace
}  // namespace gemma::squad
