// Output to the screen.
// Invariant: only this file and the line editor write escape sequences to a terminal; text of a model or a
// file never contains any. Without a terminal, or with NO_COLOR, there are no colours at all.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace gemma::app {

/// `text` without anything that controls a terminal: carriage returns are dropped; control characters other
/// than newline and tab, the C1 range, the marks that reorder text, and bytes that are not UTF-8 become
/// U+FFFD. `text` must hold whole characters, so parts of a stream may be passed one by one.
std::string harmless(std::string_view text);

/// Standard input, output and error, and whether they are terminals. Used by one thread at a time.
class Screen {
 public:
  /// Examines the file descriptors, TERM and NO_COLOR (https://no-color.org).
  Screen();

  bool input_is_terminal() const noexcept { return input_; }
  bool output_is_terminal() const noexcept { return output_; }
  bool status_is_terminal() const noexcept { return status_; }
  /// Whether a user is present: both input and output are a terminal.
  bool interactive() const noexcept { return input_ && output_; }
  bool colour() const noexcept { return colour_; }
  /// Whether the terminal supports escape sequences.
  bool smart() const noexcept { return smart_; }

  /// Writes to standard output without delay; a terminal gets harmless() text, anything else gets every byte.
  /// Throws Error{kIo} on failure.
  void write(std::string_view text);
  /// Writes a thought to standard output, dimmed, if that is a terminal; otherwise does nothing.
  void thought(std::string_view text);
  /// Writes a status line to standard error if that is a terminal; otherwise does nothing.
  void status(std::string_view line);
  /// Writes the reply to a command to standard output.
  void reply(std::string_view line);
  /// Reports a problem that does not end the conversation, as a line on standard error.
  void problem(std::string_view line);

 private:
  void coloured(const char* code, std::string_view line);

  bool input_;
  bool output_;
  bool status_;
  bool smart_;
  bool colour_;
};

/// While an object exists, typed text is not echoed, so that it does not appear within an answer; it is kept
/// for the next line.
class QuietKeyboard {
 public:
  explicit QuietKeyboard(bool enabled);
  QuietKeyboard(const QuietKeyboard&) = delete;
  QuietKeyboard& operator=(const QuietKeyboard&) = delete;
  ~QuietKeyboard();

 private:
  bool changed_ = false;
};

/// A line that shows the progress of a long prompt. It appears after two seconds, on standard error, and is
/// erased by stop() or the destructor. set() may be called from any thread.
class PromptProgress {
 public:
  explicit PromptProgress(bool enabled);
  PromptProgress(const PromptProgress&) = delete;
  PromptProgress& operator=(const PromptProgress&) = delete;
  ~PromptProgress() { stop(); }

  void set(std::size_t done, std::size_t total);
  void stop();

 private:
  using Clock = std::chrono::steady_clock;
  void show_until_stopped();
  void draw(double seconds);
  void erase();

  const Clock::time_point begin_ = Clock::now();
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t done_ = 0;
  std::size_t total_ = 0;
  double done_seconds_ = 0;
  bool stopped_ = false;
  std::size_t shown_ = 0;  // columns that are on the screen
  std::thread thread_;
};

}  // namespace gemma::app
