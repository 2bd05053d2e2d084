// Reports about a model and an answer: lines for people, an object for programs.
// Invariant: every number has a unit, in its name or beside it.
#pragma once

#include <cstddef>
#include <string>

#include "gemma/gemma.hpp"

namespace gemma::app {

/// One line: name, size, context, instruction set, threads.
std::string model_line(const Model& model, const Session& session);

/// One line: tokens per second, time to the first token, tokens, how full the context is.
std::string answer_line(const Answer& answer, const Session& session);

/// The totals of guesses.
struct DraftTotals {
  std::size_t n_decoded = 0, n_steps = 0, n_drafted = 0, n_accepted = 0;  // as in Answer

  void add(const Answer& answer) noexcept {
    n_decoded += answer.n_decoded;
    n_steps += answer.n_steps;
    n_drafted += answer.n_drafted;
    n_accepted += answer.n_accepted;
  }
};

/// "lookup", "off" or the file of the draft model.
std::string draft_name(const DraftOptions& draft);

/// One line: the source of guesses, and how many guesses were right.
std::string draft_line(const DraftOptions& draft, const DraftTotals& totals);

/// Why an answer ended before the model ended it, and what the user can do; else "".
std::string early_end(const Answer& answer, const Conversation& conversation, const Model& model);

/// Advice for a conversation that fills the context.
std::string context_advice(const Model& model, const Conversation& conversation);

/// One line of JSON: text, token counts and ids, stop reason, timings, model, instruction set, threads,
/// sampling. `ascii` writes other characters as escapes (for terminals).
std::string answer_json(const Answer& answer, const Conversation& conversation, const Model& model,
                        double load_seconds, bool ascii);

}  // namespace gemma::app
