// The flags that all commands share which judge a run, and the judge that they describe.
// Invariant: a key comes from the environment only; it is never printed or stored.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>

#include "examples/engine_flags.hpp"
#include "examples/squad/judge.hpp"
#include "examples/squad/judge_openai.hpp"

namespace gemma::squad {

struct JudgeFlags {
  std::string kind = "f1";  // f1, openai, gguf, none
  std::string name;         // used in the name of the verdicts' file; "": the kind
  std::string order = "rotate";
  std::string file;  // gguf: the model
  std::string prompt = "article";
  std::string temperature = "0";  // or "none"
  std::string key_variable = "OPENAI_API_KEY";
  std::string model, format;  // for openai; "": the preset's
  OpenAiOptions openai;       // other options of openai
  app::EngineFlags engine;    // of gguf; run and demo ask their models with it too
  bool quiet = false;         // no progress and no table

  void add_to(CLI::App& app);
  const std::string& verdicts_name() const { return name.empty() ? kind : name; }
  bool wanted() const { return kind != "none"; }
  /// Throws gemma::Error for contradictory flags and files that are not models; called before a long run.
  void check() const;
  /// Makes the judge. `preset`: the run's; with "article" the default is the article's judge and its function
  /// call. Throws gemma::Error as check().
  std::unique_ptr<Judge> make(std::string_view preset) const;
};

}  // namespace gemma::squad
