// The forms of a report: their figures agree with each other and with the official metric, and report.html is
// one file in which all text is escaped.
#include "examples/squad/report/report.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "examples/squad/analysis.hpp"
#include "examples/squad/embedded.hpp"
#include "examples/squad/in_words.hpp"
#include "examples/squad/report/charts.hpp"
#include "examples/squad/runner.hpp"
#include "examples/squad/summary.hpp"
#include "gguf/error.hpp"
#include "tests/refusal.hpp"
#include "tests/squad/fake_source.hpp"
#include "tests/temporary_folder.hpp"

namespace gemma::squad {
namespace {

using nlohmann::json;

using test::kNever;
const std::string kHostile = "</script><img src=x onerror=alert(1)> \"q\", 'r' & \xE2\x80\xA8 line\nbreak";

// a name of a model with everything that must be escaped
const std::string kHostileName = "</script><img src=x onerror=alert(1)> \"q\", 'r' &";

class Report : public ::testing::Test {
 protected:
  /// A run of fakes named `models` over 30 passages of two questions; v2.0: every third without an answer.
  RunDirectory make(const std::vector<std::string>& models, bool is_v2 = false, std::size_t batch = 1) {
    Dataset set;
    set.version = is_v2 ? "v2.0" : "1.1";
    set.is_v2 = is_v2;
    for (std::size_t p = 0; p < 30; ++p) {
      set.passages.push_back({kHostile, fmt::format("Passage {} holds words and {}.", p, kHostile)});
      for (std::size_t q = 0; q < 2; ++q) {
        set.questions.push_back({fmt::format("q{}-{}", p, q), "What, " + kHostile + "?", {{"words", 0}}, p});
        set.questions.back().truths[0].start = set.passages.back().text.find("words");
        if (is_v2 && p % 3 == 0) set.questions.back().truths.clear();
      }
    }
    RunSettings settings;
    settings.dataset = kHostile;
    settings.dataset_sha256 = "00";
    settings.n_questions = set.questions.size();
    settings.preset = make_preset("chat", is_v2);
    settings.machine = "a test";
    std::vector<ModelSpec> specs;
    for (const std::string& name : models) {
      settings.models.push_back({name, "file", "11", kHostile});
      specs.push_back({name, "file"});
    }
    const auto path = folder_ / fmt::format("run{}", n_runs_++);
    {
      RunDirectory run = RunDirectory::start(path, settings, set);
      EXPECT_TRUE(run_questions(run, specs, test::fake_factory(), kNever, nullptr, batch));
    }
    RunDirectory run = RunDirectory::read(path);
    if (models.size() > 1) {
      EXPECT_TRUE(judge_run(run, *make_f1_judge(), "f1", OrderPolicy::kFixed, kNever, nullptr));
    }
    return run;
  }

