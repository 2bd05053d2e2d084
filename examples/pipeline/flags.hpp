// The command line of gemma-pipeline: the flags of gemma-logits, those of gemma-chat -p, and how layers are
// divided.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "examples/engine_flags.hpp"
#include "examples/sampling_flags.hpp"
#include "gemma/stage.hpp"

namespace gemma::app {

struct PipelineFlags {
  EngineFlags engine;
  std::size_t chunk = 128;
  std::variant<SplitBy, std::vector<std::size_t>> split = SplitBy::kDecode;
  double timeout = 30;
  bool stats = false;

  // for logits
  std::vector<std::string> tokens;
  std::string tokens_file;
  std::string out;

  // for answers
  std::vector<std::string> prompts;
  std::string prompts_file;
  std::string system, chat_template;
  bool raw = false, json = false;
  AnswerFlags answer;
  SamplingFlags sampling;

  bool wants_logits() const { return !tokens.empty() || !tokens_file.empty(); }
  /// Parses the command line. Throws Error{kInvalidArgument}, Done.
  static PipelineFlags parse(int argc, char** argv);
};

/// Parses "prefill", "decode", or numbers of layers separated by commas. Throws Error{kInvalidArgument}.
std::variant<SplitBy, std::vector<std::size_t>> parse_split(const std::string& text);

}  // namespace gemma::app
