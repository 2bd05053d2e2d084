// The verdicts of one judge on one run, stored line by line in verdicts-NAME.jsonl, and what they say
// together. Invariant: all verdicts of a file are of one judge, one order policy and one run; none is asked
// for twice.
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
  Verdict verdict;
};

struct Verdicts {
  std::string name;      // of the file
  std::string identity;  // of the judge, as JSON
  OrderPolicy policy = OrderPolicy::kRotate;
  std::vector<VerdictRecord> records;

  std::size_t prompt_tokens() const noexcept;
  std::size_t completion_tokens() const noexcept;
  std::size_t attempts() const noexcept;
};

/// Asks `judge` for every verdict on `run` that is still missing and stores each as it comes. Returns false
/// when `cancel` was set first; what was judged is stored. Throws gemma::Error: as the judge; io;
/// invalid_argument when the run is not complete, has one model only, or the file holds verdicts of another
/// judge.
bool judge_run(const RunDirectory& run, Judge& judge, const std::string& name, OrderPolicy policy,
               const std::atomic<bool>& cancel, std::FILE* progress);

/// Throws gemma::Error (invalid_argument) for a name that cannot be part of verdicts-NAME.jsonl.
void check_judge_name(const std::string& name);

/// How many verdicts `judge_run` asks for in all.
std::size_t n_wanted(const RunDirectory& run, OrderPolicy policy);

/// The stored verdicts. Throws gemma::Error (io when there is no such file, malformed).
Verdicts read_verdicts(const RunDirectory& run, const std::string& name);
/// Names of the judges that have left verdicts, sorted.
std::vector<std::string> judges_of(const std::filesystem::path& directory);

/// Rank of each model's answer per question, averaged over the orders it was shown in: [k models][n
/// questions], in the order of run.questions(). Throws gemma::Error (malformed) when verdicts are
/// missing.
std::vector<std::vector<double>> rank_columns(const RunDirectory& run, const Verdicts& verdicts);

/// How the rank depends on the place in which an answer was shown.
struct PositionBias {
  std::vector<double> mean_rank;  // [k positions]
  double p = 1;           // Friedman's test over positions; 1 when the judge was shown one fixed order
  bool is_known = false;  // the order was varied
};

PositionBias position_bias(const Verdicts& verdicts, std::size_t k);

}  // namespace gemma::squad
