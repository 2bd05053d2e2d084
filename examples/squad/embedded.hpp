// Files that are built into the program (embed.cmake turns them into these constants).
#pragma once

#include <string_view>

namespace gemma::squad::embedded {

extern const std::string_view kPageHtml;  // format of fmt: what {name} stands for, report.cpp says
extern const std::string_view kStyleCss;
extern const std::string_view kScriptJs;
extern const std::string_view kDemoSet;  // SQuAD v1.1

}  // namespace gemma::squad::embedded
