// Primitives (integer_primitives.hpp) of the 8-bit matmul on AVX-VNNI: those of AVX2, except that one
// instruction computes 8 dot products of four bytes.
// Invariant: included by kernels/arch/avxvnni.cpp alone.
#pragma once

#include <cstdint>

#include <immintrin.h>

#include "../generic/unroll.hpp"
#include "avx2.hpp"

namespace gemma::kernels {

struct AvxVnni : Avx2Primitives<AvxVnni> {
  static constexpr bool kSignedWeights = false;  // vpdpbusd: unsigned weights

  /// sum + a.low * b.low + a.high * b.high, with the int16 halves of each lane
  static Int add_pair_products(Int sum, Int a, Int b) noexcept { return _mm256_dpwssd_avx_epi32(sum, a, b); }

  /// dots[p][t] += the products of w[p][kBegin .. kBegin + kCount) and bytes 4 * kBegin .. of token t (32
  /// bytes per token).
  template <class W, int kBegin, int kCount, int n_panels, int kTokens>
  [[gnu::always_inline]] static void add_dots(const Int (*w)[8], const std::int8_t* x,
                                              Int (&dots)[n_panels][kTokens]) noexcept {
    Int x4 = zero_int();
    unroll<AvxVnni, kCount * kTokens * n_panels>([&]<int N>() GEMMA_INLINE_LAMBDA {
      constexpr int kColumn = kBegin + N / n_panels / kTokens, T = N / n_panels % kTokens, P = N % n_panels;
      if constexpr (P == 0) x4 = broadcast_four(x + 32 * T + 4 * kColumn);
      dots[P][T] = _mm256_dpbusd_avx_epi32(dots[P][T], w[P][kColumn], x4);
    });
  }
};

}  // namespace gemma::kernels
