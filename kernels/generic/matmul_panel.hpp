// y = x * w^T with 8-bit activations, once for all weight formats and instruction sets: lanes are weight
// rows.
//
// One output is acc = 0, then for each unit of k in order, for each of its groups in the format's order:
//   acc = fma(t, xs, acc),  t = float(dot) * s   (two halves: t = fma(float(dot1), s1, float(dot0) * s0))
//   acc = fma(m, xsum, acc)                      (where each group has a minimum m; xsum = xs * sum of x)
// and after a unit with minima acc = fma(-dmin, float(sum m * i) * 2^e, acc). Dots are exact integers.
// Invariant (law 1): direct() and tile() do these same steps for every token, so an output's bits depend on
// its row, its token and k alone, not on m, the panel, the tile, or the slice.
//
// Few tokens: direct() multiplies what it unpacks at once. Many: a panel of rows is unpacked, a slice of k at
// a time, into scratch that stays in the cache and serves all tokens; sums rest in y between slices.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "../kernel_table.hpp"
#include "activation_tiles.hpp"
#include "integer_primitives.hpp"
#include "unroll.hpp"

namespace gemma::kernels {

template <IntegerPrimitives A, class W>
struct PanelMatmul {
  using Int = typename A::Int;
  using Float = typename A::Float;
  static constexpr int kPanels = A::kPanels;  // that share a tile's activations
  static constexpr int kTile = W::kHalves == 1 ? A::kTile : A::kHalvesTile;
  static constexpr int kOffsetSums = W::kOffset == 0 ? 0 : W::kHalves;
  static constexpr int kPairs = W::kMinPairs > 0 ? W::kMinPairs : 1;  // of minima; no array of none

  template <int kTokens>
  using Unit = ActivationUnit<A, W, kTokens>;

  /// A unit of kPanels neighbouring panels, unpacked.
  struct NoMins {};
  struct GroupMins {
    Float group_min[W::kGroups][kPanels];
  };
  struct UnitMins {
    Int min_pairs[kPanels][kPairs];
    Float minus_dmin[kPanels];
  };
  using Mins =
      std::conditional_t<W::kGroupMins, GroupMins, std::conditional_t<(W::kMinPairs > 0), UnitMins, NoMins>>;
  struct PanelUnit : Mins {
    Int w[W::kGroups][kPanels][8];
    Float scale[W::kGroups][kPanels][W::kHalves];
  };

  // ---- sizes
  // Tokens whose activations are laid out at a time. A multiple of every kTile; few enough for slices of nine
  // super-blocks: at 512 tokens slices of four, whose sums come and go twice as often, took 15% longer.
  static constexpr std::size_t kTokenBlock = 288;
  static constexpr std::size_t kActivationBytes = std::size_t{800} << 10;  // most of a 1 MiB L2
  static constexpr std::size_t kPanelBytes = std::size_t{96} << 10;

  static constexpr std::size_t max_of(std::size_t a, std::size_t b) { return a > b ? a : b; }
  static constexpr std::size_t min_of(std::size_t a, std::size_t b) { return a < b ? a : b; }

  /// Units of k in a slice when n_tiles tiles of kTokens are laid out.
  template <int kTokens>
  static constexpr std::size_t slice_units(std::size_t n_tiles) {
    const std::size_t by_activations = kActivationBytes / (n_tiles * sizeof(Unit<kTokens>));
    return max_of(1, min_of(by_activations, kPanelBytes / sizeof(PanelUnit)));
  }
  static std::size_t scratch_bytes(std::size_t /*k*/) noexcept { return kPanelBytes + kActivationBytes; }

