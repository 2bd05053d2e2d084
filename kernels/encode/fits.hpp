// Finds the best scale, or scale and offset, of a few weights on a grid of integers or levels.
// Invariant: minimises sum(w * (x - decoded)^2). Eight candidates are tried at once, one in each lane of a
// vector, so that no sum crosses lanes; of equal candidates the first is taken.
//
// For given integers q the best scale is a least-squares fit, d = sum(w x q) / sum(w q q), which reduces the
// error by sum(w x q)^2 / sum(w q q); with an offset the same holds for deviations from the mean. What is
// searched is the assignment of integers: x is divided by many spacings of the grid.
#pragma once

#include "lanes.hpp"

namespace gemma::kernels::encode {

/// The range of spacings that are tried: they map the largest magnitude to positions from kFirst to kLast on
/// the grid, around its end, kEndTimes4 / 4.
template <int kEndTimes4>
struct Spacings;
template <>
struct Spacings<4 * 4> {  // 3 bits
  static constexpr float kFirst = 2.6f, kLast = 4.6f;
};
template <>
struct Spacings<8 * 4> {
  static constexpr float kFirst = 5.8f, kLast = 8.6f;
};
template <>
struct Spacings<16 * 4> {
  static constexpr float kFirst = 13.4f, kLast = 16.6f;
};
template <>
struct Spacings<32 * 4> {
  static constexpr float kFirst = 29.0f, kLast = 32.6f;
};
template <>
struct Spacings<127 * 4> {  // also for the uneven levels
  static constexpr float kFirst = 92.0f, kLast = 132.0f;
};

/// xq = sum(w x q) and qq = sum(w q q), where q are the integers nearest to x times each lane's `inverse`.
template <class A, class Grid, int kN, int kV>
[[gnu::always_inline]] inline void scale_sums(const float* x, const float* w, const Lanes (&inverse)[kV],
                                              Lanes (&xq)[kV], Lanes (&qq)[kV]) noexcept {
  constexpr int kAtOnce = kV % 2 == 0 ? 2 : 1;  // as many as fit in registers
  for (int v0 = 0; v0 < kV; v0 += kAtOnce) {
    for (int v = v0; v < v0 + kAtOnce; ++v) xq[v] = qq[v] = Lanes{};
    for (int i = 0; i < kN; ++i) {
      const Lanes xi = all<A>(x[i]), wi = all<A>(w[i]);
      for (int v = v0; v < v0 + kAtOnce; ++v) {
        const Lanes q = Grid::nearest(xi * inverse[v]);
        const Lanes wq = wi * q;
        xq[v] += wq * xi;
        qq[v] += wq * q;
      }
    }
  }
}

/// Takes the fit that reduces the error most, if it reduces it by more than `gain`; updates `gain` and
/// `scale`.
template <class A, int kV>
[[gnu::always_inline]] inline void take_best_scale(const Lanes (&xq)[kV], const Lanes (&qq)[kV], float& gain,
                                                   float& scale) noexcept {
  Lanes most = all<A>(gain), best = all<A>(scale);
  for (int v = 0; v < kV; ++v) {
    const Lanes some = qq[v] > Lanes{} ? qq[v] : all<A>(1.0f);
    const Lanes fit = xq[v] / some;
    const Lanes gains = fit * xq[v];
    best = gains > most ? fit : best;
    most = gains > most ? gains : most;
  }
  const int lane = largest_lane<A>(most);
  gain = most[lane];
  scale = best[lane];
}

template <class A, int kN>
[[gnu::always_inline]] inline float largest_magnitude(const float* x) noexcept {
  Lanes most{};
  for (int i = 0; i < kN; i += kLanes) {
    const Lanes xi = load<A>(x + i);
    most = larger<A>(larger<A>(xi, -xi), most);
  }
  return largest<A>(most);
}

/// The scale d of the best fit x ~ d * q, q on the grid. It may have either sign, since grids are not
/// symmetric; it is 0 if all x are 0. kEnd: the grid point that the largest magnitude is mapped to; kV:
/// number of vectors of spacings for each sign.
template <class A, class Grid, int kEnd, int kN, int kV>
inline float fit_scale(const float* x, const float* w) noexcept {
  const float most = largest_magnitude<A, kN>(x);
  if (!(most > 1e-30f)) return 0.0f;  // otherwise a quotient would overflow
  using Range = Spacings<4 * kEnd>;
  constexpr float kStep = (Range::kLast - Range::kFirst) / (8 * kV - 1);
  const Lanes steps = {0, 1, 2, 3, 4, 5, 6, 7};
  Lanes inverse[2 * kV], xq[2 * kV], qq[2 * kV];
  for (int v = 0; v < kV; ++v) {
    const Lanes ratio = Range::kFirst + kStep * (steps + static_cast<float>(8 * v));
    inverse[v] = -ratio / most;  // first the sign that has one integer more
    inverse[kV + v] = ratio / most;
  }
  float gain = 0, scale = 0;
  scale_sums<A, Grid, kN, 2 * kV>(x, w, inverse, xq, qq);
  take_best_scale<A, 2 * kV>(xq, qq, gain, scale);
  if (scale == 0) return 0.0f;
  // refine the best: try the fit itself, and spacings closer to it than those tried so far
  constexpr float kNear = 0.3f * kStep / kEnd;
  const Lanes moves = {0, -1, 1, -2, 2, -3, 3, 0};
  Lanes again[1] = {(1.0f + kNear * moves) / scale}, xq1[1], qq1[1];
  scale_sums<A, Grid, kN, 1>(x, w, again, xq1, qq1);
  take_best_scale<A, 1>(xq1, qq1, gain, scale);
  return scale;
}

/// x ~ scale * q + offset
struct Affine {
  float scale, offset;
};

/// The best fit x ~ scale * q + offset, q from 0 to kLevels. With kDown the offset is at most 0.
template <class A, int kN, int kLevels, bool kDown>
struct AffineFit {
  using Grid = IntegerGrid<A, 0, kLevels>;

