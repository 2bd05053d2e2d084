// Encoders of the types with 256 weights per block: integer scales of 16 or 32 weights under one or two
// floats.
// Invariant: after the first fits, every choice is made by the error of the stored numbers.
//
// First each sub-block gets its own best scale (and minimum) as floats. The block's d is such that the
// largest of them can be represented, and each sub-block takes the best integer scale (and minimum) near its
// own, by the error with the float16 d. Then, as long as the error falls, at most two times (three where
// integer scales are coarse): d (and dmin) are fitted again to all 256 weights, and integer scales are chosen
// again. The best result is kept.
#pragma once

#include "../../gguf/blocks.hpp"
#include "fits.hpp"

namespace gemma::kernels::encode {

/// w = d * scale * q - dmin * min; scales and minima 0 to kMost, q 0 to kLevels.
template <class A, int kSub, int kLevels, int kMost>
struct AffineBlock {
  static constexpr int kSubs = 256 / kSub;
  using Grid = IntegerGrid<A, 0, kLevels>;
  struct Choice {
    float d, dmin;  // as float16 stores them
    int scale[kSubs], min[kSubs];
    float error;
  };

  const float* x;
  const float* w;
  float own_scale[kSubs], own_min[kSubs];
  Choice best;
  float g[256];

  /// Chooses the best integer scale and minimum of sub-block j near the given ones. Tries 16 pairs: scales
  /// that differ by -1, 0, 1 with minima that differ by -2 to 2, and the pair (+2, +1).
  void choose(int j, float scale, float min, Choice& c) const noexcept {
    const float s0 = c.d > 0 ? rounded_within<A>(scale / c.d, 0, kMost) : 0.0f;
    const float m0 = c.dmin > 0 ? rounded_within<A>(min / c.dmin, 0, kMost) : 0.0f;
    const Lanes ds[2] = {{0, 0, 0, 0, 0, -1, -1, -1}, {-1, -1, 1, 1, 1, 1, 1, 2}};
    const Lanes dm[2] = {{0, -1, 1, -2, 2, 0, -1, 1}, {-2, 2, 0, -1, 1, -2, 2, 1}};
    Lanes s[2], m[2], scales[2], mins[2], error[2];
    for (int v = 0; v < 2; ++v) {
      s[v] = clamped<A>(s0 + ds[v], 0, kMost);
      m[v] = clamped<A>(m0 + dm[v], 0, kMost);
      scales[v] = s[v] * c.d;
      mins[v] = m[v] * c.dmin;
    }
    errors_of<A, Grid, kSub, 2>(x + j * kSub, w + j * kSub, scales, mins, error);
    const auto second = error[1] < error[0];
    const Lanes least = second ? error[1] : error[0];
    const Lanes best_s = second ? s[1] : s[0], best_m = second ? m[1] : m[0];
    const int lane = largest_lane<A>(-least);
    c.scale[j] = static_cast<int>(best_s[lane]);
    c.min[j] = static_cast<int>(best_m[lane]);
    c.error += least[lane];
  }

  /// Chooses integers for these d and dmin, near the given scales and minima of the sub-blocks; keeps the
  /// result if it is the best so far. Returns whether it is.
  bool try_with(float d, float dmin, const float* scale, const float* min) noexcept {
    Choice c;
    c.d = as_half<A>(d);
    c.dmin = as_half<A>(dmin);
    c.error = 0;
    for (int j = 0; j < kSubs; ++j) choose(j, scale[j], min[j], c);
    if (!(c.error < best.error)) return false;
    best = c;
    return true;
  }

  void assign_all() noexcept {
    for (int j = 0; j < kSubs; ++j)
      assign<A, Grid, kSub>(x + j * kSub, best.d * static_cast<float>(best.scale[j]),
                            best.dmin * static_cast<float>(best.min[j]), g + j * kSub);
  }

