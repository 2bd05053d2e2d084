// Root-mean-square normalisation (Zhang & Sennrich 2019, eq. 4).
// Invariant: squares are summed in four vector accumulators, in an order that depends on n alone.
#pragma once

#include <cstddef>

#include "float_vector.hpp"

namespace gemma::kernels {

/// Sum of x[i]^2: element i is added to accumulator i / kLanes % 4; the four are added pairwise, then the
/// lanes.
template <FloatVector V>
float sum_of_squares(const float* x, std::size_t n) noexcept {
  using batch = typename V::batch;
  constexpr std::size_t kLanes = V::kLanes;
  batch s0(0.0f), s1(0.0f), s2(0.0f), s3(0.0f);
  std::size_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    const batch a = batch::load_unaligned(x + i), b = batch::load_unaligned(x + i + kLanes);
    const batch c = batch::load_unaligned(x + i + 2 * kLanes), d = batch::load_unaligned(x + i + 3 * kLanes);
    s0 = V::fma(a, a, s0);
    s1 = V::fma(b, b, s1);
    s2 = V::fma(c, c, s2);
    s3 = V::fma(d, d, s3);
  }
  for (; i < n; i += kLanes) {  // at most four more vectors, for accumulators 0 to 3 in turn
    const batch a = i + kLanes <= n ? batch::load_unaligned(x + i) : V::load_part(x + i, n - i);
    const batch s = V::fma(a, a, s0);
    s0 = s1;
    s1 = s2;
    s2 = s3;
    s3 = s;
  }
  return V::sum((s0 + s1) + (s2 + s3));
}

/// Implements VectorKernels::rms_norm.
template <FloatVector V>
void rms_norm(const float* x, const float* w, std::size_t n, float eps, float* y) noexcept {
  using batch = typename V::batch;
  const double mean = static_cast<double>(sum_of_squares<V>(x, n)) / static_cast<double>(n);
  const float root = __builtin_sqrtf(static_cast<float>(mean + static_cast<double>(eps)));
  const batch factor(1.0f / root);
  std::size_t i = 0;
  for (; i + V::kLanes <= n; i += V::kLanes)
    (batch::load_unaligned(x + i) * factor * batch::load_unaligned(w + i)).store_unaligned(y + i);
  if (i < n) V::store_part(V::load_part(x + i, n - i) * factor * V::load_part(w + i, n - i), y + i, n - i);
}

}  // namespace gemma::kernels
