#include "examples/squad/judge_openai.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <optional>
#include <thread>
#include <utility>

#include <boost/algorithm/string/replace.hpp>
#include <fmt/format.h>
#include <httplib.h>
#include <nlohmann/json.hpp>

#include "examples/numbers.hpp"
#include "examples/squad/fail.hpp"
#include "examples/squad/json_lines.hpp"
#include "examples/squad/judge_reply.hpp"
#include "examples/squad/random.hpp"
#include "examples/squad/text.hpp"

namespace gemma::squad {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kLargestReply = std::size_t{1} << 20;

struct Endpoint {
  std::string host;  // scheme://host:port
  std::string path;
};

Endpoint parse_url(const std::string& url) {
  const std::size_t scheme = url.find("://");
  const bool known = url.starts_with("http://") || url.starts_with("https://");
  if (!known || scheme + 3 >= url.size() || url[scheme + 3] == '/') {
    refuse("the judge's URL is http(s)://HOST/PATH, not {}", gemma::quoted(url));
  }
  const std::size_t slash = url.find('/', scheme + 3);
  Endpoint endpoint{url.substr(0, slash), slash == std::string::npos ? "" : url.substr(slash)};
  while (endpoint.path.ends_with('/')) endpoint.path.pop_back();
  if (!endpoint.path.ends_with("/chat/completions")) endpoint.path += "/chat/completions";
  return endpoint;
}

/// What a request without a ranking means for later ones.
enum class Outcome {
  kAgain,      // a temporary error of the endpoint; retry later
  kNoRanking,  // a reply without a ranking; the next one may have it
  kRefused,    // this request is refused; others may not be
  kHopeless    // every request will be refused
};

/// One attempt: the reason why there is no ranking and what to do, or a ranking.
struct Attempt {
  Outcome outcome = Outcome::kAgain;
  std::string trouble = {};
  double wait_s = -1;              // wait requested by the endpoint; negative: none
  std::vector<double> ranks = {};  // by position; empty: no ranking
};

/// The article's function.
constexpr std::string_view kFunction = R"({"name": "return_rank", "description": "Return the answer rank",
  "parameters": {"type": "object",
                 "properties": {"rank": {"type": "string", "description": "The id rank list."}},
                 "required": ["rank"]}})";
/// What a request holds for each way of asking for the ranking; FUNCTION stands for kFunction.
constexpr std::pair<std::string_view, std::string_view> kFormats[] = {
    {"schema", R"({"response_format": {"type": "json_schema", "json_schema": {"name": "rank", "strict": true,
  "schema": {"type": "object",
             "properties": {"rank": {"type": "array", "items": {"type": "integer"},
               "description": "The IDs of all answers, from the most to the least correct."}},
             "required": ["rank"],
             "additionalProperties": false}}}})"},
    {"function", R"({"functions": [FUNCTION], "function_call": {"name": "return_rank"}})"},
    {"tools", R"({"tools": [{"type": "function", "function": FUNCTION}],
  "tool_choice": {"type": "function", "function": {"name": "return_rank"}}})"},
    {"json", R"({"response_format": {"type": "json_object"}})"}};

/// The entry of `format`. Throws gemma::Error (invalid_argument) for another format.
ordered_json format_json(std::string_view format) {
  for (const auto& [name, text] : kFormats) {
    if (name != format) continue;
    return ordered_json::parse(boost::replace_all_copy(std::string(text), "FUNCTION", kFunction));
  }
  refuse("the judge's format is schema, function, tools or json, not {}", gemma::quoted(format));
}

/// The wait requested by the endpoint in seconds, from Retry-After (seconds or a date; RFC 9110, 10.2.3) or
/// OpenAI's header in milliseconds. Negative: none.
double retry_after(const httplib::Response& response) {
  const auto ms = app::parse_number<double>(response.get_header_value("retry-after-ms"));
  if (ms && *ms >= 0) return *ms / 1000;
  const std::string text = response.get_header_value("Retry-After");
  if (const auto seconds = app::parse_number<double>(text); seconds && *seconds >= 0) return *seconds;
  std::tm date{};
  if (!text.empty() && ::strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &date) != nullptr) {
    return std::max(0.0, std::difftime(::timegm(&date), std::time(nullptr)));
  }
  return -1;
}

/// A text in the endpoint's error, e.g. "/error/code"; nullopt if there is none.
std::optional<std::string> error_text(const std::string& body, const char* place) {
  const json root = json::parse(body, nullptr, false);
  const json::json_pointer at(place);
  if (!root.is_object() || !root.contains(at) || !root[at].is_string()) return std::nullopt;
  return root[at].get<std::string>();
}

