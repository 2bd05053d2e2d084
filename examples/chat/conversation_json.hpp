// Conversations as JSON text: {"model", "system", "messages": [{"role", "content", "ids" of an answer}]}.
#pragma once

#include <string>

#include "gemma/conversation.hpp"

namespace gemma::app {

/// The turns and the system text; what was typed need not be UTF-8.
std::string to_json(const Conversation& conversation);
/// Takes the turns that to_json() wrote in place of the conversation's. Throws Error{kMalformed} naming
/// `source`, and then nothing has changed.
void from_json(const std::string& text, const std::string& source, Conversation& conversation);

/// The conversation with its session's keys and values, for a file: restoring computes nothing again.
std::string to_session_file(const Conversation& conversation);
/// Restores what to_session_file() wrote. Throws Error{kMalformed} or {kInvalidArgument} naming `source` for
/// bytes that are damaged, cut, or another model's.
void from_session_file(const std::string& bytes, const std::string& source, Conversation& conversation);

}  // namespace gemma::app
