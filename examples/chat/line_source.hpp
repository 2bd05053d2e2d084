// Sources of a conversation's lines: a terminal with editing and history, or any other input.
// Invariant: each message is returned whole, with continued lines joined; escape sequences are written to
// terminals only.
#pragma once

#include <memory>
#include <string>

namespace gemma::app {

class Screen;

struct Input {
  enum class Kind {
    kLine,
    kInterrupt,  // Ctrl-C: the typed text is dropped
    kEnd         // Ctrl-D or the end of the input
  };
  Kind kind = Kind::kEnd;
  std::string text;
  bool was_empty = false;  // for kInterrupt: the line was empty
};

/// A source of messages. Used by one thread at a time.
class LineSource {
 public:
  virtual ~LineSource() = default;
  LineSource(const LineSource&) = delete;
  LineSource& operator=(const LineSource&) = delete;

  /// Reads the next message: a line that ends in a backslash is continued by the next line.
  Input read();

 protected:
  LineSource() = default;

 private:
  virtual Input read_line(bool continued) = 0;
  /// Adds a whole message to the history.
  virtual void remember(const std::string&) {}
};

/// Lines of standard input without editing.
std::unique_ptr<LineSource> plain_lines();

/// Lines of the terminal with editing, with a history in `history_file` ("": none). A history that cannot be
/// stored is not an error. Throws Error{kIo} if the terminal cannot be used.
std::unique_ptr<LineSource> edited_lines(const Screen& screen, const std::string& history_file);

/// $XDG_STATE_HOME/gemma/chat_history, else ~/.local/state/gemma/chat_history; "" without a home
/// directory.
std::string default_history_file();

}  // namespace gemma::app
