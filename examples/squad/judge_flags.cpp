#include "examples/squad/judge_flags.hpp"

#include <cstdlib>

#include <fmt/format.h>

#include "examples/squad/digest.hpp"
#include "examples/squad/judge_likelihood.hpp"
#include "gguf/error.hpp"

namespace gemma::squad {

void JudgeFlags::add_to(CLI::App& app) {
  const char* group = "Judge";
  const auto option = [&](const char* flag, auto& value, const char* text) {
    return app.add_option(flag, value, text)->group(group);
  };
  option("--judge", kind, "Who ranks the answers: f1 (token F1 against the truth), openai, gguf or none")
      ->check(CLI::IsMember({"f1", "openai", "gguf", "none"}))
      ->capture_default_str();
  option("--judge-order", order, "openai, gguf: orders in which the answers are shown: fixed, rotate or all")
      ->check(CLI::IsMember({"fixed", "rotate", "all"}))
      ->capture_default_str();
  option("--judge-name", name, "Name of its verdicts, verdicts-NAME.jsonl (default: the judge)");
  option("--judge-url", openai.url, "openai: where it answers")->capture_default_str();
  option("--judge-model", openai.model, "openai: the model to ask for")->capture_default_str();
  option("--judge-key-variable", key_variable, "openai: environment variable that holds the key")
      ->capture_default_str();
  option("--judge-format", openai.format, "openai: how the ranking is asked for: function, tools or json")
      ->check(CLI::IsMember({"function", "tools", "json"}))
      ->capture_default_str();
  option("--judge-prompt", prompt,
         "openai: the article's words, or full: with the question and whole answers")
      ->check(CLI::IsMember({"article", "full"}))
      ->capture_default_str();
  option("--judge-attempts", openai.attempts, "openai: attempts for one verdict")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  option("--judge-timeout", openai.timeout_s, "openai: seconds for one attempt")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  option("--judge-file", file, "gguf: the model, a GGUF file")->type_name("FILE");
}

std::unique_ptr<Judge> JudgeFlags::make(const EngineOptions& engine) const {
  if (kind == "f1") return make_f1_judge();
  if (kind == "gguf") {
    if (file.empty()) throw Error(ErrorCode::kInvalidArgument, "--judge gguf needs --judge-file FILE");
    const ModelSpec spec{"judge", file};
    return make_likelihood_judge(engine_factory(engine)(spec), spec.file.filename().string(),
                                 sha256_of(spec.file));
  }
  OpenAiOptions options = openai;
  options.prompt = prompt == "full" ? JudgePrompt::kFull : JudgePrompt::kArticle;
  if (const char* key = std::getenv(key_variable.c_str())) options.key = key;
  if (options.key.empty() && options.url == OpenAiOptions().url) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("--judge openai needs a key in the environment variable {}", key_variable));
  }
  return make_openai_judge(options);
}

}  // namespace gemma::squad