  // ---- arithmetic
  /// float(dot) * scale for the first half of a group, fma(float(dot), scale, t) for the second: the one
  /// place where a dot becomes a float.
  template <int kHalf>
  [[gnu::always_inline]] static Float scaled(Int dot, const Float (&scale)[W::kHalves], Float t) noexcept {
    if constexpr (kHalf == 0) return A::mul(A::to_float(dot), scale[0]);
    return A::fma(A::to_float(dot), scale[kHalf], t);
  }
  /// Adds group j of `unit`: n_panels panels of weights, scales and (kGroupMins) minima, kTokens tokens.
  template <int n_panels, int kTokens, class U>
  [[gnu::always_inline]] static void add_group(const Int (*w)[8], const Float (*scale)[W::kHalves],
                                               const Float* group_min, const U& unit, int j,
                                               Float (&acc)[n_panels][kTokens]) noexcept {
    constexpr int kStep = kTokens % A::kStep == 0 ? A::kStep : kTokens < A::kStep ? kTokens : 1;
    unroll<A, kTokens / kStep>([&]<int S>() GEMMA_INLINE_LAMBDA {
      Float t[n_panels][kStep];
      unroll<A, W::kHalves>([&]<int H>() GEMMA_INLINE_LAMBDA {
        Int dots[n_panels][kStep];
        unroll<A, kStep>([&]<int T>() GEMMA_INLINE_LAMBDA {
          unroll<A, n_panels>([&]<int P>() GEMMA_INLINE_LAMBDA {
            if constexpr (kOffsetSums > 0)
              dots[P][T] = A::broadcast_int(&unit.offset[j * W::kHalves + H][S * kStep + T]);
            else
              dots[P][T] = A::zero_int();
          });
        });
        A::template add_dots<W, 8 / W::kHalves * H, 8 / W::kHalves>(w, unit.q[j][S * kStep], dots);
        unroll<A, kStep>([&]<int T>() GEMMA_INLINE_LAMBDA {
          unroll<A, n_panels>(
              [&]<int P>() GEMMA_INLINE_LAMBDA { t[P][T] = scaled<H>(dots[P][T], scale[P], t[P][T]); });
        });
      });
      unroll<A, kStep>([&]<int T>() GEMMA_INLINE_LAMBDA {
        const Float x_scale = A::broadcast(&unit.scale[j][S * kStep + T]);
        unroll<A, n_panels>([&]<int P>() GEMMA_INLINE_LAMBDA {
          acc[P][S * kStep + T] = A::fma(t[P][T], x_scale, acc[P][S * kStep + T]);
        });
        if constexpr (W::kGroupMins) {
          const Float x_sum = A::broadcast(&unit.scaled_sum[j][S * kStep + T]);
          unroll<A, n_panels>([&]<int P>() GEMMA_INLINE_LAMBDA {
            acc[P][S * kStep + T] = A::fma(group_min[P], x_sum, acc[P][S * kStep + T]);
          });
        }
      });
    });
  }

  /// Subtracts the minima's part of `unit`.
  template <int n_panels, int kTokens, class U>
  [[gnu::always_inline]] static void subtract_mins(const Int (*min_pairs)[kPairs], const Float* minus_dmin,
                                                   const U& unit, Float (&acc)[n_panels][kTokens]) noexcept {
    unroll<A, kTokens>([&]<int T>() GEMMA_INLINE_LAMBDA {
      const Float magic = A::broadcast(&unit.magic[T]);
      Int sum[n_panels];
      unroll<A, n_panels>([&]<int P>() GEMMA_INLINE_LAMBDA { sum[P] = A::as_int(magic); });
      unroll<A, W::kMinPairs>([&]<int I>() GEMMA_INLINE_LAMBDA {
        const Int pair = A::broadcast_int(&unit.sum_pairs[I][T]);
        unroll<A, n_panels>([&]<int P>() GEMMA_INLINE_LAMBDA {
          sum[P] = A::add_pair_products(sum[P], min_pairs[P][I], pair);
        });
      });
      unroll<A, n_panels>([&]<int P>() GEMMA_INLINE_LAMBDA {
        acc[P][T] = A::fma(minus_dmin[P], A::sub(A::as_float(sum[P]), magic), acc[P][T]);
      });
    });
  }

