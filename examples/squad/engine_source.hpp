// The engine as an AnswerSource: a GGUF file, run on this machine.
// Invariant: the same prompt and sampling give the same answer whatever was asked before (law 1).
#pragma once

#include "examples/engine_flags.hpp"
#include "examples/squad/answer_source.hpp"

namespace gemma::squad {

/// Makes the factory. Of `flags` it takes the instruction set, threads, storage of keys and values, memory
/// limit and draft; the file, its window and its adapters are those of each ModelSpec. Throws gemma::Error
/// (invalid_argument) for an instruction set that is not available.
SourceFactory engine_factory(const app::EngineFlags& flags);

/// The instruction set and threads of such sources: "avx512vnni, 2 threads".
std::string describe_machine(const app::EngineFlags& flags);

}  // namespace gemma::squad
