#include "examples/squad/report/charts.hpp"

#include <algorithm>
#include <cmath>

#include <boost/algorithm/string/replace.hpp>
#include <fmt/format.h>

#include "examples/squad/in_words.hpp"
#include "examples/squad/text.hpp"

namespace gemma::squad::report {
namespace {

// in units of the view box; the page scales it to the card's width
constexpr double kWidth = 360, kRight = 352, kRow = 46, kBar = 16;

std::string percent(double share) {
  return fmt::format("{:.0f}%", 100 * share);
}

/// The style sheet has seven shades; all further classes use the last one.
std::size_t shade(std::size_t index) {
  return std::min<std::size_t>(index, 6);
}

std::string open_svg(const std::string& title, double height) {
  return fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">", kWidth, height,
                     escape_html(title));
}

std::string head(const std::string& title, const std::string& note) {
  return fmt::format(
      "<h3>{}</h3>{}", escape_html(title),
      note.empty() ? std::string() : fmt::format("<p class=\"note\">{}</p>", escape_html(note)));
}

}  // namespace

std::string escape_html(std::string_view text) {
  std::string out(text);
  boost::replace_all(out, "&", "&amp;");
  boost::replace_all(out, "<", "&lt;");
  boost::replace_all(out, ">", "&gt;");
  boost::replace_all(out, "\"", "&quot;");
  return out;
}

std::vector<double> axis_ticks(double end) {
  if (!(end > 0)) return {0, 1};
  const double rough = end / 4, power = std::pow(10, std::floor(std::log10(rough)));
  double step = power;
  for (const double factor : {1.0, 2.0, 2.5, 5.0, 10.0}) {
    step = factor * power;
    if (step >= rough * (1 - 1e-9)) break;
  }
  std::vector<double> ticks;
  for (int i = 0; ticks.empty() || ticks.back() < end * (1 - 1e-9); ++i) ticks.push_back(step * i);
  return ticks;
}

std::string bar_chart_svg(const BarChart& chart) {
  double end = chart.axis_end;
  if (end <= 0) {
    for (const stats::Interval& value : chart.values) end = std::max({end, value.high, value.mean});
  }
  const std::vector<double> ticks = axis_ticks(end);
  if (chart.axis_end <= 0) end = ticks.back();
  const auto x = [&](double value) { return kRight * std::clamp(value / end, 0.0, 1.0); };
  const double bottom = kRow * static_cast<double>(chart.values.size()) + 2;
  std::string svg = head(chart.title, chart.note) + open_svg(chart.title, bottom + 22);
  for (const double tick : ticks) {
    if (tick > end) break;
    svg += fmt::format("<line class=\"grid\" x1=\"{0:.1f}\" y1=\"4\" x2=\"{0:.1f}\" y2=\"{1:.1f}\"/>",
                       x(tick), bottom);
    const char* anchor = tick == 0 ? "start" : x(tick) > kRight - 12 ? "end" : "middle";
    svg += fmt::format("<text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{:g}</text>",
                       x(tick), bottom + 15, anchor, tick);
  }
  for (std::size_t i = 0; i < chart.values.size(); ++i) {
    const stats::Interval& value = chart.values[i];
    const double top = kRow * static_cast<double>(i) + 23, middle = top + kBar / 2;
    svg += fmt::format("<text class=\"name\" x=\"0\" y=\"{:.1f}\">{}</text>", top - 6,
                       escape_html(shortened_middle(chart.labels[i], 24)));
    svg += fmt::format(
        "<text class=\"value\" x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{} <tspan class=\"range\">{} "
        "\xE2\x80\x93 "
        "{}</tspan></text>",
        kRight, top - 6, short_number(value.mean), short_number(value.low), short_number(value.high));
    svg += fmt::format("<rect class=\"c{}\" x=\"0\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{}\" rx=\"3\"/>",
                       i % 8, top, std::max(1.0, x(value.mean)), kBar);
    svg += fmt::format(
        "<path class=\"whisker\" d=\"M{0:.1f} {2:.1f}H{1:.1f}M{0:.1f} {3:.1f}V{4:.1f}M{1:.1f} "
        "{3:.1f}V{4:.1f}\"/>",
        x(value.low), x(value.high), middle, middle - 4, middle + 4);
  }
  return svg + "</svg>";
}

std::string stacked_chart_svg(const StackedChart& chart) {
  const double height = kRow * static_cast<double>(chart.shares.size()) + 4;
  std::string svg = head(chart.title, chart.note) + "<p class=\"legend\">";
  for (std::size_t c = 0; c < chart.classes.size(); ++c) {
    svg += fmt::format("<span><i class=\"s{}\"></i>{}</span>", shade(c), escape_html(chart.classes[c]));
  }
  svg += "</p>" + open_svg(chart.title, height);
  for (std::size_t row = 0; row < chart.shares.size(); ++row) {
    const double top = kRow * static_cast<double>(row) + 20;
    svg += fmt::format("<text class=\"name\" x=\"0\" y=\"{:.1f}\">{}</text>", top - 6,
                       escape_html(shortened_middle(chart.labels[row], 40)));
    double at = 0;
    for (std::size_t c = 0; c < chart.shares[row].size(); ++c) {
      const double width = kRight * chart.shares[row][c];
      if (width <= 0) continue;
      svg += fmt::format(
          "<rect class=\"s{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"20\"><title>{}: "
          "{}</title></rect>",
          shade(c), at, top, width, escape_html(chart.classes[c]), percent(chart.shares[row][c]));
      if (width > 30) {
        svg +=
            fmt::format("<text class=\"in s{}t\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>",
                        shade(c), at + width / 2, top + 14, percent(chart.shares[row][c]));
      }
      at += width;
    }
  }
  return svg + "</svg>";
}

}  // namespace gemma::squad::report
