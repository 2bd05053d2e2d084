#include "examples/squad/in_words.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "examples/printable.hpp"

namespace gemma::squad {
namespace {

/// How models that differ by a measure relate.
struct Words {
  const char *ahead_of, *ahead, *behind;
};

Words words_for(const Measure& measure) {
  if (measure.is_quality) return {"is better than", "better", "worse"};
  if (measure.unit == "words") return {"writes longer answers than", "longer", "shorter"};
  return {"is faster than", "faster", "slower"};
}

/// Whether a is ahead of b: mean ranks are those of values, smallest first.
bool is_ahead(const Measure& measure, const stats::Pair& pair) {
  return (pair.difference > 0) == measure.higher_is_better;
}

/// The list price of a judge's tokens, in dollars per million.
struct Price {
  std::string_view model;
  double prompt, completion;
};
constexpr Price kPrices[] = {{"gpt-3.5-turbo", 0.50, 1.50},
                             {"gpt-4.1", 2.00, 8.00},
                             {"gpt-4.1-mini", 0.40, 1.60},
                             {"gpt-4o-mini", 0.15, 0.60}};

}  // namespace

Column interval_column(const std::string& title, const Measure& measure, const char* format) {
  return {title, [&measure, format](std::size_t m) {
            const auto& [mean, low, high] = measure.means[m];
            return fmt::format(fmt::runtime(format), short_number(mean), short_number(low),
                               short_number(high));
          }};
}

std::string saving_text(const ModelSummary& model) {
  if (model.gains.cached_tokens == 0) return "nothing";
  if (!model.is_timed()) return fmt::format("{:.0f}% of prompt tokens", 100 * model.gains.shared());
  return fmt::format("{:.0f}%", 100 * (1 - model.gains.seconds / model.alone_s));
}

std::string untimed_text(const Analysis& analysis) {
  if (analysis.is_timed()) return "";
  return "Several questions were answered in one forward pass, so that no answer has words per second of its "
         "own (--batch 1 asks one at a time).";
}

std::string judge_cost_text(const JudgeSummary& judge) {
  const Verdicts& verdicts = judge.verdicts;
  std::string text = fmt::format("{} verdicts in {} attempts", verdicts.n_ranked(), verdicts.attempts);
  const std::size_t prompt = verdicts.prompt_tokens, completion = verdicts.completion_tokens;
  if (prompt + completion == 0) return text;
  text += fmt::format("; {} prompt and {} completion tokens", prompt, completion);
  const nlohmann::json identity = nlohmann::json::parse(verdicts.identity);
  const auto* const price = std::ranges::find(kPrices, identity.value("model", ""), &Price::model);
  if (price == std::end(kPrices)) return text;
  const double dollars =
      (price->prompt * static_cast<double>(prompt) + price->completion * static_cast<double>(completion)) /
      1e6;
  return text + fmt::format(", about ${:.4f} at list price", dollars);
}

std::string unranked_text(const RunDirectory& run, const JudgeSummary& judge) {
  constexpr std::size_t kMostNamed = 5;
  if (judge.unranked.empty()) return "";
  std::vector<std::string> ids;
  for (const std::size_t question : judge.unranked) {
    ids.push_back(ids.size() < kMostNamed ? app::printable(run.question(question).id) : "...");
    if (ids.size() > kMostNamed) break;
  }
  return fmt::format("no ranking of {} of {} questions, which are left out of its ranks ({})",
                     judge.unranked.size(), run.n_questions(), fmt::join(ids, ", "));
}

std::string p_text(double p) {
  if (p < 0.001) return "p < 0.001";
  return fmt::format("p = {:.{}f}", p, p < 0.1 ? 3 : 2);
}

std::string short_number(double value) {
  const double size = std::fabs(value);
  if (size >= 1e6) return fmt::format("{:.3g}", value);
  return fmt::format("{:.{}f}", value,
                     size >= 99.95                 ? 0
                     : size >= 9.995               ? 1
                     : size >= 0.0995 || size == 0 ? 2
                                                   : 4);
}

std::string pair_in_words(const RunDirectory& run, const Measure& measure, std::size_t pair) {
  if (!measure.differs(pair)) return "no difference shown at 5%";
  const stats::Pair& test = measure.conover[pair];
  const bool a_ahead = is_ahead(measure, test);
  return fmt::format("{} {} {} ({} after Holm)", run.model_name(a_ahead ? test.a : test.b),
                     words_for(measure).ahead_of, run.model_name(a_ahead ? test.b : test.a),
                     p_text(test.p_holm));
}

std::string relation_in_words(const Measure& measure, std::size_t pair, bool of_first) {
  if (!measure.differs(pair)) return "no difference shown at 5%";
  const bool ahead = is_ahead(measure, measure.conover[pair]) == of_first;
  return ahead ? words_for(measure).ahead : words_for(measure).behind;
}

std::string verdict_in_words(const RunDirectory& run, const Measure& measure) {
  if (measure.means.size() < 2) return "One model: nothing to compare.";
  if (!measure.differs()) {
    std::string text = fmt::format("No difference between the models shown at 5% (Friedman, {}).",
                                   p_text(measure.friedman.p));
    if (measure.questions_overall) {
      text += fmt::format(
          " If they differ as much as they seem to, about {} questions would show it 4 times in 5.",
          *measure.questions_overall);
    }
    return text;
  }
  constexpr std::size_t kMostPairs = 6;  // all pairs of four models; more are too many for a sentence
  std::vector<std::string> pairs;
  for (std::size_t i = 0; i < measure.conover.size(); ++i) {
    if (measure.differs(i)) pairs.push_back(pair_in_words(run, measure, i));
  }
  std::string which = fmt::format("{}", fmt::join(pairs, "; "));
  if (pairs.empty()) which = "no single pair is shown to differ at 5%";
  if (pairs.size() > kMostPairs) {
    which =
        fmt::format("{} of {} pairs do at 5% (Conover, after Holm)", pairs.size(), measure.conover.size());
  }
  return fmt::format("The models differ (Friedman, {}): {}.", p_text(measure.friedman.p), which);
}

}  // namespace gemma::squad