/// The endpoint's error message, or the beginning of the body that it sent.
std::string error_words(const std::string& body) {
  for (const char* place : {"/error", "/error/message"}) {
    if (const auto words = error_text(body, place)) return shortened(*words, 200);
  }
  return shortened(body, 80);
}

/// Whether an error is about the temperature: OpenAI names the parameter; for others the message is searched.
bool is_about_temperature(int status, const std::string& body) {
  if (status != 400 && status != 422) return false;
  const std::string param = error_text(body, "/error/param").value_or("");
  if (!param.empty()) return param == "temperature";
  const std::string words = error_words(body);
  return words.find("temperature") != std::string::npos || words.find("Temperature") != std::string::npos;
}

/// A number of tokens of the usage; 0 if it is not valid.
std::size_t tokens_in(const json& usage, const char* name) {
  constexpr std::size_t kMost = 1000000000;  // so that sums cannot overflow
  const auto found = usage.find(name);
  if (found == usage.end() || !found->is_number_unsigned()) return 0;
  const auto tokens = found->get<std::size_t>();
  return tokens <= kMost ? tokens : 0;
}

std::string connection_words(httplib::Error error) {
  constexpr std::pair<httplib::Error, const char*> kWords[] = {
      {httplib::Error::Connection, "no connection"},
      {httplib::Error::ConnectionTimeout, "no connection"},
      {httplib::Error::Read, "the connection broke off"},
      {httplib::Error::Write, "the connection broke off"},
      {httplib::Error::Canceled,
       "a reply of more than 1 MiB"},  // the only reason for cancelling: kLargestReply
      {httplib::Error::SSLConnection, "no TLS connection"},
      {httplib::Error::SSLServerVerification, "its certificate cannot be verified"}};
  for (const auto& [code, words] : kWords) {
    if (code == error) return words;
  }
  return to_string(error);
}

class OpenAiJudge : public Judge {
 public:
  explicit OpenAiJudge(const OpenAiOptions& options)
      : options_(options), endpoint_(parse_url(options.url)), format_(format_json(options.format)) {}

  ordered_json identity() const override {
    return {
        {"judge", "openai"},
        {"url", options_.url},
        {"model", options_.model},
        {"format", options_.format},
        {"prompt", options_.prompt == JudgePrompt::kArticle ? "article" : "full"},
        {"temperature", options_.temperature ? ordered_json(*options_.temperature) : ordered_json(nullptr)}};
  }
  bool sees_order() const override { return true; }

  Verdict judge(const JudgeTask& task, std::span<const std::size_t> order,
                const std::atomic<bool>& cancel) override {
    const std::string body = request(task, order);
    Verdict verdict;
    SplitMix64 jitter(hash_of(task.id));
    double backoff = options_.backoff_s;
    for (verdict.attempts = 1;; ++verdict.attempts) {
      const Attempt attempt = ask(body, order.size(), verdict, cancel);
      if (cancel.load()) fail(EngineErrorCode::kCancelled, "stopped");
      if (!attempt.ranks.empty()) {
        verdict.ranks.resize(order.size());
        for (std::size_t i = 0; i < order.size(); ++i) verdict.ranks[order[i]] = attempt.ranks[i];
        return verdict;
      }
      if (attempt.outcome == Outcome::kHopeless) {
        fail(ErrorCode::kIo, "judge at {}, question {}: {}", endpoint_.host, task.id, attempt.trouble);
      }
      if (attempt.outcome == Outcome::kRefused || verdict.attempts == options_.attempts) {
        verdict.trouble = attempt.trouble;
        verdict.is_endpoint_down = attempt.outcome == Outcome::kAgain;
        return verdict;
      }
      if (attempt.outcome == Outcome::kNoRanking) continue;  // no wait is needed: the endpoint replies
      const double wait = attempt.wait_s >= 0 ? attempt.wait_s : backoff * (0.5 + 0.5 * jitter.uniform());
      pause(std::min(wait, options_.longest_backoff_s), cancel);
      backoff = std::min(2 * backoff, options_.longest_backoff_s);
    }
  }

 private:
  std::string request(const JudgeTask& task, std::span<const std::size_t> order) const {
    std::string prompt = ranking_prompt(options_.prompt, task, order);
    if (options_.format == "json") prompt += "\nReply in JSON, like this: {\"rank\": \"ID,ID,...\"}";
    ordered_json body = {{"model", options_.model}};
    if (options_.temperature) body["temperature"] = *options_.temperature;
    body["messages"] = ordered_json::array({{{"role", "user"}, {"content", prompt}}});
    body.update(format_);
    return to_line(body);
  }