 private:
  gemma::test::TemporaryFolder folder_;
  std::size_t n_runs_ = 0;
};

/// RFC 4180, which answers.csv promises.
std::vector<std::vector<std::string>> parse_csv(const std::string& text) {
  std::vector<std::vector<std::string>> rows(1, {""});
  bool is_quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (is_quoted) {
      if (text[i] == '"' && i + 1 < text.size() && text[i + 1] == '"') {
        rows.back().back() += text[i++];
      } else if (text[i] == '"') {
        is_quoted = false;
      } else {
        rows.back().back() += text[i];
      }
    } else if (text[i] == '"') {
      is_quoted = true;
    } else if (text[i] == ',') {
      rows.back().emplace_back();
    } else if (text.compare(i, 2, "\r\n") == 0) {
      ++i;
      if (i + 1 < text.size()) rows.push_back({""});
    } else {
      rows.back().back() += text[i];
    }
  }
  return rows;
}

std::size_t count_of(const std::string& text, std::string_view part) {
  std::size_t n = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++n;
  return n;
}

TEST_F(Report, FiguresAgreeInEveryForm) {
  const RunDirectory run = make({"gemma", "llama", "mistral"});
  const Analysis analysis = analyse(run, {"f1"}, 1);
  const json summary = json::parse(summary_json(run, analysis).dump());
  const auto csv = parse_csv(answers_csv(run, analysis));
  ASSERT_EQ(csv.size(), 1 + 3 * 60U);
  for (const auto& row : csv) ASSERT_EQ(row.size(), csv[0].size());
  const auto column = [&](const std::string& name) {
    return static_cast<std::size_t>(std::find(csv[0].begin(), csv[0].end(), name) - csv[0].begin());
  };
  EXPECT_EQ(csv[1][column("question")], "What, " + kHostile + "?");
  EXPECT_EQ(csv[1][column("title")], kHostile);
  for (std::size_t m = 0; m < 3; ++m) {
    double f1 = 0, exact = 0, rank = 0, words = 0;
    for (std::size_t i = 0; i < 60; ++i) {
      const auto& row = csv[1 + 60 * m + i];
      f1 += std::stod(row[column("f1")]);
      exact += std::stod(row[column("exact")]);
      rank += std::stod(row[column("rank_f1")]);
      words += std::stod(row[column("words")]);
    }
    const std::string& name = run.settings().models[m].name;
    const auto mean = [&](const char* measure) {
      return summary["measures"][measure]["means"][name]["mean"].get<double>();
    };
    EXPECT_NEAR(mean("f1"), 100 * f1 / 60, 1e-9);
    EXPECT_NEAR(mean("exact"), 100 * exact / 60, 1e-9);
    EXPECT_NEAR(mean("raq_f1"), rank / 60, 1e-9);
    EXPECT_NEAR(mean("words"), words / 60, 1e-9);
    // the predictions file scores the same under the official rules
    const auto file = run.path() / "predictions.json";
    std::ofstream(file) << predictions_json(run, m);
    const PredictionScores official = score_predictions(run.questions(), read_predictions(file));
    EXPECT_NEAR(official.all.f1(), mean("f1"), 1e-9);
    EXPECT_NEAR(official.all.exact(), mean("exact"), 1e-9);
    double share = 0;
    for (const json& s : summary["judges"][0]["rank_shares"][name]) share += s.get<double>();
    EXPECT_NEAR(share, 1, 1e-9);
  }
}

/// Ranks the models in their order for even tasks, in the opposite order for odd ones, and not at all for
/// every third one.
class SkippingJudge : public Judge {
 public:
  nlohmann::ordered_json identity() const override { return {{"judge", "picky"}}; }
  bool sees_order() const override { return false; }
  Verdict judge(const JudgeTask& task, std::span<const std::size_t>, const std::atomic<bool>&) override {
    Verdict verdict;
    const std::size_t n = n_++, k = task.answers.size();
    for (std::size_t m = 0; m < k && n % 3 != 0; ++m) {
      verdict.ranks.push_back(static_cast<double>(n % 2 == 0 ? m + 1 : k - m));
    }
    return verdict;
  }

