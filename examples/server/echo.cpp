#include "examples/server/echo.hpp"

#include <string_view>
#include <utility>

#include "examples/server/answers.hpp"
#include "examples/server/prompts.hpp"

namespace gemma::server {
namespace {

/// Finds which part of each token is visible in the text: not the BOS before it, nor the space that some
/// vocabularies add at the start.
void find_in_text(std::string_view text, std::vector<TokenLogprob>& tokens) {
  for (TokenLogprob& t : tokens) {
    const std::string_view token = t.token;
    if (text.starts_with(token)) {
      text.remove_prefix(token.size());
    } else if (token.starts_with(' ') && text.starts_with(token.substr(1))) {
      t.n_hidden = 1;
      text.remove_prefix(token.size() - 1);
    } else {
      t.n_hidden = token.size();
    }
  }
}

EchoedPrompt echo_of(ServedModel& model, const CompletionRequest& asked, const Prompt& prompt,
                     const std::function<bool()>& give_up) {
  const Tokenizer& tokenizer = model.model().tokenizer();
  EchoedPrompt out;
  const auto* text = std::get_if<std::string>(&prompt);
  out.text = text != nullptr ? *text : tokenizer.decode(std::get<std::vector<std::int32_t>>(prompt));
  if (!asked.logprobs) return out;
  const std::vector<std::int32_t> ids = prompt_ids(model, prompt);
  const ScoredPrompt scored = model.score(ids, asked.top_logprobs, give_up);
  const auto told = [&](const ScoredPrompt::Token& t) {
    return logprob_of(tokenizer, t.id, t.log_probability, t.top);
  };
  out.logprobs.push_back(logprob_of(tokenizer, ids.front(), 0, {}));
  out.logprobs.back().is_known = false;
  for (const ScoredPrompt::Token& t : scored.tokens) out.logprobs.push_back(told(t));
  find_in_text(out.text, out.logprobs);
  if (scored.end) {
    out.end = told(*scored.end);
    out.end->n_hidden = out.end->token.size();
  }
  return out;
}

}  // namespace

std::vector<EchoedPrompt> echo_of(ServedModel& model, const CompletionRequest& asked,
                                  const std::function<bool()>& give_up) {
  std::vector<EchoedPrompt> out;
  for (const Prompt& p : asked.prompts) out.push_back(echo_of(model, asked, p, give_up));
  return out;
}

}  // namespace gemma::server
