// Finds the shard that a scheduler assigned to this process: Slurm's arrays, Kubernetes' Indexed Jobs, MPI.
// Invariant: processes that the scheduler distinguishes get different shards, and together all shards.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "examples/squad/squad.hpp"

namespace gemma::squad {

/// The value of an environment variable; nullptr: not set.
using Environment = std::function<const char*(const char* name)>;

/// The shard that `text` names: "2/8"; "auto": the one given by the environment; "auto/8": the same if the
/// environment lacks the number of all shards (Kubernetes), or only part of an array was submitted. Uses
/// SLURM_ARRAY_TASK_ID and _COUNT (with _MIN and _STEP; with "auto/8" tasks are numbered from 1, or from 0 if
/// _MIN is 0) or JOB_COMPLETION_INDEX (from 0), and OMPI_COMM_WORLD_RANK and _SIZE or PMI_RANK and _SIZE
/// (from 0). If a task of an array has several ranks, each has its own shard. Throws gemma::Error
/// (invalid_argument) if none of these is set, or their values make no sense.
Shard choose_shard(std::string_view text, const Environment& environment);

/// `path` with each "{shard}" replaced by the shard's number.
std::string with_shard(const std::string& path, Shard shard);

}  // namespace gemma::squad
