// Tool calls in a model's output, for dialects that have a form for them.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "examples/server/request.hpp"
#include "examples/server/response.hpp"
#include "tokenizer/dialects/dialect.hpp"

namespace gemma::server {

/// Separates calls from text in a stream. Invariant: output that is not a call is returned as text; outside a
/// call at most a marker's length is held back.
class ToolCallReader {
 public:
  /// `agent`: the dialect's form; nullptr: no calls. It must outlive this object.
  explicit ToolCallReader(const AgentTurns* agent) : agent_(agent) {}

  /// Adds `text` and returns the text to show; completed calls are appended to `calls`, without ids.
  std::string push(std::string_view text, std::vector<CalledTool>& calls);
  /// Returns the text that was held back.
  std::string flush();

 private:
  const AgentTurns* agent_;
  std::string pending_;
};

/// Parses a call "call:NAME{...}"; its arguments become JSON. Returns false if it is not a call.
bool parse_tool_call(const AgentTurns& agent, std::string_view text, CalledTool& out);

/// A grammar (GBNF) of one call of one of these tools, each {"type": "function", "function": {...}}, with the
/// arguments that its "parameters" require, of the named types. `name`: only that tool; "": any.
std::string tool_call_grammar(const AgentTurns& agent, std::span<const Value> tools, std::string_view name);

}  // namespace gemma::server
