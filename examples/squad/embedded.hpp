// Files that the program carries with it (embed.cmake turns them into these constants at build time).
#pragma once

#include <string_view>

namespace gemma::squad::embedded {

extern const std::string_view style_css;
extern const std::string_view script_js;
extern const std::string_view demo_set;  // SQuAD v1.1

}  // namespace gemma::squad::embedded
