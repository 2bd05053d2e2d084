// Elementwise operations on float arrays: the loop that the simple kernels share, and the kernels add (of a
// residual) and scale.
// Invariant: the result of an element depends neither on its index nor on the length of the array.
#pragma once

#include <cstddef>

#include "float_vector.hpp"

namespace gemma::kernels {

/// y[i] = f(y[i], x[i]) for i < n, where f maps two vectors to one; x may equal y. In the last vector, lanes
/// past the end are 0.
template <FloatVector V, class F>
void transform(const float* x, std::size_t n, float* y, F f) noexcept {
  using batch = typename V::batch;
  std::size_t i = 0;
  for (; i + V::kLanes <= n; i += V::kLanes)
    f(batch::load_unaligned(y + i), batch::load_unaligned(x + i)).store_unaligned(y + i);
  if (i < n) V::store_part(f(V::load_part(y + i, n - i), V::load_part(x + i, n - i)), y + i, n - i);
}

/// Implements VectorKernels::add.
template <FloatVector V>
void add(const float* x, std::size_t n, float* y) noexcept {
  using batch = typename V::batch;
  transform<V>(x, n, y, [](batch a, batch b) { return a + b; });
}

/// Implements VectorKernels::scale.
template <FloatVector V>
void scale(float s, std::size_t n, float* y) noexcept {
  using batch = typename V::batch;
  const batch factor(s);
  transform<V>(y, n, y, [factor](batch a, batch) { return a * factor; });
}

}  // namespace gemma::kernels
