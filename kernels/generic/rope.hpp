// Rotary position embedding (Su et al. 2021, sec. 3.4.2), for both pairings of elements.
// Invariant: the result of a head depends on that head and the angles only.
#pragma once

#include <cstddef>

#include "float_vector.hpp"

namespace gemma::kernels {

/// Implements VectorKernels::rope_half.
template <FloatVector V>
void rope_half(float* x, std::size_t n_heads, std::size_t head_dim, const float* cos_sin) noexcept {
  using batch = typename V::batch;
  const std::size_t half = head_dim / 2;
  for (std::size_t h = 0; h < n_heads; ++h) {
    float* const low = x + h * head_dim;
    float* const high = low + half;
    std::size_t i = 0;
    for (; i + V::kLanes <= half; i += V::kLanes) {
      const batch a = batch::load_unaligned(low + i), b = batch::load_unaligned(high + i);
      const batch c = batch::load_unaligned(cos_sin + i), s = batch::load_unaligned(cos_sin + half + i);
      V::fma(a, c, batch(0.0f) - b * s).store_unaligned(low + i);
      V::fma(b, c, a * s).store_unaligned(high + i);
    }
    if (const std::size_t rest = half - i; rest > 0) {
      const batch a = V::load_part(low + i, rest), b = V::load_part(high + i, rest);
      const batch c = V::load_part(cos_sin + i, rest), s = V::load_part(cos_sin + half + i, rest);
      V::store_part(V::fma(a, c, batch(0.0f) - b * s), low + i, rest);
      V::store_part(V::fma(b, c, a * s), high + i, rest);
    }
  }
}

/// Implements VectorKernels::rope_pairs.
template <FloatVector V>
void rope_pairs(float* x, std::size_t n_heads, std::size_t head_dim, const float* cos_sin) noexcept {
  using batch = typename V::batch;
  constexpr std::size_t kPairs = V::kLanes / 2;
  const std::size_t half = head_dim / 2;
  const batch sign = V::alternating_sign();
  for (std::size_t h = 0; h < n_heads; ++h) {
    float* const head = x + h * head_dim;
    std::size_t i = 0;
    for (; i + kPairs <= half; i += kPairs) {
      const batch v = batch::load_unaligned(head + 2 * i);
      const batch c = V::load_twice(cos_sin + i), s = V::load_twice(cos_sin + half + i) * sign;
      V::fma(v, c, V::swap_pairs(v) * s).store_unaligned(head + 2 * i);
    }
    for (; i < half; ++i) {
      const float a = head[2 * i], b = head[2 * i + 1], c = cos_sin[i], s = cos_sin[half + i];
      head[2 * i] = __builtin_fmaf(a, c, -(b * s));
      head[2 * i + 1] = __builtin_fmaf(b, c, a * s);
    }
  }
}

}  // namespace gemma::kernels
