#include "examples/squad/report/report.hpp"

#include <boost/algorithm/string/replace.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "examples/squad/embedded.hpp"
#include "examples/squad/in_words.hpp"
#include "examples/squad/json_lines.hpp"
#include "examples/squad/report/charts.hpp"
#include "examples/squad/report/sections.hpp"

namespace gemma::squad::report {
namespace {

using nlohmann::ordered_json;

ordered_json answer_json(const RunDirectory& run, const Analysis& analysis, std::size_t m, std::size_t q) {
  const Answer& answer = run.answer(m, q);
  const AnswerMetrics& metrics = analysis.answers[m][q];
  ordered_json ranks = ordered_json::array();
  for (const JudgeSummary& judge : analysis.judges) {
    const std::optional<double> rank = analysis.measure(judge).value_of(m, q);
    ranks.push_back(rank ? ordered_json(*rank) : ordered_json(nullptr));
  }
  return {{"text", answer.text}, {"exact", metrics.score.exact}, {"f1", metrics.score.f1},
          {"ranks", ranks},      {"words", metrics.words},       {"seconds", answer.timing.total_s},
          {"stop", answer.stop}, {"batch", answer.timing.batch}};
}

std::string data_json(const RunDirectory& run, const Analysis& analysis) {
  const Dataset& set = run.questions();
  ordered_json data;
  data["models"] = ordered_json::array();
  for (const ModelIdentity& model : run.settings().models) data["models"].push_back(model.name);
  data["judges"] = ordered_json::array();
  for (const JudgeSummary& judge : analysis.judges) data["judges"].push_back(judge.verdicts.name);
  data["passages"] = ordered_json::array();
  for (const Passage& passage : set.passages) {
    data["passages"].push_back({{"title", passage.title}, {"text", passage.text}});
  }
  data["questions"] = ordered_json::array();
  for (std::size_t q = 0; q < set.questions.size(); ++q) {
    const Question& question = set.questions[q];
    ordered_json truths = ordered_json::array(), answers = ordered_json::array();
    for (const Truth& truth : question.truths)
      truths.push_back(ordered_json::array({truth.text, truth.start}));
    for (std::size_t m = 0; m < run.n_models(); ++m) {
      answers.push_back(answer_json(run, analysis, m, q));
    }
    data["questions"].push_back({{"id", question.id},
                                 {"question", question.text},
                                 {"passage", question.passage},
                                 {"truths", truths},
                                 {"answers", answers}});
  }
  // nothing in it may look like the end of the script element
  return boost::replace_all_copy(to_line(data), "<", "\\u003c");
}

/// The filters of answers that depend on the run.
std::string filters(const RunDirectory& run) {
  std::string only;
  for (std::size_t m = 0; m < run.n_models() && run.n_models() > 1; ++m) {
    const std::string name = escape_html(run.model_name(m));
    only += fmt::format(
        "<option value=\"only{0}\">only {1} exact</option><option value=\"not{0}\">all but {1} "
        "exact</option>",
        m, name);
  }
  if (run.questions().is_v2) only += "<option value=\"none\">without an answer</option>";
  return only;
}

/// "gemma, llama and mistral"; only the number if there are more than four.
std::string names_in_words(const RunDirectory& run) {
  const std::size_t k = run.n_models();
  if (k > 4) return fmt::format("{} models", k);
  std::string names;
  for (std::size_t m = 0; m < k; ++m) {
    names += m == 0 ? "" : m + 1 == k ? " and " : ", ";
    names += escape_html(run.model_name(m));
  }
  return names;
}

/// The results in words.
std::string lead(const RunDirectory& run, const Analysis& analysis) {
  const auto line = [](const std::string& what, const std::string& result) {
    return fmt::format("<p><b>{}.</b> {}</p>", escape_html(what), escape_html(result));
  };
  std::string out = line("Right answers (F1)", verdict_in_words(run, analysis.measure("f1")));
  for (const JudgeSummary& judge : analysis.judges) {
    out += line("Answer quality ranked by judge " + judge.verdicts.name,
                verdict_in_words(run, analysis.measure(judge)));
  }
  if (!analysis.is_timed()) return out + line("Speed", untimed_text(analysis));
  if (run.n_models() < 2) return out;
  return out + line("Speed (words per second)", verdict_in_words(run, analysis.measure("words_per_second")));
}

}  // namespace

std::string report_html(const RunDirectory& run, const Analysis& analysis) {
  const RunSettings& settings = run.settings();
  using fmt::arg;
  return fmt::format(fmt::runtime(embedded::kPageHtml), arg("style", embedded::kStyleCss),
                     arg("names", names_in_words(run)), arg("n_questions", run.n_questions()),
                     arg("n_passages", run.questions().passages.size()),
                     arg("dataset", escape_html(settings.dataset)), arg("seed", settings.seed),
                     arg("preset", escape_html(settings.preset.name)),
                     arg("machine", escape_html(settings.machine)), arg("lead", lead(run, analysis)),
                     arg("figures", figures(run, analysis)), arg("tests", tests_section(run, analysis)),
                     arg("speed", speed_table(run, analysis)), arg("speed_note", speed_note(run, analysis)),
                     arg("filters", filters(run)), arg("settings", settings_list(run, analysis)),
                     arg("prompt_template", escape_html(settings.preset.prompt_template)),
                     arg("data", data_json(run, analysis)), arg("script", embedded::kScriptJs));
}

}  // namespace gemma::squad::report
