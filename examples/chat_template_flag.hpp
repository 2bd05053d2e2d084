// --chat-template, as the programs that write conversations share it, and what they say about the choice.
// Invariant: a template that is not the file's own is never used in silence.
#pragma once

#include <string>

#include "tokenizer/chat_template.hpp"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace gemma::app {

/// For CLI::Option::check: "" if there are turns of that name.
std::string known_chat_template(const std::string& name);

CLI::Option* add_chat_template(CLI::App& app, std::string& name);

/// A note about the choice of turns (ChatTemplate::note()) as users of these programs need it; "" where it
/// is.
std::string chat_template_note(const std::string& note);
/// What a user should know about the turns that are used, or "".
std::string chat_template_note(const ChatTemplate& chat);

}  // namespace gemma::app
