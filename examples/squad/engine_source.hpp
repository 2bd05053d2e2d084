// The engine as an AnswerSource: a GGUF file, mapped and run on this machine.
// Invariant: the same prompt and sampling give the same answer whatever was asked before (law 1).
#pragma once

#include "examples/squad/answer_source.hpp"

namespace gemma::squad {

struct EngineOptions {
  std::string isa;       // "": the best of this CPU
  unsigned threads = 0;  // 0: one for each physical core
  bool kv_f32 = false;   // keys and values in f32 in place of f16
};

/// Throws gemma::Error (invalid_argument) for an instruction set that is not there.
SourceFactory engine_factory(const EngineOptions& options);

/// "avx512vnni, 2 threads" as such sources will run.
std::string describe_machine(const EngineOptions& options);

}  // namespace gemma::squad
