// Responses for clients: objects and events.
#include "examples/server/response.hpp"

#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace gemma::server {
namespace {

using nlohmann::json;

const ResponseHead kHead{"id-1", 1700000000, "m"};

TEST(Response, AnErrorInOpenAisForm) {
  EXPECT_EQ(error_body(ApiError(400, "no", "stop", "bad")),
            R"({"error":{"message":"no","type":"invalid_request_error","param":"stop","code":"bad"}})");
  EXPECT_EQ(
      error_body(ApiError(503, "a\xFF")),
      "{\"error\":{\"message\":\"a\xEF\xBF\xBD\",\"type\":\"server_error\",\"param\":null,\"code\":null}}");
  EXPECT_EQ(json::parse(anthropic_error_body(ApiError(404, "x")))["error"]["type"], "not_found_error");
  EXPECT_EQ(json::parse(anthropic_error_body(ApiError(413, "x")))["error"]["type"], "request_too_large");
}

TEST(Response, AChatCompletion) {
  Choice c;
  c.text = "hi";
  c.reasoning = "hm";
  c.finish_reason = "stop";
  c.logprobs = {{"h\xC3", -0.5, {{"h", -0.5}, {"x", -std::numeric_limits<double>::infinity()}}}};
  const json out = json::parse(chat_completion(kHead, {&c, 1}, {10, 4, 3, 1}, true));
  EXPECT_EQ(out["object"], "chat.completion");
  EXPECT_TRUE(out["system_fingerprint"].is_string());
  EXPECT_EQ(out["choices"][0]["message"],
            (json{{"role", "assistant"}, {"content", "hi"}, {"reasoning_content", "hm"}}));
  EXPECT_EQ(out["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(out["choices"][0]["logprobs"]["content"][0]["bytes"], (json{104, 195}));
  EXPECT_EQ(out["choices"][0]["logprobs"]["content"][0]["top_logprobs"][1]["logprob"], -9999.0);
  EXPECT_EQ(out["usage"]["total_tokens"], 13);
  EXPECT_EQ(out["usage"]["prompt_tokens_details"]["cached_tokens"], 4);
}

TEST(Response, ToolsAreCalled) {
  Choice c;
  c.tools = {{"c1", "f", "{\"a\":1}"}};
  c.finish_reason = "tool_calls";
  const json whole = json::parse(chat_completion(kHead, {&c, 1}, {}, false));
  EXPECT_TRUE(whole["choices"][0]["message"]["content"].is_null());
  EXPECT_EQ(whole["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"], "{\"a\":1}");
  c.first_tool = 2;
  const json part = json::parse(chat_chunk(kHead, c, false, false, true));
  EXPECT_EQ(part["choices"][0]["delta"]["tool_calls"][0]["index"], 2);
  EXPECT_TRUE(part["usage"].is_null());
  const json message = json::parse(anthropic_message(kHead, c, {}, ""));
  EXPECT_EQ(message["content"][0]["input"], (json{{"a", 1}}));
  EXPECT_EQ(message["stop_reason"], "tool_use");
}

TEST(Response, EventsOfAChat) {
  Choice c;
  const json first = json::parse(chat_chunk(kHead, c, true, false, false));
  EXPECT_EQ(first["choices"][0]["delta"], (json{{"role", "assistant"}, {"content", ""}}));
  EXPECT_TRUE(first["choices"][0]["finish_reason"].is_null());
  EXPECT_FALSE(first.contains("usage"));
  const json last = json::parse(chat_usage_chunk(kHead, {1, 0, 2, 0}));
  EXPECT_EQ(last["choices"], json::array());
  EXPECT_EQ(last["usage"]["completion_tokens"], 2);
  EXPECT_EQ(sse("{}"), "data: {}\n\n");
  EXPECT_EQ(sse("{}", "ping"), "event: ping\ndata: {}\n\n");
}

TEST(Response, Completions) {
  Choice c;
  c.text = "ab";
  c.offset = 5;
  c.logprobs = {{"a", -1, {{"a", -1}}}, {"b", -2, {}}};
  const json out = json::parse(completion(kHead, {&c, 1}, {}, true));
  EXPECT_EQ(out["object"], "text_completion");
  EXPECT_EQ(out["choices"][0]["logprobs"]["text_offset"], (json{5, 6}));
  EXPECT_EQ(out["choices"][0]["logprobs"]["top_logprobs"][0], (json{{"a", -1.0}}));
  EXPECT_TRUE(json::parse(completion_chunk(kHead, c, false, false))["choices"][0]["logprobs"].is_null());
}

TEST(Response, TokensOfCompletions) {
  Choice c;  // BOS, which the text does not contain, two bytes of a character, its last byte, and two tokens
             // with equal text
  c.logprobs = {{"<bos>", 0, {}, 5, false},
                {"\xE6\x97", -1, {}},
                {"\xA5", -2, {{"\xA5", -2}}},
                {"b", -1, {{"b", -1}, {"b", -9}}}};
  const json out = json::parse(completion(kHead, {&c, 1}, {}, true))["choices"][0]["logprobs"];
  EXPECT_EQ(out["tokens"], (json{"<bos>", "bytes:\\xe6\\x97", "bytes:\\xa5", "b"}));
  EXPECT_EQ(out["token_logprobs"], (json{nullptr, -1.0, -2.0, -1.0}));
  EXPECT_EQ(out["text_offset"], (json{0, 0, 1, 1}));
  EXPECT_TRUE(out["top_logprobs"][0].is_null());
  EXPECT_EQ(out["top_logprobs"][1], (json{{"bytes:\\xe6\\x97", -1.0}}));  // includes the token itself
  EXPECT_EQ(out["top_logprobs"][3], (json{{"b", -1.0}}));                 // the likelier of the two
}

TEST(Response, ModelsAndEmbeddings) {
  const std::vector<std::string> names{"a", "b"};
  EXPECT_EQ(json::parse(model_list(names, 5))["data"][1]["id"], "b");
  const std::vector<std::vector<float>> vectors{{1.0F, -2.0F}};
  const json floats = json::parse(embeddings("m", vectors, 3, false));
  EXPECT_EQ(floats["data"][0]["embedding"], (json{1.0, -2.0}));
  EXPECT_EQ(floats["usage"]["prompt_tokens"], 3);
  EXPECT_EQ(json::parse(embeddings("m", vectors, 3, true))["data"][0]["embedding"], "AACAPwAAAMA=");
}

TEST(Response, AnthropicsEvents) {
  EXPECT_EQ(json::parse(anthropic_start(kHead, {5, 2, 0, 0}))["message"]["usage"],
            (json{{"input_tokens", 3}, {"cache_read_input_tokens", 2}, {"output_tokens", 0}}));
  EXPECT_EQ(json::parse(anthropic_block_start(0, "text"))["content_block"],
            (json{{"type", "text"}, {"text", ""}}));
  EXPECT_EQ(json::parse(anthropic_delta(1, "tool_use", "{"))["delta"],
            (json{{"type", "input_json_delta"}, {"partial_json", "{"}}));
  EXPECT_EQ(json::parse(anthropic_delta(0, "thinking", "a"))["delta"],
            (json{{"type", "thinking_delta"}, {"thinking", "a"}}));
  EXPECT_EQ(json::parse(anthropic_end("stop", "X", {}))["delta"],
            (json{{"stop_reason", "stop_sequence"}, {"stop_sequence", "X"}}));
  EXPECT_EQ(anthropic_stop(), R"({"type":"message_stop"})");
}

}  // namespace
}  // namespace gemma::server
