// The flag --chat-template of all programs that write conversations, and their notes about it.
// Invariant: a template that is not the file's own is never used without a note.
#pragma once

#include <string>

#include "tokenizer/chat_template.hpp"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace gemma::app {

/// For CLI::Option::check: "" if there is a template of that name, else the error.
std::string known_chat_template(const std::string& name);

CLI::Option* add_chat_template(CLI::App& app, std::string& name);

/// A note about the choice of the template (ChatTemplate::note()), worded for users of these programs; "" for
/// an empty note.
std::string chat_template_note(const std::string& note);
/// The note for users about the template that is used, or "".
std::string chat_template_note(const ChatTemplate& chat);

}  // namespace gemma::app
