// How the evaluator reports errors.
// Invariant: a message is one line for people that names the file, the flag or the model it is about.
#pragma once

#include <utility>

#include <fmt/format.h>

#include "gemma/engine_error_code.hpp"

namespace gemma::squad {

/// Throws gemma::Error with the code and the formatted message.
template <typename... Args>
[[noreturn]] void fail(ErrorCode code, fmt::format_string<Args...> message, Args&&... args) {
  throw Error(code, fmt::format(message, std::forward<Args>(args)...));
}

/// Throws gemma::Error (invalid_argument) with the formatted message.
template <typename... Args>
[[noreturn]] void refuse(fmt::format_string<Args...> message, Args&&... args) {
  fail(ErrorCode::kInvalidArgument, message, std::forward<Args>(args)...);
}

}  // namespace gemma::squad
