// A conversation line by line: messages, commands, Ctrl-C. Terminals and pipes use the same code.
// Invariant: after an answer that fails or is interrupted, the text that was written stays visible and the
// conversation continues; if the input is not a terminal, the first failure ends the program.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "examples/chat/line_source.hpp"
#include "examples/chat/report.hpp"
#include "examples/chat/terminal.hpp"
#include "gemma/gemma.hpp"

namespace gemma::app {

/// The loop of a conversation. Used by one thread at a time. Model, Conversation, LineSource and Screen must
/// outlive it.
class Dialogue {
 public:
  struct Options {
    bool json = false;                     // write a JSON object for each answer instead of its text
    double load_seconds = 0;               // for the JSON objects
    std::vector<std::string> inputs = {};  // files that /save and /save-session must not replace
  };

  Dialogue(const Model& model, Conversation& conversation, Screen& screen, const Options& options)
      : model_(model), conversation_(conversation), screen_(screen), options_(options) {}

  /// Reads until the input ends or the user ends the conversation. Returns the exit status. Throws Error{kIo}
  /// if output fails, and any Error of a turn if the input is not a terminal.
  int run(LineSource& lines);

  /// Answers one message on the screen. Returns 0, or 128 + the signal that stopped it. Throws Error as
  /// Conversation::ask.
  int turn(const std::string& message);

 private:
  enum class Next { kGoOn, kQuit };

  /// Calls Conversation::ask; if the context is full, adds advice to the error.
  Answer ask(const std::string& message, const AskOptions& watch);
  Next command(std::string_view line);
  void reply(std::string_view line);
  void stats();
  void system(const std::string& text);
  void think(const std::string& choice);
  void save(const std::string& file);
  void load(const std::string& file);
  void save_session(const std::string& file);
  void load_session(const std::string& file);
  /// Runs `what`. At a terminal, an Error is shown and the conversation continues; otherwise it is rethrown.
  void attempt(const std::function<void()>& what);

  const Model& model_;
  Conversation& conversation_;
  Screen& screen_;
  Options options_;
  DraftTotals drafts_;
  int ended_by_ = 0;  // exit status of a turn that a signal ended
};

}  // namespace gemma::app
