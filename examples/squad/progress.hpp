// The progress line of a long task: done, rate, time left.
// Invariant: draws on the stream it was given and nowhere else; on a terminal one line that is drawn over,
// elsewhere a line of its own at most every ten seconds.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>

namespace gemma::squad {

/// One thread at a time. The stream must outlive it; nullptr: silent.
class Progress {
 public:
  /// `unit` names what is counted, e.g. "questions"; `done` of `total` are there from an earlier run.
  Progress(std::FILE* stream, std::string title, std::string_view unit, std::size_t done, std::size_t total);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();

  /// Nothing more is to come; `words` say on a line of their own what it was like.
  void end(std::string_view words);
  /// One more is done; `note` is shown at the end of the line where there is room.
  void step(std::string_view note = "");

 private:
  using Clock = std::chrono::steady_clock;
  void draw(std::string_view note);

  std::FILE* stream_;
  bool terminal_;
  std::string title_, unit_;
  std::size_t first_, done_, total_;
  Clock::time_point begin_, drawn_;
  bool on_line_ = false;
};

/// One progress line, without line breaks: a bar, done/total, rate (by the second and the hour) and time
/// left. `fresh` of `done` took
/// `seconds`.
std::string progress_line(std::string_view title, std::string_view unit, std::size_t fresh, std::size_t done,
                          std::size_t total, double seconds);

/// "42 s", "3:07", "2:05:09".
std::string clock_time(double seconds);

}  // namespace gemma::squad
