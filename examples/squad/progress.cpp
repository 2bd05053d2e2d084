#include "examples/squad/progress.hpp"

#include <utility>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "examples/print_note.hpp"
#include "examples/printable.hpp"
#include "examples/progress_bar.hpp"
#include "examples/squad/text.hpp"

namespace gemma::squad {

Progress::Progress(std::FILE* stream, std::string title, std::string_view unit, std::size_t done,
                   std::size_t total)
    : stream_(stream),
      terminal_(stream != nullptr && ::isatty(fileno(stream)) == 1),
      title_(std::move(title)),
      unit_(unit),
      first_(done),
      done_(done),
      total_(total) {
  if (terminal_) draw("");
}

void Progress::end(std::string_view words) {
  std::FILE* const stream = stream_;
  if (stream == nullptr) return;
  if (done_ > first_ || on_line_) draw("");
  if (terminal_) app::print_note(stream, "\n");
  if (!words.empty()) app::print_note(stream, fmt::format("{}: {}\n", title_, words));
  stream_ = nullptr;
}

void Progress::step(std::string_view note) {
  constexpr double kTerminalSeconds = 0.1, kPlainSeconds = 10;  // between two lines
  ++done_;
  if (stream_ == nullptr) return;
  const double since = std::chrono::duration<double>(Clock::now() - drawn_).count();
  if (since >= (terminal_ ? kTerminalSeconds : kPlainSeconds)) draw(note);
}

std::string Progress::line() const {
  constexpr std::size_t kWidth = 20;
  const std::size_t filled = total_ == 0 ? kWidth : kWidth * done_ / total_;
  std::string line = fmt::format("{} [{}{}] {}/{}", title_, std::string(filled, '#'),
                                 std::string(kWidth - filled, '.'), done_, total_);
  const double seconds = std::chrono::duration<double>(drawn_ - begin_).count();
  if (done_ == first_ || seconds <= 0) return line;
  const double rate = static_cast<double>(done_ - first_) / seconds;
  line += fmt::format("  {:.3g} {}/s, {:.0f}/h", rate, unit_, 3600 * rate);
  return line + (done_ < total_
                     ? fmt::format("  {} left", app::time_text(static_cast<double>(total_ - done_) / rate))
                     : fmt::format("  in {}", app::time_text(seconds)));
}

void Progress::draw(std::string_view note) {
  drawn_ = Clock::now();
  if (!terminal_) {
    app::print_note(stream_, line() + "\n");
    return;
  }
  std::string text = line();
  winsize size{};
  const bool is_known = ::ioctl(fileno(stream_), TIOCGWINSZ, &size) == 0 && size.ws_col > 20;
  const std::size_t room = is_known ? size.ws_col - 1u : 79;
  if (!note.empty() && text.size() + 12 < room) {
    text += "  " + shortened(app::printable(note), room - text.size() - 2);
  }
  app::print_note(stream_, "\r\x1b[K" + text);
  on_line_ = true;
}

}  // namespace gemma::squad
