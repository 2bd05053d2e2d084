// Calls of tools in what a model writes, for dialects that have a form for them.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "examples/server/request.hpp"
#include "examples/server/response.hpp"
#include "tokenizer/dialects/dialect.hpp"

namespace gemma::server {

/// Tells calls from text while both come. Invariant: what is no call comes out as the text that it is; at
/// most a marker's length is held back outside of a call.
class ToolCallReader {
 public:
  /// `agent`: the dialect's; nullptr: there are no calls. It must outlive this.
  explicit ToolCallReader(const AgentTurns* agent) : agent_(agent) {}

  /// The text that `text` adds; calls that it completes are appended to `calls`, without ids.
  std::string push(std::string_view text, std::vector<CalledTool>& calls);
  /// What was held back.
  std::string flush();

 private:
  const AgentTurns* agent_;
  std::string pending_;
};

/// The call written as "call:NAME{...}", its arguments as JSON. False: it is none.
bool parse_tool_call(const AgentTurns& agent, std::string_view text, CalledTool& out);

/// A grammar (GBNF) of one call of one of these tools, {"type": "function", "function": {...}} each, with the
/// arguments that their "parameters" require, of the types that they name. `name`: only that tool; "": any.
std::string tool_call_grammar(const AgentTurns& agent, std::span<const Value> tools, std::string_view name);

}  // namespace gemma::server
