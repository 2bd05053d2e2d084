// Bodies of requests: the values that are read, and the messages of refusals.
#include "examples/server/request.hpp"

#include <string>

#include <gtest/gtest.h>

namespace gemma::server {
namespace {

template <typename F>
std::string refusal(F&& f) {
  try {
    f();
  } catch (const ApiError& e) {
    return std::to_string(e.status()) + " " + e.message() + (e.param().empty() ? "" : " [" + e.param() + "]");
  }
  return "taken";
}
std::string chat_refusal(const std::string& fields) {
  return refusal([&] { read_chat(R"({"messages":[{"role":"user","content":"x"}],)" + fields + "}"); });
}

TEST(ChatRequestBody, FieldsOfAUsualRequest) {
  const ChatRequest r = read_chat(R"({
    "model": "m", "messages": [
      {"role": "system", "content": "Be brief."},
      {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
      {"role": "assistant", "content": null, "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"x\": 1}"}}]},
      {"role": "tool", "tool_call_id": "c1", "content": "2"}],
    "temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "repeat_penalty": 1.1, "seed": 7, "n": 2,
    "max_tokens": 5, "max_completion_tokens": 9, "stop": ["a", "b"], "stream": true, "stream_options": {"include_usage": true},
    "presence_penalty": 1, "frequency_penalty": -1.5, "logit_bias": {"5": -100, "6": 3.5}, "logprobs": true, "top_logprobs": 3,
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}], "tool_choice": "required",
    "chat_template_kwargs": {"enable_thinking": true}, "user": "somebody", "store": false, "metadata": {"a": [1]}})");
  EXPECT_EQ(r.model, "m");
  ASSERT_EQ(r.messages.size(), 4u);
  EXPECT_EQ(r.messages[1].content, "ab");
  ASSERT_EQ(r.messages[2].tool_calls.size(), 1u);
  EXPECT_EQ(r.messages[2].tool_calls[0].arguments.find("x")->text(), "1");
  EXPECT_EQ(r.messages[3].tool_call_id, "c1");
  EXPECT_EQ(r.sampling.temperature, 0.5F);
  EXPECT_EQ(r.sampling.top_k, 40u);
  EXPECT_EQ(r.sampling.seed, 7u);
  EXPECT_EQ(r.sampling.logit_bias.at(5), -100.0F);
  EXPECT_EQ(r.sampling.frequency_penalty, -1.5F);
  EXPECT_EQ(r.max_tokens, 9u);
  EXPECT_EQ(r.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(r.n, 2u);
  EXPECT_TRUE(r.stream && r.include_usage && r.logprobs);
  EXPECT_EQ(r.top_logprobs, 3u);
  EXPECT_EQ(r.tools.size(), 1u);
  EXPECT_EQ(r.tool_choice.kind, ToolChoice::Kind::kRequired);
  EXPECT_EQ(r.thinking, true);
}

TEST(ChatRequestBody, WhatIsNotSaidIsLeftToTheServer) {
  const ChatRequest r = read_chat(
      R"({"messages":[{"role":"user","content":"x"}],"temperature":null,"stop":null,"tools":null,"seed":-1,"max_tokens":null})");
  EXPECT_FALSE(r.sampling.temperature || r.sampling.seed || r.max_tokens || r.thinking);
  EXPECT_EQ(read_chat(R"({"messages":[{"role":"user","content":"x"}],"max_tokens":-1})").max_tokens,
            RequestLimits::kMaxTokens);  // no limit; the default differs between routes
  EXPECT_EQ(r.n, 1u);
  EXPECT_EQ(r.constraint.kind, Constraint::Kind::kNone);
  EXPECT_EQ(r.tool_choice.kind, ToolChoice::Kind::kAuto);
}

