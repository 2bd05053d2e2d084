#include "examples/squad/analysis.hpp"

#include <algorithm>
#include <cmath>

#include "examples/squad/fail.hpp"
#include "examples/squad/text.hpp"

namespace gemma::squad {
namespace {

double ratio(double a, double b) {
  return b > 0 ? a / b : 0;
}

AnswerMetrics metrics_of(const Answer& answer, const Question& question, bool is_v2) {
  AnswerMetrics m;
  m.article_words = article_word_count(answer.text);
  m.words = word_count(answer.text);
  m.article_words_per_s = ratio(static_cast<double>(m.article_words), answer.timing.total_s);
  m.words_per_s = ratio(static_cast<double>(m.words), answer.timing.total_s);
  m.score = score_answer(as_prediction(answer.text, is_v2), question.truths, is_v2);
  return m;
}

class Analyser {
 public:
  Analyser(const RunDirectory& run, std::uint64_t seed)
      : run_(run), seed_(seed), k_(run.n_models()), n_(run.n_questions()) {}

  void add_answers() {
    out_.answers.resize(k_);
    out_.models.resize(k_);
    for (std::size_t m = 0; m < k_; ++m) {
      for (std::size_t i = 0; i < n_; ++i) {
        const Answer& answer = run_.answer(m, i);
        out_.answers[m].push_back(metrics_of(answer, run_.question(i), run_.questions().is_v2));
        add_times(answer, out_.models[m]);
        const bool none = run_.question(i).truths.empty();
        (none ? out_.models[m].no_answer : out_.models[m].has_answer).add(out_.answers[m].back().score);
      }
      finish_times(out_.models[m]);
    }
  }

  void add_measures() {
    if (out_.is_timed()) {
      add({"words_per_second", "Words per second", "words/s", true, false},
          [](const AnswerMetrics& m) { return m.article_words_per_s; });
      add({"words_per_second_corrected", "Words per second, digits counted", "words/s", true, false},
          [](const AnswerMetrics& m) { return m.words_per_s; });
    }
    add({"words", "Answer length", "words", true, false},
        [](const AnswerMetrics& m) { return real(m.article_words); });
    add({"exact", "Exact match", "%"}, [](const AnswerMetrics& m) { return 100 * m.score.exact; });
    add({"f1", "F1", "%"}, [](const AnswerMetrics& m) { return 100 * m.score.f1; });
    add({"words_corrected", "Answer length, digits counted", "words", true, false},
        [](const AnswerMetrics& m) { return real(m.words); });
  }

  void add_judge(const std::string& name) {
    JudgeSummary judge;
    judge.verdicts = read_verdicts(run_, name);
    judge.bias = position_bias(judge.verdicts, k_);
    Measure measure{"raq_" + name, "RAQ rank by judge " + name, "", false};
    RankColumns columns = rank_columns(run_, judge.verdicts);
    measure.values = std::move(columns.ranks);
    measure.questions = std::move(columns.questions);
    for (std::size_t i = 0; i < n_; ++i) {
      if (!measure.value_of(0, i)) judge.unranked.push_back(i);
    }
    for (const std::vector<double>& ranks : measure.values) {
      std::vector<double> share(2 * k_ - 1, 0);
      for (const double rank : ranks)
        share[static_cast<std::size_t>(std::lround(2 * (rank - 1)))] += 1.0 / real(ranks.size());
      judge.rank_shares.push_back(std::move(share));
    }
    judge.measure = out_.measures.size();
    finish(std::move(measure));
    out_.judges.push_back(std::move(judge));
  }

  Analysis take() { return std::move(out_); }

 private:
  static double real(std::size_t n) { return static_cast<double>(n); }

  static void add_times(const Answer& answer, ModelSummary& model) {
    const std::size_t cached = std::min(answer.prompt_tokens, answer.timing.cached_tokens);
    const double computed = real(answer.prompt_tokens - cached);
    model.gains.add(answer);
    if (2 * cached <= answer.prompt_tokens) {
      model.whole_tokens += computed;
      model.whole_s += answer.timing.prefill_s;
    }
    model.prefill_s += answer.timing.prefill_s;
    model.decode_s += answer.timing.decode_s;
    model.first_token_s += answer.timing.first_token_s;
    ++model.stops[answer.stop];
  }

  void finish_times(ModelSummary& model) const {
    model.first_token_s = ratio(model.first_token_s, real(n_));
    model.prefill_tokens_per_s = ratio(model.whole_tokens, model.whole_s);
    model.decode_tokens_per_s = ratio(model.gains.tokens, model.decode_s);
    const double alone_prefill_s = ratio(model.gains.prompt_tokens, model.prefill_tokens_per_s);
    model.alone_s = model.gains.seconds + std::max(0.0, alone_prefill_s - model.prefill_s);
  }

  template <typename Value>
  void add(Measure measure, Value value) {
    for (const std::vector<AnswerMetrics>& answers : out_.answers) {
      std::vector<double> column;
      for (const AnswerMetrics& answer : answers) column.push_back(value(answer));
      measure.values.push_back(std::move(column));
    }
    for (std::size_t i = 0; i < n_; ++i) measure.questions.push_back(i);
    finish(std::move(measure));
  }

  void finish(Measure measure) {
    const std::size_t n = measure.questions.size();
    std::vector<std::size_t> passages;
    for (const std::size_t question : measure.questions) passages.push_back(run_.question(question).passage);
    for (const std::vector<double>& column : measure.values) {
      measure.means.push_back(stats::bootstrap_mean(column, passages, seed_));
    }
    if (k_ >= 2) {
      measure.kruskal = stats::kruskal_wallis(measure.values);
      measure.dunn = stats::dunn(measure.values);
      measure.friedman = stats::friedman(measure.values);
      measure.wilcoxon = stats::wilcoxon(measure.values);
      // a single question gives nothing to compare; then no pair is said to differ
      measure.conover =
          n >= 2 ? stats::conover(measure.values) : std::vector<stats::Pair>(measure.dunn.size());
      measure.questions_overall = stats::questions_for_friedman(measure.friedman, k_, n);
      const double alpha = stats::kAlpha / real(measure.wilcoxon.size());
      for (const stats::Pair& pair : measure.wilcoxon) {
        measure.questions_pairs.push_back(stats::questions_for_wilcoxon(pair.z, n, alpha));
      }
    }
    out_.measures.push_back(std::move(measure));
  }

  const RunDirectory& run_;
  std::uint64_t seed_;
  std::size_t k_, n_;
  Analysis out_;
};

}  // namespace

std::optional<double> Measure::value_of(std::size_t model, std::size_t question) const {
  const auto at = std::lower_bound(questions.begin(), questions.end(), question);
  if (at == questions.end() || *at != question) return std::nullopt;
  return values[model][static_cast<std::size_t>(at - questions.begin())];
}

bool Analysis::is_timed() const noexcept {
  return std::ranges::all_of(models, &ModelSummary::is_timed);
}

const Measure& Analysis::measure(std::string_view key) const {
  const auto found = std::ranges::find(measures, key, &Measure::key);
  if (found == measures.end()) refuse("no measure named {}", key);
  return *found;
}

Analysis analyse(const RunDirectory& run, const std::vector<std::string>& judges, std::uint64_t seed) {
  run.check_whole("a report needs all of them (continue the run, or merge its shards)");
  Analyser analyser(run, seed);
  analyser.add_answers();
  analyser.add_measures();
  for (const std::string& judge : judges) analyser.add_judge(judge);
  return analyser.take();
}

}  // namespace gemma::squad
