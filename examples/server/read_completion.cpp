// Reads the bodies of /v1/completions and /v1/embeddings: one or several texts or lists of ids.
#include "examples/server/json_fields.hpp"
#include "examples/server/request.hpp"

namespace gemma::server {
namespace {

/// "text", ["text", ...], [1, 2, ...] or [[1, 2, ...], ...].
std::vector<Prompt> prompts_of(const Fields& f, const char* name) {
  const Json& v = f.need(name);
  if (v.is_string()) return {v.get<std::string>()};
  if (!v.is_array()) throw wrong(name, "must be a string, a list of strings, or lists of token ids");
  if (v.empty()) throw wrong(name, "must not be empty");
  if (v[0].is_number()) return {ids_of(v, name)};
  if (v.size() > RequestLimits::kInputs) {
    throw wrong(name, "holds more than " + std::to_string(RequestLimits::kInputs) + " texts");
  }
  std::vector<Prompt> out;
  for (std::size_t i = 0; i < v.size(); ++i) {
    if (v[i].is_string()) {
      out.emplace_back(v[i].get<std::string>());
    } else if (v[i].is_array()) {
      out.emplace_back(ids_of(v[i], item_path(name, i)));
    } else {
      throw wrong(item_path(name, i), "must be a string or a list of token ids");
    }
  }
  return out;
}

}  // namespace

CompletionRequest read_completion(std::string_view body) {
  const Json json = parse_body(body);
  const Fields f(json, "");
  CompletionRequest out;
  read_generation(f, out);
  out.prompts = prompts_of(f, "prompt");
  out.echo = f.flag("echo").value_or(false);
  if (const auto n = f.whole("logprobs", 0, RequestLimits::kTopLogprobs)) {
    out.logprobs = true;
    out.top_logprobs = static_cast<std::size_t>(*n);
  }
  if (const auto suffix = f.text("suffix"); suffix && !suffix->empty())
    throw wrong("suffix", "is not supported");
  if (const auto best = f.whole("best_of", 1, RequestLimits::kChoices);
      best && static_cast<std::size_t>(*best) > out.n) {
    throw wrong("best_of", "above 'n' is not supported");
  }
  return out;
}

EmbeddingRequest read_embedding(std::string_view body) {
  const Json json = parse_body(body);
  const Fields f(json, "");
  EmbeddingRequest out;
  out.model = f.text("model").value_or("");
  out.inputs = prompts_of(f, "input");
  const std::string format = f.text("encoding_format").value_or("float");
  if (format != "float" && format != "base64") throw wrong("encoding_format", "must be 'float' or 'base64'");
  out.base64 = format == "base64";
  if (const auto n = f.whole("dimensions", 1, 1 << 20)) out.dimensions = static_cast<std::size_t>(*n);
  return out;
}

}  // namespace gemma::server