  // ---- few tokens
  /// acc += the units [0, n_units) of the rows, straight from the file's layout. Meanwhile asks for the bytes
  /// from `next` on, as many as it reads, a few lines at a time: all at once they would hold the miss buffers
  /// that its own loads need. Into the L1: on a Zen 5 guest whose memory the host maps in small pages, hints
  /// for the L2 came to nothing (one core: 14 GB/s instead of 33). Asking past the end of the matrix is
  /// harmless.
  template <int kTokens>
  [[gnu::noinline]] static void direct(const typename A::Rows& rows, std::size_t offset,
                                       const Unit<kTokens>* units, std::size_t n_units,
                                       const std::uint8_t* next, float (&sums)[kTokens][A::kLanes]) noexcept {
    Float acc[1][kTokens];
    unroll<A, kTokens>([&]<int T>() GEMMA_INLINE_LAMBDA { acc[0][T] = A::load(sums[T]); });
    for (std::size_t u = 0; u < n_units; ++u, offset += W::kBytes) {
      const Unit<kTokens>& unit = units[u];
      typename W::Header h;
      W::header(rows, offset, h);
      unroll<A, W::kStages>([&]<int S>() GEMMA_INLINE_LAMBDA {
        Int w[W::kStageGroups][8];
        W::template stage<S>(rows, offset, h, w);
        unroll<A, W::kStageGroups>([&]<int G>() GEMMA_INLINE_LAMBDA {
          constexpr int kGroup = W::group(S, G);
          for (std::size_t i = 0; i < A::kLanes * W::kBytes / W::kGroups; i += 64, next += 64)
            __builtin_prefetch(next);
          add_group(&w[G], &h.scale[kGroup], &h.group_min[kGroup], unit, kGroup, acc);
        });
      });
      if constexpr (W::kMinPairs > 0) subtract_mins(&h.min_pairs, &h.minus_dmin, unit, acc);
    }
    unroll<A, kTokens>([&]<int T>() GEMMA_INLINE_LAMBDA { A::store(sums[T], acc[0][T]); });
  }

  // ---- many tokens
  /// The units of one of the kPanels panels.
  [[gnu::noinline]] static void unpack(const typename A::Rows& rows, std::size_t offset, std::size_t n_units,
                                       PanelUnit* panel, std::size_t part) noexcept {
    for (std::size_t u = 0; u < n_units; ++u, offset += W::kBytes, ++panel) {
      typename W::Header h;
      W::header(rows, offset, h);
      unroll<A, W::kStages>([&]<int S>() GEMMA_INLINE_LAMBDA {
        Int w[W::kStageGroups][8];
        W::template stage<S>(rows, offset, h, w);
        unroll<A, W::kStageGroups>([&]<int G>() GEMMA_INLINE_LAMBDA {
          unroll<A, 8>([&]<int C>() GEMMA_INLINE_LAMBDA { panel->w[W::group(S, G)][part][C] = w[G][C]; });
        });
      });
      for (int j = 0; j < W::kGroups; ++j)
        for (int i = 0; i < W::kHalves; ++i) panel->scale[j][part][i] = h.scale[j][i];
      if constexpr (W::kGroupMins)
        for (int j = 0; j < W::kGroups; ++j) panel->group_min[j][part] = h.group_min[j];
      if constexpr (W::kMinPairs > 0) {
        for (int p = 0; p < W::kMinPairs; ++p) panel->min_pairs[part][p] = h.min_pairs[p];
        panel->minus_dmin[part] = h.minus_dmin;
      }
    }
  }

  using Sums = float[kTile][A::kLanes];  // of one panel

  /// Rows of a slice that will be unpacked soon: asked for meanwhile.
  struct NextRows {
    const std::uint8_t* begin;  // unit 0 of the first
    std::size_t n_rows, row_bytes;
    void prefetch(std::size_t unit) const noexcept {
      const std::uint8_t* p = begin + unit * W::kBytes;
      for (std::size_t r = 0; r < n_rows; ++r, p += row_bytes)
        for (int i = 0; i < W::kBytes; i += 64) __builtin_prefetch(p + i);
    }
  };

  /// The first kTokens tokens of a tile against a slice of kPanels panels.
  template <int kTokens>
  [[gnu::noinline]] static void tile(const PanelUnit* panel, const Unit<kTile>* units, std::size_t n_units,
                                     const NextRows& next, Sums (&sums)[kPanels]) noexcept {
    Float acc[kPanels][kTokens];
    unroll<A, kPanels>([&]<int P>() GEMMA_INLINE_LAMBDA {
      unroll<A, kTokens>([&]<int T>() GEMMA_INLINE_LAMBDA { acc[P][T] = A::load(sums[P][T]); });
    });
    for (std::size_t u = 0; u < n_units; ++u) {
      const PanelUnit& p = panel[u];
      next.prefetch(u);
      for (int i = 0; i < W::kGroups; ++i) {
        const int j = W::group(i / W::kStageGroups, i % W::kStageGroups);
        const Float* group_min = nullptr;
        if constexpr (W::kGroupMins) group_min = p.group_min[j];
        add_group(p.w[j], p.scale[j], group_min, units[u], j, acc);
      }
      if constexpr (W::kMinPairs > 0) subtract_mins(p.min_pairs, p.minus_dmin, units[u], acc);
    }
    unroll<A, kPanels>([&]<int P>() GEMMA_INLINE_LAMBDA {
      unroll<A, kTokens>([&]<int T>() GEMMA_INLINE_LAMBDA { A::store(sums[P][T], acc[P][T]); });
    });
  }

