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

constexpr std::size_t kShades = 7;  // of ranks in the style sheet; all further classes use the last one

/// The title, the note, the legend, and the beginning of a picture of that height.
std::string open_chart(const std::string& title, const std::string& note, const std::string& legend,
                       double height) {
  return fmt::format(
      "<h3>{0}</h3><p class=\"note\">{1}</p>{2}<svg viewBox=\"0 0 {3} {4}\" role=\"img\" aria-label=\"{0}\">",
      escape_html(title), escape_html(note), legend, kWidth, height);
}

std::string name_text(const std::string& name, double y, std::size_t most_characters) {
  return fmt::format("<text class=\"name\" x=\"0\" y=\"{:.1f}\">{}</text>", y,
                     escape_html(shortened_middle(name, most_characters)));
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

std::string measure_chart(const RunDirectory& run, const Measure& measure, const std::string& note,
                          double axis_end) {
  double end = axis_end;
  if (end <= 0) {
    for (const stats::Interval& value : measure.means) end = std::max({end, value.high, value.mean});
  }
  const std::vector<double> ticks = axis_ticks(end);
  if (axis_end <= 0) end = ticks.back();
  const auto x = [&](double value) { return kRight * std::clamp(value / end, 0.0, 1.0); };
  const double bottom = kRow * static_cast<double>(measure.means.size()) + 2;
  std::string svg = open_chart(measure.title, note, "", bottom + 22);
  for (const double tick : ticks) {
    if (tick > end) break;
    svg += fmt::format("<line class=\"grid\" x1=\"{0:.1f}\" y1=\"4\" x2=\"{0:.1f}\" y2=\"{1:.1f}\"/>",
                       x(tick), bottom);
    const char* anchor = tick == 0 ? "start" : x(tick) > kRight - 12 ? "end" : "middle";
    svg += fmt::format("<text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{:g}</text>",
                       x(tick), bottom + 15, anchor, tick);
  }
  for (std::size_t m = 0; m < measure.means.size(); ++m) {
    const stats::Interval& value = measure.means[m];
    const double top = kRow * static_cast<double>(m) + 23, middle = top + kBar / 2;
    svg += name_text(run.model_name(m), top - 6, 24);
    svg += fmt::format(
        "<text class=\"value\" x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{} <tspan class=\"range\">{} "
        "\xE2\x80\x93 {}</tspan></text>",
        kRight, top - 6, short_number(value.mean), short_number(value.low), short_number(value.high));
    svg += fmt::format("<rect class=\"c{}\" x=\"0\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{}\" rx=\"3\"/>",
                       m % 8, top, std::max(1.0, x(value.mean)), kBar);
    svg += fmt::format(
        "<path class=\"whisker\" d=\"M{0:.1f} {2:.1f}H{1:.1f}M{0:.1f} {3:.1f}V{4:.1f}M{1:.1f} "
        "{3:.1f}V{4:.1f}\"/>",
        x(value.low), x(value.high), middle, middle - 4, middle + 4);
  }
  return svg + "</svg>";
}

std::string rank_chart(const RunDirectory& run, const JudgeSummary& judge) {
  const std::size_t k = run.n_models(), n_ranks = 2 * k - 1;
  // in steps of a half rank; with too few shades, half ranks count as the next better one
  const std::size_t step = n_ranks <= kShades ? 1 : 2;
  const auto rank_of = [&](std::size_t c) { return 1 + static_cast<double>(c * step) / 2; };
  const auto shade = [](std::size_t c) { return std::min(c, kShades - 1); };
  std::string legend = "<p class=\"legend\">";
  for (std::size_t c = 0; c * step < n_ranks; ++c) {
    legend += fmt::format("<span><i class=\"s{}\"></i>{:g}</span>", shade(c), rank_of(c));
  }
  std::string svg = open_chart("How often which rank, by judge " + judge.verdicts.name,
                               "share of questions; 1 is the best, halves are shared or averaged ranks",
                               legend + "</p>", kRow * static_cast<double>(k) + 4);
  for (std::size_t m = 0; m < k; ++m) {
    const double top = kRow * static_cast<double>(m) + 20;
    svg += name_text(run.model_name(m), top - 6, 40);
    double at = 0;
    for (std::size_t c = 0; c * step < n_ranks; ++c) {
      double share = judge.rank_shares[m][c * step];
      if (step == 2 && c * step + 1 < n_ranks) share += judge.rank_shares[m][c * step + 1];
      const double width = kRight * share;
      if (width <= 0) continue;
      svg += fmt::format(
          "<rect class=\"s{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"20\"><title>{:g}: "
          "{:.0f}%</title></rect>",
          shade(c), at, top, width, rank_of(c), 100 * share);
      if (width > 30) {
        svg += fmt::format(
            "<text class=\"in s{}t\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{:.0f}%</text>",
            shade(c), at + width / 2, top + 14, 100 * share);
      }
      at += width;
    }
  }
  return svg + "</svg>";
}

}  // namespace gemma::squad::report
