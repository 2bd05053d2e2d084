#include "examples/chat_template_flag.hpp"

#include <CLI/CLI.hpp>

namespace gemma::app {

std::string known_chat_template(const std::string& name) {
  if (dialects::find(name) != nullptr) return "";
  return name + " is not a chat template; known are " + dialects::names();
}

CLI::Option* add_chat_template(CLI::App& app, std::string& name) {
  return app
      .add_option("--chat-template", name,
                  "How turns are written, in place of the file's template: one of " + dialects::names())
      ->check(known_chat_template)
      ->type_name("NAME");
}

std::string chat_template_note(const std::string& note) {
  return note.empty() ? "" : note + "; --chat-template chooses others";
}

std::string chat_template_note(const ChatTemplate& chat) {
  return chat_template_note(chat.note());
}

}  // namespace gemma::app
