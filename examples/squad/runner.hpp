// Asks the models: one in memory at a time, passage by passage, as many questions at once as there is room
// for, storing each answer as it comes.
// Invariant: a question that has its answer in the directory is never asked again.
#pragma once

#include <atomic>
#include <cstdio>
#include <vector>

#include "examples/squad/answer_source.hpp"
#include "examples/squad/run_directory.hpp"

namespace gemma::squad {

/// Throws gemma::Error (invalid_argument): no model, one without a name or a file, a name that check_name()
/// refuses, two of one name or whose files would have one.
void check_names(const std::vector<ModelSpec>& models);

/// Asks what is missing in `run` of each of `models` (which are the settings' models, in that order), `batch`
/// questions at once (0: as many as memory allows); one where questions share nothing. All prompts are
/// measured before the first question is asked: one that does not fit its window is an error then, not hours
/// later. Progress, and what was gained, goes to `progress` (nullptr: none). Returns false when `cancel` was
/// set before all was answered; what was answered is stored. Throws gemma::Error.
bool run_questions(RunDirectory& run, const std::vector<ModelSpec>& models, const SourceFactory& factory,
                   const std::atomic<bool>& cancel, std::FILE* progress, std::size_t batch = 1);

/// The seed of one question's sampling: the same wherever and whenever it is asked.
std::uint64_t sampling_seed(std::uint64_t run_seed, std::string_view id);

}  // namespace gemma::squad
