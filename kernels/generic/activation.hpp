// Gated activations (GELU, SiLU) and the soft cap of logits.
// Invariant: each element is computed independently (elementwise.hpp). Extreme inputs give correct results:
// the activation of -1e30 is 0 and that of 1e30 is 1e30, never NaN.
#pragma once

#include <cstddef>

#include "elementwise.hpp"
#include "exponential.hpp"
#include "float_vector.hpp"

namespace gemma::kernels {

/// GELU in its tanh form (Hendrycks & Gimpel 2016, sec. 2), computed as x * sigmoid(2u) with u = sqrt(2/pi)
/// (x + 0.044715 x^3). The sigmoid needs 2^y, y = -2 log2(e) u. y is kept as an unevaluated sum of two
/// floats: at x = -5 the rounding of y to one float alone would cost an error of 1e-6.
template <FloatVector V>
typename V::batch gelu_tanh(typename V::batch x) noexcept {
  using batch = typename V::batch;
  // k0 = -2 log2(e) sqrt(2/pi) and k1 = 0.044715 k0, each as a float and its rounding remainder
  const batch k0(-2.302208185195923f), k0_low(-1.2948402350332344e-08f);
  const batch k1(-0.10294324159622192f), k1_low(2.016198541454628e-09f);
  const batch square = x * x;
  const batch square_low = V::fma(x, x, batch(0.0f) - square);
  const batch product = k1 * square;
  const batch product_low =
      V::fma(k1, square, batch(0.0f) - product) + V::fma(k1, square_low, k1_low * square);
  const batch w = product + k0;
  const batch from_product = w - k0;  // Knuth's two-sum: w_low gets the rounding error of w
  const batch w_low = ((product - from_product) + (k0 - (w - from_product))) + (product_low + k0_low);
  const batch y = x * w;
  const batch y_low = V::fma(x, w, batch(0.0f) - y) + x * w_low;
  const batch e = Exponential<V>::exp2(y, y_low);
  return V::divide(x, batch(1.0f) + e);
}

/// Implements VectorKernels::gelu_mul.
template <FloatVector V>
void gelu_mul(float* gate, const float* up, std::size_t n) noexcept {
  using batch = typename V::batch;
  transform<V>(up, n, gate, [](batch g, batch u) { return gelu_tanh<V>(g) * u; });
}

/// Implements VectorKernels::silu_mul.
template <FloatVector V>
void silu_mul(float* gate, const float* up, std::size_t n) noexcept {
  using batch = typename V::batch;
  transform<V>(up, n, gate, [](batch g, batch u) {
    return V::divide(g, batch(1.0f) + Exponential<V>::exp(batch(0.0f) - g)) * u;
  });
}

/// Implements VectorKernels::softcap.
template <FloatVector V>
void softcap(float* x, std::size_t n, float cap) noexcept {
  using batch = typename V::batch;
  const batch limit(cap);
  transform<V>(x, n, x,
               [limit](batch a, batch) { return limit * Exponential<V>::tanh(V::divide(a, limit)); });
}

}  // namespace gemma::kernels