  /// Fits d and dmin to all weights, given the integers of the best result. Returns false if that gives no
  /// usable numbers.
  bool refit(float& d, float& dmin) noexcept {
    assign_all();
    double aa = 0, ab = 0, bb = 0, xa = 0, xb = 0;
    for (int j = 0; j < kSubs; ++j) {
      Lanes sw{}, swq{}, swqq{}, swx{}, swxq{};
      for (int i = j * kSub; i < (j + 1) * kSub; i += kLanes) {
        const Lanes wi = load<A>(w + i), q = load<A>(g + i), xi = load<A>(x + i);
        sw += wi;
        swq += wi * q;
        swqq += wi * q * q;
        swx += wi * xi;
        swxq += wi * q * xi;
      }
      const double s = best.scale[j], m = best.min[j];
      aa += s * s * static_cast<double>(sum<A>(swqq));
      ab += s * m * static_cast<double>(sum<A>(swq));
      bb += m * m * static_cast<double>(sum<A>(sw));
      xa += s * static_cast<double>(sum<A>(swxq));
      xb += m * static_cast<double>(sum<A>(swx));
    }
    const double det = aa * bb - ab * ab;
    if (det > 1e-9 * aa * bb) {
      d = static_cast<float>((bb * xa - ab * xb) / det);
      dmin = static_cast<float>((ab * xa - aa * xb) / det);
      return d > 0 && dmin >= 0;
    }
    if (!(aa > 0)) return false;
    d = static_cast<float>((xa + static_cast<double>(best.dmin) * ab) / aa);
    dmin = best.dmin;
    return d > 0;
  }

  void encode(const float* from, const float* weights) noexcept {
    x = from;
    w = weights;
    float most_scale = 0, most_min = 0;
    for (int j = 0; j < kSubs; ++j) {
      const Affine fit = fit_affine<A, kSub, kLevels, true>(x + j * kSub, w + j * kSub);
      own_scale[j] = fit.scale;
      own_min[j] = -fit.offset;
      most_scale = own_scale[j] > most_scale ? own_scale[j] : most_scale;
      most_min = own_min[j] > most_min ? own_min[j] : most_min;
    }
    best.error = 3.4e38f;
    best.d = best.dmin = 0;
    for (int j = 0; j < kSubs; ++j) best.scale[j] = best.min[j] = 0;
    const float d = most_scale / kMost, dmin = most_min / kMost;
    try_with(d, dmin, own_scale, own_min);
    if constexpr (kMost < 32) {  // coarse scales: the largest need not be represented exactly
      constexpr float kOthers[2] = {0.93f, 1.07f};
      for (const float a : kOthers) try_with(a * d, dmin, own_scale, own_min);
      const float best_d = best.d;
      for (const float b : kOthers) try_with(best_d, b * dmin, own_scale, own_min);
    }
    for (int round = 0; round < (kMost < 32 ? 3 : 2); ++round) {
      float new_d = 0, new_dmin = 0, scale[kSubs], min[kSubs];
      if (!refit(new_d, new_dmin)) break;
      for (int j = 0; j < kSubs; ++j) {
        scale[j] = new_d * static_cast<float>(best.scale[j]);
        min[j] = new_dmin * static_cast<float>(best.min[j]);
      }
      if (!try_with(new_d, new_dmin, scale, min)) break;
    }
    assign_all();
  }
};

/// w = d * scale * q, scales kLow to kHigh, q on the grid.
template <class A, class Grid, int kEnd, int kSub, int kLow, int kHigh>
struct ScaledBlock {
  static constexpr int kSubs = 256 / kSub;
  struct Choice {
    float d;
    int scale[kSubs];
    float error;
  };

  const float* x;
  const float* w;
  Choice best;
  float g[256];

  /// Chooses the best integer scale of sub-block j near `scale`.
  void choose(int j, float scale, Choice& c) const noexcept {
    const float s0 = c.d != 0 ? rounded_within<A>(scale / c.d, kLow, kHigh) : 0.0f;
    const Lanes moves = {0, -1, 1, -2, 2, -3, 3, -4};
    const Lanes s = clamped<A>(s0 + moves, kLow, kHigh);
    const Lanes scales[1] = {s * c.d}, none[1] = {Lanes{}};
    Lanes error[1];
    errors_of<A, Grid, kSub, 1>(x + j * kSub, w + j * kSub, scales, none, error);
    const int lane = largest_lane<A>(-error[0]);
    c.scale[j] = static_cast<int>(s[lane]);
    c.error += error[0][lane];
  }

  bool try_with(float d, const float* scale) noexcept {
    Choice c;
    c.d = as_half<A>(d);
    c.error = 0;
    for (int j = 0; j < kSubs; ++j) choose(j, scale[j], c);
    if (!(c.error < best.error)) return false;
    best = c;
    return true;
  }