TEST(ChatRequestBody, Constraints) {
  const auto constraint = [](const std::string& fields) {
    return read_chat(R"({"messages":[{"role":"user","content":"x"}],)" + fields + "}").constraint;
  };
  EXPECT_EQ(constraint(R"("response_format":{"type":"text"})").kind, Constraint::Kind::kNone);
  EXPECT_EQ(constraint(R"("response_format":{"type":"json_object"})").kind, Constraint::Kind::kJsonObject);
  const Constraint schema = constraint(
      R"("response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":{"type":"integer","b":1,"a":2}}})");
  EXPECT_EQ(schema.kind, Constraint::Kind::kJsonSchema);
  EXPECT_EQ(schema.text, R"({"type":"integer","b":1,"a":2})");  // in the order of the request
  EXPECT_EQ(constraint(R"("grammar":"root ::= \"a\"")").text, "root ::= \"a\"");
  EXPECT_EQ(
      chat_refusal(R"("response_format":{"type":"xml"})"),
      "400 'response_format.type' must be 'text', 'json_object' or 'json_schema' [response_format.type]");
  EXPECT_EQ(chat_refusal(R"("response_format":{"type":"json_schema"})"),
            "400 'response_format.json_schema' is missing [response_format.json_schema]");
  EXPECT_EQ(chat_refusal(R"("response_format":{"type":"json_object"},"grammar":"x")"),
            "400 'grammar' and 'response_format' exclude each other [grammar]");
}

TEST(ChatRequestBody, EveryWrongFieldIsNamed) {
  EXPECT_EQ(chat_refusal(R"("temperature":"hot")"), "400 'temperature' must be a number [temperature]");
  EXPECT_EQ(chat_refusal(R"("temperature":-1)"), "400 'temperature' must be from 0 to 1000000 [temperature]");
  EXPECT_EQ(chat_refusal(R"("top_p":1.5)"), "400 'top_p' must be from 0 to 1 [top_p]");
  EXPECT_EQ(chat_refusal(R"("n":0)"), "400 'n' must be from 1 to 128 [n]");
  EXPECT_EQ(chat_refusal(R"("n":1.5)"), "400 'n' must be a whole number [n]");
  EXPECT_EQ(chat_refusal(R"("n":1e300)"), "400 'n' must be a whole number [n]");
  EXPECT_EQ(chat_refusal(R"("max_tokens":"many")"), "400 'max_tokens' must be a whole number [max_tokens]");
  EXPECT_EQ(chat_refusal(R"("max_tokens":99999999999999999999)"),
            "400 'max_tokens' must be a whole number [max_tokens]");
  EXPECT_EQ(chat_refusal(R"("max_tokens":18446744073709551615)"), "taken");
  EXPECT_EQ(chat_refusal(R"("stop":[1])"), "400 'stop[0]' must be a string [stop[0]]");
  EXPECT_EQ(chat_refusal(R"("stop":"")"), "400 'stop' must not be empty [stop]");
  EXPECT_EQ(chat_refusal(R"("stream":1)"), "400 'stream' must be true or false [stream]");
  EXPECT_EQ(chat_refusal(R"("stream_options":[])"),
            "400 'stream_options' must be an object [stream_options]");
  EXPECT_EQ(chat_refusal(R"("logit_bias":{"x":1})"),
            "400 'logit_bias' has the key 'x', which is not a token id [logit_bias]");
  EXPECT_EQ(chat_refusal(R"("logit_bias":{"1":101})"),
            "400 'logit_bias.1' must be from -100 to 100 [logit_bias.1]");
  EXPECT_EQ(chat_refusal(R"("logit_bias":{"1":null})"), "400 'logit_bias.1' is missing [logit_bias.1]");
  EXPECT_EQ(chat_refusal(R"("top_logprobs":2)"), "400 'top_logprobs' needs 'logprobs' [top_logprobs]");
  EXPECT_EQ(chat_refusal(R"("tools":[{"type":"x"}])"),
            "400 'tools[0].type' must be 'function' [tools[0].type]");
  EXPECT_EQ(chat_refusal(R"("tool_choice":{"type":"function","function":{"name":"f"}})"),
            "400 'tool_choice.function.name' names none of 'tools' [tool_choice.function.name]");
  EXPECT_EQ(chat_refusal(R"("modalities":["text","audio"])"),
            "400 'modalities' asks for more than text [modalities]");
}

