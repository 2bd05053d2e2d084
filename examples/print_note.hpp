// Notes for people, beside what a program is asked for: progress, what it ran, what it ignored.
// Invariant: a note that cannot be written (standard error is closed, its disk is full) ends nothing.
#pragma once

#include <cstdio>
#include <string_view>

namespace gemma::app {

/// Writes `text` to `stream` without delay; errors are ignored. fmt::print would throw, also out of a
/// destructor.
inline void print_note(std::FILE* stream, std::string_view text) noexcept {
  static_cast<void>(std::fwrite(text.data(), 1, text.size(), stream));
  static_cast<void>(std::fflush(stream));
}

}  // namespace gemma::app