  void assign_all() noexcept {
    for (int j = 0; j < kSubs; ++j)
      assign<A, Grid, kSub>(x + j * kSub, best.d * static_cast<float>(best.scale[j]), 0.0f, g + j * kSub);
  }

  float refit() noexcept {
    assign_all();
    double aa = 0, xa = 0;
    for (int j = 0; j < kSubs; ++j) {
      Lanes sqq{}, sxq{};
      for (int i = j * kSub; i < (j + 1) * kSub; i += kLanes) {
        const Lanes wq = load<A>(w + i) * load<A>(g + i);
        sqq += wq * load<A>(g + i);
        sxq += wq * load<A>(x + i);
      }
      const double s = best.scale[j];
      aa += s * s * static_cast<double>(sum<A>(sqq));
      xa += s * static_cast<double>(sum<A>(sxq));
    }
    return aa > 0 ? static_cast<float>(xa / aa) : 0.0f;
  }

  void encode(const float* from, const float* weights) noexcept {
    x = from;
    w = weights;
    float own[kSubs], most = 0;
    for (int j = 0; j < kSubs; ++j) {
      own[j] = fit_scale<A, Grid, kEnd, kSub, 1>(x + j * kSub, w + j * kSub);
      const bool larger = (own[j] < 0 ? -own[j] : own[j]) > (most < 0 ? -most : most);
      most = larger ? own[j] : most;
    }
    best.error = 3.4e38f;
    best.d = 0;
    for (int j = 0; j < kSubs; ++j) best.scale[j] = 0;
    try_with(most / kLow, own);  // maps the largest to kLow, the end of the range with one integer more
    if constexpr (kHigh < 64) try_with(most / kHigh, own);
    for (int round = 0; round < 2; ++round) {
      const float d = refit();
      if (d == 0) break;
      float scale[kSubs];
      for (int j = 0; j < kSubs; ++j) scale[j] = d * static_cast<float>(best.scale[j]);
      if (!try_with(d, scale)) break;
    }
    assign_all();
  }
};

/// Packs two bits of each code in K order: 128 weights in 32 bytes.
template <class A>
inline void pack_two_bits(const int (&code)[256], std::uint8_t* qs) noexcept {
  for (int half = 0; half < 2; ++half)
    for (int k = 0; k < 32; ++k) {
      const int* c = code + 128 * half + k;
      qs[32 * half + k] =
          static_cast<std::uint8_t>((c[0] & 3) | (c[32] & 3) << 2 | (c[64] & 3) << 4 | (c[96] & 3) << 6);
    }
}
/// Packs six bits of each scale and minimum of eight sub-blocks, as in Q4_K and Q5_K.
template <class A>
inline void pack_scales(const int (&scale)[8], const int (&min)[8], std::uint8_t* to) noexcept {
  for (int j = 0; j < 4; ++j) {
    to[j] = static_cast<std::uint8_t>(scale[j] | (scale[j + 4] >> 4) << 6);
    to[j + 4] = static_cast<std::uint8_t>(min[j] | (min[j + 4] >> 4) << 6);
    to[j + 8] = static_cast<std::uint8_t>((scale[j + 4] & 15) | (min[j + 4] & 15) << 4);
  }
}

template <class A>
inline void encode_block(const float* x, const float* w, BlockQ2_K& b) noexcept {
  AffineBlock<A, 16, 3, 15> block;
  block.encode(x, w);
  int code[256];
  for (int i = 0; i < 256; ++i) code[i] = static_cast<int>(block.g[i]);
  pack_two_bits<A>(code, b.qs);
  for (int j = 0; j < 16; ++j)
    b.scales[j] = static_cast<std::uint8_t>(block.best.scale[j] | block.best.min[j] << 4);
  b.d = to_half<A>(block.best.d);
  b.dmin = to_half<A>(block.best.dmin);
}

/// Encodes Q4_K and Q5_K; bit 4 of weight i goes to bit i / 32 of high[i % 32].
template <class A, int kLevels, class Block>
inline void encode_k(const float* x, const float* w, Block& b, std::uint8_t* high) noexcept {
  AffineBlock<A, 32, kLevels, 63> block;
  block.encode(x, w);
  for (int quarter = 0; quarter < 4; ++quarter)
    for (int k = 0; k < 32; ++k) {
      const int low = static_cast<int>(block.g[64 * quarter + k]);
      const int other = static_cast<int>(block.g[64 * quarter + 32 + k]);
      b.qs[32 * quarter + k] = static_cast<std::uint8_t>((low & 15) | (other & 15) << 4);
      if (kLevels > 15)
        high[k] = static_cast<std::uint8_t>(high[k] | (low >> 4) << (2 * quarter) |
                                            (other >> 4) << (2 * quarter + 1));
    }
  pack_scales<A>(block.best.scale, block.best.min, b.scales);
  b.d = to_half<A>(block.best.d);
  b.dmin = to_half<A>(block.best.dmin);
}
template <class A>
inline void encode_block(const float* x, const float* w, BlockQ4_K& b) noexcept {
  encode_k<A, 15>(x, w, b, nullptr);
}
template <class A>
inline void encode_block(const float* x, const float* w, BlockQ5_K& b) noexcept {
  for (auto& byte : b.qh) byte = 0;
  encode_k<A, 31>(x, w, b, b.qh);
}

template <class A>
inline void encode_block(const float* x, const float* w, BlockQ3_K& b) noexcept {
  ScaledBlock<A, IntegerGrid<A, -4, 3>, 4, 16, -32, 31> block;
  block.encode(x, w);
  int code[256];  // weight + 4: bit 2 goes to hmask, where it means that 4 is not subtracted
  for (int i = 0; i < 256; ++i) code[i] = static_cast<int>(block.g[i]) + 4;
  pack_two_bits<A>(code, b.qs);
  for (int k = 0; k < 32; ++k) {
    int mask = 0;
    for (int j = 0; j < 8; ++j) mask |= (code[32 * j + k] >> 2) << j;
    b.hmask[k] = static_cast<std::uint8_t>(mask);
  }
  for (int j = 0; j < 4; ++j) {
    int top = 0;
    for (int k = 0; k < 4; ++k) top |= ((block.best.scale[4 * k + j] + 32) >> 4) << (2 * k);
    b.scales[8 + j] = static_cast<std::uint8_t>(top);
  }
  for (int j = 0; j < 8; ++j)
    b.scales[j] = static_cast<std::uint8_t>(((block.best.scale[j] + 32) & 15) |
                                            ((block.best.scale[j + 8] + 32) & 15) << 4);
  b.d = to_half<A>(block.best.d);
}

template <class A>
inline void encode_block(const float* x, const float* w, BlockQ6_K& b) noexcept {
  ScaledBlock<A, IntegerGrid<A, -32, 31>, 32, 16, -128, 127> block;
  block.encode(x, w);
  int code[256], high[256];
  for (int i = 0; i < 256; ++i) {
    code[i] = static_cast<int>(block.g[i]) + 32;
    high[i] = code[i] >> 4;
  }
  for (int half = 0; half < 2; ++half)
    for (int k = 0; k < 64; ++k) {
      const int* c = code + 128 * half + k;
      b.ql[64 * half + k] = static_cast<std::uint8_t>((c[0] & 15) | (c[64] & 15) << 4);
    }
  pack_two_bits<A>(high, b.qh);
  for (int j = 0; j < 16; ++j) b.scales[j] = static_cast<std::int8_t>(block.best.scale[j]);
  b.d = to_half<A>(block.best.d);
}

template <class A>
inline void encode_block(const float* x, const float* w, BlockIQ4_XS& b) noexcept {
  ScaledBlock<A, LevelGrid<A>, 127, 32, -32, 31> block;
  block.encode(x, w);
  int top = 0;
  for (int j = 0; j < 4; ++j) b.scales_l[j] = 0;
  for (int j = 0; j < 8; ++j) {
    const int scale = block.best.scale[j] + 32;
    b.scales_l[j / 2] = static_cast<std::uint8_t>(b.scales_l[j / 2] | (scale & 15) << (4 * (j % 2)));
    top |= (scale >> 4) << (2 * j);
    for (int k = 0; k < 16; ++k)
      b.qs[16 * j + k] = static_cast<std::uint8_t>(LevelGrid<A>::code(block.g[32 * j + k]) |
                                                   LevelGrid<A>::code(block.g[32 * j + 16 + k]) << 4);
  }
  b.scales_h = static_cast<std::uint16_t>(top);
  b.d = to_half<A>(block.best.d);
}

}  // namespace gemma::kernels::encode
