// What the benches say of a few runs. Values are never empty.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace gemma::bench {

inline double mean(const std::vector<double>& v) {
  double sum = 0;
  for (const double x : v) sum += x;
  return sum / static_cast<double>(v.size());
}

/// Of a sample: divided by n - 1; 0 for one value.
inline double stddev(const std::vector<double>& v) {
  if (v.size() < 2) return 0;
  double sum = 0;
  for (const double x : v) sum += (x - mean(v)) * (x - mean(v));
  return std::sqrt(sum / static_cast<double>(v.size() - 1));
}

inline double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return (v[(v.size() - 1) / 2] + v[v.size() / 2]) / 2;
}

}  // namespace gemma::bench
