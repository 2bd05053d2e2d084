// Generates the answers of many sequences at once.
// Invariant: each is the answer of gemma-chat -p to the same prompt with the same flags and seed, whatever
// the number of ranks and of other prompts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "examples/pipeline/driver.hpp"
#include "examples/pipeline/flags.hpp"
#include "gemma/generation.hpp"

namespace gemma::app {

/// An answer, and its times and counts.
struct PipelineAnswer {
  std::string text, thinking;
  std::vector<std::int32_t> tokens;  // generated, without the one that ended the turn
  StopReason reason = StopReason::kEndOfTurn;
  std::size_t n_prompt = 0;
  double first_token_seconds = 0;  // from the start of all answers
  double total_seconds = 0;        // from the start of all answers
};

/// The ids of a prompt, written according to the flags. Throws Error as Tokenizer and ChatTemplate do.
std::vector<std::int32_t> prompt_ids(const Tokenizer& tokenizer, const PipelineFlags& flags,
                                     const std::string& prompt);

/// Answers all prompts, given as ids; there must be at least one. n_ctx: maximum number of tokens of a
/// sequence. on_text receives the text of the first answer while it is generated. Throws Error as Driver
/// does, {kInvalidArgument} for an unknown template.
std::vector<PipelineAnswer> answer_all(Driver& driver, const Model& model, const PipelineFlags& flags,
                                       std::span<const std::vector<std::int32_t>> prompts, std::size_t n_ctx,
                                       std::size_t n_ranks,
                                       const std::function<void(std::string_view)>& on_text);

}  // namespace gemma::app
