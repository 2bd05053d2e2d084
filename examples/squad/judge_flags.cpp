#include "examples/squad/judge_flags.hpp"

#include <cstdlib>

#include <fmt/format.h>

#include "examples/numbers.hpp"
#include "examples/program.hpp"
#include "examples/squad/engine_source.hpp"
#include "examples/squad/fail.hpp"
#include "examples/squad/run_settings.hpp"
#include "examples/squad/verdicts.hpp"

namespace gemma::squad {

void JudgeFlags::add_to(CLI::App& app) {
  using Flags = app::EngineFlags;
  engine.add_to(app, Flags::kThreads | Flags::kIsa | Flags::kKv | Flags::kMemory);
  app.add_flag("-q,--quiet", quiet, "No progress and no table");
  const auto option = [&](const char* flag, const char* type, auto& value, const std::string& text) {
    return app.add_option(flag, value, text)->group("Judge")->type_name(type);
  };
  option("--judge", "KIND", kind,
         "Who ranks the answers: f1 (token F1 against the truth; default), openai, gguf or none")
      ->check(CLI::IsMember({"f1", "openai", "gguf", "none"}).description(""));
  option("--judge-name", "NAME", name, "Name of its verdicts, verdicts-NAME.jsonl (default: the kind)");
  option("--judge-order", "ORDER", order,
         "openai, gguf: in which orders the answers are shown: fixed (the article's way), rotate (all "
         "permutations in turn; default) or all (every one for every question)")
      ->check(CLI::IsMember({"fixed", "rotate", "all"}).description(""));
  option("--judge-file", "FILE", file, "gguf: the model, a GGUF file");
  option("--judge-url", "URL", openai.url, "openai: URL of the endpoint (default: " + openai.url + ")");
  option("--judge-model", "NAME", model,
         fmt::format("openai: the model to ask for (default: {}; of a run by --preset article, {})",
                     kCurrentJudgeModel, kArticleJudgeModel));
  option("--judge-temperature", "N|none", temperature,
         "openai: temperature; none sends no temperature, for models that accept only their own (default: 0)")
      ->check([](const std::string& text) {
        const bool is_valid = text == "none" || app::RealNumber{0, 2}(text).empty();  // OpenAI's range
        return is_valid ? "" : text + " is neither a number from 0 to 2 nor none";
      });
  option("--judge-key-variable", "NAME", key_variable,
         "openai: environment variable that holds the key (default: " + key_variable + ")");
  option("--judge-format", "FORMAT", format,
         "openai: how the ranking is asked for: schema (output by JSON schema; default), function (the "
         "article's way, and the default of a run by --preset article), tools or json")
      ->check(CLI::IsMember({"schema", "function", "tools", "json"}).description(""));
  option("--judge-prompt", "PROMPT", prompt,
         "openai: article (its words; default) or full (with the question and whole answers)")
      ->check(CLI::IsMember({"article", "full"}).description(""));
  option("--judge-attempts", "N", openai.attempts, "openai: attempts for one verdict (default: 6)")
      ->check(app::WholeNumber{1, 100});
  option("--judge-timeout", "SECONDS", openai.timeout_s, "openai: seconds for one attempt (default: 60)")
      ->check(app::RealNumber{0.1, 3600.0});
}

void JudgeFlags::check() const {
  if (wanted()) check_judge_name(verdicts_name());
  if (kind == "gguf" && file.empty()) refuse("--judge gguf needs --judge-file FILE");
  if (kind == "gguf") engine_factory(engine)({"judge", file});
  if (kind == "openai") make("");
}

std::unique_ptr<Judge> JudgeFlags::make(std::string_view preset) const {
  if (kind == "f1") return make_f1_judge();
  if (kind == "gguf") {
    check();
    const ModelSpec spec{"judge", file};
    return make_likelihood_judge(engine_factory(engine)(spec), spec.file.filename().string(),
                                 sha256_of(spec.file));
  }
  OpenAiOptions options = openai;
  const bool is_articles = preset == "article";
  options.model = !model.empty() ? model : std::string(is_articles ? kArticleJudgeModel : kCurrentJudgeModel);
  options.format = !format.empty() ? format : is_articles ? "function" : "schema";
  options.prompt = prompt == "full" ? JudgePrompt::kFull : JudgePrompt::kArticle;
  options.temperature = app::parse_number<double>(temperature);  // none: "none"
  if (const char* key = std::getenv(key_variable.c_str())) options.key = key;
  if (options.key.empty() && options.url == OpenAiOptions().url) {
    refuse("--judge openai needs a key in the environment variable {}", key_variable);
  }
  return make_openai_judge(options);
}

}  // namespace gemma::squad
