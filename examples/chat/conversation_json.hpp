// Conversations as JSON text: {"model", "system", "messages": [{"role", "content", "ids" (of answers)}]}.
#pragma once

#include <string>

#include "gemma/conversation.hpp"

namespace gemma::app {

/// The turns and the system text as JSON. The user's text need not be UTF-8.
std::string to_json(const Conversation& conversation);
/// Replaces the conversation's turns by those that to_json() wrote. Throws Error{kMalformed} naming `source`,
/// and then nothing has changed.
void from_json(const std::string& text, const std::string& source, Conversation& conversation);

/// The conversation with its session's keys and values, as the content of a file: nothing has to be
/// computed again after restoring.
std::string to_session_file(const Conversation& conversation);
/// Restores what to_session_file() wrote. Throws Error{kMalformed} or {kInvalidArgument} naming `source` for
/// bytes that are damaged, truncated, or of another model.
void from_session_file(const std::string& bytes, const std::string& source, Conversation& conversation);

}  // namespace gemma::app
