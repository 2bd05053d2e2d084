// A judge that is a local model: its verdict is the most likely of all rankings as the reply to the request.
// Invariant: the verdict is always a ranking; nothing is sampled and nothing parsed.
#pragma once

#include <memory>
#include <string>

#include "examples/squad/answer_source.hpp"
#include "examples/squad/judge.hpp"

namespace gemma::squad {

/// `label` and `sha256` identify the model. At most 5 answers (120 rankings): judge() throws gemma::Error
/// (invalid_argument) for more, and what the source throws. `positions`: initial size of the context in
/// tokens; it is enlarged when a prompt needs it, up to the model's own context (else context_full).
std::unique_ptr<Judge> make_likelihood_judge(std::unique_ptr<AnswerSource> source, std::string label,
                                             std::string sha256, std::size_t positions = 4096);

}  // namespace gemma::squad
