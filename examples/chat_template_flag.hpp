// --chat-template, as the programs that write conversations share it, and what they say about the choice.
// Invariant: a template that is not the file's own is never used in silence.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "tokenizer/chat_template.hpp"

namespace gemma::app {

/// For CLI::Option::check: "" if there are turns of that name.
inline std::string known_chat_template(const std::string& name) {
  if (dialects::find(name) != nullptr) return "";
  return name + " is no chat template; there are " + dialects::names();
}

inline CLI::Option* add_chat_template(CLI::App& app, std::string& name) {
  return app
      .add_option("--chat-template", name,
                  "How turns are written, in place of the file's template: gemma, gemma4, llama2, llama3, "
                  "llama31, mistral, mistral-v3, chatml or zephyr")
      ->check(known_chat_template)
      ->type_name("NAME");
}

/// What a user should know about the turns that are used, or "".
inline std::string chat_template_note(const ChatTemplate& chat) {
  return chat.recognised() ? "" : chat.note() + "; --chat-template chooses others";
}

}  // namespace gemma::app
