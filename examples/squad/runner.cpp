#include "examples/squad/runner.hpp"

#include <algorithm>
#include <unordered_map>

#include <fmt/format.h>

#include "examples/squad/fail.hpp"
#include "examples/squad/gains.hpp"
#include "examples/squad/progress.hpp"
#include "examples/squad/prompts.hpp"
#include "examples/squad/random.hpp"

namespace gemma::squad {
namespace {

Prompt prompt_of(const RunDirectory& run, std::size_t question) {
  const Dataset& set = run.questions();
  const Question& q = set.questions[question];
  const Preset& preset = run.settings().preset;
  return {fill_template(preset.prompt_template, set.passages[q.passage].text, q.text), preset.chat};
}

/// Context in tokens that the model needs for `questions`.
std::size_t window_for(const RunDirectory& run, const ModelSpec& model, const AnswerSource& source,
                       const std::vector<std::size_t>& questions) {
  const Preset& preset = run.settings().preset;
  const std::size_t limit = source.facts().context_limit;
  const bool fixed = preset.context > 0;
  const std::size_t window = fixed ? static_cast<std::size_t>(preset.context) : limit;
  if (window > limit) {
    refuse("{}: a window of {} tokens is asked for; the model was made for {}", model.name, window, limit);
  }
  std::size_t longest = 0;
  for (const std::size_t question : questions) {
    const std::size_t n = source.count_tokens(prompt_of(run, question));
    if (n >= window) {
      fail(EngineErrorCode::kContextFull,
           "{}: the prompt of question {} has {} tokens; the window of {} leaves no room for an answer",
           model.name, run.question(question).id, n, window);
    }
    longest = std::max(longest, n);
  }
  return fixed ? window : std::min(window, longest + preset.sampling.max_tokens);
}

/// "4500 questions/h; 71% of the prompts' tokens shared; up to 32 questions at once, 11.2 tokens per forward
/// pass; 40 of 90 guessed tokens right".
std::string in_words(const Gains& gains) {
  if (gains.n == 0) return "";
  std::string out = fmt::format("{:.0f} questions/h; {:.0f}% of the prompts' tokens shared",
                                gains.questions_per_hour(), 100 * gains.shared());
  if (gains.batch > 1) out += fmt::format("; up to {} questions at once", gains.batch);
  if (gains.tokens_per_forward() > 1.05)
    out += fmt::format(", {:.1f} tokens per forward pass", gains.tokens_per_forward());
  if (gains.drafted > 0) out += fmt::format("; {} of {} guessed tokens right", gains.accepted, gains.drafted);
  return out;
}

}  // namespace

std::uint64_t sampling_seed(std::uint64_t run_seed, std::string_view id) {
  return SplitMix64(run_seed ^ hash_of(id)).next();
}

void check_names(const std::vector<ModelSpec>& models) {
  if (models.empty()) refuse("no model: give --model NAME=FILE");
  std::unordered_map<std::string, std::string> names;  // by part of a file name
  for (const ModelSpec& model : models) {
    if (model.name.empty() || model.file.empty())
      refuse("a model needs a name and a file: --model NAME=FILE");
    check_name("a model", model.name);
    const auto [there, is_new] = names.emplace(file_part(model.name), model.name);
    if (is_new) continue;
    if (there->second == model.name) refuse("two models are named {}", gemma::quoted(model.name));
    refuse("the models {} and {} would share predictions-{}.json: choose other names",
           gemma::quoted(there->second), gemma::quoted(model.name), there->first);
  }
}

bool run_questions(RunDirectory& run, const std::vector<ModelSpec>& models, const SourceFactory& factory,
                   const std::atomic<bool>& cancel, std::FILE* progress, std::size_t batch) {
  check_names(models);
  struct Plan {
    std::size_t model = 0;
    std::vector<std::size_t> questions;
    std::size_t window = 0, batch = 1;
  };
  std::vector<Plan> plans;  // of the models with something to answer
  for (std::size_t m = 0; m < models.size(); ++m) {
    Plan plan{m, run.missing(m)};
    if (plan.questions.empty()) continue;
    const std::unique_ptr<AnswerSource> source = factory(models[m]);
    plan.window = window_for(run, models[m], *source, plan.questions);
    if (run.settings().preset.share_passages) {
      plan.batch = std::min(plan.questions.size(), batch != 0 ? batch : source->most_at_once(plan.window));
    }
    // reports what does not fit before another model has worked for hours
    source->reserve(plan.window, plan.batch);
    plans.push_back(std::move(plan));
  }
  const std::size_t own = run.own_questions().size();
  for (const Plan& plan : plans) {
    const std::size_t m = plan.model;
    const std::unique_ptr<AnswerSource> source = factory(models[m]);
    source->reserve(plan.window, plan.batch);
    std::vector<Query> queries;
    for (const std::size_t question : plan.questions) {
      Sampling sampling = run.settings().preset.sampling;
      sampling.seed = sampling_seed(run.settings().seed, run.question(question).id);
      queries.push_back({prompt_of(run, question), sampling});
    }
    Progress bar(progress, fmt::format("{} ({}/{})", models[m].name, m + 1, models.size()), "questions",
                 own - queries.size(), own);
    Gains gains;
    source->ask(queries, run.settings().preset.share_passages, cancel, [&](std::size_t i, Answer answer) {
      gains.add(answer);
      const std::string note = answer.text;
      run.append(m, plan.questions[i], std::move(answer));
      bar.step(note);
    });
    bar.end(in_words(gains));
    if (cancel.load()) return false;
  }
  run.finish();
  return true;
}

}  // namespace gemma::squad
