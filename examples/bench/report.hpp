// Options and reports that all tests of gemma-bench share. A report is a Markdown table, written row by row,
// or one JSON array.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "gemma/gemma.hpp"

namespace gemma::bench {

using Json = nlohmann::ordered_json;

/// Options of all tests.
struct Setup {
  std::vector<unsigned> threads;  // numbers of threads; each test runs with each of them
  std::size_t chunk = 512;        // tokens of one forward pass, all sequences together
  KvType kv = KvType::kF16;       // how keys and values are stored
  std::size_t max_memory = 0;     // limit of the model's file and a test together, in bytes; 0: none
  std::size_t repetitions = 0;    // of each test
  bool warmup = true;             // compute some tokens before the timed runs
};

/// The seconds that calling `f` takes.
template <class F>
double seconds_of(F&& f) {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  std::forward<F>(f)();
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// The middle value; `values` must not be empty.
double median(std::vector<double> values);

/// The runs of one test. The functions require at least one run.
struct Runs {
  double tokens = 0;            // number of tokens that each run computes
  std::vector<double> seconds;  // of each run

  /// Tokens per second of each run.
  std::vector<double> speeds() const;
  /// Mean and standard deviation of the speeds, for a table.
  std::string speed_text() const;
};

/// llama-bench's fields of the model's file: build_commit, model_filename, model_type, model_size.
Json file_fields(const Model& model);

/// llama-bench's fields of the times: avg_ns, stddev_ns, avg_ts, stddev_ts, samples_ts; and ours: isa.
Json time_fields(const Model& model, const Runs& runs);

/// The report on one model. Prints each result to standard output immediately, so that a long run shows its
/// progress.
class Report {
 public:
  /// `json`: an array in place of a table. The model must outlive the report.
  Report(const Model& model, bool json) : model_(model), json_(json) {}

  /// Sets the table's columns: its first two lines. Call it before the first add().
  void set_columns(std::string_view header) { header_ = header; }
  /// Adds a result: an element of the JSON array, or a line of the table.
  void add(Json row, std::string_view line);
  /// Ends the JSON array; or prints, below the table, the kernel that is used for each tensor type of the
  /// model, so that slow kernels are visible.
  void finish();

 private:
  const Model& model_;
  bool json_;
  std::string header_;  // empty after it has been printed
  Json rows_ = Json::array();
};

}  // namespace gemma::bench
