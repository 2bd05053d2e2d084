#include "bench/along_text.hpp"

#include <cstdint>
#include <cstdio>
#include <span>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "bench/statistics.hpp"

namespace gemma::bench {
namespace {

/// The last `n_gen` tokens of a text are generated after those before them.
struct TextTest {
  std::size_t n_prompt, n_gen;
  unsigned threads;
  std::string draft;  // as --draft says it
};

/// Seconds of each run's decoding, from the first token to the last, and what guesses did in a run.
struct TextResult {
  TextTest test;
  std::size_t n_steps = 0, n_drafted = 0, n_accepted = 0;
  std::vector<double> seconds;
  double speedup = 0;  // over the same without guesses, by medians; 0: that is this one

  /// Tokens that were computed in these seconds: the first comes with the prompt, nothing follows the last.
  double tokens() const noexcept { return static_cast<double>(test.n_gen - 1); }
  std::vector<double> speeds() const {
    std::vector<double> out;
    for (const double s : seconds) out.push_back(tokens() / s);
    return out;
  }
  double tokens_per_step() const noexcept {
    return n_steps == 0 ? 0 : tokens() / static_cast<double>(n_steps);
  }
};

/// One run; its tokens are said in turn, whatever the logits.
void run_once(Session& session, std::span<const std::int32_t> prompt, std::span<const std::int32_t> said,
              TextResult& r) {
  session.set_tokens(prompt);
  std::size_t at = 0;
  const GenerateResult g =
      session.generate([&](std::span<const float>) { return said[at++]; },
                       {.max_tokens = said.size(), .ignore_end = true, .draft = r.test.draft != "off"});
  r.seconds.push_back(g.seconds - g.first_token_seconds);
  r.n_steps = g.n_steps;
  r.n_drafted = g.n_drafted;
  r.n_accepted = g.n_accepted;
}

/// In turn without guesses and, unless draft is "off", with.
std::vector<TextResult> run_test(const Model& model, std::span<const std::int32_t> tokens, std::size_t n_gen,
                                 const SessionOptions& options, const TextOptions& test) {
  Session session(model, options);
  const auto prompt = tokens.first(tokens.size() - n_gen), said = tokens.last(n_gen);
  std::vector<TextResult> out(test.draft == "off" ? 1 : 2);
  for (TextResult& r : out) r.test = {prompt.size(), n_gen, session.n_threads(), "off"};
  out.back().test.draft = test.draft;
  for (std::size_t i = 0; i < test.repetitions; ++i) {
    for (TextResult& r : out) run_once(session, prompt, said, r);
  }
  if (out.size() == 2) out[1].speedup = median(out[0].seconds) / median(out[1].seconds);
  return out;
}

nlohmann::ordered_json to_json(const Model& model, const TextResult& r) {
  std::vector<double> ns;
  for (const double s : r.seconds) ns.push_back(s * 1e9);
  return {{"build_commit", GEMMA_VERSION_STRING},
          {"model_filename", model.file().path()},
          {"model_type", model.config().name},
          {"model_size", model.file().size_bytes()},
          {"n_threads", r.test.threads},
          {"n_prompt", r.test.n_prompt},
          {"n_gen", r.test.n_gen},
          {"avg_ns", static_cast<std::uint64_t>(mean(ns))},
          {"stddev_ns", static_cast<std::uint64_t>(stddev(ns))},
          {"avg_ts", mean(r.speeds())},
          {"stddev_ts", stddev(r.speeds())},
          {"samples_ts", r.speeds()},
          {"isa", std::string(model.kernels().name)},
          {"draft", r.test.draft},
          {"n_steps", r.n_steps},
          {"tokens_per_step", r.tokens_per_step()},
          {"n_drafted", r.n_drafted},
          {"n_accepted", r.n_accepted},
          {"speedup", r.speedup}};
}

void print_text_head(const Model& model) {
  fmt::print(
      "{} on {}\n\n"
      "| test | draft | threads | tokens/s | tokens a step | guessed | right | speedup |\n"
      "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
      model.config().name, model.kernels().name);
}

void print(const TextResult& r) {
  fmt::print("| text tg{} @ d{} | {} | {} | {:.2f} ± {:.2f} | {:.2f} | {} | {} | {} |\n", r.test.n_gen,
             r.test.n_prompt, r.test.draft, r.test.threads, mean(r.speeds()), stddev(r.speeds()),
             r.tokens_per_step(), r.n_drafted, r.n_accepted,
             r.speedup == 0 ? std::string() : fmt::format("{:.2f}", r.speedup));
}

}  // namespace

void run_along_text(const Model& model, const TextOptions& options) {
  const Tokenizer& tokenizer = model.tokenizer();
  const auto tokens = tokenizer.encode(options.text, {.add_bos = tokenizer.vocab().add_bos()});
  SessionOptions session = options.session;
  session.n_ctx = tokens.size();
  for (const std::size_t n_gen : options.n_gen) {
    if (n_gen < 2 || n_gen >= tokens.size()) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("the text has {} tokens: {} of them cannot be generated after the others "
                              "(-n from 2 on, and one token before them)",
                              tokens.size(), n_gen));
    }
  }
  plan_session(model, session);
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  if (!options.json) print_text_head(model);
  for (const unsigned threads : options.threads) {
    session.n_threads = threads;
    for (const std::size_t n : options.n_gen) {
      for (const TextResult& r : run_test(model, tokens, n, session, options)) {
        if (options.json) {
          rows.push_back(to_json(model, r));
        } else {
          print(r);
          std::fflush(stdout);
        }
      }
    }
  }
  if (options.json) fmt::print("{}\n", rows.dump(2));
}

}  // namespace gemma::bench
