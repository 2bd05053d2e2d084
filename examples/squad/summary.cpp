#include "examples/squad/summary.hpp"

#include <algorithm>

#include <boost/algorithm/string/replace.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "examples/printable.hpp"
#include "examples/squad/in_words.hpp"
#include "examples/squad/text.hpp"

namespace gemma::squad {
namespace {

using nlohmann::ordered_json;

ordered_json omnibus_json(const stats::Omnibus& test, const char* effect) {
  return {{"statistic", test.statistic}, {"df", test.df}, {"p", test.p}, {effect, test.effect}};
}

ordered_json pairs_json(const RunDirectory& run, const std::vector<stats::Pair>& pairs,
                        const char* statistic) {
  ordered_json out = ordered_json::array();
  for (const stats::Pair& pair : pairs) {
    out.push_back({{"a", run.model_name(pair.a)},
                   {"b", run.model_name(pair.b)},
                   {"mean_rank_difference", pair.difference},
                   {statistic, pair.statistic},  // an infinite one is written as null
                   {"p", pair.p},
                   {"p_holm", pair.p_holm}});
  }
  return out;
}

ordered_json count_json(const std::optional<std::size_t>& n) {
  return n ? ordered_json(*n) : ordered_json(nullptr);
}

ordered_json measure_json(const RunDirectory& run, const Measure& measure) {
  ordered_json means = ordered_json::object();
  for (std::size_t m = 0; m < measure.means.size(); ++m) {
    const auto& [mean, low, high] = measure.means[m];
    means[run.model_name(m)] = {{"mean", mean}, {"low", low}, {"high", high}};
  }
  ordered_json out = {{"title", measure.title}, {"unit", measure.unit}, {"means", means}};
  if (measure.means.size() < 2) return out;
  ordered_json wilcoxon = pairs_json(run, measure.wilcoxon, "w");
  ordered_json decision = ordered_json::array();
  for (std::size_t i = 0; i < measure.wilcoxon.size(); ++i) {
    wilcoxon[i]["z"] = measure.wilcoxon[i].z;
    wilcoxon[i]["n"] = measure.wilcoxon[i].n;
    wilcoxon[i]["exact"] = measure.wilcoxon[i].exact;
    wilcoxon[i]["rank_biserial"] = measure.wilcoxon[i].effect;
    decision.push_back({{"a", run.model_name(measure.wilcoxon[i].a)},
                        {"b", run.model_name(measure.wilcoxon[i].b)},
                        {"differs", measure.differs(i)},
                        {"in_words", pair_in_words(run, measure, i)},
                        {"questions_for_80_percent_power", count_json(measure.questions_pairs[i])}});
  }
  out["kruskal_wallis"] = omnibus_json(measure.kruskal, "epsilon_squared");
  out["dunn_holm"] = pairs_json(run, measure.dunn, "z");
  out["friedman"] = omnibus_json(measure.friedman, "kendalls_w");
  out["conover_holm"] = pairs_json(run, measure.conover, "t");
  out["wilcoxon_holm"] = wilcoxon;
  out["questions_for_80_percent_power"] = count_json(measure.questions_overall);
  out["decision"] = decision;
  out["in_words"] = verdict_in_words(run, measure);
  return out;
}

ordered_json model_json(const RunDirectory& run, const Analysis& analysis, std::size_t m) {
  const ModelSummary& model = analysis.models[m];
  const Gains& gains = model.gains;
  const auto if_timed = [&](double value) {
    return model.is_timed() ? ordered_json(value) : ordered_json(nullptr);
  };
  ordered_json out = to_json(run.settings().models[m]);
  out.update(ordered_json{{"prompt_tokens", gains.prompt_tokens},
                          {"computed_prompt_tokens", gains.prompt_tokens - gains.cached_tokens},
                          {"tokens", gains.tokens},
                          {"seconds", gains.seconds},
                          {"questions_per_hour", gains.questions_per_hour()},
                          {"prefill_tokens_per_s", if_timed(model.prefill_tokens_per_s)},
                          {"decode_tokens_per_s", if_timed(model.decode_tokens_per_s)},
                          {"mean_first_token_s", model.first_token_s},
                          {"seconds_without_sharing", if_timed(model.alone_s)},
                          {"batch", gains.batch},
                          {"tokens_per_forward", gains.tokens_per_forward()},
                          {"drafted", gains.drafted},
                          {"accepted", gains.accepted},
                          {"stops", model.stops}});
  if (run.questions().is_v2) {
    const auto totals = [](const ScoreTotals& t) {
      return ordered_json{{"exact", t.exact()}, {"f1", t.f1()}, {"n", t.n}};
    };
    out["has_answer"] = totals(model.has_answer);
    out["no_answer"] = totals(model.no_answer);
  }
  return out;
}

/// Why a question has no ranking: the first stored reason.
std::string trouble_of(const JudgeSummary& judge, std::size_t question) {
  for (const auto& [showing, verdict] : judge.verdicts.latest) {
    if (showing.question == question && verdict.ranks.empty()) return verdict.trouble;
  }
  return "";
}

ordered_json judge_json(const RunDirectory& run, const Analysis& analysis, const JudgeSummary& judge) {
  ordered_json shares = ordered_json::object(), unranked = ordered_json::array();
  for (const std::size_t question : judge.unranked) {
    unranked.push_back({{"id", run.question(question).id}, {"trouble", trouble_of(judge, question)}});
  }
  for (std::size_t m = 0; m < judge.rank_shares.size(); ++m) shares[run.model_name(m)] = judge.rank_shares[m];
  return {{"name", judge.verdicts.name},
          {"identity", ordered_json::parse(judge.verdicts.identity)},
          {"order", to_string(judge.verdicts.policy)},
          {"verdicts", judge.verdicts.n_ranked()},
          {"questions", analysis.measure(judge).questions.size()},
          {"unranked", unranked},
          {"attempts", judge.verdicts.attempts},
          {"prompt_tokens", judge.verdicts.prompt_tokens},
          {"completion_tokens", judge.verdicts.completion_tokens},
          {"measure", analysis.measure(judge).key},
          {"rank_shares", shares},
          {"mean_rank_by_position", judge.bias.mean_rank},
          {"position_bias_p", judge.bias.is_known ? ordered_json(judge.bias.p) : ordered_json(nullptr)}};
}

std::string csv_field(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  return "\"" + boost::replace_all_copy(std::string(text), "\"", "\"\"") + "\"";
}

std::string joined_truths(const Question& question) {
  std::string out;
  for (const Truth& truth : question.truths) out += (out.empty() ? "" : " | ") + truth.text;
  return out;
}

/// One line per model, with columns as wide as needed; numbers are right-aligned.
std::string text_table(const RunDirectory& run, const std::vector<Column>& columns) {
  const std::size_t k = run.n_models();
  std::vector<std::string> lines(k + 2);
  const auto add = [&](const std::string& title, bool left, const auto& cell) {
    std::vector<std::string> cells = {title, ""};
    for (std::size_t m = 0; m < k; ++m) cells.push_back(cell(m));
    std::size_t width = 0;
    for (const std::string& text : cells) width = std::max(width, n_characters(text));
    cells[1] = std::string(width, '-');
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const std::string pad(width - n_characters(cells[i]), ' ');
      lines[i] += (lines[i].empty() ? "" : "  ") + (left ? cells[i] + pad : pad + cells[i]);
    }
  };
  add("model", true, [&](std::size_t m) { return shortened_middle(app::printable(run.model_name(m)), 24); });
  for (const Column& column : columns) add(column.title, false, column.cell);
  std::string out;
  for (const std::string& line : lines) out += line + "\n";
  return out;
}

}  // namespace

