// Reads the bodies of /v1/chat/completions and of Anthropic's /v1/messages: both become the same structure.
#include <algorithm>

#include "examples/chat_json.hpp"
#include "examples/server/json_fields.hpp"
#include "examples/server/request.hpp"

namespace gemma::server {
namespace {

/// A text, or the concatenated texts of a list of parts.
std::string content_of(const Json& v, const std::string& path) {
  if (v.is_null()) return "";
  if (v.is_string()) return v.get<std::string>();
  if (!v.is_array()) throw wrong(path, "must be a string or a list of parts");
  std::string out;
  for (std::size_t i = 0; i < v.size(); ++i) {
    const Fields part = Fields::of(v[i], item_path(path, i));
    const std::string type = part.text("type").value_or("");
    if (type != "text") {
      throw wrong(part.path("type"), "is '" + type.substr(0, 40) + "'; this server takes text only");
    }
    part.need("text");
    out += *part.text("text");
  }
  return out;
}

/// A tool's arguments: JSON in a string, or the value itself.
Value arguments_of(const Json& v, const std::string& path) {
  if (!v.is_string()) return app::value_of(v);
  const auto& text = v.get_ref<const std::string&>();
  if (text.empty()) return Value::object();
  try {
    return app::value_of(parse_body(text));
  } catch (const ApiError&) {
    throw wrong(path, "must hold a JSON object");
  }
}

std::vector<ToolCall> calls_of(const Fields& message) {
  std::vector<ToolCall> out;
  const Json* calls = message.list("tool_calls");
  for (std::size_t i = 0; calls != nullptr && i < calls->size(); ++i) {
    const Fields call = Fields::of((*calls)[i], item_path(message.path("tool_calls"), i));
    const Fields function = Fields::of(call.need("function"), call.path("function"));
    function.need("name");
    const Json* arguments = function.find("arguments");
    out.push_back(
        {call.text("id").value_or(""), *function.text("name"),
         arguments == nullptr ? Value::object() : arguments_of(*arguments, function.path("arguments"))});
  }
  return out;
}

Message message_of(const Fields& f) {
  Message m;
  f.need("role");
  m.role = *f.text("role");
  constexpr std::string_view kRoles[] = {"system", "developer", "user", "assistant", "tool", "function"};
  if (std::find(std::begin(kRoles), std::end(kRoles), m.role) == std::end(kRoles)) {
    throw wrong(f.path("role"), "must be 'system', 'developer', 'user', 'assistant' or 'tool'");
  }
  if (m.role == "function") m.role = "tool";
  m.tool_calls = calls_of(f);
  m.thinking = f.text("reasoning_content").value_or(f.text("reasoning").value_or(""));
  m.tool_call_id = f.text("tool_call_id").value_or("");
  m.name = f.text("name").value_or("");
  if (const Json* content = f.find("content")) {
    m.content = content_of(*content, f.path("content"));
  } else if (m.role != "assistant") {
    f.need("content");
  }
  return m;
}

std::vector<Value> tools_of(const Fields& f) {
  std::vector<Value> out;
  const Json* tools = f.list("tools");
  for (std::size_t i = 0; tools != nullptr && i < tools->size(); ++i) {
    const Fields tool = Fields::of((*tools)[i], item_path("tools", i));
    if (tool.text("type").value_or("") != "function") throw wrong(tool.path("type"), "must be 'function'");
    const Fields function = Fields::of(tool.need("function"), tool.path("function"));
    function.need("name");
    if (function.text("name")->empty()) throw wrong(function.path("name"), "must not be empty");
    static_cast<void>(function.text("description"));
    static_cast<void>(function.object("parameters"));
    out.push_back(app::value_of((*tools)[i]));
  }
  return out;
}

bool has_tool(const std::vector<Value>& tools, std::string_view name) {
  return std::any_of(tools.begin(), tools.end(), [&](const Value& tool) {
    const Value* function = tool.find("function");
    return function != nullptr && function->find("name") != nullptr && function->find("name")->text() == name;
  });
}

ToolChoice tool_choice_of(const Fields& f, const std::vector<Value>& tools) {
  const Json* v = f.find("tool_choice");
  if (v == nullptr) return {};
  ToolChoice out;
  if (v->is_string()) {
    const auto& kind = v->get_ref<const std::string&>();
    if (kind != "auto" && kind != "none" && kind != "required") {
      throw wrong("tool_choice", "must be 'auto', 'none', 'required' or a function");
    }
    out.kind = kind == "none"       ? ToolChoice::Kind::kNone
               : kind == "required" ? ToolChoice::Kind::kRequired
                                    : ToolChoice::Kind::kAuto;
  } else {
    const Fields choice = Fields::of(*v, "tool_choice");
    const Fields function = Fields::of(choice.need("function"), "tool_choice.function");
    function.need("name");
    out = {ToolChoice::Kind::kNamed, *function.text("name")};
    if (!has_tool(tools, out.name)) throw wrong("tool_choice.function.name", "names none of 'tools'");
  }
  if (out.kind == ToolChoice::Kind::kRequired && tools.empty())
    throw wrong("tool_choice", "asks for a tool and there is none");
  return out;
}

void check_last(const std::vector<Message>& messages) {
  if (messages.empty()) throw wrong("messages", "must not be empty");
  if (messages.size() > RequestLimits::kMessages) throw wrong("messages", "holds too many messages");
}

}  // namespace

ChatRequest read_chat(std::string_view body) {
  const Json json = parse_body(body);
  const Fields f(json, "");
  ChatRequest out;
  read_generation(f, out);
  f.need("messages");
  const Json& messages = *f.list("messages");
  for (std::size_t i = 0; i < messages.size(); ++i) {
    out.messages.push_back(message_of(Fields::of(messages[i], item_path("messages", i))));
  }
  check_last(out.messages);
  out.tools = tools_of(f);
  out.tool_choice = tool_choice_of(f, out.tools);
  out.logprobs = f.flag("logprobs").value_or(false);
  if (const auto n = f.whole("top_logprobs", 0, RequestLimits::kTopLogprobs)) {
    if (*n != 0 && !out.logprobs) throw wrong("top_logprobs", "needs 'logprobs'");
    out.top_logprobs = static_cast<std::size_t>(*n);
  }
  if (const auto options = f.object("chat_template_kwargs")) out.thinking = options->flag("enable_thinking");
  if (const auto effort = f.text("reasoning_effort")) {
    if (!out.thinking) out.thinking = *effort != "none";
  }
  if (const Json* modalities = f.list("modalities")) {
    for (const Json& m : *modalities) {
      if (m != "text") throw wrong("modalities", "asks for more than text");
    }
  }
  return out;
}

namespace {

/// Adds the blocks of an Anthropic message, which become one message, plus one for each tool result.
void add_anthropic(const Fields& f, std::vector<Message>& out) {
  f.need("role");
  const std::string role = *f.text("role");
  if (role != "user" && role != "assistant") throw wrong(f.path("role"), "must be 'user' or 'assistant'");
  const Json& content = f.need("content");
  Message m;
  m.role = role;
  if (content.is_string()) {
    m.content = content.get<std::string>();
    out.push_back(std::move(m));
    return;
  }
  if (!content.is_array()) throw wrong(f.path("content"), "must be a string or a list of blocks");
  bool answers = false;
  bool says = content.empty();
  for (std::size_t i = 0; i < content.size(); ++i) {
    const Fields block = Fields::of(content[i], item_path(f.path("content"), i));
    const std::string type = block.text("type").value_or("");
    if (type == "text") {
      block.need("text");
      m.content += *block.text("text");
      says = true;
    } else if (type == "thinking") {
      m.thinking += block.text("thinking").value_or("");
    } else if (type == "tool_use") {
      block.need("name");
      m.tool_calls.push_back(
          {block.text("id").value_or(""), *block.text("name"), app::value_of(block.need("input"))});
    } else if (type == "tool_result") {
      Message answer;
      answer.role = "tool";
      answer.tool_call_id = block.text("tool_use_id").value_or("");
      if (const Json* said = block.find("content")) answer.content = content_of(*said, block.path("content"));
      out.push_back(std::move(answer));
      answers = true;
    } else {
      throw wrong(block.path("type"), "is '" + type.substr(0, 40) + "'; this server takes text only");
    }
  }
  if (says || !answers || !m.tool_calls.empty()) out.push_back(std::move(m));
}

std::vector<Value> anthropic_tools(const Fields& f) {
  std::vector<Value> out;
  const Json* tools = f.list("tools");
  for (std::size_t i = 0; tools != nullptr && i < tools->size(); ++i) {
    const Fields tool = Fields::of((*tools)[i], item_path("tools", i));
    const std::string type = tool.text("type").value_or("custom");
    if (type != "custom") {
      throw wrong(tool.path("type"), "is '" + type.substr(0, 40) + "'; this server runs no tools of its own");
    }
    tool.need("name");
    if (tool.text("name")->empty()) throw wrong(tool.path("name"), "must not be empty");
    static_cast<void>(tool.object("input_schema"));
    Json function = {{"name", *tool.text("name")}};
    if (const auto description = tool.text("description")) function["description"] = *description;
    if (const Json* schema = tool.find("input_schema")) function["parameters"] = *schema;
    out.push_back(app::value_of(Json{{"type", "function"}, {"function", function}}));
  }
  return out;
}

ToolChoice anthropic_choice(const Fields& f, const std::vector<Value>& tools) {
  const auto choice = f.object("tool_choice");
  if (!choice) return {};
  const std::string type = choice->text("type").value_or("");
  if (type == "auto") return {};
  if (type == "none") return {ToolChoice::Kind::kNone, ""};
  if (type == "any" && tools.empty()) throw wrong("tool_choice", "asks for a tool and there is none");
  if (type == "any") return {ToolChoice::Kind::kRequired, ""};
  if (type != "tool") throw wrong("tool_choice.type", "must be 'auto', 'any', 'tool' or 'none'");
  choice->need("name");
  const std::string name = *choice->text("name");
  if (!has_tool(tools, name)) throw wrong("tool_choice.name", "names none of 'tools'");
  return {ToolChoice::Kind::kNamed, name};
}

}  // namespace

ChatRequest read_anthropic(std::string_view body, bool generates) {
  const Json json = parse_body(body);
  const Fields f(json, "");
  ChatRequest out;
  out.model = f.text("model").value_or("");
  if (generates) f.need("max_tokens");
  if (const auto n = f.whole("max_tokens", 1, INT64_MAX)) {
    out.max_tokens = std::min(static_cast<std::size_t>(*n), RequestLimits::kMaxTokens);
  }
  out.sampling.temperature = f.real("temperature", 0, 1);
  out.sampling.top_p = top_p_of(f);
  if (const auto k = f.whole("top_k", 0, INT32_MAX)) out.sampling.top_k = static_cast<std::size_t>(*k);
  out.stream = f.flag("stream").value_or(false);
  if (const Json* stops = f.list("stop_sequences")) {
    if (stops->size() > RequestLimits::kStops) throw wrong("stop_sequences", "holds too many strings");
    for (std::size_t i = 0; i < stops->size(); ++i) {
      if (!(*stops)[i].is_string() || (*stops)[i].get_ref<const std::string&>().empty()) {
        throw wrong(item_path("stop_sequences", i), "must be a string that is not empty");
      }
      out.stop.push_back((*stops)[i].get<std::string>());
    }
  }
  if (const Json* system = f.find("system")) {
    Message m;
    m.role = "system";
    m.content = content_of(*system, "system");
    if (!m.content.empty()) out.messages.push_back(std::move(m));
  }
  f.need("messages");
  const Json& messages = *f.list("messages");
  if (messages.empty()) throw wrong("messages", "must not be empty");
  for (std::size_t i = 0; i < messages.size(); ++i) {
    add_anthropic(Fields::of(messages[i], item_path("messages", i)), out.messages);
  }
  check_last(out.messages);
  out.tools = anthropic_tools(f);
  out.tool_choice = anthropic_choice(f, out.tools);
  if (const auto thinking = f.object("thinking"))
    out.thinking = thinking->text("type").value_or("") == "enabled";
  return out;
}

}  // namespace gemma::server
