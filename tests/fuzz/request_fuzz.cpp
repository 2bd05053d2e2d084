// Arbitrary request bodies for the server's routes. Input: a byte that chooses the route, then the body.
#include <string>
#include <string_view>
#include <vector>

#include "examples/server/request.hpp"
#include "examples/server/response.hpp"
#include "tests/fuzz/targets.hpp"

namespace gemma::fuzz {
namespace request_target {

void check(const server::Generation& g) {
  require(g.n >= 1 && g.n <= server::RequestLimits::kChoices, "the number of choices is in range");
  require(g.stop.size() <= server::RequestLimits::kStops, "stops are bounded");
  require(g.top_logprobs <= server::RequestLimits::kTopLogprobs, "logprobs are bounded");
  for (const auto& stop : g.stop) require(!stop.empty(), "a stop has a text");
}

void run(Bytes input) {
  Fields fields(input);
  const unsigned route = fields.byte() % 6;
  const std::string_view body = fields.rest();
  try {
    if (route == 0) check(server::read_chat(body));
    if (route == 1) check(server::read_completion(body));
    if (route == 2) require(!server::read_embedding(body).inputs.empty(), "there is an input");
    if (route == 3) static_cast<void>(server::read_tokenize(body));
    if (route == 4) static_cast<void>(server::read_detokenize(body));
    if (route == 5) check(server::read_anthropic(body));
  } catch (const server::ApiError& e) {
    require(e.status() == 400, "a wrong body is the client's fault");
    require(server::error_body(e).find('\n') == std::string::npos, "an error is one line");
  }
}

Input routed(char route, std::string_view body) {
  std::string all(1, route);
  all.append(body);
  return to_input(all);
}

std::vector<Input> seeds() {
  const std::string chat =
      R"({"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"a"}]},
{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},{"role":"tool",
"tool_call_id":"1","content":"2"}],"temperature":0.5,"top_p":0.9,"n":2,"max_tokens":5,"stop":["a"],"stream":true,"stream_options":{"include_usage":true},
"logit_bias":{"5":-100},"logprobs":true,"top_logprobs":3,"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"auto",
"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"integer"}}}})";
  const std::string anthropic =
      R"({"max_tokens":10,"system":"S","messages":[{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"tool_use",
"id":"1","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":"c"}]}],"tools":[{"name":"f"}],"tool_choice":{"type":"any"}})";
  return {routed(0, chat),
          routed(1, R"({"prompt":[[1,2],[3]],"logprobs":2,"seed":-1,"grammar":"root ::= \"a\""})"),
          routed(2, R"({"input":["a","b"],"encoding_format":"base64","dimensions":3})"),
          routed(3, R"({"content":"x","add_special":true})"),
          routed(4, R"({"tokens":[1,2,3.0]})"),
          routed(5, anthropic)};
}

}  // namespace request_target

const Target kRequest{"request", request_target::run, request_target::seeds, false};

}  // namespace gemma::fuzz
