// The report's charts as inline SVG. Colours come from the page's style sheet, so that they follow dark mode.
// Invariant: every number that a chart shows is also in it as text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "examples/squad/stats/bootstrap.hpp"

namespace gemma::squad::report {

/// Escapes text for use between tags and in quoted attributes.
std::string escape_html(std::string_view text);

/// One bar per model with its interval, from 0; class "c0", "c1", ... colours the models.
struct BarChart {
  std::string title;
  std::string note;  // shown under the title
  std::vector<std::string> labels;
  std::vector<stats::Interval> values;
  double axis_end = 0;  // right end of the axis; 0: chosen from the data
};

std::string bar_chart_svg(const BarChart& chart);

/// One bar per row, filled to 100% by the shares of consecutive classes, coloured by "s0" (first) and
/// following.
struct StackedChart {
  std::string title;
  std::string note;
  std::vector<std::string> labels;
  std::vector<std::string> classes;
  std::vector<std::vector<double>> shares;  // [rows][classes], each row sums to 1
};

std::string stacked_chart_svg(const StackedChart& chart);

/// Round ticks for an axis from 0 to at least `end`: 3 to 6 of them.
std::vector<double> axis_ticks(double end);

}  // namespace gemma::squad::report