TEST(ChatRequestBody, MessagesThatAreNone) {
  const auto messages = [](const std::string& list) {
    return refusal([&] { read_chat("{\"messages\":" + list + "}"); });
  };
  EXPECT_EQ(messages("[]"), "400 'messages' must not be empty [messages]");
  EXPECT_EQ(messages("{}"), "400 'messages' must be an array [messages]");
  EXPECT_EQ(messages("[1]"), "400 'messages[0]' must be an object [messages[0]]");
  EXPECT_EQ(messages(R"([{"content":"x"}])"), "400 'messages[0].role' is missing [messages[0].role]");
  EXPECT_EQ(messages(R"([{"role":"robot","content":"x"}])"),
            "400 'messages[0].role' must be 'system', 'developer', 'user', 'assistant' or 'tool' "
            "[messages[0].role]");
  EXPECT_EQ(messages(R"([{"role":"user"}])"), "400 'messages[0].content' is missing [messages[0].content]");
  EXPECT_EQ(messages(R"([{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}])"),
            "400 'messages[0].content[0].type' is 'image_url'; this server takes text only "
            "[messages[0].content[0].type]");
  EXPECT_EQ(messages(R"([{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{"}}]}])"),
            "400 'messages[0].tool_calls[0].function.arguments' must hold a JSON object "
            "[messages[0].tool_calls[0].function.arguments]");
  EXPECT_EQ(refusal([] { read_chat("{}"); }), "400 'messages' is missing [messages]");
}

TEST(RequestBody, WhatIsNoJson) {
  EXPECT_EQ(refusal([] { read_chat(""); }).substr(0, 24), "400 the body is not JSON");
  EXPECT_EQ(refusal([] { read_chat("{\"a\":"); }).substr(0, 24), "400 the body is not JSON");
  EXPECT_EQ(refusal([] { read_chat("{\"a\":\"\xFF\"}"); }).substr(0, 24), "400 the body is not JSON");
  EXPECT_EQ(refusal([] { read_chat("[]"); }), "400 the body is not a JSON object");
  EXPECT_EQ(refusal([] { read_chat("{\"a\":" + std::string(200, '[') + std::string(200, ']') + "}"); }),
            "400 the body is nested too deep");
  EXPECT_NE(refusal([] { read_chat("{\"a\":" + std::string(1000000, '[')); }), "taken");
  std::string wide = "{";  // each name is compared with those before it: 4 * 10^10 comparisons
  for (int i = 0; i < 300000; ++i) wide += "\"a" + std::to_string(i) + "\":0,";
  EXPECT_EQ(refusal([&] { read_chat(wide + "\"b\":0}"); }), "400 the body has objects of too many members");
  // at the end of each object, its parent is searched, even if that is an array
  std::string objects = "{\"messages\":[{}";
  for (int i = 0; i < 300000; ++i) objects += ",{}";
  EXPECT_EQ(refusal([&] { read_chat(objects + "]}"); }), "400 the body has objects of too many members");
  std::string long_names = "{";  // names that differ at their ends only
  for (int i = 0; i < 10000; ++i) long_names += "\"" + std::string(2000, 'x') + std::to_string(i) + "\":0,";
  EXPECT_EQ(refusal([&] { read_chat(long_names + "\"b\":0}"); }),
            "400 the body has objects of too many members");
}

