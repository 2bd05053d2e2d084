// The progress line of a long task: done, rate, time left.
// Invariant: writes only to the given stream; on a terminal one line that is overwritten, elsewhere a new
// line at most every ten seconds.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>

namespace gemma::squad {

/// The progress of a task. Used by one thread at a time. The stream must outlive it; nullptr: no output.
class Progress {
 public:
  /// `unit` names the counted items, e.g. "questions"; `done` of `total` were completed by an earlier run.
  Progress(std::FILE* stream, std::string title, std::string_view unit, std::size_t done, std::size_t total);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { end(""); }

  /// Ends the progress and prints `words`, the summary, on a separate line.
  void end(std::string_view words);
  /// Counts one more item; `note` is shown at the end of the line if there is space.
  void step(std::string_view note = "");

 private:
  using Clock = std::chrono::steady_clock;
  /// A bar, done/total, the rate per second and per hour, and the time left.
  std::string line() const;
  void draw(std::string_view note);

  std::FILE* stream_;
  bool terminal_;
  std::string title_, unit_;
  std::size_t first_, done_, total_;
  Clock::time_point begin_ = Clock::now(), drawn_ = begin_ - std::chrono::hours(1);
  bool on_line_ = false;
};

}  // namespace gemma::squad
