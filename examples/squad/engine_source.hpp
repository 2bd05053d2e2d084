// The engine as an AnswerSource: a GGUF file, run on this machine.
// Invariant: the same prompt and sampling give the same answer whatever was asked before (law 1).
#pragma once

#include "examples/squad/answer_source.hpp"
#include "gemma/kv_pages.hpp"

namespace gemma::app {
struct EngineFlags;
}

namespace gemma::squad {

struct EngineOptions {
  std::string isa;             // "": the best for this CPU
  unsigned threads = 0;        // 0: physical_core_count()
  KvType kv = KvType::kF16;    // how keys and values are stored
  std::size_t max_memory = 0;  // limit of a file and all memory together, in bytes; 0: none
  std::string draft = "off";   // source of guesses: "lookup" (the text itself), "off", or a model's file
};
EngineOptions engine_options(const app::EngineFlags& flags);

/// Makes the factory. Throws gemma::Error (invalid_argument) for an instruction set that is not available.
SourceFactory engine_factory(const EngineOptions& options);

/// The instruction set and threads of such sources: "avx512vnni, 2 threads".
std::string describe_machine(const EngineOptions& options);

}  // namespace gemma::squad
