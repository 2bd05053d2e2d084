// A judge behind any endpoint that speaks OpenAI's chat completions.
// Invariant: a verdict is a ranking that the endpoint gave in full; anything else (a stall, an error, half a
// JSON, nonsense, wrong IDs) is asked again, and after the last attempt it is no verdict, never a guess.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "examples/squad/judge.hpp"

namespace gemma::squad {

/// Whom to ask where nobody is named, and whom the article asked (by a function call).
inline constexpr std::string_view kCurrentJudgeModel = "gpt-4.1-mini", kArticleJudgeModel = "gpt-3.5-turbo";

struct OpenAiOptions {
  std::string url = "https://api.openai.com/v1";  // http or https; "/chat/completions" is added
  std::string key;                                // empty: none is sent
  std::string model = std::string(kCurrentJudgeModel);
  // schema: output by JSON schema; function: the article's function call; tools: its successor; json: JSON
  // output without a schema
  std::string format = "schema";
  JudgePrompt prompt = JudgePrompt::kArticle;
  std::optional<double> temperature = 0;  // none: none is sent, and the model takes its own
  std::size_t attempts = 6;               // of one question, the first included
  double connect_timeout_s = 10;
  double timeout_s = 60;          // of one whole attempt
  double backoff_s = 1;           // before the second attempt; doubled each time, with jitter, up to the next
  double longest_backoff_s = 60;  // also bounds what a Retry-After may ask for
};

/// Retried: no connection, time-outs, HTTP 408, 409, 429 and 5xx (waiting as long as Retry-After says), and
/// at once replies that are no ranking. A question that has no ranking after the last attempt, or is refused
/// (400, 413, 422), is one without a verdict. Judging ends, with the endpoint's own words in the error: by
/// any other status, 429 for a spent quota, and a refused temperature. Throws gemma::Error (invalid_argument)
/// for a URL or format that is none.
std::unique_ptr<Judge> make_openai_judge(const OpenAiOptions& options);

/// What the tokens cost, in dollars per million.
struct TokenPrice {
  double prompt = 0, completion = 0;
};

/// List price of a model that is known here (gpt-3.5-turbo: 0.50 and 1.50), zeros for others.
TokenPrice list_price(std::string_view model) noexcept;

}  // namespace gemma::squad
