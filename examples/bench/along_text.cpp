#include "examples/bench/along_text.hpp"

#include <cstdint>
#include <span>

#include <fmt/format.h>

namespace gemma::bench {
namespace {

/// One test: the last `n_gen` tokens of a text are generated after the preceding `n_prompt`.
struct TextTest {
  std::size_t n_prompt, n_gen;
  unsigned threads;
  std::string draft;  // the value of --draft
};

/// The times are from the first generated token to the last, so they cover n_gen - 1 decode steps: the first
/// token is chosen from the prompt's logits, and nothing is computed after the last.
struct TextResult {
  TextTest test;
  Runs runs;
  std::size_t n_steps = 0, n_drafted = 0, n_accepted = 0;  // of one run
  double speedup = 0;  // median time without guesses over that with guesses; 0 in the result without guesses

  double tokens_per_step() const noexcept {
    return n_steps == 0 ? 0 : runs.tokens / static_cast<double>(n_steps);
  }
};

/// One run: generates the tokens of `said` one after another, whatever the logits are.
void run_once(Session& session, std::span<const std::int32_t> prompt, std::span<const std::int32_t> said,
              TextResult& r) {
  session.set_tokens(prompt);
  std::size_t at = 0;
  const GenerateResult g =
      session.generate([&](std::span<const float>) { return said[at++]; },
                       {.max_tokens = said.size(), .ignore_end = true, .draft = r.test.draft != "off"});
  r.runs.seconds.push_back(g.seconds - g.first_token_seconds);
  r.n_steps = g.n_steps;
  r.n_drafted = g.n_drafted;
  r.n_accepted = g.n_accepted;
}

/// Runs the test alternately without and, unless draft is "off", with guesses.
std::vector<TextResult> run_text_test(const Model& model, std::span<const std::int32_t> tokens,
                                      std::size_t n_gen, const SessionOptions& options,
                                      const std::string& draft, std::size_t repetitions) {
  Session session(model, options);
  const auto prompt = tokens.first(tokens.size() - n_gen), said = tokens.last(n_gen);
  std::vector<TextResult> out(draft == "off" ? 1 : 2);
  for (TextResult& r : out) {
    r.test = {prompt.size(), n_gen, session.n_threads(), "off"};
    r.runs.tokens = static_cast<double>(n_gen - 1);
  }
  out.back().test.draft = draft;
  for (std::size_t i = 0; i < repetitions; ++i) {
    for (TextResult& r : out) run_once(session, prompt, said, r);
  }
  if (out.size() == 2) out[1].speedup = median(out[0].runs.seconds) / median(out[1].runs.seconds);
  return out;
}

Json to_json(const Model& model, const TextResult& r) {
  Json row = file_fields(model);
  row.update({{"n_threads", r.test.threads}, {"n_prompt", r.test.n_prompt}, {"n_gen", r.test.n_gen}});
  row.update(time_fields(model, r.runs));
  row.update({{"draft", r.test.draft},
              {"n_steps", r.n_steps},
              {"tokens_per_step", r.tokens_per_step()},
              {"n_drafted", r.n_drafted},
              {"n_accepted", r.n_accepted},
              {"speedup", r.speedup}});
  return row;
}

std::string to_line(const TextResult& r) {
  return fmt::format("| text tg{} @ d{} | {} | {} | {} | {:.2f} | {} | {} | {} |", r.test.n_gen,
                     r.test.n_prompt, r.test.draft, r.test.threads, r.runs.speed_text(), r.tokens_per_step(),
                     r.n_drafted, r.n_accepted,
                     r.speedup == 0 ? std::string() : fmt::format("{:.2f}", r.speedup));
}

}  // namespace

void run_along_text(const Model& model, const TextTests& tests, const Setup& setup, Report& report) {
  const Tokenizer& tokenizer = model.tokenizer();
  const auto tokens = tokenizer.encode(tests.text);
  SessionOptions session = tests.session;
  session.chunk = setup.chunk;
  session.n_ctx = tokens.size();
  for (const std::size_t n_gen : tests.n_gen) {
    if (n_gen < 2 || n_gen >= tokens.size()) {
      throw Error(
          ErrorCode::kInvalidArgument,
          fmt::format("--n-gen: {} tokens cannot be generated along a text of {} token{}: 2 or more can, "
                      "and fewer than the text has",
                      n_gen, tokens.size(), tokens.size() == 1 ? "" : "s"));
    }
  }
  plan_session(model, session);
  report.set_columns(
      "| test | draft | threads | tokens/s | tokens a step | guessed | right | speedup |\n"
      "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n");
  for (const unsigned threads : setup.threads) {
    session.n_threads = threads;
    for (const std::size_t n : tests.n_gen) {
      for (const TextResult& r : run_text_test(model, tokens, n, session, tests.draft, setup.repetitions)) {
        report.add(to_json(model, r), to_line(r));
      }
    }
  }
}

}  // namespace gemma::bench
