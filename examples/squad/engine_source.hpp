// The engine as an AnswerSource: a GGUF file, mapped and run on this machine.
// Invariant: the same prompt and sampling give the same answer whatever was asked before (law 1).
#pragma once

#include "examples/squad/answer_source.hpp"
#include "gemma/kv_pages.hpp"

namespace gemma::app {
struct EngineFlags;
}

namespace gemma::squad {

struct EngineOptions {
  std::string isa;             // "": the best of this CPU
  unsigned threads = 0;        // 0: one for each physical core
  KvType kv = KvType::kF16;    // how keys and values are stored
  std::size_t max_memory = 0;  // bytes of a file, its cache and workspace together; 0: no limit
  std::string draft = "off";  // where guesses come from: "lookup" (the text itself), "off", or a model's file
};
EngineOptions engine_options(const app::EngineFlags& flags);

/// Throws gemma::Error (invalid_argument) for an instruction set that is not there.
SourceFactory engine_factory(const EngineOptions& options);

/// "avx512vnni, 2 threads" as such sources will run.
std::string describe_machine(const EngineOptions& options);

}  // namespace gemma::squad