  // ---- the loops around them
  /// Row pointers of the kLanes rows from r on; rows past `end` repeat the last one.
  static typename A::Rows row_pointers(const MatmulArgs& a, std::size_t r) noexcept {
    typename A::Rows rows;
    for (std::size_t i = 0; i < A::kLanes; ++i)
      rows.row[i] = reinterpret_cast<const std::uint8_t*>(a.w) + min_of(r + i, a.row_end - 1) * a.row_bytes;
    return rows;
  }
  /// sums = y[t0 + ., r + .], or zero at the first slice.
  static void load_sums(const MatmulArgs& a, std::size_t t0, std::size_t n_tokens, std::size_t r, bool first,
                        float (*sums)[A::kLanes]) noexcept {
    const std::size_t n_rows = r < a.row_end ? min_of(A::kLanes, a.row_end - r) : 0;
    for (std::size_t t = 0; t < n_tokens; ++t) {
      const float* y = a.y + (t0 + t) * a.ldy + r;
      if (first)
        __builtin_memset(sums[t], 0, sizeof(float) * A::kLanes);
      else if (n_rows == A::kLanes)
        __builtin_memcpy(sums[t], y, sizeof(float) * A::kLanes);
      else
        for (std::size_t i = 0; i < A::kLanes; ++i) sums[t][i] = i < n_rows ? y[i] : 0.0f;
    }
  }
  static void store_sums(const MatmulArgs& a, std::size_t t0, std::size_t n_tokens, std::size_t r,
                         const float (*sums)[A::kLanes]) noexcept {
    const std::size_t n_rows = r < a.row_end ? min_of(A::kLanes, a.row_end - r) : 0;
    for (std::size_t t = 0; t < n_tokens; ++t) {
      float* y = a.y + (t0 + t) * a.ldy + r;
      if (n_rows == A::kLanes)
        __builtin_memcpy(y, sums[t], sizeof(float) * A::kLanes);
      else
        for (std::size_t i = 0; i < n_rows; ++i) y[i] = sums[t][i];
    }
  }

  /// Asks for what load_sums() and store_sums() will touch.
  static void prefetch_sums(const MatmulArgs& a, std::size_t t0, std::size_t n_tokens,
                            std::size_t r) noexcept {
    for (std::size_t t = 0; t < n_tokens; ++t)
      for (std::size_t i = 0; i < kPanels * A::kLanes; i += 16)
        __builtin_prefetch(a.y + (t0 + t) * a.ldy + r + i, 1);
  }
  template <int kTokens>
  static void run_direct(const MatmulArgs& a) noexcept {
    using U = Unit<kTokens>;
    U* const units = reinterpret_cast<U*>(a.scratch);
    const std::size_t n_units = a.k / (32 * W::kGroups);
    const std::size_t slice = kActivationBytes / sizeof(U);
    for (std::size_t u0 = 0; u0 < n_units; u0 += slice) {
      const std::size_t n = min_of(slice, n_units - u0);
      for (std::size_t u = 0; u < n; ++u) {
        const std::size_t g = (u0 + u) * W::kGroups;
        fill_unit(units[u], a.q + 32 * g, a.groups + g, a.k, kTokens);
      }
      for (std::size_t r = a.row_begin; r < a.row_end; r += A::kLanes) {
        alignas(64) float sums[kTokens][A::kLanes];
        load_sums(a, 0, kTokens, r, u0 == 0, sums);
        const auto* w = reinterpret_cast<const std::uint8_t*>(a.w);
        direct<kTokens>(row_pointers(a, r), u0 * W::kBytes, units, n,
                        w + min_of(r + A::kLanes, a.row_end) * a.row_bytes, sums);
        store_sums(a, 0, kTokens, r, sums);
      }
    }
  }