  float x[kN];  // the input minus its mean
  const float* w;
  float mean, sum_w, inverse_sum_w, gain = 0;
  Affine best{0, 0};

  /// Tries the codes x * inverse + shift, rounded, of each lane, and keeps the best.
  template <int kV>
  [[gnu::always_inline]] void try_all(const Lanes (&inverse)[kV], const Lanes (&shift)[kV]) noexcept {
    Lanes sq[kV], sqq[kV], sxq[kV];
    for (int v = 0; v < kV; ++v) sq[v] = sqq[v] = sxq[v] = Lanes{};
    for (int i = 0; i < kN; ++i) {
      const Lanes xi = all<A>(x[i]), wi = all<A>(w[i]);
      for (int v = 0; v < kV; ++v) {
        const Lanes q = Grid::nearest(xi * inverse[v] + shift[v]);
        const Lanes wq = wi * q;
        sq[v] += wq;
        sqq[v] += wq * q;
        sxq[v] += wq * xi;
      }
    }
    Lanes gains = all<A>(gain), scales = all<A>(best.scale), offsets = all<A>(best.offset);
    for (int v = 0; v < kV; ++v) take(sq[v], sqq[v], sxq[v], gains, scales, offsets);
    const int lane = largest_lane<A>(gains);
    gain = gains[lane];
    best = {scales[lane], offsets[lane]};
  }

  /// The fit of each lane. Since the mean is subtracted, sum(w x) is 0, so scale = sum(w x q) / (sum(w q q) -
  /// sum(w q)^2 / sum(w)).
  [[gnu::always_inline]] void take(const Lanes& sq, const Lanes& sqq, const Lanes& sxq, Lanes& most,
                                   Lanes& best_scale, Lanes& best_offset) const noexcept {
    const Lanes mean_q = sq * inverse_sum_w;
    Lanes spread = sqq - mean_q * sq;
    spread = spread > 1e-6f * sqq ? spread : all<A>(1e38f);
    Lanes scale = sxq / spread;
    Lanes gains = scale * sxq;
    Lanes offset = mean - scale * mean_q;
    if constexpr (kDown) {  // a positive offset becomes 0, with the best scale for that
      const Lanes some = sqq > Lanes{} ? sqq : all<A>(1e38f);
      const Lanes with_mean = sxq + mean * sq;
      const Lanes scale0 = with_mean / some;
      const Lanes gains0 = scale0 * with_mean - sum_w * mean * mean;
      gains = offset > Lanes{} ? gains0 : gains;
      scale = offset > Lanes{} ? scale0 : scale;
      offset = offset > Lanes{} ? Lanes{} : offset;
    }
    gains = scale > Lanes{} ? gains : all<A>(-3.4e38f);
    best_scale = gains > most ? scale : best_scale;
    best_offset = gains > most ? offset : best_offset;
    most = gains > most ? gains : most;
  }

