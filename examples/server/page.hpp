// The web page, which the program carries with it (gemma_embed() makes the constant of page.html).
#pragma once

#include <string_view>

namespace gemma::server::embedded {

extern const std::string_view page;

}  // namespace gemma::server::embedded
