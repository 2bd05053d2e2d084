// The web page, built into the program (gemma_embed() makes the constant from page.html).
#pragma once

#include <string_view>

namespace gemma::server::embedded {

extern const std::string_view kPage;

}  // namespace gemma::server::embedded
