#include "examples/chat/terminal.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "gguf/error.hpp"
#include "tokenizer/utf8.hpp"

namespace gemma::app {
namespace {

constexpr const char* kDim = "\x1b[2m";
constexpr const char* kRed = "\x1b[31m";
constexpr const char* kPlain = "\x1b[0m";

/// Less than acts_on_terminal(): an answer may have joiners of emoji, soft hyphens, line separators.
bool steers_terminal(std::uint32_t point) {
  if (point == '\n' || point == '\t') return false;
  return point < 0x20 || (point >= 0x7F && point < 0xA0) || (point >= 0x202A && point <= 0x202E) ||
         (point >= 0x2066 && point <= 0x2069);
}

std::size_t columns() {
  struct winsize size {};
  const bool known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 80;
}

}  // namespace

std::string harmless(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const utf8::Sequence s = utf8::next(text, at);
    if (!s.valid || (steers_terminal(s.point) && s.point != '\r')) {
      out += utf8::kReplacement;
    } else if (s.point != '\r') {
      out += text.substr(at, s.length);
    }
    at += s.length;
  }
  return out;
}

Screen::Screen()
    : input_(::isatty(STDIN_FILENO) == 1),
      output_(::isatty(STDOUT_FILENO) == 1),
      status_(::isatty(STDERR_FILENO) == 1) {
  const char* term = std::getenv("TERM");
  smart_ = term != nullptr && *term != '\0' && std::strcmp(term, "dumb") != 0;
  const char* no_color = std::getenv("NO_COLOR");
  colour_ = smart_ && (no_color == nullptr || *no_color == '\0');
}

void Screen::write(std::string_view text) {
  std::string shown;
  if (output_) text = shown = harmless(text);
  errno = 0;
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    throw Error(ErrorCode::kIo, std::string("cannot write the answer: ") + std::strerror(errno));
  }
}

void Screen::thought(std::string_view text) {
  if (!output_) return;
  if (colour_) std::fputs(kDim, stdout);
  write(text);
  if (colour_) std::fputs(kPlain, stdout);
}

void Screen::coloured(const char* code, std::string_view line) {
  std::fflush(stdout);
  const bool styled = colour_ && status_;
  const std::string text = harmless(line);
  std::fprintf(stderr, "%s%s%s\n", styled ? code : "", text.c_str(), styled ? kPlain : "");
}

void Screen::status(std::string_view line) {
  if (status_) coloured(kDim, line);
}

void Screen::reply(std::string_view line) {
  const bool styled = colour_ && output_;
  if (styled) std::fputs(kDim, stdout);
  write(line);
  if (styled) std::fputs(kPlain, stdout);
  write("\n");
}

void Screen::problem(std::string_view line) {
  coloured(kRed, line);
}

QuietKeyboard::QuietKeyboard(bool enabled) {
  struct termios mode {};
  if (!enabled || ::tcgetattr(STDIN_FILENO, &mode) != 0 || (mode.c_lflag & ECHO) == 0) return;
  mode.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  changed_ = ::tcsetattr(STDIN_FILENO, TCSANOW, &mode) == 0;
}

QuietKeyboard::~QuietKeyboard() {
  struct termios mode {};
  if (!changed_ || ::tcgetattr(STDIN_FILENO, &mode) != 0) return;
  mode.c_lflag |= ECHO;
  ::tcsetattr(STDIN_FILENO, TCSANOW, &mode);
}

PromptProgress::PromptProgress(bool enabled) {
  if (enabled) thread_ = std::thread([this] { show_until_stopped(); });
}

void PromptProgress::set(std::size_t done, std::size_t total) {
  const std::lock_guard lock(mutex_);
  done_ = done;
  total_ = total;
  done_seconds_ = std::chrono::duration<double>(Clock::now() - begin_).count();
}

void PromptProgress::stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void PromptProgress::show_until_stopped() {
  std::unique_lock lock(mutex_);
  const auto stopped = [this] { return stopped_; };
  if (changed_.wait_until(lock, begin_ + std::chrono::seconds(2), stopped)) return;
  do {
    draw(std::chrono::duration<double>(Clock::now() - begin_).count());
  } while (!changed_.wait_for(lock, std::chrono::milliseconds(250), stopped));
  erase();
}

// a carriage return and spaces, no escape sequence: works on every terminal
void PromptProgress::draw(double seconds) {
  std::string line = "reading the prompt";
  if (total_ != 0) line += fmt::format(": {} of {} tokens", done_, total_);
  if (done_ != 0) line += fmt::format(", {:.0f} tokens/s", static_cast<double>(done_) / done_seconds_);
  line += fmt::format(", {:.0f} s (Ctrl-C stops)", seconds);
  line.resize(std::min(line.size(), columns() - 1));  // a wrapped line could not be erased
  const std::size_t width = line.size();
  line.resize(std::max(line.size(), shown_), ' ');
  std::fprintf(stderr, "\r%s", line.c_str());
  shown_ = width;
}

void PromptProgress::erase() {
  std::fprintf(stderr, "\r%s\r", std::string(std::min(shown_, columns() - 1), ' ').c_str());
}

}  // namespace gemma::app
