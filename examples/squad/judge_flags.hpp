// The flags of a judge, and the judge they describe.
// Invariant: a key comes from the environment only; it is never printed or stored.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>

#include "examples/squad/engine_source.hpp"
#include "examples/squad/judge.hpp"
#include "examples/squad/judge_openai.hpp"

namespace gemma::squad {

struct JudgeFlags {
  std::string kind = "f1";  // f1, openai, gguf, none
  std::string name;         // of the file of verdicts; "": the kind
  std::string order = "rotate";
  std::string file;  // gguf: the model
  std::string prompt = "article";
  std::string key_variable = "OPENAI_API_KEY";
  std::string model, format;  // openai; "": the preset's
  OpenAiOptions openai;       // the rest

  void add_to(CLI::App& app);
  const std::string& verdicts_name() const { return name.empty() ? kind : name; }
  bool wanted() const { return kind != "none"; }
  /// Throws gemma::Error for flags that do not fit together and files that are no models, before a long run.
  void check(const EngineOptions& engine) const;
  /// `preset`: the run's; "article" asks the article's judge by its function call, where nothing else is
  /// said. Throws gemma::Error as check().
  std::unique_ptr<Judge> make(const EngineOptions& engine, std::string_view preset) const;
};

}  // namespace gemma::squad