  /// Tries small changes of the best scale and phase, repeatedly.
  [[gnu::always_inline]] void refine(float reach) noexcept {
    if (!(best.scale > 0)) return;
    const float to_scale = reach / kLevels;
    const Lanes a[2] = {{0, -1, 1, 0, 0, -1, 1, -1}, {1, 2, -2, 0, 0, 2, -2, 0}};
    const Lanes b[2] = {{0, 0, 0, -1, 1, 1, -1, -1}, {1, 0, 0, 2, -2, -1, 1, 0.5f}};
    Lanes inverse[2], shift[2];
    for (int v = 0; v < 2; ++v) {
      inverse[v] = (1.0f + to_scale * a[v]) / best.scale;
      shift[v] = (mean - best.offset) * inverse[v] + 0.5f * reach * b[v];
    }
    try_all<2>(inverse, shift);
  }

  Affine fit(const float* from, const float* weights) noexcept {
    w = weights;
    Lanes least = load<A>(from), most = least, sums_w{}, sums_wx{};
    for (int i = 0; i < kN; i += kLanes) {
      const Lanes xi = load<A>(from + i), wi = load<A>(w + i);
      least = smaller<A>(xi, least);
      most = larger<A>(xi, most);
      sums_w += wi;
      sums_wx += wi * xi;
    }
    float lo = -largest<A>(-least);
    const float hi = largest<A>(most), sum_wx = sum<A>(sums_wx);
    sum_w = sum<A>(sums_w);
    inverse_sum_w = 1.0f / sum_w;
    const float first = lo;
    if (kDown && lo > 0) lo = 0;
    if (!(hi - lo > 1e-30f)) return {0, lo};
    mean = sum_wx / sum_w;
    for (int i = 0; i < kN; i += kLanes) store<A>(load<A>(from + i) - mean, x + i);
    // begin with a constant, which a fit must improve on
    best = {0, kDown && mean > 0 ? 0 : mean};
    gain = kDown && mean > 0 ? -sum_w * mean * mean : 0;
    constexpr float kStep = kLevels > 7 ? 0.4f : 0.25f;
    const Lanes steps = {-4, -3, -2, -1, 0, 1, 2, 3};
    const Lanes ratio = static_cast<float>(kLevels) + kStep * (steps + (kLevels > 7 ? 0.5f : 0.0f));
    const Lanes inv = ratio / (hi - lo);
    Lanes inverse[3], shift[3];
    for (int v = 0; v < 3; ++v) {
      inverse[v] = inv;
      shift[v] = (mean - lo) * inv - (0.5f * static_cast<float>(v)) * (ratio - static_cast<float>(kLevels));
    }
    try_all<3>(inverse, shift);
    refine(0.5f);
    refine(0.25f);
    return kDown ? from_zero(first) : best;
  }

  /// The best fit, shifted so that codes begin at 0. If not all levels are used, codes that begin at 1 and an
  /// offset lower by one scale give the same numbers, but the offsets round to different integers.
  [[gnu::always_inline]] Affine from_zero(float first) const noexcept {
    if (!(best.scale > 0)) return best;
    const float code = rounded_within<A>((first - best.offset) / best.scale, 0, kLevels);
    const float offset = best.offset + code * best.scale;
    return offset > 0 ? best : Affine{best.scale, offset};
  }
};

template <class A, int kN, int kLevels, bool kDown>
inline Affine fit_affine(const float* x, const float* w) noexcept {
  AffineFit<A, kN, kLevels, kDown> fit;
  return fit.fit(x, w);
}

/// error[lane] = sum of w * (x - (scale * q - min))^2, q the nearest grid point; a scale of 0 decodes to
/// -min.
template <class A, class Grid, int kN, int kV>
[[gnu::always_inline]] inline void errors_of(const float* x, const float* w, const Lanes (&scale)[kV],
                                             const Lanes (&min)[kV], Lanes (&error)[kV]) noexcept {
  Lanes inverse[kV];
  for (int v = 0; v < kV; ++v) {
    const Lanes some = scale[v] != Lanes{} ? scale[v] : all<A>(1.0f);
    inverse[v] = scale[v] != Lanes{} ? 1.0f / some : Lanes{};
    error[v] = Lanes{};
  }
  for (int i = 0; i < kN; ++i) {
    const Lanes xi = all<A>(x[i]), wi = all<A>(w[i]);
    for (int v = 0; v < kV; ++v) {
      const Lanes above = xi + min[v];
      const Lanes e = above - scale[v] * Grid::nearest(above * inverse[v]);
      error[v] += wi * (e * e);
    }
  }
}

/// g[i] = the grid point nearest to (x[i] + min) / scale.
template <class A, class Grid, int kN>
[[gnu::always_inline]] inline void assign(const float* x, float scale, float min, float* g) noexcept {
  const float inverse = scale != 0 ? 1.0f / scale : 0.0f;
  for (int i = 0; i < kN; i += kLanes) store<A>(Grid::nearest((load<A>(x + i) + min) * inverse), g + i);
}

}  // namespace gemma::kernels::encode