ordered_json summary_json(const RunDirectory& run, const Analysis& analysis) {
  const RunSettings& settings = run.settings();
  ordered_json out;
  out["dataset"] = {
      {"file", settings.dataset}, {"sha256", settings.dataset_sha256}, {"v2", run.questions().is_v2}};
  out["questions"] = run.n_questions();
  out["passages"] = run.questions().passages.size();
  out["seed"] = settings.seed;
  out["preset"] = settings.preset.name;
  out["machine"] = settings.machine;
  out["models"] = ordered_json::array();
  for (std::size_t m = 0; m < settings.models.size(); ++m)
    out["models"].push_back(model_json(run, analysis, m));
  out["measures"] = ordered_json::object();
  for (const Measure& measure : analysis.measures) out["measures"][measure.key] = measure_json(run, measure);
  if (!analysis.is_timed()) {
    for (const char* key : {"words_per_second", "words_per_second_corrected"}) {
      out["measures"][key] = {{"unit", "words/s"}, {"means", nullptr}, {"in_words", untimed_text(analysis)}};
    }
  }
  out["judges"] = ordered_json::array();
  for (const JudgeSummary& judge : analysis.judges) out["judges"].push_back(judge_json(run, analysis, judge));
  return out;
}

std::string answers_csv(const RunDirectory& run, const Analysis& analysis) {
  std::string out =
      "model,id,title,question,truths,answer,exact,f1,words,words_corrected,words_per_second,"
      "words_per_second_corrected,prompt_tokens,cached_tokens,tokens,total_s,prefill_s,first_token_s,decode_"
      "s,stop";
  for (const JudgeSummary& judge : analysis.judges) out += "," + csv_field("rank_" + judge.verdicts.name);
  out += "\r\n";
  const Dataset& set = run.questions();
  for (std::size_t m = 0; m < run.n_models(); ++m) {
    for (std::size_t i = 0; i < set.questions.size(); ++i) {
      const Question& question = set.questions[i];
      const Answer& answer = run.answer(m, i);
      const AnswerMetrics& metrics = analysis.answers[m][i];
      const Timing& timing = answer.timing;
      const auto if_timed = [&](double value) {
        return timing.batch == 1 ? fmt::format("{}", value) : std::string();
      };
      out += fmt::format(
          "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}", csv_field(run.model_name(m)),
          csv_field(question.id), csv_field(set.passages[question.passage].title), csv_field(question.text),
          csv_field(joined_truths(question)), csv_field(answer.text), metrics.score.exact, metrics.score.f1,
          metrics.article_words, metrics.words, if_timed(metrics.article_words_per_s),
          if_timed(metrics.words_per_s), answer.prompt_tokens, timing.cached_tokens, answer.tokens,
          timing.total_s, if_timed(timing.prefill_s), timing.first_token_s, if_timed(timing.decode_s),
          csv_field(answer.stop));
      for (const JudgeSummary& judge : analysis.judges) {
        const std::optional<double> rank = analysis.measure(judge).value_of(m, i);
        out += rank ? fmt::format(",{}", *rank) : ",";
      }
      out += "\r\n";
    }
  }
  return out;
}

