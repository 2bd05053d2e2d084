// gemma-chat: a conversation with a model at the terminal or through a pipe, or the answer to one question of
// the command line.
#include <chrono>
#include <cstdio>
#include <exception>
#include <future>
#include <optional>
#include <string>
#include <utility>

#include <CLI/CLI.hpp>

#include "examples/chat/dialogue.hpp"
#include "examples/chat/line_source.hpp"
#include "examples/chat/report.hpp"
#include "examples/chat/terminal.hpp"
#include "examples/chat_template_flag.hpp"
#include "examples/engine_flags.hpp"
#include "examples/program.hpp"
#include "examples/read_file.hpp"
#include "examples/read_grammar.hpp"
#include "examples/sampling_flags.hpp"
#include "gemma/gemma.hpp"

namespace {

using namespace gemma;
using app::Screen;

struct Flags {
  app::EngineFlags engine;
  ConversationOptions conversation;
  app::AnswerFlags answer;
  app::SamplingFlags sampling;
  std::optional<std::string> prompt;
  std::string prompt_file;
  std::string schema_file;
  std::string grammar_file;
  bool json = false;
};

void add_constraints(CLI::App& cli, Flags& flags) {
  auto* schema = cli.add_option("--json-schema", flags.schema_file,
                                "Every answer is a JSON value that the JSON schema in this file accepts")
                     ->type_name("FILE");
  cli.add_option("--grammar", flags.grammar_file,
                 "Every answer is a text of the grammar in this file (GBNF, which begins at rule root)")
      ->excludes(schema)
      ->type_name("FILE");
}

Flags parse_flags(int argc, char** argv) {
  Flags flags;
  const app::CommandLine owner = app::command_line(
      "Talk with a model. Without -p or --prompt-file: a conversation, each line a message (/help lists "
      "the commands); from a pipe, each line of standard input is a message.",
      "gemma-chat");
  CLI::App& cli = *owner;
  flags.engine.draft = "lookup";
  flags.engine.add_to(cli, app::EngineFlags::kAll | app::EngineFlags::kDraft);
  auto* p = cli.add_option("-p,--prompt", flags.prompt, "Answer this prompt and exit")->type_name("TEXT");
  cli.add_option("--prompt-file", flags.prompt_file,
                 "Answer the text of this file, or of standard input (-), and exit. One newline at its end "
                 "is ignored")
      ->excludes(p)
      ->type_name("FILE");
  auto* raw = cli.add_flag("--raw", flags.conversation.raw,
                           "No chat template: the model continues the text as given (control markers in it, "
                           "such as <start_of_turn>, are recognised)");
  app::add_chat_template(cli, flags.conversation.chat_template)->excludes(raw);
  cli.add_flag("--think", flags.conversation.thinking,
               "Ask the model to think before it answers, where it can (/think on and /think off change it)");
  cli.add_option("--system", flags.conversation.system, "The system prompt: how the model is to behave")
      ->excludes(raw)
      ->type_name("TEXT");
  cli.add_flag("--json", flags.json,
               "A line of JSON for each answer: text, token counts, stop reason, timings in seconds");
  flags.answer.add_to(cli);
  flags.sampling.add_to(cli);
  add_constraints(cli, flags);
  app::parse(cli, argc, argv);
  flags.conversation.max_tokens = flags.answer.limit();
  flags.conversation.stop_strings = flags.answer.stop_strings;
  flags.conversation.session = flags.engine.session_options();
  return flags;
}

/// The content of a file without the newline that editors add at its end.
std::string read_prompt(const std::string& path) {
  const std::string name = path == "-" ? "standard input" : path;
  std::string text = path == "-" ? app::read_all(stdin, name) : app::read_file(path);
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  if (text.empty()) throw Error(ErrorCode::kInvalidArgument, name + ": no prompt");
  return text;
}

/// Reads the file into the system's cache in the background. The call waits for the disk's queue on a large
/// cold file, so it has its own thread; the returned future waits for it.
std::future<void> read_ahead(const Model& model) {
  return std::async(std::launch::async, [&model] { model.file().read_ahead(); });
}

/// Builds the tokenizer while the user types the first message.
std::future<void> warm_up(const Model& model) {
  return std::async(std::launch::async, [&model] { model.tokenizer().warm_up(); });
}

int run(int argc, char** argv) {
  Flags flags = parse_flags(argc, argv);
  Screen screen;
  const bool one_shot = flags.prompt || !flags.prompt_file.empty();
  if (flags.json && !one_shot && screen.input_is_terminal()) {
    throw Error(ErrorCode::kInvalidArgument, "--json needs -p, --prompt-file, or messages on standard input");
  }
  if (!flags.prompt_file.empty()) flags.prompt = read_prompt(flags.prompt_file);
  if (flags.prompt && flags.prompt->empty() && !flags.conversation.raw) {
    throw Error(ErrorCode::kInvalidArgument, "--prompt: no prompt");
  }
  for (const auto& [file, is_schema] :
       {std::pair(flags.schema_file, true), std::pair(flags.grammar_file, false)}) {
    if (!file.empty()) flags.conversation.grammar = app::read_grammar(file, app::read_file(file), is_schema);
  }
  // the results are the same; the progress line is updated more often
  if (screen.status_is_terminal()) flags.conversation.session.chunk = 256;

  const auto begin = std::chrono::steady_clock::now();
  const Model model = flags.engine.load();
  const auto ahead = read_ahead(model);
  flags.conversation.sampler = flags.sampling.settled(model, flags.conversation.chat_template);
  Conversation conversation(model, flags.conversation);
  const double load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  app::Dialogue dialogue(model, conversation, screen, {flags.json, load_seconds, flags.engine.files()});

  screen.status(app::model_line(model, conversation.session()));
  if (conversation.session().n_ctx() > model.config().max_seq_len) {
    screen.status("the model was trained for " + std::to_string(model.config().max_seq_len) +
                  " tokens; answers beyond them may be poor");
  }
  for (const std::string& note : model.notes()) screen.problem(app::printable("note: " + note));
  const std::string note = app::chat_template_note(conversation.note());
  if (!flags.json && !note.empty()) screen.problem("note: " + note);
  if (one_shot) return dialogue.turn(*flags.prompt);
  if (!screen.interactive()) return dialogue.run(*app::plain_lines());
  const auto warm = warm_up(model);
  screen.status("/help lists the commands, Ctrl-C stops an answer, Ctrl-D quits");
  return dialogue.run(*app::edited_lines(screen, app::default_history_file()));
}

}  // namespace

int main(int argc, char** argv) {
  return gemma::app::run_program(argc, argv, "gemma-chat", run);
}
