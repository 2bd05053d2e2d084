// A loop that the compiler's front end unrolls, so that arrays indexed by its counter live in registers.
// Invariant: everything is inlined and tagged with the ISA unit's type A, so that no symbol is emitted.
#pragma once

namespace gemma::kernels {

/// Calls f.template operator()<I>() for I = kBegin, ..., kCount - 1. The lambda should be marked
/// GEMMA_INLINE_LAMBDA. Each level of recursion makes eight calls, because each level of inlining costs the
/// compiler another copy of the loop's body.
template <class A, int kCount, int kBegin = 0, class F>
[[gnu::always_inline]] inline void unroll(F&& f) {
  if constexpr (kCount > kBegin) f.template operator()<kBegin>();
  if constexpr (kCount > kBegin + 1) f.template operator()<kBegin + 1>();
  if constexpr (kCount > kBegin + 2) f.template operator()<kBegin + 2>();
  if constexpr (kCount > kBegin + 3) f.template operator()<kBegin + 3>();
  if constexpr (kCount > kBegin + 4) f.template operator()<kBegin + 4>();
  if constexpr (kCount > kBegin + 5) f.template operator()<kBegin + 5>();
  if constexpr (kCount > kBegin + 6) f.template operator()<kBegin + 6>();
  if constexpr (kCount > kBegin + 7) f.template operator()<kBegin + 7>();
  if constexpr (kCount > kBegin + 8) unroll<A, kCount, kBegin + 8>(f);
}

}  // namespace gemma::kernels

#define GEMMA_INLINE_LAMBDA __attribute__((always_inline))
