// The verdicts of one judge on one run, stored line by line in verdicts-NAME.jsonl, and their summary.
// Invariant: all verdicts of a file are of one judge, one order policy and one run; none is asked for twice.
// A question that yielded no ranking has a line with the reason, and is asked again by the next judging.
#pragma once

#include <atomic>
#include <compare>
#include <cstdio>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "examples/squad/judge.hpp"
#include "examples/squad/run_directory.hpp"

namespace gemma::squad {

/// A question with its answers in one order.
struct Showing {
  std::size_t question = 0;        // index in run.questions()
  std::vector<std::size_t> order;  // the models, in the order shown

  auto operator<=>(const Showing&) const = default;  // NOLINT(modernize-use-nullptr): the compiler's own 0
};

struct Verdicts {
  std::string name;      // in the file's name
  std::string identity;  // the judge's identity, as JSON
  OrderPolicy policy = OrderPolicy::kRotate;
  std::map<Showing, Verdict> latest;  // without ranks where there is no ranking
  // sums over all verdicts, including those without a ranking and those replaced by a later one
  std::size_t attempts = 0, prompt_tokens = 0, completion_tokens = 0;

  std::size_t n_ranked() const noexcept;
};

/// Asks `judge` for every missing verdict on `run` and stores each when it arrives: first those never asked
/// for, then those that yielded no ranking before. Failures are reported on `log`, and the judging continues.
/// Returns false if `cancel` was set first; verdicts so far are stored. Throws gemma::Error: as the judge;
/// io, also if kMostDown questions in a row got no reply or the first kMostUnranked got no ranking;
/// invalid_argument if the run is not complete, has only one model, or the file holds verdicts of another
/// judge. `log` and `progress` may be null.
bool judge_run(const RunDirectory& run, Judge& judge, const std::string& name, OrderPolicy policy,
               const std::atomic<bool>& cancel, std::FILE* progress, std::FILE* log = nullptr);

inline constexpr std::size_t kMostDown = 3, kMostUnranked = 10;

/// Throws gemma::Error (invalid_argument) for a name that cannot be part of verdicts-NAME.jsonl.
void check_judge_name(const std::string& name);

/// The total number of verdicts that `judge_run` asks for.
std::size_t n_wanted(const RunDirectory& run, OrderPolicy policy);

/// Reads the stored verdicts. Throws gemma::Error (io if there is no such file, malformed).
Verdicts read_verdicts(const RunDirectory& run, const std::string& name);
/// Names of the judges with stored verdicts, sorted.
std::vector<std::string> judges_of(const std::filesystem::path& directory);

/// Whether every verdict that `judge_run` asks for is stored or has failed, and at least one is a ranking.
bool is_settled(const RunDirectory& run, const Verdicts& verdicts);

/// The ranks of the questions that have a verdict in every order of the policy.
struct RankColumns {
  std::vector<std::vector<double>> ranks;  // [k models][questions], averaged over the orders shown
  std::vector<std::size_t> questions;      // indices in run.questions(), ascending
};

/// Throws gemma::Error (malformed) unless is_settled().
RankColumns rank_columns(const RunDirectory& run, const Verdicts& verdicts);

/// How the rank depends on the position at which an answer was shown.
struct PositionBias {
  std::vector<double> mean_rank;  // [k positions]
  double p = 1;                   // Friedman's test over positions; 1 if the order was fixed
  bool is_known = false;          // the order was varied
};

PositionBias position_bias(const Verdicts& verdicts, std::size_t k);

}  // namespace gemma::squad
