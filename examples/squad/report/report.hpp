// The report of a run as one self-contained HTML file, without network or other files.
// Invariant: text of models, data sets and users is escaped everywhere; without scripts everything but the
// list of answers is shown.
#pragma once

#include <string>

#include "examples/squad/analysis.hpp"

namespace gemma::squad::report {

std::string report_html(const RunDirectory& run, const Analysis& analysis);

}  // namespace gemma::squad::report
