// A judge behind any endpoint with OpenAI's chat completions interface.
// Invariant: a verdict is a ranking that the endpoint gave in full, never a guess.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "examples/squad/judge.hpp"

namespace gemma::squad {

/// The default judge model, and the article's (asked by a function call).
inline constexpr std::string_view kCurrentJudgeModel = "gpt-4.1-mini", kArticleJudgeModel = "gpt-3.5-turbo";

struct OpenAiOptions {
  std::string url = "https://api.openai.com/v1";  // http or https; "/chat/completions" is added
  std::string key;                                // empty: no key is sent
  std::string model = std::string(kCurrentJudgeModel);
  // schema: output by a JSON schema; function: the article's function call; tools: its successor; json: JSON
  // output without a schema
  std::string format = "schema";
  JudgePrompt prompt = JudgePrompt::kArticle;
  std::optional<double> temperature = 0;  // nullopt: not sent, so the model's default is used
  std::size_t attempts = 6;               // per question, including the first
  double connect_timeout_s = 10;
  double timeout_s = 60;          // for one whole attempt
  double backoff_s = 1;           // before the second attempt; doubled each time, with jitter, up to the next
  double longest_backoff_s = 60;  // also the limit for Retry-After
};

/// A request is repeated after a pause (Retry-After, if given) when the connection failed or broke off, the
/// time ran out, or the status is 408, 409, 429 or 5xx; and at once after a reply that does not rank all
/// answers. A question without a ranking after the last attempt, or refused with 400, 413 or 422, has no
/// verdict. Any other status, 429 for an exhausted quota, and a refused temperature end the judging, with the
/// endpoint's message in the error. Throws gemma::Error (invalid_argument) for an invalid URL or format.
std::unique_ptr<Judge> make_openai_judge(const OpenAiOptions& options);

}  // namespace gemma::squad
