// The report's charts as inline SVG. Colours come from the page's style sheet, so that they follow dark mode.
// Invariant: every number that a chart shows is also in it as text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "examples/squad/analysis.hpp"

namespace gemma::squad::report {

/// Escapes text for use between tags and in quoted attributes.
std::string escape_html(std::string_view text);

/// The means of a measure: one bar per model with its interval, from 0 to `axis_end` (0: chosen from the
/// data); class "c0", "c1", ... colours the models. `note` is shown under the title.
std::string measure_chart(const RunDirectory& run, const Measure& measure, const std::string& note,
                          double axis_end);

/// How often a judge gave which rank: one bar per model, filled to 100% by the shares of the ranks, coloured
/// by "s0" (rank 1) and following.
std::string rank_chart(const RunDirectory& run, const JudgeSummary& judge);

/// Round ticks for an axis from 0 to at least `end`: 3 to 6 of them.
std::vector<double> axis_ticks(double end);

}  // namespace gemma::squad::report
