// Asks the models: one model in memory at a time, passage by passage, as many questions at once as memory
// allows, storing each answer when it is complete.
// Invariant: a question that has an answer in the directory is never asked again.
#pragma once

#include <atomic>
#include <cstdio>
#include <vector>

#include "examples/squad/answer_source.hpp"
#include "examples/squad/run_directory.hpp"

namespace gemma::squad {

/// Throws gemma::Error (invalid_argument) if there is no model, one lacks a name or a file, check_name()
/// refuses a name, or two models have the same name or would write the same files.
void check_names(const std::vector<ModelSpec>& models);

/// Asks each of `models` (the settings' models, in that order) its missing questions of `run`, `batch`
/// questions at once (0: as many as memory allows); one at a time if questions share nothing. All prompts are
/// measured before the first question is asked, so that one that does not fit the context is an error at
/// once, not hours later. Progress and savings are written to `progress` (nullptr: nowhere). Returns false if
/// `cancel` was set before all was answered; answers so far are stored. Throws gemma::Error.
bool run_questions(RunDirectory& run, const std::vector<ModelSpec>& models, const SourceFactory& factory,
                   const std::atomic<bool>& cancel, std::FILE* progress, std::size_t batch = 1);

/// The seed of one question's sampling: independent of where and when it is asked.
std::uint64_t sampling_seed(std::uint64_t run_seed, std::string_view id);

}  // namespace gemma::squad
