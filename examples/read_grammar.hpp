// Grammars and JSON schemas from files.
#pragma once

#include <string>

#include "gemma/grammar.hpp"

namespace gemma::app {

/// Compiles `text`, the content of the file `path`. Throws Error naming the file.
inline Grammar read_grammar(const std::string& path, const std::string& text, bool is_schema) {
  try {
    return is_schema ? Grammar::json_schema(text) : Grammar::gbnf(text);
  } catch (const Error& e) {
    throw Error(e.code(), path + ": " + std::string(e.message()));
  }
}

}  // namespace gemma::app
