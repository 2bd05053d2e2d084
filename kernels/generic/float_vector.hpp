// What the vector kernels, attention and the float matmuls ask of a float vector: the contract of every
// struct V in kernels/arch/*_vector.hpp. (The 8-bit matmuls' primitives A are another contract:
// integer_primitives.hpp.)
//
// Invariant: a lane of a result depends on that lane of the operands alone, unless said; "a part" is the
// first n < kLanes elements, and nothing behind them is read or written.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>

namespace gemma::kernels {

/// V::batch is an xsimd batch of kLanes floats; besides its operators kernels use:
///   fma(a, b, c)               a * b + c, rounded once
///   divide(a, b)               rounded as IEEE 754 says
///   load_part, store_part      a part of an array of floats; lanes behind it are 0
///   load_f16, load_bf16        kLanes binary16 or bfloat16 numbers, exactly; and a part of them
///   store_f16                  kLanes floats rounded to nearest even; what is beyond 65504 saturates
///   sum(x)                     of the lanes: halves are added until one is left; sums_8: of eight vectors
///   max(x)                     of the lanes
///   low_bits_to_exponent(x)    the float whose bits are those of x moved up by 23
///   lane_index()               0, 1, ..., kLanes - 1
///   load_twice(p)              p[0], p[0], p[1], p[1], ...
///   swap_pairs(x)              lanes 2i and 2i + 1 change places
///   alternating_sign()         -1, 1, -1, 1, ...
///   max_magnitude_32(p)        the largest |p[i]| of 32; NaN beats infinity beats every number
///   to_bytes_32(p, q, sums)    q = p for 32 integers, and the sums of both halves
/// of keys and values of 8 bits, whose codes are -127 to 127:
///   load_codes(p)              of each lane's key four codes, 4 kLanes bytes
///   broadcast_codes(p)         a query's four codes, for all lanes
///   begin_dots(sum)            what a dot begins with; sum: of all of the query's codes that it takes
///   add_dots(dots, key, query) dots += four products, exactly; dots_to_float(dots), exactly below 2^24
///   load_bytes                 kLanes signed bytes, exactly; and a part of them
/// and the sizes of register tiles: kAttentionRows x kAttentionVectors, kAttentionDots, kMatmulRows x
/// kMatmulTokens of at most kMatmulSums sums. Optional, of matmuls: hold(x), x stays in a register from here
/// on; kMatmulSlice, how much of k a panel of rows passes many tokens at a time;
/// kMatmulAhead, how far ahead few tokens ask for long rows.
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
