// What goes to the screen. Invariant: escape sequences reach a terminal only from here and the line editor,
// never from the text of a model or of a file; without a terminal, or with NO_COLOR, there are no colours at
// all.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace gemma::app {

/// `text` with what could steer a terminal made harmless: control characters other than newline and tab, the
/// C1 range, and the marks that reorder text become U+FFFD, as do bytes that are not UTF-8; carriage returns
/// are dropped. `text` holds whole characters, so parts of a stream may be given one by one.
std::string harmless(std::string_view text);

/// Standard output and error, and what they are. One thread at a time.
class Screen {
 public:
  /// Looks at the file descriptors, TERM and NO_COLOR (https://no-color.org).
  Screen();

  bool input_is_terminal() const noexcept { return input_; }
  bool output_is_terminal() const noexcept { return output_; }
  bool status_is_terminal() const noexcept { return status_; }
  /// Somebody sits there: what is typed and what is answered meet on one screen.
  bool interactive() const noexcept { return input_ && output_; }
  bool colour() const noexcept { return colour_; }
  /// Whether the terminal understands escape sequences at all.
  bool smart() const noexcept { return smart_; }

  /// Writes to standard output at once; a terminal gets harmless() text, anything else gets every byte.
  /// Throws Error{kIo} when it cannot be written.
  void write(std::string_view text);
  /// Writes a thought to standard output, dim, where that is a terminal; nothing anywhere else.
  void thought(std::string_view text);
  /// A quiet line about how things go, on standard error: only where that is a terminal.
  void status(std::string_view line);
  /// A line that a command was asked for, on standard output.
  void reply(std::string_view line);
  /// Something that went wrong and does not end the conversation: a line on standard error.
  void problem(std::string_view line);

 private:
  void coloured(const char* code, std::string_view line);

  bool input_;
  bool output_;
  bool status_;
  bool smart_;
  bool colour_;
};

/// While one lives, what is typed at the terminal does not show between the words of an answer; it is kept
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

/// A line that shows how far a long prompt has been read. It appears after two seconds, on standard error,
/// and is erased by stop() or the destructor. set() may be called from any thread.
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
  std::size_t shown_ = 0;  // columns on screen
  std::thread thread_;
};

}  // namespace gemma::app
