#include "examples/squad/report/report.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "examples/squad/embedded.hpp"
#include "examples/squad/in_words.hpp"
#include "examples/squad/report/charts.hpp"
#include "examples/squad/report/sections.hpp"
#include "examples/squad/text.hpp"

namespace gemma::squad::report {
namespace {

using nlohmann::ordered_json;

/// Escapes JSON for a script element: nothing in it may look like the element's end.
std::string script_safe(std::string text) {
  for (std::size_t at = 0; (at = text.find('<', at)) != std::string::npos;) text.replace(at, 1, "\\u003c");
  return text;
}

ordered_json answer_json(const RunDirectory& run, const Analysis& analysis, std::size_t m, std::size_t q) {
  const Answer& answer = run.answer(m, q);
  const AnswerMetrics& metrics = analysis.answers[m][q];
  ordered_json ranks = ordered_json::array();
  for (const JudgeSummary& judge : analysis.judges) {
    const std::optional<double> rank = analysis.measures[judge.measure].value_of(m, q);
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
  return script_safe(data.dump(-1, ' ', false, ordered_json::error_handler_t::replace));
}

std::string answers_section(const RunDirectory& run) {
  std::string only;
  for (std::size_t m = 0; m < run.n_models() && run.n_models() > 1; ++m) {
    const std::string name = escape_html(run.model_name(m));
    only += fmt::format(
        "<option value=\"only{0}\">only {1} exact</option><option value=\"not{0}\">all but {1} "
        "exact</option>",
        m, name);
  }
  if (run.questions().is_v2) only += "<option value=\"none\">without an answer</option>";
  return fmt::format(
      "<h2 id=\"answers\">Answers side by side</h2><div class=\"tools\">"
      "<label class=\"skip\" for=\"search\">Search</label>"
      "<input id=\"search\" type=\"search\" placeholder=\"Search questions, passages, answers\">"
      "<select id=\"filter\" aria-label=\"Filter\"><option value=\"all\">all questions</option>"
      "<option value=\"split\">some exact, some not</option><option value=\"right\">all exact</option>"
      "<option value=\"wrong\">all wholly wrong</option>{}<option value=\"long\">cut short</option></select>"
      "<select id=\"order\" aria-label=\"Order\"><option value=\"asked\">as asked</option>"
      "<option value=\"spread\">largest difference first</option><option value=\"worst\">worst "
      "first</option></select>"
      "</div><div id=\"count\"></div><div id=\"list\"></div><button id=\"next\" hidden>more</button>"
      "<noscript><p class=\"card\">The list of answers needs JavaScript; answers.csv beside this file holds "
      "them "
      "all.</p></noscript>",
      only);
}

std::string header(const RunDirectory& run, const Analysis& analysis) {
  const RunSettings& settings = run.settings();
  const bool is_many = settings.models.size() > 4;
  std::string names = is_many ? fmt::format("{} models", settings.models.size()) : "";
  for (std::size_t m = 0; m < settings.models.size() && !is_many; ++m) {
    names += fmt::format("{}{}",
                         m == 0                            ? ""
                         : m + 1 == settings.models.size() ? " and "
                                                           : ", ",
                         escape_html(settings.models[m].name));
  }
  std::string lead = fmt::format("<p><b>Right answers (F1).</b> {}</p>",
                                 escape_html(verdict_in_words(run, analysis.measure("f1"))));
  for (const JudgeSummary& judge : analysis.judges) {
    lead +=
        fmt::format("<p><b>Answer quality ranked by judge {}.</b> {}</p>", escape_html(judge.verdicts.name),
                    escape_html(verdict_in_words(run, analysis.measures[judge.measure])));
  }
  if (!analysis.is_timed()) {
    lead += fmt::format("<p><b>Speed.</b> {}</p>", untimed_text(analysis));
  } else if (settings.models.size() > 1) {
    lead += fmt::format("<p><b>Speed (words per second).</b> {}</p>",
                        escape_html(verdict_in_words(run, analysis.measure("words_per_second"))));
  }
  return fmt::format(
      "<header><h1>{} on SQuAD</h1><p class=\"sub\">{} questions about {} passages of {}, seed {}, preset "
      "{}; {}</p>"
      "<nav><a href=\"#figures\">Figures</a><a href=\"#tests\">Tests</a><a href=\"#speed\">Speed</a>"
      "<a href=\"#answers\">Answers</a><a href=\"#settings\">Settings</a></nav>"
      "<div class=\"card lead\">{}</div></header>",
      names, run.questions().questions.size(), run.questions().passages.size(), escape_html(settings.dataset),
      settings.seed, escape_html(settings.preset.name), escape_html(settings.machine), lead);
}

}  // namespace

std::string report_html(const RunDirectory& run, const Analysis& analysis) {
  std::string html = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>SQuAD report</title>"
      "<style>{}</style></head>\n<body>\n",
      embedded::kStyleCss);
  html += header(run, analysis) + "\n<main>\n";
  html += figures_section(run, analysis) + "\n";
  html += tests_section(run, analysis) + "\n";
  html += speed_section(run, analysis) + "\n";
  html += answers_section(run) + "\n";
  html += settings_section(run, analysis) + "\n";
  html +=
      "</main>\n<footer>Made by gemma-squad. Intervals: 95%, bootstrap by passage, 1,000 resamples, seeded. "
      "summary.json beside this file holds every number.</footer>\n";
  html += fmt::format(
      "<script type=\"application/json\" id=\"data\">{}</script>\n<script>{}</script>\n</body></html>\n",
      data_json(run, analysis), embedded::kScriptJs);
  return html;
}

}  // namespace gemma::squad::report
