#include "examples/squad/report/sections.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "examples/progress_bar.hpp"
#include "examples/squad/in_words.hpp"
#include "examples/squad/report/charts.hpp"

namespace gemma::squad::report {
namespace {

std::string name_cell(const RunDirectory& run, std::size_t m) {
  const std::string name = escape_html(run.model_name(m));
  return fmt::format(
      "<th scope=\"row\"><i class=\"dot\" style=\"background:var(--m{0})\"></i><span "
      "title=\"{1}\">{1}</span></th>",
      m % 8, name);
}

std::string card(const std::string& content) {
  return "<div class=\"card\">" + content + "</div>";
}

std::string table(const std::vector<std::string>& head, const std::string& rows, const char* kind = "") {
  std::string out = fmt::format("<div class=\"scroll\"><table class=\"{}\"><thead><tr>", kind);
  for (const std::string& title : head) out += "<th>" + title + "</th>";
  return out + "</tr></thead><tbody>" + rows + "</tbody></table></div>";
}

std::string model_table(const RunDirectory& run, const std::vector<Column>& columns) {
  std::vector<std::string> head = {"Model"};
  for (const Column& column : columns) head.push_back(column.title);
  std::string rows;
  for (std::size_t m = 0; m < run.n_models(); ++m) {
    rows += "<tr>" + name_cell(run, m);
    for (const Column& column : columns) rows += "<td>" + column.cell(m) + "</td>";
    rows += "</tr>";
  }
  return table(head, rows);
}

// ---- figures ----

std::string measures_table(const RunDirectory& run, const Analysis& analysis) {
  std::vector<Column> columns;
  const auto add = [&](const std::string& title, const Measure& measure) {
    columns.push_back(interval_column(title, measure, "{}<span class=\"range\">{} \xE2\x80\x93 {}</span>"));
  };
  add("Exact match %", analysis.measure("exact"));
  add("F1 %", analysis.measure("f1"));
  for (const JudgeSummary& judge : analysis.judges) {
    add(fmt::format("RAQ rank ({})", escape_html(judge.verdicts.name)), analysis.measure(judge));
  }
  add("Words", analysis.measure("words"));
  if (analysis.is_timed()) add("Words/s", analysis.measure("words_per_second"));
  add("Digits counted: words", analysis.measure("words_corrected"));
  if (analysis.is_timed()) add("words/s", analysis.measure("words_per_second_corrected"));
  return card(model_table(run, columns));
}

std::string bias_text(const JudgeSummary& judge) {
  if (!judge.bias.is_known) {
    return judge.verdicts.policy == OrderPolicy::kFixed &&
                   judge.verdicts.identity.find("\"f1\"") != std::string::npos
               ? "This judge computes its ranks and sees no order."
               : "The answers were always shown in the same order, so a preference for a place cannot be "
                 "told from a preference for a model.";
  }
  std::string places;
  for (std::size_t i = 0; i < judge.bias.mean_rank.size(); ++i) {
    places += fmt::format("{}place {}: {:.2f}", i == 0 ? "" : ", ", i + 1, judge.bias.mean_rank[i]);
  }
  return fmt::format("Mean rank by the place in which an answer was shown: {}. {} (Friedman, {}).", places,
                     judge.bias.p <= 0.05
                         ? "The judge prefers some places; the orders were varied, which evens this out"
                         : "No preference for a place shown at 5%",
                     p_text(judge.bias.p));
}

// ---- tests ----

const char* shade_of(std::string_view word) {
  if (word == "better" || word == "faster") return " class=\"yes\"";
  if (word == "worse" || word == "slower") return " class=\"no\"";
  return word == "longer" || word == "shorter" ? " class=\"so\"" : "";
}

std::string pair_matrix(const RunDirectory& run, const Measure& measure) {
  const std::size_t k = measure.means.size();
  std::vector<std::string> head = {""};
  for (std::size_t m = 0; m < k; ++m) head.push_back("against " + escape_html(run.model_name(m)));
  std::string rows;
  for (std::size_t a = 0; a < k; ++a) {
    rows += "<tr>" + name_cell(run, a);
    for (std::size_t b = 0; b < k; ++b) {
      if (a == b) {
        rows += "<td class=\"self\">\xE2\x80\x94</td>";
        continue;
      }
      const std::size_t index = stats::pair_index(std::min(a, b), std::max(a, b), k);
      const std::string word = relation_in_words(measure, index, a < b);
      rows += fmt::format("<td{}>{}<span class=\"range\">{}</span></td>", shade_of(word), word,
                          p_text(measure.conover[index].p_holm));
    }
    rows += "</tr>";
  }
  return table(head, rows, "words");
}

std::string needed(const std::optional<std::size_t>& n) {
  return n ? fmt::format("{}", *n) : std::string("no number");
}

std::string measure_tests(const RunDirectory& run, const Measure& measure) {
  std::string out = fmt::format("<h3>{}</h3><p>{}</p>", escape_html(measure.title),
                                escape_html(verdict_in_words(run, measure)));
  out += pair_matrix(run, measure);
  out += fmt::format(
      "<details><summary>All tests</summary><p>Blocked, deciding: Friedman Q = {}, {} degrees of freedom, "
      "{}, Kendall's W = {:.3f}; questions for 80% power: {}. As the article tested, which takes the answers "
      "to one question for independent: Kruskal-Wallis H = {}, {}, \xCE\xB5\xC2\xB2 = {:.3f}; Dunn with Holm "
      "below.</p>",
      short_number(measure.friedman.statistic), measure.friedman.df, p_text(measure.friedman.p),
      measure.friedman.effect, needed(measure.questions_overall), short_number(measure.kruskal.statistic),
      p_text(measure.kruskal.p), measure.kruskal.effect);
  std::string rows;
  for (std::size_t i = 0; i < measure.dunn.size(); ++i) {
    const stats::Pair &dunn = measure.dunn[i], &conover = measure.conover[i], &wilcoxon = measure.wilcoxon[i];
    rows += fmt::format(
        "<tr><td>{} and {}</td><td>{}significant</td><td>{}</td><td>{}</td><td>{} ({})</td>"
        "<td>{:+.2f}</td><td>{:+.2f}</td><td>{}</td></tr>",
        escape_html(run.model_name(dunn.a)), escape_html(run.model_name(dunn.b)),
        dunn.p_holm <= 0.05 ? "" : "not ", p_text(dunn.p_holm), p_text(conover.p_holm),
        p_text(wilcoxon.p_holm), wilcoxon.exact ? "exact" : "normal", conover.difference, wilcoxon.effect,
        needed(measure.questions_pairs[i]));
  }
  out += table({"Pair", "Dunn: the article's word", "Dunn, Holm", "Conover, Holm", "Wilcoxon, Holm",
                "Mean rank difference", "Rank-biserial", "Questions for 80% power"},
               rows);
  return card(out + "</details>");
}

}  // namespace

std::string figures(const RunDirectory& run, const Analysis& analysis) {
  std::string out = measures_table(run, analysis) + "<div class=\"grid\" style=\"margin-top:16px\">";
  const auto add = [&](const Measure& measure, const char* note, double axis_end) {
    out += card(measure_chart(run, measure, note, axis_end));
  };
  if (analysis.is_timed()) {
    add(analysis.measure("words_per_second"),
        "words of the answer by the seconds of the whole call, prompt included", 0);
  } else {
    out += card(fmt::format("<h3>Words per second</h3><p>{}</p>", untimed_text(analysis)));
  }
  add(analysis.measure("words"), "as the article counts: letters only", 0);
  for (const JudgeSummary& judge : analysis.judges) {
    add(analysis.measure(judge), "mean rank, lower is better", static_cast<double>(run.n_models()));
  }
  add(analysis.measure("f1"), "share of words in common with the truth, best gold answer, %", 100);
  add(analysis.measure("exact"), "answers equal to the truth after normalisation, %", 100);
  for (const JudgeSummary& judge : analysis.judges) out += card(rank_chart(run, judge));
  out += "</div>";
  for (const JudgeSummary& judge : analysis.judges) {
    out += fmt::format("<p class=\"note\" style=\"margin-top:12px\">Judge {}: {}</p>",
                       escape_html(judge.verdicts.name), escape_html(bias_text(judge)));
    if (judge.unranked.empty()) continue;
    out += fmt::format("<p class=\"note\">Judge {}: {}.</p>", escape_html(judge.verdicts.name),
                       escape_html(unranked_text(run, judge)));
  }
  if (!run.questions().is_v2) return out;
  const auto share = [&](const char* title, ScoreTotals ModelSummary::*totals,
                         double (ScoreTotals::*value)() const) {
    return Column{title, [&analysis, totals, value](std::size_t m) {
                    return fmt::format("{:.1f}", (analysis.models[m].*totals.*value)());
                  }};
  };
  return out + "<div style=\"margin-top:16px\">" +
         card("<h3>Questions with and without an answer</h3>" +
              model_table(run,
                          {share("Has answer: exact match %", &ModelSummary::has_answer, &ScoreTotals::exact),
                           share("Has answer: F1 %", &ModelSummary::has_answer, &ScoreTotals::f1),
                           share("No answer: right %", &ModelSummary::no_answer, &ScoreTotals::exact)})) +
         "</div>";
}

std::string tests_section(const RunDirectory& run, const Analysis& analysis) {
  if (run.n_models() < 2) return "";
  std::string out =
      "<h2 id=\"tests\">Who differs from whom</h2><p class=\"sub\">Each question is answered by every model, "
      "so the models are compared within questions: Friedman's test, then Conover's with Holm's correction "
      "for each pair, at 5%. The article's own tests are shown beside them.</p><div class=\"grid\" "
      "style=\"grid-template-columns:minmax(0,1fr)\">";
  for (const JudgeSummary& judge : analysis.judges) out += measure_tests(run, analysis.measure(judge));
  for (const char* key : {"f1", "exact", "words_per_second", "words"}) {
    if (analysis.is_timed() || std::string_view(key) != "words_per_second")
      out += measure_tests(run, analysis.measure(key));
  }
  return out + "</div>";
}

std::string speed_table(const RunDirectory& run, const Analysis& analysis) {
  constexpr const char* kNone = "\xE2\x80\x94";
  const auto gains = [&](std::size_t m) -> const Gains& { return analysis.models[m].gains; };
  const auto if_timed = [&](const char* title, double ModelSummary::*value) {
    return Column{title, [&analysis, value](std::size_t m) {
                    const ModelSummary& model = analysis.models[m];
                    return model.is_timed() ? short_number(model.*value) : kNone;
                  }};
  };
  const auto per_question = [&](const char* title, double Gains::*tokens) {
    return Column{title, [gains, tokens](std::size_t m) {
                    return short_number(gains(m).*tokens / static_cast<double>(gains(m).n));
                  }};
  };
  const auto time = [&](std::size_t m) {
    const double seconds = gains(m).seconds;
    return seconds < 10 ? fmt::format("{:.2f} s", seconds) : app::time_text(seconds);
  };
  const auto guesses = [&](std::size_t m) {
    return gains(m).drafted == 0 ? kNone : fmt::format("{} of {}", gains(m).accepted, gains(m).drafted);
  };
  return model_table(
      run, {{"Questions/h", [&](std::size_t m) { return short_number(gains(m).questions_per_hour()); }},
            if_timed("Prefill tokens/s", &ModelSummary::prefill_tokens_per_s),
            if_timed("Decode tokens/s", &ModelSummary::decode_tokens_per_s),
            if_timed("First token, s", &ModelSummary::first_token_s),
            per_question("Prompt tokens", &Gains::prompt_tokens),
            per_question("Answer tokens", &Gains::tokens),
            {"Time in all", time},
            {"Saved", [&](std::size_t m) { return saving_text(analysis.models[m]); }},
            {"At once", [&](std::size_t m) { return fmt::format("{}", gains(m).batch); }},
            {"Tokens per pass", [&](std::size_t m) { return short_number(gains(m).tokens_per_forward()); }},
            {"Guesses right", guesses}});
}

std::string speed_note(const RunDirectory& run, const Analysis& analysis) {
  const bool is_shared = run.settings().preset.share_passages;
  std::string note = is_shared ? "Questions about one passage compute it once; the answers are the same. "
                               : "Every question computed its whole prompt, as the article's did.";
  if (!analysis.is_timed()) {
    note +=
        untimed_text(analysis) +
        " Saved: the share of the prompts' tokens that was not computed again. Tokens per pass: generated "
        "tokens per forward pass, 1 without batches and guesses.";
  } else if (is_shared) {
    note +=
        "Saved: the share of the time that the run would have taken if each question had computed its whole "
        "prompt, at the prefill speed of the first question of each passage.";
  }
  return note;
}

std::string settings_list(const RunDirectory& run, const Analysis& analysis) {
  const RunSettings& settings = run.settings();
  const Preset& preset = settings.preset;
  const Sampling& sampling = preset.sampling;
  std::string list;
  const auto add = [&](const std::string& name, const std::string& value) {
    list += fmt::format("<dt>{}</dt><dd>{}</dd>", escape_html(name), value);
  };
  add("Data set", fmt::format("{} <span class=\"mono wrap\">sha256 {}</span>", escape_html(settings.dataset),
                              escape_html(settings.dataset_sha256)));
  add("Questions", fmt::format("{}, seed {}", settings.n_questions, settings.seed));
  for (const ModelIdentity& model : settings.models) {
    add(model.name, fmt::format("{} ({}{}{}) <span class=\"mono wrap\">sha256 {}</span>",
                                escape_html(model.file), escape_html(model.description),
                                model.turns.empty() ? "" : ", turns: " + escape_html(model.turns),
                                model.window ? fmt::format(", sliding window {}", *model.window) : "",
                                escape_html(model.sha256)));
  }
  add("Preset",
      fmt::format("{}: {}, temperature {:g}, {}, at most {} tokens, window {}", escape_html(preset.name),
                  preset.chat ? "each model's own chat template" : "the plain prompt", sampling.temperature,
                  preset.share_passages ? "questions of a passage share its prefill"
                                        : "each question prefilled alone",
                  sampling.max_tokens,
                  preset.context > 0 ? std::to_string(preset.context) : "as long as needed"));
  if (sampling.top_k > 0 || sampling.top_p < 1 || sampling.repeat_penalty != 1) {
    add("Sampling", fmt::format("top-k {}, top-p {:g}, repeat penalty {:g}", sampling.top_k, sampling.top_p,
                                sampling.repeat_penalty));
  }
  add("Keys and values", escape_html(settings.kv));
  add("Machine", escape_html(settings.machine));
  for (const JudgeSummary& judge : analysis.judges) {
    add("Judge " + judge.verdicts.name,
        fmt::format("<code>{}</code>, order {}; {}", escape_html(judge.verdicts.identity),
                    to_string(judge.verdicts.policy), judge_cost_text(judge)));
  }
  return list;
}

}  // namespace gemma::squad::report
