// The verdicts of one judge on one run, stored line by line in verdicts-NAME.jsonl, and what they say
// together. Invariant: all verdicts of a file are of one judge, one order policy and one run; none is asked
// for twice. A question that yielded no ranking has a line that says why, and is asked for again by the next
// judging.
#pragma once

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "examples/squad/judge.hpp"
#include "examples/squad/run_directory.hpp"

namespace gemma::squad {

/// One verdict as stored.
struct VerdictRecord {
  std::string id;                  // of the question
  std::vector<std::size_t> order;  // the models as shown
  Verdict verdict;                 // without ranks in Verdicts::failures
};

struct Verdicts {
  std::string name;      // of the file
  std::string identity;  // of the judge, as JSON
  OrderPolicy policy = OrderPolicy::kRotate;
  std::vector<VerdictRecord> records;
  std::vector<VerdictRecord> failures;  // without a ranking, each with its trouble; no verdict came later
  std::vector<VerdictRecord> retried;  // failed attempts that a later verdict or failure replaced: their cost

  std::size_t prompt_tokens() const noexcept;
  std::size_t completion_tokens() const noexcept;
  std::size_t attempts() const noexcept;
};

/// Asks `judge` for every verdict on `run` that is still missing and stores each as it comes: first those
/// that were never asked for, then those that yielded none before. What yields none is named on `log` and the
/// judging goes on. Returns false when `cancel` was set first; what was judged is stored. Throws
/// gemma::Error: as the judge; io, also when kMostDown questions in a row got no reply or the first
/// kMostUnranked got no ranking; invalid_argument when the run is not complete, has one model only, or the
/// file holds verdicts of another judge. `log` and `progress` may be null.
bool judge_run(const RunDirectory& run, Judge& judge, const std::string& name, OrderPolicy policy,
               const std::atomic<bool>& cancel, std::FILE* progress, std::FILE* log = nullptr);

inline constexpr std::size_t kMostDown = 3, kMostUnranked = 10;

/// Throws gemma::Error (invalid_argument) for a name that cannot be part of verdicts-NAME.jsonl.
void check_judge_name(const std::string& name);

/// How many verdicts `judge_run` asks for in all.
std::size_t n_wanted(const RunDirectory& run, OrderPolicy policy);

/// The stored verdicts. Throws gemma::Error (io when there is no such file, malformed).
Verdicts read_verdicts(const RunDirectory& run, const std::string& name);
/// Names of the judges that have left verdicts, sorted.
std::vector<std::string> judges_of(const std::filesystem::path& directory);

/// Whether all verdicts that `judge_run` asks for are there, or have failed; and some question is judged.
bool is_settled(const RunDirectory& run, const Verdicts& verdicts);

/// The ranks of the questions that have a verdict in every order that the policy asks for.
struct RankColumns {
  std::vector<std::vector<double>> ranks;  // [k models][questions], averaged over the orders shown
  std::vector<std::size_t> questions;      // which of run.questions(), ascending
};

/// Throws gemma::Error (malformed) unless is_settled().
RankColumns rank_columns(const RunDirectory& run, const Verdicts& verdicts);

/// How the rank depends on the place in which an answer was shown.
struct PositionBias {
  std::vector<double> mean_rank;  // [k positions]
  double p = 1;           // Friedman's test over positions; 1 when the judge was shown one fixed order
  bool is_known = false;  // the order was varied
};

PositionBias position_bias(const Verdicts& verdicts, std::size_t k);

}  // namespace gemma::squad
