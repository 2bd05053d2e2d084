// Messages of a conversation, and their rendered text.
// Invariant: these types are independent of how a dialect writes them.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text_range.hpp"
#include "token_types.hpp"
#include "value.hpp"

namespace gemma {

/// A model's call of a tool.
struct ToolCall {
  std::string id;    // the answer refers to it; may be empty
  std::string name;  // of the tool
  Value arguments;   // an object, or a text that is written unchanged
};

/// A tool's answer, within the message of the model that called it.
struct ToolResponse {
  std::string name;  // of the tool
  Value value;       // any value, usually an object
};

/// One turn. role: "system", "user" or "assistant"; dialects with tools also take "developer", "tool" and
/// others.
struct Message {
  std::string role;               // the role of the speaker
  std::string content;            // UTF-8; never read as control tokens
  std::vector<TokenId> ids = {};  // of an answer, as generated: encode() uses them instead of `content`
  std::string thinking = {};      // what the model thought before it called a tool
  std::vector<ToolCall> tool_calls = {};          // of an assistant
  std::vector<ToolResponse> tool_responses = {};  // answers to these calls, if no "tool" messages follow
  std::string tool_call_id = {};                  // of role "tool": the call that this answers
  std::string name = {};  // of role "tool": the tool's name, used if no call has that id
  Value response = {};    // of role "tool": an answer that is not a text, instead of `content`; null: none
};

/// A conversation rendered as text, with the parts that are literal.
struct RenderedChat {
  std::string text;                // with the turns' markers, BOS included where the template prints it
  std::vector<TextRange> literal;  // ascending: texts of messages, in which no control tokens are recognised
  /// Ascending: the texts of answers that have `ids`, from where an answer begins to its end.
  std::vector<TextRange> answers;
};

/// Options of rendering a conversation.
struct ChatOptions {
  bool add_generation_prompt = true;  // end with the marker that begins an answer
  bool merge_system = false;  // a template without system turn: put the text before the first user message
  bool thinking = false;      // the model is asked to think first; ignored by dialects without thoughts
  std::span<const Value> tools = {};  // declared to the model: {"type": "function", "function": {...}} each
};

}  // namespace gemma
