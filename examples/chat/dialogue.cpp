#include "examples/chat/dialogue.hpp"

#include <cstdlib>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <signal.h>

#include "examples/chat/conversation_json.hpp"
#include "examples/chat/report.hpp"
#include "examples/interrupt.hpp"
#include "examples/printable.hpp"
#include "examples/read_file.hpp"
#include "examples/same_file.hpp"
#include "examples/whole_file.hpp"
#include "gemma/engine_error_code.hpp"

namespace gemma::app {
namespace {

/// `text` with "~/" at its start replaced by the home folder's path, as shells do.
std::string expand_home(const std::string& path) {
  const char* home = std::getenv("HOME");
  return path.starts_with("~/") && home != nullptr ? home + path.substr(1) : path;
}

constexpr std::string_view kHelp =
    "/help          this list\n"
    "/reset         forget the conversation and begin a new one\n"
    "/think on|off  ask the model to think before it answers, and show its thoughts; off: neither\n"
    "/stats         the model, the context, memory, sampling, draft\n"
    "/system TEXT   how the model is to behave from the next message on;\n"
    "               without TEXT: as it likes\n"
    "/save FILE     write the conversation to a file\n"
    "/load FILE     go on with a conversation that /save wrote\n"
    "/save-session FILE, /load-session FILE\n"
    "               the same with all that was computed, so that nothing is computed\n"
    "               again; for the same model, and large\n"
    "/quit          end, as does Ctrl-D\n"
    "A line that ends with \\ goes on in the next one. Ctrl-C stops an answer.\n"
    "A message that begins with a slash: put a space before it.";

}  // namespace

int Dialogue::run(LineSource& lines) {
  for (bool asked_to_quit = false;;) {
    const Input in = lines.read();
    if (in.kind == Input::Kind::kEnd) return 0;
    if (in.kind == Input::Kind::kInterrupt) {
      if (in.was_empty && asked_to_quit) return 0;
      if (in.was_empty) screen_.status("Ctrl-C again, or Ctrl-D, quits");
      asked_to_quit = in.was_empty;
      continue;
    }
    asked_to_quit = false;
    if (in.text.find_first_not_of(" \t\n") == std::string::npos) continue;
    if (in.text.starts_with('/')) {
      if (command(in.text) == Next::kQuit) return 0;
    } else {
      ended_by_ = 0;
      attempt([&] { ended_by_ = turn(in.text); });
      // at a terminal Ctrl-C ends only the answer; the user can continue
      if (ended_by_ != 0 && !(screen_.interactive() && ended_by_ == 128 + SIGINT)) return ended_by_;
    }
  }
}

void Dialogue::attempt(const std::function<void()>& what) {
  try {
    what();
  } catch (const Error& e) {
    if (!screen_.interactive()) throw;
    screen_.problem(e.message());
  }
}

int Dialogue::turn(const std::string& message) {
  std::atomic<bool> cancelled{false};
  const InterruptGuard guard(cancelled);
  const QuietKeyboard quiet(screen_.interactive());
  PromptProgress progress(screen_.status_is_terminal());
  AskOptions watch;
  watch.cancel = &cancelled;
  bool thinking = false;  // the last text on the screen was a thought
  watch.on_prompt = [&](std::size_t done, std::size_t total) { progress.set(done, total); };
  if (!options_.json) {
    watch.on_text = [&](std::string_view text) {
      progress.stop();
      if (text.empty()) return;
      if (std::exchange(thinking, false)) screen_.thought("\n\n");
      screen_.write(text);
    };
    watch.on_thought = [&](std::string_view text) {
      progress.stop();
      thinking = conversation_.options().thinking;  // otherwise thoughts are not shown
      if (thinking) screen_.thought(text);
    };
  }
  const Answer answer = ask(message, watch);
  drafts_.add(answer);
  progress.stop();
  if (options_.json) {
    screen_.write(
        answer_json(answer, conversation_, model_, options_.load_seconds, screen_.output_is_terminal()) +
        "\n");
  } else {
    if (!answer.text.ends_with('\n') && !(answer.tokens.empty() && screen_.interactive()))
      screen_.write("\n");
    if (const std::string why = early_end(answer, conversation_, model_); !why.empty()) screen_.status(why);
    if (const std::string line = answer_line(answer, conversation_.session()); !line.empty())
      screen_.status(line);
  }
  return answer.reason == StopReason::kCancelled ? InterruptGuard::exit_status() : 0;
}

Answer Dialogue::ask(const std::string& message, const AskOptions& watch) {
  try {
    return conversation_.ask(message, watch);
  } catch (const Error& e) {
    if (e.code() != EngineErrorCode::kContextFull) throw;
    throw Error(e.code(), std::string(e.message()) + ": " + context_advice(model_, conversation_));
  }
}

/// Shows the reply to a command; with --json as a status line, since programs read standard output.
void Dialogue::reply(std::string_view line) {
  options_.json ? screen_.status(line) : screen_.reply(line);
}

Dialogue::Next Dialogue::command(std::string_view line) {
  const std::size_t end = std::min(line.find_first_of(" \t\n"), line.size());
  const std::string_view name = line.substr(1, end - 1);
  std::string_view rest = line.substr(end);
  while (!rest.empty() && std::string_view(" \t\n").find(rest.front()) != std::string_view::npos)
    rest.remove_prefix(1);
  while (!rest.empty() && std::string_view(" \t\n").find(rest.back()) != std::string_view::npos)
    rest.remove_suffix(1);
  const std::string argument(rest);
  if (name == "quit" || name == "exit") return Next::kQuit;
  attempt([&] {
    if (name == "help") return reply(kHelp);
    if (name == "reset") {
      conversation_.reset();
      return screen_.status("a new conversation");
    }
    if (name == "stats") return stats();
    if (name == "system") return system(argument);
    if (name == "think") return think(argument);
    if (name == "save") return save(argument);
    if (name == "load") return load(argument);
    if (name == "save-session") return save_session(argument);
    if (name == "load-session") return load_session(argument);
    throw Error(ErrorCode::kInvalidArgument,
                "there is no command /" + std::string(name) +
                    "; /help lists them (for a message that begins with a slash, put a "
                    "space before it)");
  });
  return Next::kGoOn;
}

void Dialogue::stats() {
  const Session& session = conversation_.session();
  const ConversationOptions& o = conversation_.options();
  reply(model_line(model_, session));
  reply(fmt::format("context: {} of {} tokens used, {} messages; memory besides the file: {:.0f} MB",
                    session.n_past(), session.n_ctx(), conversation_.n_messages(),
                    static_cast<double>(session.memory_bytes()) / 1e6));
  reply(fmt::format("sampling: temp {}, top-k {}, top-p {}, min-p {}, repeat-penalty {}, seed {}",
                    o.sampler.temperature, o.sampler.top_k, o.sampler.top_p, o.sampler.min_p,
                    o.sampler.repeat_penalty, o.sampler.seed));
  reply(printable(draft_line(o.session.draft, drafts_)));
  if (!conversation_.system().empty()) reply("system: " + conversation_.system());
}

void Dialogue::system(const std::string& text) {
  conversation_.set_system(text);
  screen_.status(text.empty() ? "no system text any more" : "the system text holds from the next message on");
}

void Dialogue::think(const std::string& choice) {
  if (choice != "on" && choice != "off") throw Error(ErrorCode::kInvalidArgument, "/think needs on or off");
  conversation_.set_thinking(choice == "on");
  screen_.status(choice == "on" ? "the model thinks before it answers, from the next message on"
                                : "no thoughts from the next message on");
}

void Dialogue::save(const std::string& file) {
  if (file.empty()) throw Error(ErrorCode::kInvalidArgument, "/save needs the name of a file");
  refuse_same_file(expand_home(file), options_.inputs);
  WholeFile out(expand_home(file));
  out.write(to_json(conversation_));
  out.commit();
  screen_.status(fmt::format("{} messages saved in {}", conversation_.n_messages(), file));
}

void Dialogue::load(const std::string& file) {
  if (file.empty()) throw Error(ErrorCode::kInvalidArgument, "/load needs the name of a file");
  from_json(read_file(expand_home(file)), file, conversation_);
  screen_.status(fmt::format("{} messages loaded from {}", conversation_.n_messages(), file));
}

void Dialogue::save_session(const std::string& file) {
  if (file.empty()) throw Error(ErrorCode::kInvalidArgument, "/save-session needs the name of a file");
  refuse_same_file(expand_home(file), options_.inputs);
  WholeFile out(expand_home(file));
  const std::string bytes = to_session_file(conversation_);
  out.write(bytes);
  out.commit();
  screen_.status(fmt::format("{} messages and {} computed tokens saved in {} ({:.1f} MB)",
                             conversation_.n_messages(), conversation_.session().n_computed(), file,
                             static_cast<double>(bytes.size()) / 1e6));
}

void Dialogue::load_session(const std::string& file) {
  if (file.empty()) throw Error(ErrorCode::kInvalidArgument, "/load-session needs the name of a file");
  from_session_file(read_file(expand_home(file)), file, conversation_);
  screen_.status(fmt::format("{} messages and {} computed tokens loaded from {}", conversation_.n_messages(),
                             conversation_.session().n_computed(), file));
}

}  // namespace gemma::app
