#include "examples/perplexity/statistics.hpp"

#include <algorithm>
#include <cmath>

namespace gemma::perplexity {

double Mean::error() const noexcept {
  if (n_ < 2) return 0;
  const double variance = squares_ / static_cast<double>(n_) - mean() * mean();
  return variance > 0 ? std::sqrt(variance / static_cast<double>(n_ - 1)) : 0;
}

void compare(const CodedRow& row, const CodedRow& base, std::size_t id, TokenResult& result) noexcept {
  double sum = 0;
  std::size_t top = 0, base_top = 0;
  for (std::size_t i = 0; i < base.codes.size(); ++i) {
    const float p_log = base.log_probability(i);
    sum += static_cast<double>(std::exp(p_log)) * static_cast<double>(p_log - row.log_probability(i));
    if (row.codes[i] > row.codes[top]) top = i;
    if (base.codes[i] > base.codes[base_top]) base_top = i;
  }
  result.divergence = sum;
  result.same_top = top == base_top;
  result.base_loss = -static_cast<double>(base.log_probability(id));
  result.p_change = static_cast<double>(std::exp(row.log_probability(id))) -
                    static_cast<double>(std::exp(base.log_probability(id)));
}

double quantile(std::vector<double>& values, double part) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double at = part * static_cast<double>(values.size() - 1);
  const auto low = static_cast<std::size_t>(at);
  const std::size_t high = std::min(low + 1, values.size() - 1);
  const double between = at - static_cast<double>(low);
  return values[low] + between * (values[high] - values[low]);
}

}  // namespace gemma::perplexity