  static void run_tile(std::size_t n_tokens, const PanelUnit* panel, const Unit<kTile>* units,
                       std::size_t n_units, const NextRows& next, Sums (&sums)[kPanels]) noexcept {
    unroll<A, kTile / A::kPart>([&]<int S>() GEMMA_INLINE_LAMBDA {
      if (n_tokens > S * A::kPart && n_tokens <= (S + 1) * A::kPart)
        tile<(S + 1) * A::kPart>(panel, units, n_units, next, sums);
    });
  }

  /// Tokens [t0, t0 + m) through panels.
  static void run_panels(const MatmulArgs& a, std::size_t t0, std::size_t m) noexcept {
    using U = Unit<kTile>;
    PanelUnit* const panel = reinterpret_cast<PanelUnit*>(a.scratch);
    U* const units = reinterpret_cast<U*>(a.scratch + kPanelBytes);  // [n_tiles, slice]
    const std::size_t n_units = a.k / (32 * W::kGroups);
    const std::size_t n_tiles = (m + kTile - 1) / kTile;
    const std::size_t slice = slice_units<kTile>(n_tiles);
    for (std::size_t u0 = 0; u0 < n_units; u0 += slice) {
      const std::size_t n = min_of(slice, n_units - u0);
      for (std::size_t i = 0; i < n_tiles; ++i) {
        const std::size_t t = t0 + i * kTile;
        for (std::size_t u = 0; u < n; ++u) {
          const std::size_t g = (u0 + u) * W::kGroups;
          fill_unit(units[i * slice + u], a.q + t * a.k + 32 * g, a.groups + t * (a.k / 32) + g, a.k,
                    min_of(kTile, t0 + m - t));
        }
      }
      constexpr std::size_t kRows = kPanels * A::kLanes;
      // how many of the next rows are asked for before tile i: in the second half, or they are gone again
      const auto asked = [n_tiles](std::size_t i) {
        return 2 * i > n_tiles ? kRows * (2 * i - n_tiles) / n_tiles : 0;
      };
      for (std::size_t r = a.row_begin; r < a.row_end; r += kRows) {
        prefetch_sums(a, t0, min_of(kTile, m), r);
        for (std::size_t p = 0; p < kPanels; ++p)
          unpack(row_pointers(a, r + p * A::kLanes), u0 * W::kBytes, n, panel, p);
        for (std::size_t i = 0; i < n_tiles; ++i) {
          const std::size_t t = t0 + i * kTile, n_tokens = min_of(kTile, t0 + m - t);
          // the tile takes long enough for these to arrive
          if (i + 1 < n_tiles) prefetch_sums(a, t + kTile, min_of(kTile, t0 + m - t - kTile), r);
          const std::size_t next_row = min_of(r + kRows + asked(i), a.row_end);
          const std::size_t next_end = min_of(r + kRows + asked(i + 1), a.row_end);
          const NextRows next{
              reinterpret_cast<const std::uint8_t*>(a.w) + next_row * a.row_bytes + u0 * W::kBytes,
              next_end - next_row, a.row_bytes};
          alignas(64) Sums sums[kPanels];
          for (std::size_t p = 0; p < kPanels; ++p)
            load_sums(a, t, n_tokens, r + p * A::kLanes, u0 == 0, sums[p]);
          run_tile(n_tokens, panel, units + i * slice, n, next, sums);
          for (std::size_t p = 0; p < kPanels; ++p) store_sums(a, t, n_tokens, r + p * A::kLanes, sums[p]);
        }
      }
    }
  }

  /// MatmulKernel::matmul
  static void run(const MatmulArgs& a) noexcept {
    if (a.m == 0 || a.row_begin >= a.row_end) return;
    bool done = false;
    unroll<A, A::kDirectTokens>([&]<int T>() GEMMA_INLINE_LAMBDA {
      if (a.m == T + 1) {
        run_direct<T + 1>(a);
        done = true;
      }
    });
    if (done) return;
    for (std::size_t t0 = 0; t0 < a.m; t0 += kTokenBlock) run_panels(a, t0, min_of(kTokenBlock, a.m - t0));
  }
};

}  // namespace gemma::kernels