  Attempt ask(const std::string& body, std::size_t k, Verdict& verdict,
              const std::atomic<bool>& cancel) const {
    httplib::Client client(endpoint_.host);
    if (!client.is_valid()) return {Outcome::kHopeless, "cannot be used"};
    const auto duration = [](double seconds) {
      return std::chrono::microseconds(std::llround(seconds * 1e6));
    };
    client.set_connection_timeout(duration(options_.connect_timeout_s));
    client.set_read_timeout(duration(options_.timeout_s));
    client.set_write_timeout(duration(options_.timeout_s));

    httplib::Request request;
    request.method = "POST";
    request.path = endpoint_.path;
    request.headers.emplace("Content-Type", "application/json");
    if (!options_.key.empty()) request.headers.emplace("Authorization", "Bearer " + options_.key);
    request.body = body;
    std::string received;
    request.content_receiver = [&](const char* data, std::size_t size, std::uint64_t, std::uint64_t) {
      received.append(data, size);
      return received.size() <= kLargestReply;
    };
    const auto deadline = Clock::now() + duration(options_.timeout_s);
    // ends the request at its deadline or when the user stops: httplib's time-outs apply to single reads, so
    // an endpoint that sends slowly would never reach them
    const std::jthread watchdog([&](const std::stop_token& done) {
      while (!done.stop_requested()) {
        if (Clock::now() >= deadline || cancel.load()) client.stop();
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
    });
    const httplib::Result result = client.send(request);
    if (!result) {
      const bool late = Clock::now() >= deadline;
      return {Outcome::kAgain, late ? fmt::format("no reply within {} s", options_.timeout_s)
                                    : connection_words(result.error())};
    }
    if (result->status != 200) return failed(*result, received);
    return read_reply(received, k, verdict);
  }

  Attempt failed(const httplib::Response& response, const std::string& body) const {
    const int status = response.status;
    const std::string moved = response.get_header_value("Location");
    const std::string words = fmt::format(
        "HTTP {}: {}", status, moved.empty() ? error_words(body) : "moved to " + shortened(moved, 200));
    if (is_about_temperature(status, body)) {
      const std::string asked = options_.temperature
                                    ? fmt::format("the temperature {:g}", *options_.temperature)
                                    : "its temperature";
      return {
          Outcome::kHopeless,
          fmt::format(
              "{} refuses {} (choose another with --judge-temperature, or none to send no temperature): {}",
              options_.model, asked, words)};
    }
    Outcome outcome = Outcome::kHopeless;
    if (status == 400 || status == 413 || status == 422) outcome = Outcome::kRefused;
    if (status == 408 || status == 409 || status == 429 || status >= 500) outcome = Outcome::kAgain;
    if (error_text(body, "/error/code") == "insufficient_quota") outcome = Outcome::kHopeless;
    return {outcome, words, retry_after(response)};
  }

  static Attempt read_reply(const std::string& body, std::size_t k, Verdict& verdict) {
    try {
      const json root = json::parse(body);
      if (root.contains("usage") && root["usage"].is_object()) {
        verdict.prompt_tokens += tokens_in(root["usage"], "prompt_tokens");
        verdict.completion_tokens += tokens_in(root["usage"], "completion_tokens");
      }
      const std::string text = reply_text(root.at("choices").at(0).at("message"));
      std::vector<double> ranks = ranking_in(text, k);
      if (!ranks.empty()) return {.ranks = std::move(ranks)};
      return {Outcome::kNoRanking,
              fmt::format("not a ranking of {}: {}", k, gemma::quoted(shortened(text, 120)))};
    } catch (const json::exception&) {
      return {Outcome::kNoRanking,
              fmt::format("not a chat completion: {}", gemma::quoted(shortened(body, 60)))};
    }
  }

  static void pause(double seconds, const std::atomic<bool>& cancel) {
    const auto end = Clock::now() + std::chrono::duration<double>(seconds);
    while (Clock::now() < end && !cancel.load()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    if (cancel.load()) fail(EngineErrorCode::kCancelled, "stopped");
  }

  OpenAiOptions options_;
  Endpoint endpoint_;
  ordered_json format_;  // how a request asks for the ranking
};

}  // namespace

std::unique_ptr<Judge> make_openai_judge(const OpenAiOptions& options) {
  return std::make_unique<OpenAiJudge>(options);
}

}  // namespace gemma::squad
