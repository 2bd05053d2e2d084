// What all tests of gemma-bench share: how they are run, and how they report: a Markdown table row by row, or
// one JSON array at the end.
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

/// How every test is run.
struct Setup {
  std::vector<unsigned> threads;  // one number after another
  std::size_t chunk = 512;        // tokens of one forward pass, all sequences together
  KvType kv = KvType::kF16;       // how keys and values are stored
  std::size_t max_memory = 0;     // bytes of the model's file and a test; 0: no limit
  std::size_t repetitions = 0;    // of each test
  bool warmup = true;             // some tokens first that are not timed
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

/// The runs of one test; there is at least one when anything is asked of them.
struct Runs {
  double tokens = 0;            // that each run computes
  std::vector<double> seconds;  // of each run

  /// Tokens a second, of each run.
  std::vector<double> speeds() const;
  /// Mean and standard deviation of the speeds, for a table.
  std::string speed_text() const;
};

/// llama-bench's fields of the model's file: build_commit, model_filename, model_type, model_size.
Json file_fields(const Model& model);

/// llama-bench's fields of the times: avg_ns, stddev_ns, avg_ts, stddev_ts, samples_ts; and ours: isa.
Json time_fields(const Model& model, const Runs& runs);

/// The report on one model. Prints to standard output as results come, so that a long run shows them.
class Report {
 public:
  /// `json`: an array in place of a table. The model must outlive the report.
  Report(const Model& model, bool json) : model_(model), json_(json) {}

  /// Sets the table's columns: its first two lines. Call it before the first add().
  void set_columns(std::string_view header) { header_ = header; }
  /// Adds a result: an element of the JSON array, or a line of the table.
  void add(Json row, std::string_view line);
  /// Prints the JSON array; or, below the table, the kernel that each tensor type of the model runs, so that
  /// a slow path does not go unseen.
  void finish();

 private:
  const Model& model_;
  bool json_;
  std::string header_;  // empty: printed
  Json rows_ = Json::array();
};

}  // namespace gemma::bench
