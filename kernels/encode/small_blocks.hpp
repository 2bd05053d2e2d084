// Encoders of the types with 32 weights per block, and of unblocked types.
// Invariant: codes are chosen for the scale (and minimum) rounded to float16.
#pragma once

#include "../../gguf/blocks.hpp"
#include "fits.hpp"

namespace gemma::kernels::encode {

/// Packs codes: weights 0-15 in the low nibbles, weights 16-31 in the high nibbles. Returns bit 4 of the code
/// of weight i, if it has one, in bit i.
template <class A>
inline std::uint32_t pack_nibbles(const int (&code)[32], std::uint8_t* qs) noexcept {
  std::uint32_t high = 0;
  for (int i = 0; i < 16; ++i) qs[i] = static_cast<std::uint8_t>((code[i] & 15) | (code[i + 16] & 15) << 4);
  for (int i = 0; i < 32; ++i) high |= static_cast<std::uint32_t>((code[i] >> 4) & 1) << i;
  return high;
}
template <class A>
inline void store_u32(std::uint32_t word, std::uint8_t* to) noexcept {
  for (int i = 0; i < 4; ++i) to[i] = static_cast<std::uint8_t>(word >> (8 * i));
}

/// Fits w = d * q. Returns d as binary16 bits and sets the codes.
template <class A, class Grid, int kEnd>
inline std::uint16_t encode_scaled(const float* x, const float* w, int (&code)[32]) noexcept {
  const std::uint16_t d = to_half<A>(fit_scale<A, Grid, kEnd, 32, 1>(x, w));
  float g[32];
  assign<A, Grid, 32>(x, from_half<A>(d), 0.0f, g);
  for (int i = 0; i < 32; ++i) code[i] = Grid::code(g[i]);
  return d;
}
/// Fits w = d * q + m. m is fitted to d as binary16 stores it.
template <class A, int kLevels>
inline void encode_affine(const float* x, const float* w, int (&code)[32], std::uint16_t& d,
                          std::uint16_t& m) noexcept {
  const Affine fit = fit_affine<A, 32, kLevels, false>(x, w);
  d = to_half<A>(fit.scale);
  const float scale = from_half<A>(d);
  float g[32];
  assign<A, IntegerGrid<A, 0, kLevels>, 32>(x, scale, -fit.offset, g);
  Lanes sum_w{}, sum_wx{};
  for (int i = 0; i < 32; i += kLanes) {
    sum_w += load<A>(w + i);
    sum_wx += load<A>(w + i) * (load<A>(x + i) - scale * load<A>(g + i));
  }
  m = to_half<A>(sum<A>(sum_wx) / sum<A>(sum_w));
  assign<A, IntegerGrid<A, 0, kLevels>, 32>(x, scale, -from_half<A>(m), g);
  for (int i = 0; i < 32; ++i) code[i] = static_cast<int>(g[i]);
}

template <class A>
inline void encode_block(const float* x, const float* w, BlockQ4_0& b) noexcept {
  int code[32];
  b.d = encode_scaled<A, IntegerGrid<A, -8, 7>, 8>(x, w, code);
  pack_nibbles<A>(code, b.qs);
}
template <class A>
inline void encode_block(const float* x, const float* w, BlockQ5_0& b) noexcept {
  int code[32];
  b.d = encode_scaled<A, IntegerGrid<A, -16, 15>, 16>(x, w, code);
  store_u32<A>(pack_nibbles<A>(code, b.qs), b.qh);
}
template <class A>
inline void encode_block(const float* x, const float* w, BlockIQ4_NL& b) noexcept {
  int code[32];
  b.d = encode_scaled<A, LevelGrid<A>, 127>(x, w, code);
  pack_nibbles<A>(code, b.qs);
}
template <class A>
inline void encode_block(const float* x, const float* w, BlockQ4_1& b) noexcept {
  int code[32];
  encode_affine<A, 15>(x, w, code, b.d, b.m);
  pack_nibbles<A>(code, b.qs);
}
template <class A>
inline void encode_block(const float* x, const float* w, BlockQ5_1& b) noexcept {
  int code[32];
  encode_affine<A, 31>(x, w, code, b.d, b.m);
  store_u32<A>(pack_nibbles<A>(code, b.qs), b.qh);
}

/// Tries eight spacings that put the largest magnitude at 127 or a little less; more of them reduce the error
/// by less than 1%.
template <class A>
inline void encode_block(const float* x, const float* w, BlockQ8_0& b) noexcept {
  using Grid = IntegerGrid<A, -127, 127>;
  const float most = largest_magnitude<A, 32>(x);
  float gain = 0, scale = 0, g[32];
  if (most > 1e-30f) {
    const Lanes ends = {127, 126.6f, 126.2f, 125.7f, 125.2f, 124.6f, 124, 123.4f};
    Lanes inverse[1] = {ends / most}, xq[1], qq[1];
    scale_sums<A, Grid, 32, 1>(x, w, inverse, xq, qq);
    take_best_scale<A, 1>(xq, qq, gain, scale);
  }
  b.d = to_half<A>(scale);
  assign<A, Grid, 32>(x, from_half<A>(b.d), 0.0f, g);
  for (int i = 0; i < 32; ++i) b.qs[i] = static_cast<std::int8_t>(g[i]);
}

template <class A>
inline void encode_block(const float* x, const float*, BlockF32& b) noexcept {
  b.w = *x;
}
/// Magnitudes beyond 65504 become infinite, as in every conversion: the caller must check.
template <class A>
inline void encode_block(const float* x, const float*, BlockF16& b) noexcept {
  const auto magnitude = __builtin_bit_cast(std::uint32_t, *x) & 0x7FFFFFFFu;
  b.w = to_half<A>(*x);
  if (magnitude >= 0x477FF000u && magnitude <= 0x7F800000u)
    b.w = static_cast<std::uint16_t>((b.w & 0x8000u) | 0x7C00u);
}
template <class A>
inline void encode_block(const float* x, const float*, BlockBF16& b) noexcept {
  const auto bits = __builtin_bit_cast(std::uint32_t, *x);
  const bool nan = (bits & 0x7FFFFFFFu) > 0x7F800000u;
  b.w = static_cast<std::uint16_t>(nan ? (bits >> 16) | 0x40u : (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

}  // namespace gemma::kernels::encode
