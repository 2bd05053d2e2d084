// A conversation line by line: messages, commands, Ctrl-C. The same for a terminal and for piped lines.
// Invariant: whatever happens during an answer, what was written stays written and the conversation goes on,
// unless the input is no terminal: then the first failure ends the program.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "examples/chat/line_source.hpp"
#include "examples/chat/report.hpp"
#include "examples/chat/terminal.hpp"
#include "gemma/gemma.hpp"

namespace gemma::app {

/// One thread at a time. Model, Conversation, LineSource and Screen must outlive it.
class Dialogue {
 public:
  struct Options {
    bool json = false;        // an object for each answer in place of its text
    double load_seconds = 0;  // for the objects
  };

  Dialogue(const Model& model, Conversation& conversation, Screen& screen, const Options& options)
      : model_(model), conversation_(conversation), screen_(screen), options_(options) {}

  /// Reads until the input or the user ends it. Returns the exit status. Throws Error{kIo} when output fails,
  /// and any Error of a turn when the input is no terminal.
  int run(LineSource& lines);

  /// One message and its answer on the screen. Returns 0, or 128 + the signal that stopped it. Throws Error
  /// as Conversation::ask.
  int turn(const std::string& message);

 private:
  enum class Next { kGoOn, kQuit };

  /// Conversation::ask, and what to do when the context is full.
  Answer ask(const std::string& message, const ConversationWatch& watch);
  Next command(std::string_view line);
  void reply(std::string_view line);
  void stats();
  void system(const std::string& text);
  void think(const std::string& choice);
  void save(const std::string& file);
  void load(const std::string& file);
  void save_session(const std::string& file);
  void load_session(const std::string& file);
  /// Runs `what`; at a terminal an Error is shown and the conversation goes on.
  void attempt(const std::function<void()>& what);

  const Model& model_;
  Conversation& conversation_;
  Screen& screen_;
  Options options_;
  DraftTotals drafts_;
  int ended_by_ = 0;  // exit status of a turn that a signal ended
};

}  // namespace gemma::app
