// The error of computed numbers.
#pragma once

#include <cstddef>
#include <stdexcept>

namespace gemma::test {

/// Normalised mean squared error: sum (got - want)^2 / sum want^2.
template <typename A, typename B>
double nmse(const A& got, const B& want) {
  if (got.size() != want.size()) throw std::runtime_error("sizes differ");
  double error = 0, power = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double w = static_cast<double>(want[i]), d = static_cast<double>(got[i]) - w;
    error += d * d;
    power += w * w;
  }
  return error / power;
}

}  // namespace gemma::test
