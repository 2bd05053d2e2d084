// Files that are built into the program (embed.cmake turns them into these constants).
#pragma once

#include <string_view>

namespace gemma::squad::embedded {

extern const std::string_view style_css;
extern const std::string_view script_js;
extern const std::string_view demo_set;  // SQuAD v1.1

}  // namespace gemma::squad::embedded
