// The judge behind HTTP, against an endpoint that makes the errors that endpoints make.
#include "examples/squad/judge_openai.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "gemma/engine_error_code.hpp"
#include "tests/refusal.hpp"
#include "tests/squad/fake_endpoint.hpp"
#include "tests/squad/fake_source.hpp"

namespace gemma::squad {
namespace {

using nlohmann::json;
using test::FakeEndpoint;
using test::http;
using test::kNever;
using test::Reply;

const JudgeTask kTask = {"q7", "When?", {{"23 April", 0}}, false, {"May", "23 April", "April"}};
const std::vector<std::size_t> kOrder = {2, 0, 1};

OpenAiOptions quick(const std::string& url) {
  OpenAiOptions options;
  options.url = url;
  options.key = "secret";
  options.connect_timeout_s = 0.5;
  options.timeout_s = 0.3;
  options.backoff_s = 0.01;
  options.longest_backoff_s = 0.3;
  return options;
}

std::string completion(const json& message) {
  return json{{"choices", json::array({{{"message", message}}})},
              {"usage", {{"prompt_tokens", 90}, {"completion_tokens", 7}}}}
      .dump();
}
std::string call(const std::string& arguments) {
  return completion({{"role", "assistant"},
                     {"content", nullptr},
                     {"function_call", {{"name", "return_rank"}, {"arguments", arguments}}}});
}
/// ID 3 (model 1) is the best, then ID 1 (model 2), then ID 2 (model 0).
Reply good() {
  return http(200, call(R"({"rank":"3,1,2"})"));
}
const std::vector<double> kGoodRanks = {3, 1, 2};

std::string trouble(FakeEndpoint& endpoint, OpenAiOptions options) {
  try {
    options.url = endpoint.url();
    const Verdict verdict = make_openai_judge(options)->judge(kTask, kOrder, kNever);
    return verdict.ranks.empty() ? verdict.trouble : "a verdict";
  } catch (const Error& error) {
    return "ends: " + std::string(error.message());
  }
}

TEST(OpenAiJudge, AsksAsTheArticleDid) {
  std::string seen;
  FakeEndpoint endpoint([&](std::size_t, const std::string& request) {
    seen = request;
    return good();
  });
  OpenAiOptions options = quick(endpoint.url());
  options.model = kArticleJudgeModel;
  options.format = "function";
  const Verdict verdict = make_openai_judge(options)->judge(kTask, kOrder, kNever);
  EXPECT_EQ(verdict.ranks, kGoodRanks);
  EXPECT_EQ(verdict.attempts, 1U);
  EXPECT_EQ(verdict.prompt_tokens, 90U);
  EXPECT_EQ(verdict.completion_tokens, 7U);
  EXPECT_TRUE(seen.starts_with("POST /v1/chat/completions HTTP/1.1\r\n")) << seen;
  EXPECT_NE(seen.find("Authorization: Bearer secret\r\n"), std::string::npos);
  const json body = json::parse(seen.substr(seen.find("\r\n\r\n") + 4));
  EXPECT_EQ(body["model"], "gpt-3.5-turbo");
  EXPECT_EQ(body["function_call"]["name"], "return_rank");
  EXPECT_EQ(body["functions"][0]["parameters"]["properties"]["rank"]["type"], "string");
  EXPECT_EQ(body["messages"][0]["content"], ranking_prompt(JudgePrompt::kArticle, kTask, kOrder));
}

TEST(OpenAiJudge, AsksACurrentModelByJsonSchema) {
  std::string seen;
  FakeEndpoint endpoint([&](std::size_t, const std::string& request) {
    seen = request.substr(request.find("\r\n\r\n") + 4);
    return http(200, completion({{"content", R"({"rank":[3,1,2]})"}, {"refusal", nullptr}}));
  });
  OpenAiOptions options = quick(endpoint.url());
  EXPECT_EQ(make_openai_judge(options)->judge(kTask, kOrder, kNever).ranks, kGoodRanks);
  json body = json::parse(seen);
  EXPECT_EQ(body["model"], kCurrentJudgeModel);
  EXPECT_EQ(body["temperature"], 0);
  EXPECT_FALSE(body.contains("functions"));
  EXPECT_EQ(body["response_format"]["type"], "json_schema");
  const json& schema = body["response_format"]["json_schema"];
  EXPECT_EQ(schema["strict"], true);
  EXPECT_EQ(schema["schema"]["required"], json::array({"rank"}));
  EXPECT_EQ(schema["schema"]["additionalProperties"], false);
  EXPECT_EQ(schema["schema"]["properties"]["rank"]["items"]["type"], "integer");
  options.temperature.reset();
  make_openai_judge(options)->judge(kTask, kOrder, kNever);
  EXPECT_FALSE(json::parse(seen).contains("temperature"));
  EXPECT_EQ(make_openai_judge(options)->identity()["temperature"], nullptr);
}

TEST(OpenAiJudge, ARefusedTemperatureIsToldAsThat) {
  FakeEndpoint named([&](std::size_t, const std::string& request) {
    if (request.find("temperature") == std::string::npos) return good();
    return http(400, R"({"error":{"message":"Unsupported value: 'temperature' does not support 0.",)"
                     R"("type":"invalid_request_error","param":"temperature","code":"unsupported_value"}})");
  });
  OpenAiOptions options = quick("");
  const std::string message = trouble(named, options);
  EXPECT_NE(message.find("ends: "), std::string::npos) << message;
  EXPECT_NE(message.find("refuses the temperature 0 (choose another with --judge-temperature, or none to "
                         "send no temperature): "
                         "HTTP 400: Unsupported value"),
            std::string::npos)
      << message;
  EXPECT_EQ(named.n_requests(), 1U);
  options.temperature.reset();
  EXPECT_EQ(trouble(named, options), "a verdict");
  FakeEndpoint words([&](std::size_t, const std::string&) {
    return http(422, R"({"error":"Temperature must be strictly positive"})");
  });
  EXPECT_NE(trouble(words, quick("")).find("--judge-temperature"), std::string::npos);
  // an error of another parameter, whose message mentions the temperature
  FakeEndpoint other([&](std::size_t, const std::string&) {
    return http(400, R"({"error":{"message":"top_p and temperature","param":"messages"}})");
  });
  EXPECT_EQ(trouble(other, quick("")), "HTTP 400: top_p and temperature");
}

// A single request may be refused, for example by a filter or because its prompt is too long.
TEST(OpenAiJudge, ARefusedQuestionIsOneWithoutAVerdict) {
  for (const int status : {400, 413, 422}) {
    FakeEndpoint endpoint([&](std::size_t, const std::string&) {
      return http(status, R"({"error":{"message":"filtered","code":"content_filter"}})");
    });
    const Verdict verdict = make_openai_judge(quick(endpoint.url()))->judge(kTask, kOrder, kNever);
    EXPECT_TRUE(verdict.ranks.empty());
    EXPECT_EQ(verdict.trouble, fmt::format("HTTP {}: filtered", status));
    EXPECT_FALSE(verdict.is_endpoint_down);
    EXPECT_EQ(endpoint.n_requests(), 1U);
  }
}

TEST(OpenAiJudge, ToolsAndJsonOutput) {
  std::vector<std::string> seen;
  FakeEndpoint endpoint([&](std::size_t number, const std::string& request) {
    seen.push_back(request.substr(request.find("\r\n\r\n") + 4));
    return number == 0
               ? http(200,
                      completion({{"tool_calls", json::array({{{"function",
                                                                {{"name", "return_rank"},
                                                                 {"arguments", R"({"rank":[3,1,2]})"}}}}})}}))
               : http(200, completion({{"content", R"({"rank": "3, 1, 2"})"}}));
  });
  OpenAiOptions options = quick(endpoint.url());
  options.format = "tools";
  EXPECT_EQ(make_openai_judge(options)->judge(kTask, kOrder, kNever).ranks, kGoodRanks);
  options.format = "json";
  EXPECT_EQ(make_openai_judge(options)->judge(kTask, kOrder, kNever).ranks, kGoodRanks);
  EXPECT_EQ(json::parse(seen[0])["tool_choice"]["function"]["name"], "return_rank");
  EXPECT_EQ(json::parse(seen[1])["response_format"]["type"], "json_object");
}

// What other servers send: members that are null or empty, JSON in a fence, a usage without numbers.
TEST(OpenAiJudge, OtherServersWaysOfSayingIt) {
  const json fenced = "```json\n{\"rank\": \"3,1,2\"}\n```";
  const json parts = json::array({{{"type", "text"}, {"text", "3,1"}}, {{"type", "text"}, {"text", ",2"}}});
  const json tool = {{"function", {{"name", "return_rank"}, {"arguments", R"({"rank":["3","1","2"]})"}}}};
  const std::vector<std::pair<const char*, std::string>> bodies = {
      {"null function call, no tool calls",
       completion(
           {{"content", R"({"rank": [3,1,2]})"}, {"function_call", nullptr}, {"tool_calls", json::array()}})},
      {"null tool calls", completion({{"content", "3,1,2"}, {"tool_calls", nullptr}})},
      {"null content beside a tool call",
       completion({{"content", nullptr}, {"function_call", nullptr}, {"tool_calls", json::array({tool})}})},
      {"a fence", completion({{"content", fenced}})},
      {"content in parts", completion({{"content", parts}})},
      {"no usage", R"({"choices":[{"message":{"content":"3,1,2"}}]})"},
      {"a usage that is none",
       R"({"choices":[{"message":{"content":"3,1,2"}}],"usage":{"prompt_tokens":null,"completion_tokens":-5}})"},
      {"a usage beyond all numbers",
       R"({"choices":[{"message":{"content":"3,1,2"}}],"usage":{"prompt_tokens":1e300}})"}};
  for (const auto& [name, body] : bodies) {
    FakeEndpoint endpoint([&text = body](std::size_t, const std::string&) { return http(200, text); });
    OpenAiOptions options = quick(endpoint.url());
    options.attempts = 1;
    try {
      const Verdict verdict = make_openai_judge(options)->judge(kTask, kOrder, kNever);
      EXPECT_EQ(verdict.ranks, kGoodRanks) << name;
      if (std::string_view(name).find("usage") != std::string_view::npos) {
        EXPECT_EQ(verdict.prompt_tokens + verdict.completion_tokens, 0U) << name;
      }
    } catch (const Error& error) {
      ADD_FAILURE() << name << ": " << error.message();
    }
  }
}

// JSON that is nested too deeply for any recursion: in the ranking, in an error, and elsewhere.
TEST(OpenAiJudge, DeepNestingIsNonsenseLikeAnyOther) {
  const std::string deep = std::string(400000, '[') + std::string(400000, ']');
  for (const std::string& body :
       {completion({{"content", R"({"rank":)" + deep + "}"}}), R"({"choices":)" + deep + "}",
        R"({"choices":[{"message":{"content":)" + deep + "}}]}",
        R"({"choices":[{"message":)" + deep + "}]}"}) {
    FakeEndpoint endpoint([&](std::size_t, const std::string&) { return http(200, body); });
    OpenAiOptions options = quick("");
    options.attempts = 1;
    options.timeout_s = 5;
    EXPECT_NE(trouble(endpoint, options), "a verdict");
  }
  FakeEndpoint refuses([&](std::size_t, const std::string&) {
    return http(400, R"({"error":{"message":"no","code":)" + deep + "}}");
  });
  EXPECT_NE(trouble(refuses, quick("")).find("HTTP 400: no"), std::string::npos);
}

TEST(OpenAiJudge, TroubleIsSaidInWords) {
  OpenAiOptions once = quick("");
  once.attempts = 1;
  FakeEndpoint huge([&](std::size_t, const std::string&) { return http(200, std::string(2 << 20, ' ')); });
  EXPECT_NE(trouble(huge, once).find("a reply of more than 1 MiB"), std::string::npos) << trouble(huge, once);
  FakeEndpoint silent([&](std::size_t, const std::string&) { return Reply{"", 0, 0}; });
  EXPECT_NE(trouble(silent, once).find("the connection broke off"), std::string::npos)
      << trouble(silent, once);
  FakeEndpoint moved(
      [&](std::size_t, const std::string&) { return http(302, "", "Location: http://x/\r\n"); });
  EXPECT_NE(trouble(moved, once).find("HTTP 302: moved to http://x/"), std::string::npos)
      << trouble(moved, once);
}

/// Replies after which the request is repeated; one good reply follows them.
struct Bad {
  const char* name;
  Reply reply;
};

std::vector<Bad> everything_bad() {
  const std::string whole = good().raw;
  Reply late = good(), drip = good(), drip_headers = good();
  late.stall_s = 0.8;
  drip.drip_s = 0.02;
  drip_headers.raw = "HTTP/1.1 200 X\r\nX-Long: " + std::string(1000, 'x');
  drip_headers.drip_s = 0.02;
  return {{"stalls", late},
          {"drips its body", drip},
          {"drips its headers", drip_headers},
          {"closes without a word", {"", 0, 0}},
          {"half the reply", {whole.substr(0, whole.size() - 40), 0, 0}},
          {"half the headers", {whole.substr(0, 30), 0, 0}},
          {"not HTTP", {"SSH-2.0-OpenSSH_9.2\r\n", 0, 0}},
          {"500", http(500, "oops")},
          {"502", http(502, "<html>bad gateway</html>")},
          {"429", http(429, R"({"error":{"message":"slow down","code":"rate_limit_exceeded"}})")},
          {"half a JSON", http(200, R"({"choices":[{"message":)")},
          {"nonsense", http(200, "tomorrow it will rain")},
          {"another JSON", http(200, R"({"choices":[]})")},
          {"an array", http(200, "[1,2,3]")},
          {"no arguments", http(200, completion({{"function_call", {{"name", "return_rank"}}}}))},
          {"arguments cut", http(200, call(R"({"rank":"3,1)"))},
          {"wrong IDs", http(200, call(R"({"rank":"3,1,4"})"))},
          {"an ID twice", http(200, call(R"({"rank":"3,1,1"})"))},
          {"too few IDs", http(200, call(R"({"rank":"3,1"})"))},
          {"words", http(200, call(R"({"rank":"the third is the best"})"))},
          {"null content", http(200, completion({{"content", nullptr}}))},
          {"a huge reply", http(200, std::string(2 << 20, ' '))}};
}

TEST(OpenAiJudge, EverythingBadIsAskedAgain) {
  for (const Bad& bad : everything_bad()) {
    FakeEndpoint endpoint(
        [&](std::size_t number, const std::string&) { return number == 0 ? bad.reply : good(); });
    const Verdict verdict = make_openai_judge(quick(endpoint.url()))->judge(kTask, kOrder, kNever);
    EXPECT_EQ(verdict.ranks, kGoodRanks) << bad.name;
    EXPECT_EQ(verdict.attempts, 2U) << bad.name;
  }
}

TEST(OpenAiJudge, MalformedRepliesCostToo) {
  FakeEndpoint endpoint([&](std::size_t number, const std::string&) {
    return number < 2 ? http(200, call(R"({"rank":"1"})")) : good();
  });
  EXPECT_EQ(make_openai_judge(quick(endpoint.url()))->judge(kTask, kOrder, kNever).prompt_tokens, 270U);
}

TEST(OpenAiJudge, GivesUpWithTheLastTrouble) {
  FakeEndpoint endpoint(
      [&](std::size_t, const std::string&) { return http(503, R"({"error":{"message":"too busy"}})"); });
  OpenAiOptions options = quick("");
  options.attempts = 3;
  const std::string message = trouble(endpoint, options);
  EXPECT_EQ(message, "HTTP 503: too busy");
  EXPECT_EQ(endpoint.n_requests(), 3U);
}

TEST(OpenAiJudge, WhatCannotGetBetterIsNotAskedAgain) {
  for (const int status : {401, 403, 404, 405}) {
    FakeEndpoint endpoint([&](std::size_t, const std::string&) {
      return http(status, R"({"error":{"message":"Incorrect API key provided"}})");
    });
    const std::string message = trouble(endpoint, quick(""));
    EXPECT_NE(message.find(fmt::format("q7: HTTP {}: Incorrect API key provided", status)), std::string::npos)
        << message;
    EXPECT_EQ(endpoint.n_requests(), 1U);
    EXPECT_EQ(message.find("secret"), std::string::npos);
  }
  FakeEndpoint spent([&](std::size_t, const std::string&) {
    return http(429, R"({"error":{"message":"You exceeded your quota","code":"insufficient_quota"}})");
  });
  EXPECT_NE(trouble(spent, quick("")).find("quota"), std::string::npos);
  EXPECT_EQ(spent.n_requests(), 1U);
}

TEST(OpenAiJudge, RetryAfterIsObeyedAndBounded) {
  const auto gap = [](const std::string& header) {
    FakeEndpoint endpoint([&](std::size_t number, const std::string&) {
      return number == 0 ? http(429, "{}", header) : good();
    });
    make_openai_judge(quick(endpoint.url()))->judge(kTask, kOrder, kNever);
    return endpoint.gap(0, 1);
  };
  EXPECT_GE(gap("Retry-After: 0.2\r\n"), 0.2);
  EXPECT_LT(gap("Retry-After: 0\r\n"), 0.15);
  EXPECT_GE(gap("retry-after-ms: 180\r\n"), 0.18);
  const double bounded = gap("Retry-After: 3600\r\n");  // at most longest_backoff_s
  EXPECT_GE(bounded, 0.3);
  EXPECT_LT(bounded, 2);
  EXPECT_GE(gap("Retry-After: Fri, 31 Dec 2100 23:59:59 GMT\r\n"), 0.3);
}

TEST(OpenAiJudge, BackOffGrows) {
  FakeEndpoint endpoint([&](std::size_t, const std::string&) { return http(500, "{}"); });
  OpenAiOptions options = quick("");
  options.backoff_s = 0.05;
  options.attempts = 4;
  trouble(endpoint, options);
  // waits of 0.05, 0.1 and 0.2 s, each with jitter between a half and the whole
  EXPECT_GE(endpoint.gap(0, 1), 0.025);
  EXPECT_GE(endpoint.gap(1, 2), 0.05);
  EXPECT_GE(endpoint.gap(2, 3), 0.1);
}

TEST(OpenAiJudge, NobodyListens) {
  std::string url;
  {
    url = FakeEndpoint([](std::size_t, const std::string&) { return good(); }).url();
  }
  OpenAiOptions options = quick(url);
  options.attempts = 2;
  const Verdict verdict = make_openai_judge(options)->judge(kTask, kOrder, kNever);
  EXPECT_TRUE(verdict.ranks.empty());
  EXPECT_TRUE(verdict.is_endpoint_down);
  EXPECT_EQ(verdict.attempts, 2U);
}

TEST(OpenAiJudge, StopsWhenAsked) {
  std::atomic<bool> cancel{false};
  FakeEndpoint endpoint([&](std::size_t, const std::string&) {
    cancel = true;
    Reply reply = good();
    reply.stall_s = 5;
    return reply;
  });
  OpenAiOptions options = quick(endpoint.url());
  options.timeout_s = 30;
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(gemma::test::code_of([&] { make_openai_judge(options)->judge(kTask, kOrder, cancel); }),
            EngineErrorCode::kCancelled);
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), 1);
}

TEST(OpenAiJudge, BadOptions) {
  for (const char* url : {"", "api.openai.com", "ftp://x/", "http://", "http:///v1"}) {
    OpenAiOptions options = quick(url);
    EXPECT_THROW(make_openai_judge(options), Error) << url;
  }
  OpenAiOptions options = quick("http://localhost");
  options.format = "xml";
  EXPECT_THROW(make_openai_judge(options), Error);
}

TEST(OpenAiJudge, IdentityHasNoKey) {
  EXPECT_EQ(make_openai_judge(quick("http://localhost"))->identity().dump().find("secret"),
            std::string::npos);
}

}  // namespace
}  // namespace gemma::squad
