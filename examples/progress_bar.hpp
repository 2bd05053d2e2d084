// A progress bar on the terminal: how much is done, the rate, the time left.
// Invariant: nothing is drawn in the first two seconds, or if the stream is not a terminal; the bar is erased
// when it is cleared or destroyed.
#pragma once

#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <unistd.h>

#include "examples/print_note.hpp"
#include "examples/printable.hpp"

namespace gemma::app {

/// "42 s", "3:07", "2:05:09"
inline std::string time_text(double seconds) {
  const auto s = static_cast<long long>(std::llround(seconds));
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{}:{:02}", s / 60, s % 60);
  return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

/// The bar. Used by one thread at a time.
class ProgressBar {
 public:
  explicit ProgressBar(std::size_t total, std::FILE* stream = stderr)
      : stream_(stream), terminal_(::isatty(fileno(stream)) == 1), total_(total) {}
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  ~ProgressBar() { clear(); }

  /// Shows that `done` of the total are done; `note` is the current item. Draws at most ten times a second.
  void show(std::size_t done, std::string_view note = {}) {
    const auto now = Clock::now();
    const double seconds = std::chrono::duration<double>(now - begin_).count();
    if (!terminal_ || seconds < 2 || (drawn_ && now - last_ < std::chrono::milliseconds(100))) return;
    last_ = now;
    drawn_ = true;
    constexpr std::size_t kWidth = 30;
    const double part = total_ == 0 ? 1 : static_cast<double>(done) / static_cast<double>(total_);
    const auto full = static_cast<std::size_t>(part * static_cast<double>(kWidth));
    const std::string left = done == 0 ? "" : "  " + time_text(seconds / part - seconds) + " left";
    print_note(stream_, fmt::format("\r[{}{}] {:3.0f}%{}  {}\x1b[K", std::string(full, '#'),
                                    std::string(kWidth - full, '.'), std::floor(100 * part), left,
                                    printable(note.substr(0, 40))));
  }
  /// Erases the bar until the next show().
  void clear() {
    if (!drawn_) return;
    print_note(stream_, "\r\x1b[K");
    drawn_ = false;
  }

 private:
  using Clock = std::chrono::steady_clock;
  std::FILE* stream_;
  bool terminal_;
  std::size_t total_;
  Clock::time_point begin_ = Clock::now(), last_{};
  bool drawn_ = false;
};

}  // namespace gemma::app
