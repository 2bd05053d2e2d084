// The check of a number that the caller chooses, such as a size of an option structure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "../gguf/error.hpp"

namespace gemma::detail {

/// Throws Error{kInvalidArgument} "NAME is 9; it must be from 1 to 8" unless `value` is between `least` and
/// `most`.
inline void check_number(const char* name, std::size_t value, std::size_t least,
                         std::size_t most = SIZE_MAX) {
  if (value >= least && value <= most) return;
  refuse(ErrorCode::kInvalidArgument, [&] {
    const std::string range = most == SIZE_MAX
                                  ? "at least " + std::to_string(least)
                                  : "from " + std::to_string(least) + " to " + std::to_string(most);
    return std::string(name) + " is " + std::to_string(value) + "; it must be " + range;
  });
}

}  // namespace gemma::detail
