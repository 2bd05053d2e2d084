// The contract of a float vector: the operations that the vector kernels, attention and the float matmuls
// require of every struct V in kernels/arch/*_vector.hpp. (The contract of the primitives A of the 8-bit
// matmuls is in integer_primitives.hpp.)
//
// Invariant: unless stated otherwise, a lane of a result depends on that lane of the operands alone. "A part"
// is the first n < kLanes elements; memory after them is neither read nor written.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>

namespace gemma::kernels {

/// V::batch is an xsimd batch of kLanes floats. Besides its operators, kernels use:
///   fma(a, b, c)               a * b + c, rounded once
///   divide(a, b)               correctly rounded (IEEE 754)
///   load_part, store_part      a part of an array of floats; the other lanes of a loaded vector are 0
///   load_f16, load_bf16        kLanes binary16 or bfloat16 numbers, exactly; and a part of them
///   store_f16                  kLanes floats, rounded to nearest even; magnitudes beyond 65504 saturate
///   sum(x)                     of the lanes: the halves are added until one lane is left
///   sums_8(v, out)             sum() of each of eight vectors
///   max(x)                     the largest lane
///   low_bits_to_exponent(x)    the float whose bits are those of x shifted left by 23
///   lane_index()               0, 1, ..., kLanes - 1
///   load_twice(p)              p[0], p[0], p[1], p[1], ...
///   swap_pairs(x)              exchanges lanes 2i and 2i + 1
///   alternating_sign()         -1, 1, -1, 1, ...
///   max_magnitude_32(p)        the largest |p[i]| of 32 by their bits: NaN exceeds infinity
///   to_bytes_32(p, q, sums)    q[i] = p[i] for 32 integers, p 64-byte aligned; sums of the halves of 16
/// For 8-bit keys and values, whose codes are -127 to 127:
///   load_codes(p)              four codes of the key of each lane: 4 kLanes bytes
///   broadcast_codes(p)         four codes of a query, in all lanes
///   begin_dots(sum)            initial dot accumulators; sum: the sum of all query codes to be added
///   add_dots(dots, key, query) dots += four products, exactly
///   dots_to_float(dots)        exact below 2^24
///   load_bytes                 kLanes signed bytes, exactly; and a part of them
/// Sizes of register tiles: kAttentionRows x kAttentionVectors; kAttentionDots accumulators for 8-bit keys;
/// kMatmulRows x kMatmulTokens with at most kMatmulSums accumulators. Optional, for matmuls: hold(x) forces x
/// into a register; kMatmulSlice is the number of elements of k that a panel of rows multiplies with many
/// tokens at a time; kMatmulAhead is the prefetch distance in long rows, in bytes, when there are few tokens.
template <class V>
concept FloatVector = requires(typename V::batch x, const typename V::batch (&eight)[8], float (&out)[8],
                               const float* from, float* to, const std::uint16_t* half,
                               std::uint16_t* half_to, std::int8_t* bytes, std::int32_t* sums,
                               std::size_t n) {
  requires std::same_as<decltype(V::kLanes), const std::size_t>;
  requires(V::kLanes >= 4 && 16 % V::kLanes == 0);
  requires(V::kAttentionRows > 0 && V::kAttentionVectors > 0 && V::kAttentionDots > 0);
  requires(V::kMatmulRows > 0 && V::kMatmulTokens > 0 && V::kMatmulSums >= 2 * V::kMatmulTokens);
  { V::fma(x, x, x) } -> std::same_as<typename V::batch>;
  { V::divide(x, x) } -> std::same_as<typename V::batch>;
  { V::load_part(from, n) } -> std::same_as<typename V::batch>;
  V::store_part(x, to, n);
  { V::load_f16(half) } -> std::same_as<typename V::batch>;
  { V::load_f16_part(half, n) } -> std::same_as<typename V::batch>;
  { V::load_bf16(half) } -> std::same_as<typename V::batch>;
  { V::load_bf16_part(half, n) } -> std::same_as<typename V::batch>;
  V::store_f16(x, half_to);
  { V::sum(x) } -> std::same_as<float>;
  V::sums_8(eight, out);
  { V::max(x) } -> std::same_as<float>;
  { V::low_bits_to_exponent(x) } -> std::same_as<typename V::batch>;
  { V::lane_index() } -> std::same_as<typename V::batch>;
  { V::load_twice(from) } -> std::same_as<typename V::batch>;
  { V::swap_pairs(x) } -> std::same_as<typename V::batch>;
  { V::alternating_sign() } -> std::same_as<typename V::batch>;
  { V::max_magnitude_32(from) } -> std::same_as<float>;
  V::to_bytes_32(from, bytes, sums);
  {
    V::add_dots(V::begin_dots(*sums), V::load_codes(bytes), V::broadcast_codes(bytes))
    } -> std::same_as<typename V::Dots>;
  { V::dots_to_float(V::begin_dots(*sums)) } -> std::same_as<typename V::batch>;
  { V::load_bytes(bytes) } -> std::same_as<typename V::batch>;
  { V::load_bytes_part(bytes, n) } -> std::same_as<typename V::batch>;
};

}  // namespace gemma::kernels