std::string predictions_json(const RunDirectory& run, std::size_t model) {
  ordered_json out = ordered_json::object();
  for (std::size_t i = 0; i < run.n_questions(); ++i) {
    out[run.question(i).id] = as_prediction(run.answer(model, i).text, run.questions().is_v2);
  }
  return out.dump(1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

std::string summary_text(const RunDirectory& run, const Analysis& analysis) {
  const auto interval = [](const std::string& title, const Measure& measure) {
    return interval_column(title, measure, "{} [{}, {}]");
  };
  const auto gains = [&](std::size_t m) -> const Gains& { return analysis.models[m].gains; };
  const auto number = [&](const std::string& title, double ModelSummary::*value) {
    return Column{title,
                  [&analysis, value](std::size_t m) { return short_number(analysis.models[m].*value); }};
  };
  std::vector<Column> quality = {interval("exact match %", analysis.measure("exact")),
                                 interval("F1 %", analysis.measure("f1"))};
  for (const JudgeSummary& judge : analysis.judges) {
    quality.push_back(interval("RAQ " + judge.verdicts.name, analysis.measure(judge)));
  }
  std::vector<Column> speed = {interval("words", analysis.measure("words"))};
  if (analysis.is_timed()) {
    speed.push_back(interval("words/s", analysis.measure("words_per_second")));
    speed.push_back(number("prefill t/s", &ModelSummary::prefill_tokens_per_s));
    speed.push_back(number("decode t/s", &ModelSummary::decode_tokens_per_s));
  } else {
    speed.push_back({"at once", [&](std::size_t m) { return fmt::format("{}", gains(m).batch); }});
    speed.push_back(
        {"tokens per pass", [&](std::size_t m) { return short_number(gains(m).tokens_per_forward()); }});
  }
  speed.push_back(
      {"questions/h", [&](std::size_t m) { return short_number(gains(m).questions_per_hour()); }});
  speed.push_back({"saved", [&](std::size_t m) { return saving_text(analysis.models[m]); }});
  std::string out = text_table(run, quality) + "\n" + text_table(run, speed) +
                    "(means with 95% bootstrap intervals; RAQ: mean rank, 1 is the best; saved: " +
                    (analysis.is_timed() ? "time, " : "") + "by computing each passage once)\n";
  if (!analysis.is_timed()) out += untimed_text(analysis) + "\n";
  for (const JudgeSummary& judge : analysis.judges) {
    if (judge.verdicts.prompt_tokens > 0) {
      out += fmt::format("judge {}: {}\n", judge.verdicts.name, judge_cost_text(judge));
    }
    if (!judge.unranked.empty()) {
      out += fmt::format("judge {}: {}\n", judge.verdicts.name, unranked_text(run, judge));
    }
  }
  if (run.n_models() < 2) return out;
  out += fmt::format("\nF1: {}\n", verdict_in_words(run, analysis.measure("f1")));
  for (const JudgeSummary& judge : analysis.judges) {
    out += fmt::format("RAQ by judge {}: {}\n", judge.verdicts.name,
                       verdict_in_words(run, analysis.measure(judge)));
  }
  if (!analysis.is_timed()) return out;
  return out +
         fmt::format("Words per second: {}\n", verdict_in_words(run, analysis.measure("words_per_second")));
}

}  // namespace gemma::squad
