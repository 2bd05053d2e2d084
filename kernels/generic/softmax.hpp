// Softmax over one array. Invariant: the sum's order is fixed by n alone.
#pragma once

#include <cstddef>

#include <xsimd/xsimd.hpp>

#include "exponential.hpp"

namespace gemma::kernels {

/// VectorKernels::softmax
template <class A>
void softmax(float* x, std::size_t n) noexcept {
  using batch = typename A::batch;
  if (n == 0) return;
  constexpr std::size_t kPart = 64 * A::kLanes;
  const std::size_t whole = n - n % A::kLanes, rest = n - whole;
  float max = x[0];
  if (whole > 0) {
    batch m = batch::load_unaligned(x);
    for (std::size_t i = A::kLanes; i < whole; i += A::kLanes)
      m = xsimd::max(m, batch::load_unaligned(x + i));
    max = A::max(m);
  }
  for (std::size_t i = whole; i < n; ++i) max = x[i] > max ? x[i] : max;

  const batch shift(max);
  batch sums(0.0f);
  for (std::size_t i = 0; i < whole;) {
    batch part(0.0f);  // a sum of 64 at a time, then the sum of those: the error grows with n / 64, not n
    for (std::size_t end = whole - i < kPart ? whole : i + kPart; i < end; i += A::kLanes) {
      const batch e = Exponential<A>::exp(batch::load_unaligned(x + i) - shift);
      e.store_unaligned(x + i);
      part = part + e;
    }
    sums = sums + part;
  }
  if (rest > 0) {
    const batch e = Exponential<A>::exp(A::load_part(x + whole, rest) - shift);
    A::store_part(e, x + whole, rest);
    sums = sums + A::load_part(x + whole, rest);  // the padding lanes are zeros again
  }
  const batch factor(1.0f / A::sum(sums));
  for (std::size_t i = 0; i < whole; i += A::kLanes)
    (batch::load_unaligned(x + i) * factor).store_unaligned(x + i);
  if (rest > 0) A::store_part(A::load_part(x + whole, rest) * factor, x + whole, rest);
}

}  // namespace gemma::kernels