TEST(CompletionRequestBody, PromptsOfEveryForm) {
  EXPECT_EQ(std::get<std::string>(read_completion(R"({"prompt":"a"})").prompts.at(0)), "a");
  EXPECT_EQ(read_completion(R"({"prompt":["a","b"]})").prompts.size(), 2u);
  EXPECT_EQ(std::get<1>(read_completion(R"({"prompt":[1,2]})").prompts.at(0)),
            (std::vector<std::int32_t>{1, 2}));
  EXPECT_EQ(read_completion(R"({"prompt":[[1],[2,3]],"logprobs":2})").top_logprobs, 2u);
  EXPECT_TRUE(read_completion(R"({"prompt":"x","echo":true})").echo);
  EXPECT_EQ(read_completion(R"({"prompt":"x","logprobs":2,"echo":true})").top_logprobs, 2u);
  EXPECT_EQ(refusal([] { read_completion("{}"); }), "400 'prompt' is missing [prompt]");
  EXPECT_EQ(refusal([] { read_completion(R"({"prompt":[]})"); }), "400 'prompt' must not be empty [prompt]");
  EXPECT_EQ(refusal([] { read_completion(R"({"prompt":[1,-2]})"); }),
            "400 'prompt[1]' must be from 0 to 2147483647 [prompt[1]]");
  EXPECT_EQ(refusal([] { read_completion(R"({"prompt":["a",true]})"); }),
            "400 'prompt[1]' must be a string or a list of token ids [prompt[1]]");
  EXPECT_EQ(refusal([] { read_completion(R"({"prompt":"a","suffix":"b"})"); }),
            "400 'suffix' is not supported [suffix]");
}

TEST(OtherBodies, AreReadToo) {
  EXPECT_TRUE(read_embedding(R"({"input":["a"],"encoding_format":"base64","dimensions":256})").base64);
  EXPECT_EQ(refusal([] { read_embedding(R"({"input":"a","encoding_format":"x"})"); }),
            "400 'encoding_format' must be 'float' or 'base64' [encoding_format]");
  EXPECT_EQ(read_tokenize(R"({"content":"a","add_special":true})").content, "a");
  EXPECT_EQ(read_detokenize(R"({"tokens":[1,2]})").tokens.size(), 2u);
  EXPECT_EQ(refusal([] { read_tokenize("{}"); }), "400 'content' is missing [content]");
}

TEST(AnthropicRequestBody, BecomesTheSameConversation) {
  const ChatRequest r = read_anthropic(
      R"({"model":"m","max_tokens":10,"system":[{"type":"text","text":"S"}],"stop_sequences":["x"],
    "messages":[{"role":"user","content":"a"},
      {"role":"assistant","content":[{"type":"thinking","thinking":"t"},{"type":"text","text":"b"},{"type":"tool_use","id":"1","name":"f","input":{"k":2}}]},
      {"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":"c"},{"type":"text","text":"d"}]}],
    "tools":[{"name":"f","description":"D","input_schema":{"type":"object"}}],"tool_choice":{"type":"any"},"stream":true})");
  ASSERT_EQ(r.messages.size(), 5u);
  EXPECT_EQ(r.messages[0].role, "system");
  EXPECT_EQ(r.messages[2].thinking, "t");
  EXPECT_EQ(r.messages[2].tool_calls.at(0).name, "f");
  EXPECT_EQ(r.messages[3].role, "tool");
  EXPECT_EQ(r.messages[4].content, "d");
  EXPECT_EQ(r.tools.at(0).find("function")->find("name")->text(), "f");
  EXPECT_EQ(r.tool_choice.kind, ToolChoice::Kind::kRequired);
  EXPECT_EQ(r.max_tokens, 10u);
  EXPECT_EQ(r.stop.size(), 1u);
  EXPECT_EQ(refusal([] { read_anthropic(R"({"messages":[{"role":"user","content":"a"}]})"); }),
            "400 'max_tokens' is missing [max_tokens]");
  EXPECT_EQ(refusal([] {
              read_anthropic(R"({"max_tokens":1,"messages":[{"role":"user","content":[{"type":"image"}]}]})");
            }),
            "400 'messages[0].content[0].type' is 'image'; this server takes text only "
            "[messages[0].content[0].type]");
}

}  // namespace
}  // namespace gemma::server
