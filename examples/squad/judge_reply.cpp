#include "examples/squad/judge_reply.hpp"

#include <cstdint>

#include <boost/algorithm/string/classification.hpp>
#include <boost/algorithm/string/split.hpp>
#include <boost/algorithm/string/trim.hpp>
#include <nlohmann/json.hpp>

#include "examples/numbers.hpp"

namespace gemma::squad {
namespace {

using nlohmann::json;

/// The text after the model's thoughts. Servers whose template opens the thoughts send only the closing tag;
/// unfinished thoughts leave nothing.
std::string_view without_thoughts(std::string_view text) {
  constexpr std::string_view kOpen = "<think>", kClose = "</think>";
  const std::size_t close = text.rfind(kClose);
  if (close != std::string_view::npos) text.remove_prefix(close + kClose.size());
  return text.substr(0, text.find(kOpen));
}

/// The text between the last two fences of "```json ... ```"; "" if there are none.
std::string_view fenced(std::string_view text) {
  constexpr std::string_view kFence = "```";
  const std::size_t close = text.rfind(kFence);
  if (close == std::string_view::npos || close == 0) return {};
  const std::size_t open = text.rfind(kFence, close - 1);
  if (open == std::string_view::npos || open + kFence.size() > close) return {};
  std::string_view inside = text.substr(open + kFence.size(), close - open - kFence.size());
  const std::size_t line = inside.find('\n');  // the language's name precedes it
  return line == std::string_view::npos ? inside : inside.substr(line + 1);
}

/// The only text in braces, such as JSON in a sentence; "" if there is none, or several.
std::string_view braced(std::string_view text) {
  const std::size_t open = text.find('{');
  if (open == std::string_view::npos || text.rfind('{') != open) return {};
  const std::size_t close = text.find('}', open);
  return close == std::string_view::npos ? std::string_view() : text.substr(open, close - open + 1);
}

/// Parses a text that consists of a plain ranking.
std::vector<double> parse_ranking(std::string_view text, std::size_t k) {
  constexpr const char* kBetween = " \t\r\n,;>[]\"'";
  text = boost::trim_copy_if(text, boost::is_any_of(kBetween));
  std::vector<std::string> ids;
  boost::split(ids, text, boost::is_any_of(kBetween), boost::token_compress_on);
  if (ids.size() == 1 && k > 1) {  // "213"
    ids.clear();
    for (const char digit : text) ids.emplace_back(1, digit);
  }
  if (ids.size() != k) return {};
  std::vector<double> ranks(k, 0);
  for (std::size_t i = 0; i < k; ++i) {
    const std::size_t id = app::parse_number<std::size_t>(ids[i]).value_or(0);
    if (id < 1 || id > k || ranks[id - 1] != 0) return {};
    ranks[id - 1] = static_cast<double>(i + 1);
  }
  return ranks;
}

/// Parses a text that consists of a ranking, plain or as JSON.
std::vector<double> whole_ranking(std::string_view text, std::size_t k) {
  const json value = json::parse(text, nullptr, false);
  if (!value.is_object()) return parse_ranking(text, k);
  const auto rank = value.find("rank");
  if (rank == value.end()) return {};
  if (rank->is_string()) return parse_ranking(rank->get_ref<const std::string&>(), k);
  if (!rank->is_array()) return {};
  std::string ids;
  for (const json& id : *rank) {  // not dump(), which recurses as deep as its input
    if (!id.is_string() && !id.is_number_unsigned()) return {};
    ids += (id.is_string() ? id.get<std::string>() : std::to_string(id.get<std::uint64_t>())) + ",";
  }
  return parse_ranking(ids, k);
}

/// The last line that is not empty, without words and marks around the ranking.
std::string_view last_line(std::string_view text) {
  text = boost::trim_copy_if(text, boost::is_any_of(" \t\r\n"));
  const std::size_t line = text.rfind('\n');
  if (line != std::string_view::npos) text.remove_prefix(line + 1);
  if (!text.starts_with('{')) {
    const std::size_t colon = text.rfind(':');
    if (colon != std::string_view::npos) text.remove_prefix(colon + 1);
  }
  text = boost::trim_copy_if(text, boost::is_any_of(" \t\r\n*_`."));
  // "213" may be a ranking if it is the whole reply; at the end of a sentence it is another number
  return text.find_first_not_of("0123456789") == std::string_view::npos ? std::string_view() : text;
}

}  // namespace

std::string reply_text(const json& message) {
  // some servers send unused members as null or empty
  const auto call = message.find("function_call");
  if (call != message.end() && call->is_object()) return call->at("arguments");
  const auto tools = message.find("tool_calls");
  if (tools != message.end() && tools->is_array() && !tools->empty()) {
    return tools->at(0).at("function").at("arguments");
  }
  const json& content = message.at("content");
  if (!content.is_array()) return content;
  std::string text;
  for (const json& part : content) {
    if (part.is_object() && part.contains("text")) text += part["text"].get<std::string>();
  }
  return text;
}

std::vector<double> ranking_in(std::string_view text, std::size_t k) {
  text = without_thoughts(text);
  for (const std::string_view part : {text, fenced(text), braced(text), last_line(text)}) {
    if (part.empty()) continue;
    if (std::vector<double> ranks = whole_ranking(part, k); !ranks.empty()) return ranks;
  }
  return {};
}

}  // namespace gemma::squad
