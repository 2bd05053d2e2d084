// Element by element over float arrays: the loop that the simple kernels share, residual add and scale.
// Invariant: an element's bits do not depend on where in the array it stands, nor on the array's length.
#pragma once

#include <cstddef>

#include "float_vector.hpp"

namespace gemma::kernels {

/// y[i] = f(y[i], x[i]) for i < n, f taking and giving vectors; x may be y. The last lanes' padding is zeros.
template <FloatVector V, class F>
void transform(const float* x, std::size_t n, float* y, F f) noexcept {
  using batch = typename V::batch;
  std::size_t i = 0;
  for (; i + V::kLanes <= n; i += V::kLanes)
    f(batch::load_unaligned(y + i), batch::load_unaligned(x + i)).store_unaligned(y + i);
  if (i < n) V::store_part(f(V::load_part(y + i, n - i), V::load_part(x + i, n - i)), y + i, n - i);
}

/// VectorKernels::add
template <FloatVector V>
void add(const float* x, std::size_t n, float* y) noexcept {
  using batch = typename V::batch;
  transform<V>(x, n, y, [](batch a, batch b) { return a + b; });
}

/// VectorKernels::scale
template <FloatVector V>
void scale(float s, std::size_t n, float* y) noexcept {
  using batch = typename V::batch;
  const batch factor(s);
  transform<V>(y, n, y, [factor](batch a, batch) { return a * factor; });
}

}  // namespace gemma::kernels
