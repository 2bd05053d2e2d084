#include "examples/sampling_flags.hpp"

#include <CLI/CLI.hpp>

#include "examples/program.hpp"
#include "examples/random_seed.hpp"
#include "tokenizer/sampling_defaults.hpp"

namespace gemma::app {

void SamplingFlags::add_to(CLI::App& app) {
  app.add_option(
         "--temp", temperature,
         "Temperature: 0 always takes the likeliest token, higher is more varied (default: the file's or its "
         "family's, else 0.7)")
      ->check(RealNumber{0, 1e6})
      ->type_name("T");
  app.add_option(
         "--top-k", top_k,
         "Choose among the K likeliest tokens; 0: among all (default: the file's or its family's, else 64)")
      ->check(WholeNumber{0, 1 << 30})
      ->type_name("K");
  app.add_option("--top-p", top_p,
                 "Choose among the likeliest tokens that make up probability P (default: the file's or its "
                 "family's, else 0.95)")
      ->check(RealNumber{0, 1, true})
      ->type_name("P");
  app.add_option("--min-p", min_p,
                 "Leave out tokens below P times the likeliest one's probability (default: the file's or its "
                 "family's, else 0)")
      ->check(RealNumber{0, 1})
      ->type_name("P");
  app.add_option(
         "--repeat-penalty", repeat_penalty,
         "Make the last 64 tokens, of the prompt too, less likely by this factor; 1: off (default: the "
         "file's or its family's, else 1)")
      ->check(RealNumber{0, 1e6, true})
      ->type_name("X");
  app.add_option("--seed", seed,
                 "Seed of the random choices; the same seed gives the same answers (default: random)")
      ->check(whole_number)
      ->type_name("N");
}

SamplerOptions SamplingFlags::settled(const Model& model, const std::string& chat_template) const {
  SamplingDefaults d;
  if (model.has_tokenizer()) {
    const ChatTemplate chat = ChatTemplate::from(model.vocab(), chat_template);
    d = sampling_defaults(model.file(), chat.dialect());
  }
  SamplerOptions s;
  s.temperature = temperature.value_or(d.temperature);
  s.top_k = top_k.value_or(d.top_k);
  s.top_p = top_p.value_or(d.top_p);
  s.min_p = min_p.value_or(d.min_p);
  s.repeat_penalty = repeat_penalty.value_or(d.repeat_penalty);
  s.seed = seed ? *seed : random_seed();
  return s;
}

void AnswerFlags::add_to(CLI::App& app) {
  app.add_option("-n,--max-tokens", max_tokens,
                 "Maximum number of tokens of an answer; -1: until the model ends it or the context is full "
                 "(default: 1024)")
      ->check(WholeNumber{-1, 1 << 30})
      ->type_name("N");
  app.add_option("--stop", stop_strings, "End an answer before this text; may be repeated")
      ->take_all()
      ->allow_extra_args(false)
      ->type_name("TEXT");
}

}  // namespace gemma::app
