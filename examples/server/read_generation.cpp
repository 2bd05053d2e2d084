// The fields that /v1/chat/completions and /v1/completions share, and the small routes.

#include "examples/numbers.hpp"
#include "examples/server/json_fields.hpp"
#include "examples/server/request.hpp"

namespace gemma::server {
namespace {

std::vector<std::string> stops_of(const Fields& f) {
  std::vector<std::string> out;
  const Json* v = f.find("stop");
  if (v == nullptr) return out;
  const auto add = [&](const Json& text, const std::string& path) {
    if (!text.is_string()) throw wrong(path, "must be a string");
    out.push_back(text.get<std::string>());
    if (out.back().empty()) throw wrong(path, "must not be empty");
    if (out.back().size() > RequestLimits::kStopBytes) throw wrong(path, "is too long");
  };
  if (!v->is_array()) {
    add(*v, "stop");
    return out;
  }
  if (v->size() > RequestLimits::kStops) {
    throw wrong("stop", "holds more than " + std::to_string(RequestLimits::kStops) + " strings");
  }
  for (std::size_t i = 0; i < v->size(); ++i) add((*v)[i], item_path("stop", i));
  return out;
}

std::map<std::int32_t, float> bias_of(const Fields& f) {
  std::map<std::int32_t, float> out;
  const auto list = f.object("logit_bias");
  if (!list) return out;
  if (list->json().size() > RequestLimits::kBias) throw wrong("logit_bias", "holds too many tokens");
  for (const auto& [name, value] : list->json().items()) {
    const auto id = app::parse_number<std::int32_t>(name);
    if (!id || *id < 0) {
      throw wrong("logit_bias", "has the key '" + name.substr(0, 40) + "', which is not a token id");
    }
    list->need(name);
    out[*id] = *list->real(name, -100, 100);
  }
  return out;
}

Constraint constraint_of(const Fields& f) {
  const auto grammar = f.text("grammar");  // as in llama-server
  const auto format = f.object("response_format");
  if (!format) return grammar ? Constraint{Constraint::Kind::kGrammar, *grammar} : Constraint{};
  const std::string type = format->text("type").value_or("");
  if (type == "text") return grammar ? Constraint{Constraint::Kind::kGrammar, *grammar} : Constraint{};
  if (grammar) throw wrong("grammar", "and 'response_format' exclude each other");
  if (type == "json_object") {
    // the schema directly inside, as in some servers
    const Json* schema = format->find("schema");
    return schema == nullptr ? Constraint{Constraint::Kind::kJsonObject, ""}
                             : Constraint{Constraint::Kind::kJsonSchema, schema->dump()};
  }
  if (type != "json_schema") {
    throw wrong("response_format.type", "must be 'text', 'json_object' or 'json_schema'");
  }
  const Fields outer = Fields::of(format->need("json_schema"), "response_format.json_schema");
  return {Constraint::Kind::kJsonSchema, outer.need("schema").dump()};
}

}  // namespace

void read_generation(const Fields& f, Generation& out) {
  constexpr auto kMost = static_cast<std::int64_t>(RequestLimits::kMaxTokens);
  out.model = f.text("model").value_or("");
  Sampling& s = out.sampling;
  s.temperature = f.real("temperature", 0, 1e6);
  s.top_p = top_p_of(f);
  s.min_p = f.real("min_p", 0, 1);
  for (const char* name : {"repetition_penalty", "repeat_penalty"}) {
    if (const auto v = f.real(name, 0.01, 100)) s.repeat_penalty = v;
  }
  if (const auto k = f.whole("top_k", -1, INT32_MAX)) s.top_k = *k < 0 ? 0 : static_cast<std::size_t>(*k);
  s.presence_penalty = f.real("presence_penalty", -2, 2).value_or(0);
  s.frequency_penalty = f.real("frequency_penalty", -2, 2).value_or(0);
  if (const auto seed = f.whole("seed", INT64_MIN, INT64_MAX)) {
    if (*seed != -1) s.seed = static_cast<std::uint64_t>(*seed);  // -1: random, as in llama-server
  }
  s.logit_bias = bias_of(f);
  for (const char* name : {"max_tokens", "max_completion_tokens"}) {
    if (const auto n = f.whole(name, -1, INT64_MAX)) {  // -1: no limit, as in llama-server
      out.max_tokens = static_cast<std::size_t>(*n < 0 ? kMost : std::min(*n, kMost));
    }
  }
  out.stop = stops_of(f);
  out.n = static_cast<std::size_t>(f.whole("n", 1, RequestLimits::kChoices).value_or(1));
  out.stream = f.flag("stream").value_or(false);
  if (const auto options = f.object("stream_options")) {
    out.include_usage = options->flag("include_usage").value_or(false);
  }
  out.ignore_end = f.flag("ignore_eos").value_or(false);
  out.constraint = constraint_of(f);
}

TokenizeRequest read_tokenize(std::string_view body) {
  const Json json = parse_body(body);
  const Fields f(json, "");
  TokenizeRequest out;
  out.model = f.text("model").value_or("");
  f.need("content");
  out.content = *f.text("content");
  out.add_special = f.flag("add_special").value_or(false);
  out.parse_special = f.flag("parse_special").value_or(false);
  out.with_pieces = f.flag("with_pieces").value_or(false);
  return out;
}

DetokenizeRequest read_detokenize(std::string_view body) {
  const Json json = parse_body(body);
  const Fields f(json, "");
  DetokenizeRequest out;
  out.model = f.text("model").value_or("");
  f.need("tokens");
  out.tokens = ids_of(*f.list("tokens"), "tokens");
  return out;
}

}  // namespace gemma::server
