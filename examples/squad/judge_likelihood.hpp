// A judge that is a local model: of all rankings, the one it finds likeliest as the reply to the request to
// rank. Invariant: the verdict is always a ranking; nothing is sampled and nothing parsed.
#pragma once

#include <memory>
#include <string>

#include "examples/squad/answer_source.hpp"
#include "examples/squad/judge.hpp"

namespace gemma::squad {

/// `label` and `sha256` identify the model. Up to 5 answers (120 rankings); judge() throws gemma::Error
/// (invalid_argument) for more, and what the source throws. `positions`: tokens for which there
/// is room at first; more is made where a prompt needs it, up to what the model was made for (else
/// context_full).
std::unique_ptr<Judge> make_likelihood_judge(std::unique_ptr<AnswerSource> source, std::string label,
                                             std::string sha256, std::size_t positions = 4096);

}  // namespace gemma::squad