 private:
  std::size_t n_ = 0;
};

// A question without a ranking has none in the list of answers either, and the others keep theirs.
TEST_F(Report, RanksStandAtTheirQuestions) {
  const RunDirectory run = make({"gemma", "llama"});
  SkippingJudge judge;
  ASSERT_TRUE(judge_run(run, judge, "picky", OrderPolicy::kFixed, kNever, nullptr));
  const std::string html = report::report_html(run, analyse(run, {"picky"}, 1));
  constexpr std::string_view kData = "id=\"data\">";
  const std::size_t begin = html.find(kData) + kData.size();
  const json data = json::parse(html.substr(begin, html.find("</script>", begin) - begin));
  for (std::size_t i = 0; i < 60; ++i) {
    for (std::size_t m = 0; m < 2; ++m) {
      const json rank = i % 3 == 0 ? json(nullptr) : json(static_cast<double>(i % 2 == 0 ? m + 1 : 2 - m));
      EXPECT_EQ(data["questions"][i]["answers"][m]["ranks"], json::array({rank})) << i;
    }
  }
}

TEST_F(Report, IsOneFileThatNothingBreaksOutOf) {
  const RunDirectory run = make({"gemma", kHostileName});
  const Analysis analysis = analyse(run, {"f1"}, 1);
  const std::string html = report::report_html(run, analysis);
  EXPECT_EQ(html, report::report_html(run, analysis));
  for (const char* outside : {"http:", "https:", "<link", "@import", "src=\"", "url(", "<img", "<iframe"}) {
    EXPECT_EQ(html.find(outside), std::string::npos) << outside;
  }
  EXPECT_EQ(count_of(html, "<script"), 2U);
  EXPECT_EQ(count_of(html, "</script"), 2U);
  const std::string open = "<script type=\"application/json\" id=\"data\">";
  const std::size_t begin = html.find(open) + open.size();
  const json data = json::parse(html.substr(begin, html.find("</script>", begin) - begin));
  EXPECT_EQ(data["models"], json({"gemma", kHostileName}));
  EXPECT_EQ(data["questions"].size(), 60U);
  EXPECT_EQ(data["passages"][0]["title"], kHostile);
  EXPECT_EQ(data["questions"][7]["answers"][0]["text"], run.answer(0, 7).text);
}

TEST_F(Report, TagsAreClosed) {
  const RunDirectory run = make({"gemma", "llama", "mistral"});
  const std::string html = report::report_html(run, analyse(run, {"f1"}, 1));
  for (const std::string tag :
       {"div", "table", "tr", "td", "svg", "p", "span", "details", "h2", "h3", "dl"}) {
    EXPECT_EQ(count_of(html, "<" + tag + ">") + count_of(html, "<" + tag + " "),
              count_of(html, "</" + tag + ">"))
        << tag;
  }
}

TEST_F(Report, ManyModelsAreCountedNotListed) {
  const std::vector<std::string> names = {"a", "b", "c", "d", "e", "f"};
  const RunDirectory run = make(names);
  Analysis analysis = analyse(run, {"f1"}, 1);
  EXPECT_NE(report::report_html(run, analysis).find("<h1>6 models on SQuAD</h1>"), std::string::npos);
  Measure& measure = analysis.measures[0];
  measure.friedman.p = 0.001;
  for (stats::Pair& pair : measure.conover) pair.p_holm = 0.01;
  EXPECT_EQ(verdict_in_words(run, measure),
            "The models differ (Friedman, p = 0.001): 15 of 15 pairs do at 5% (Conover, after Holm).");
}

TEST_F(Report, OneModelHasNoTests) {
  const RunDirectory run = make({"gemma"});
  const Analysis analysis = analyse(run, {}, 1);
  const std::string html = report::report_html(run, analysis);
  EXPECT_EQ(html.find("Friedman"), std::string::npos);
  EXPECT_NE(html.find("One model"), std::string::npos);
  EXPECT_FALSE(summary_json(run, analysis)["measures"]["f1"].contains("friedman"));
  EXPECT_EQ(summary_text(run, analysis).find("Friedman"), std::string::npos);
}

TEST_F(Report, Version2CountsBothKindsOfQuestions) {
  const RunDirectory run = make({"gemma", "llama"}, true);
  const Analysis analysis = analyse(run, {"f1"}, 1);
  for (const ModelSummary& model : analysis.models) {
    EXPECT_EQ(model.no_answer.n, 20U);
    EXPECT_EQ(model.has_answer.n, 40U);
  }
  const double all = analysis.measure("f1").means[0].mean;
  EXPECT_NEAR(all, (40 * analysis.models[0].has_answer.f1() + 20 * analysis.models[0].no_answer.f1()) / 60,
              1e-9);
  EXPECT_NE(report::report_html(run, analysis).find("No answer: right"), std::string::npos);
}

TEST_F(Report, NeedsAWholeRun) {
  const RunDirectory run = make({"gemma", "llama"});
  std::ofstream(run.path() / "answers.jsonl") << "";
  const std::string error = gemma::test::refusal_of([&] { analyse(RunDirectory::read(run.path()), {}, 1); });
  EXPECT_NE(error.find("0 of 120 answers"), std::string::npos) << error;
}

// Two passages of three questions, 100 tokens each of which 80 are shared: the first computes 100 tokens in a
// second, the others 20 in 0.3 s. Alone, all six would have computed 100: 4 x 0.7 s more.
TEST_F(Report, SavingIsThatOfWholePrompts) {
  gemma::test::TemporaryFolder folder;
  Dataset set;
  set.version = "1.1";
  Answers answers(1);
  for (std::size_t i = 0; i < 6; ++i) {
    if (i % 3 == 0) set.passages.push_back({"t", fmt::format("words {}", i)});
    set.questions.push_back({fmt::format("q{}", i), "?", {{"words", 0}}, i / 3});
    const bool first = i % 3 == 0;
    const double prefill = first ? 1.0 : 0.3;
    answers[0].push_back(
        Answer{"words", "end_of_turn", 100, 5, {prefill + 0.5, prefill, prefill, 0.5, first ? 0U : 80U}});
  }
  RunSettings settings;
  settings.n_questions = 6;
  settings.preset = make_preset("chat", false);
  settings.models = {{"m", "f", "0", "d"}};
  RunDirectory::start(folder / "run", settings, set).fill(answers);
  const Analysis analysis = analyse(RunDirectory::read(folder / "run"), {}, 1);
  const ModelSummary& model = analysis.models[0];
  EXPECT_NEAR(model.prefill_tokens_per_s, 100, 1e-9);
  EXPECT_NEAR(model.decode_tokens_per_s, 10, 1e-9);
  EXPECT_NEAR(model.gains.seconds, 6.2, 1e-9);
  EXPECT_NEAR(model.alone_s, 6.2 + 4 * 0.7, 1e-9);
  EXPECT_EQ(saving_text(model), "31%");
}

// Answers that were computed together: no form of the report gives them a speed, and all say why.
TEST_F(Report, BatchesHaveNoWordsPerSecond) {
  const RunDirectory alone = make({"gemma", "llama"}), run = make({"gemma", "llama"}, false, 4);
  const Analysis analysis = analyse(run, {"f1"}, 1);
  EXPECT_FALSE(analysis.is_timed());
  const json summary = json::parse(summary_json(run, analysis).dump());
  EXPECT_TRUE(summary["measures"]["words_per_second"]["means"].is_null());
  EXPECT_NE(summary["measures"]["words_per_second"]["in_words"].get<std::string>().find("--batch 1"),
            std::string::npos);
  EXPECT_EQ(summary["measures"]["f1"],
            json::parse(summary_json(alone, analyse(alone, {"f1"}, 1)).dump())["measures"]["f1"]);
  for (const json& model : summary["models"]) {
    EXPECT_EQ(model["batch"], 4);
    EXPECT_TRUE(model["decode_tokens_per_s"].is_null());
    EXPECT_NEAR(model["tokens_per_forward"].get<double>(), 4, 1e-3);
    EXPECT_NEAR(model["questions_per_hour"].get<double>() * model["seconds"].get<double>(), 60 * 3600, 1e-3);
  }
  const auto csv = parse_csv(answers_csv(run, analysis));
  for (std::size_t i = 0; i < csv[0].size(); ++i) {
    for (const char* name : {"words_per_second", "words_per_second_corrected", "prefill_s", "decode_s"}) {
      if (csv[0][i] == name) {
        EXPECT_EQ(csv[5][i], "") << name;
      }
    }
  }
  const std::string why = "no answer has words per second of its own";
  for (const std::string& text : {summary_text(run, analysis), report::report_html(run, analysis)}) {
    EXPECT_NE(text.find(why), std::string::npos);
    EXPECT_EQ(text.find("words/s"), std::string::npos);
  }
  EXPECT_EQ(summary_text(alone, analyse(alone, {"f1"}, 1)).find(why), std::string::npos);
}

TEST(ReportWords, PairsFromBothSides) {
  Measure measure;
  measure.friedman.p = 0.01;
  measure.conover = {{0, 1, 0.5, 3, 3, 0.01, 0.02, 0, false, 0}};
  EXPECT_EQ(relation_in_words(measure, 0, true), "better");
  EXPECT_EQ(relation_in_words(measure, 0, false), "worse");
  measure.higher_is_better = false;
  EXPECT_EQ(relation_in_words(measure, 0, true), "worse");
  measure.conover[0].p_holm = 0.06;
  EXPECT_EQ(relation_in_words(measure, 0, true), "no difference shown at 5%");
  measure.conover[0].p_holm = 0.02;
  measure.friedman.p = 0.06;  // pairs differ only if the models differ overall
  EXPECT_EQ(relation_in_words(measure, 0, true), "no difference shown at 5%");
}

TEST(ReportWords, Numbers) {
  EXPECT_EQ(short_number(0.691), "0.69");
  EXPECT_EQ(short_number(20.34), "20.3");
  EXPECT_EQ(short_number(147.6), "148");
  EXPECT_EQ(short_number(0.00432), "0.0043");
  EXPECT_EQ(short_number(0), "0.00");
  EXPECT_EQ(p_text(0.0004), "p < 0.001");
  EXPECT_EQ(p_text(0.0123), "p = 0.012");
  EXPECT_EQ(p_text(0.25), "p = 0.25");
}

TEST(Charts, AxisTicks) {
  EXPECT_EQ(report::axis_ticks(3), (std::vector<double>{0, 1, 2, 3}));
  for (const double end : {0.0007, 0.4, 1.0, 7.3, 99.0, 1233.0, 5e6}) {
    const std::vector<double> ticks = report::axis_ticks(end);
    EXPECT_GE(ticks.back(), end * (1 - 1e-9));
    EXPECT_GE(ticks.size(), 3U) << end;
    EXPECT_LE(ticks.size(), 6U) << end;
  }
}

// ---- the bundled set ----

TEST(DemoSet, IsLargeEnoughAndAnswersStandInItsPassages) {
  const Dataset set = parse_dataset(embedded::kDemoSet, "demo_set.json");
  EXPECT_FALSE(set.is_v2);
  EXPECT_GE(set.passages.size(), 30U);
  EXPECT_GE(set.questions.size(), 90U);
  std::vector<std::string> texts;
  for (const Question& question : set.questions) {
    const std::string& passage = set.passages[question.passage].text;
    ASSERT_FALSE(question.truths.empty()) << question.id;
    for (const Truth& truth : question.truths) {  // ASCII only, so code points are bytes
      EXPECT_EQ(passage.substr(truth.start, truth.text.size()), truth.text) << question.id;
      EXPECT_FALSE(normalize_answer(truth.text).empty()) << question.id;
    }
    EXPECT_TRUE(question.text.ends_with('?')) << question.id;
    texts.push_back(passage + question.text);
  }
  std::sort(texts.begin(), texts.end());
  EXPECT_EQ(std::adjacent_find(texts.begin(), texts.end()), texts.end()) << "a question twice";
  EXPECT_TRUE(std::all_of(embedded::kDemoSet.begin(), embedded::kDemoSet.end(),
                          [](char c) { return static_cast<unsigned char>(c) < 0x80; }));
}

}  // namespace
}  // namespace gemma::squad
