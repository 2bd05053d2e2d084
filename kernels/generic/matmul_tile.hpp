// The register tile of the 8-bit matmul, shared by all weight formats and instruction sets. Lanes are weight
// rows.
//
// An output starts as acc = 0. For each unit of k in order, and each of its groups in the format's order,
// with s the scale of the weights and xs that of the activations:
//   acc = fma(t, xs, acc),  t = float(dot) * s   (two halves: t = fma(float(dot1), s1, float(dot0) * s0))
//   acc = fma(m, xsum, acc)                      (if each group has a minimum m; xsum = xs * sum of x)
// and after a unit with integer minima acc = fma(-dmin, float(sum m * i) * 2^e, acc). Dots are exact
// integers.
// Invariant (law 1): direct() and tile() do these same steps for every token, so the bits of an output depend
// on its row, its token and k alone, not on m, the panel, the tile, or the slice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "activation_tiles.hpp"
#include "integer_primitives.hpp"
#include "unroll.hpp"

namespace gemma::kernels {

/// Unpacks kPanels adjacent panels of kLanes rows each, and multiplies them by tokens.
template <IntegerPrimitives A, class W>
struct PanelTile {
  using Int = typename A::Int;
  using Float = typename A::Float;
  static constexpr int kPanels = A::kPanels;  // panels that share a tile's activations
  static constexpr int kTile = W::kHalves == 1 ? A::kTile : A::kHalvesTile;
  static constexpr int kOffsetSums = W::kOffset == 0 ? 0 : W::kHalves;
  static constexpr int kPairs = W::kMinPairs > 0 ? W::kMinPairs : 1;  // pairs of minima, at least 1

  template <int kTokens>
  using Unit = ActivationUnit<A, W, kTokens>;

  /// The minima of an unpacked unit: none, a float for each group, or int16 pairs (UnitHeader).
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
  /// A unit of kPanels adjacent panels, unpacked.
  struct PanelUnit : Mins {
    Int w[W::kGroups][kPanels][8];
    Float scale[W::kGroups][kPanels][W::kHalves];
  };

  // ---- arithmetic
  /// float(dot) * scale for the first half of a group, fma(float(dot), scale, t) for the second. Only this
  /// function converts dots to floats.
  template <int kHalf>
  [[gnu::always_inline]] static Float scaled(Int dot, const Float (&scale)[W::kHalves], Float t) noexcept {
    if constexpr (kHalf == 0) return A::mul(A::to_float(dot), scale[0]);
    return A::fma(A::to_float(dot), scale[kHalf], t);
  }
  /// Adds the products of group j of n_panels panels and kTokens tokens to acc. `group_min` is read only if
  /// W::kGroupMins.
  template <int n_panels, int kTokens, class U>
  [[gnu::always_inline]] static void add_group(const Int (*w)[8], const Float (*scale)[W::kHalves],
                                               const Float* group_min, const U& unit, int j,
                                               Float (&acc)[n_panels][kTokens]) noexcept {
    // number of tokens processed together: A::kStep if it divides kTokens, otherwise all or half of them
    constexpr int kStep = kTokens % A::kStep == 0                  ? A::kStep
                          : kTokens < A::kStep || kTokens % 2 == 1 ? kTokens
                                                                   : kTokens / 2;
    unroll<A, kTokens / kStep>([&]<int S>() GEMMA_INLINE_LAMBDA {
      Float t[n_panels][kStep];
      unroll<A, W::kHalves>([&]<int H>() GEMMA_INLINE_LAMBDA {
        Int dots[n_panels][kStep];
        unroll<A, kStep * n_panels>([&]<int N>() GEMMA_INLINE_LAMBDA {
          constexpr int T = N / n_panels, P = N % n_panels;
          if constexpr (kOffsetSums > 0)
            dots[P][T] = A::broadcast_int(&unit.offset[j * W::kHalves + H][S * kStep + T]);
          else
            dots[P][T] = A::zero_int();
        });
        A::template add_dots<W, 8 / W::kHalves * H, 8 / W::kHalves>(w, unit.q[j][S * kStep], dots);
        unroll<A, kStep * n_panels>([&]<int N>() GEMMA_INLINE_LAMBDA {
          constexpr int T = N / n_panels, P = N % n_panels;
          t[P][T] = scaled<H>(dots[P][T], scale[P], t[P][T]);
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

  /// Subtracts from acc the products of the integer minima and the activation sums of `unit`.
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
  /// Whether direct() issues prefetches at fixed places in the code and, for three tokens or more, loops over
  /// the parts of a unit. A::kFixedHints chooses this.
  static constexpr bool kFixedHints = requires { requires A::kFixedHints; };
  /// Number of equal parts that direct() divides a unit into. A fully unrolled unit for several tokens is so
  /// much code that it is slower (Zen 3, Q2_K, six tokens: 1.4 times the time).
  static constexpr int parts(int tokens) { return kFixedHints && tokens > 2 ? W::kParts : 1; }

  /// Prefetches as many bytes as direct() reads, starting at `next`, a few cache lines with every group.
  template <int kParts, bool kFixed>
  struct Hints {
    const std::uint8_t* next;   // first byte that this group, or this part, prefetches
    const std::uint8_t* asked;  // first cache line not prefetched yet
    /// Issues the prefetches of group kGroup of a part; groups are numbered as they are processed.
    template <int kGroup>
    [[gnu::always_inline]] void ask() noexcept {
      constexpr int kGroups = W::kGroups / kParts, kBytes = static_cast<int>(A::kLanes) * W::kBytes / kParts;
      if constexpr (kFixed) {  // saves counting lines, which is a tenth of all instructions
        constexpr int kLines = (kBytes + 63) / 64;
        constexpr int kFirst = kGroup * kLines / kGroups, kLast = (kGroup + 1) * kLines / kGroups;
        __asm__ volatile("");  // keeps gcc from moving all prefetches of a part together
        unroll<A, kLast - kFirst>([&]<int L>()
                                      GEMMA_INLINE_LAMBDA { __builtin_prefetch(next + 64 * (kFirst + L)); });
        if constexpr (kGroup + 1 == kGroups) next += kBytes;
      } else {
        next += kBytes / kGroups;
        for (; asked < next; asked += 64) __builtin_prefetch(asked);
      }
    }
  };
  /// Adds the products of units [0, n_units) of the rows to `sums`, reading weights from the file's layout.
  /// Also prefetches as many bytes as it reads, starting at `next`, a few cache lines at a time: all at once,
  /// they would occupy the miss buffers that its own loads need. No further line is prefetched: rounding each
  /// group up to whole lines (Q4_K on AVX2: 192 bytes for 144) would run into the panel after the next, whose
  /// lines are evicted before they are used. Avoiding them reduces the time for one token to 0.80 (Q4_K) and
  /// 0.63 (Q6_K) (Zen 3, two cores). The target is the L1: on a Zen 5 guest whose memory the host maps in
  /// small pages, prefetches into the L2 had no effect (one core: 14 GB/s instead of 33). Prefetching past
  /// the end of the matrix is harmless.
  template <int kTokens>
  [[gnu::noinline]] static void direct(const typename A::Rows& rows, std::size_t offset,
                                       const Unit<kTokens>* units, std::size_t n_units,
                                       const std::uint8_t* next, float (&sums)[kTokens][A::kLanes]) noexcept {
    constexpr int kParts = parts(kTokens);
    Float acc[1][kTokens];
    unroll<A, kTokens>([&]<int T>() GEMMA_INLINE_LAMBDA { acc[0][T] = A::load(sums[T]); });
    Hints<kParts, kFixedHints && (kTokens == 1 || kParts > 1)> hints{next, next};
    for (std::size_t u = 0; u < n_units; ++u, offset += W::kBytes) {
      const Unit<kTokens>& unit = units[u];
      typename W::Header h;
      W::header(rows, offset, h);
      for (int part = 0; part < kParts; ++part) {
        const std::size_t at = offset + static_cast<std::size_t>(part * W::kPartBytes);
        unroll<A, W::kStages / kParts>([&]<int S>() GEMMA_INLINE_LAMBDA {
          Int w[W::kStageGroups][8];
          W::template stage<S>(rows, at, h, w);
          unroll<A, W::kStageGroups>([&]<int G>() GEMMA_INLINE_LAMBDA {
            const int group = part * (W::kGroups / kParts) + W::group(S, G);
            hints.template ask<S * W::kStageGroups + G>();
            add_group(&w[G], &h.scale[group], &h.group_min[group], unit, group, acc);
          });
        });
      }
      if constexpr (W::kMinPairs > 0) subtract_mins(&h.min_pairs, &h.minus_dmin, unit, acc);
    }
    unroll<A, kTokens>([&]<int T>() GEMMA_INLINE_LAMBDA { A::store(sums[T], acc[0][T]); });
  }

  // ---- many tokens
  /// The output of stage kStage for panel `part`: maps group i of the stage to its slot in the unpacked unit.
  template <int kStage>
  struct StageGroups {
    Int (*groups)[kPanels][8];
    std::size_t part;
    [[gnu::always_inline]] Int (&operator[](int i) const noexcept)[8] {
      return groups[W::group(kStage, i)][part];
    }
  };
  /// Unpacks n_units units of panel `part`. Every vector is stored as soon as it is complete: if vectors were
  /// kept until the end of a stage or a unit, instruction sets with few registers would spill them.
  [[gnu::noinline]] static void unpack(const typename A::Rows& rows, std::size_t offset, std::size_t n_units,
                                       PanelUnit* panel, std::size_t part) noexcept {
    for (std::size_t u = 0; u < n_units; ++u, offset += W::kBytes, ++panel) {
      typename W::Header h;
      W::header(rows, offset, h);
      for (int j = 0; j < W::kGroups; ++j)
        for (int i = 0; i < W::kHalves; ++i) panel->scale[j][part][i] = h.scale[j][i];
      if constexpr (W::kGroupMins)
        for (int j = 0; j < W::kGroups; ++j) panel->group_min[j][part] = h.group_min[j];
      if constexpr (W::kMinPairs > 0) {
        for (int p = 0; p < W::kMinPairs; ++p) panel->min_pairs[part][p] = h.min_pairs[p];
        panel->minus_dmin[part] = h.minus_dmin;
      }
      unroll<A, W::kStages>([&]<int S>() GEMMA_INLINE_LAMBDA {
        StageGroups<S> w{panel->w, part};
        W::template stage<S>(rows, offset, h, w);
      });
    }
  }

  using Sums = float[kTile][A::kLanes];  // accumulators of one panel

  /// The prefetches of the weights that will be unpacked next: the same range of bytes of several rows. A few
  /// cache lines are prefetched with every group; all at once, they would occupy the miss buffers that other
  /// loads need.
  struct Ahead {
    const std::uint8_t* at;   // next cache line
    const std::uint8_t* end;  // end of the current row's part
    std::size_t part_bytes, row_bytes;
    std::size_t n_rows;  // rows after the current one
    std::size_t lines;   // cache lines to prefetch with every group
    void ask() noexcept {
      for (std::size_t i = 0; i < lines; ++i, at += 64) {
        if (at >= end) {
          if (n_rows == 0) return;
          --n_rows;
          end += row_bytes;
          at = end - part_bytes;
        }
        __builtin_prefetch(at);
      }
    }
  };

  /// Adds the products of the first kTokens tokens of a tile and a slice of kPanels panels to `sums`.
  template <int kTokens>
  [[gnu::noinline]] static void tile(const PanelUnit* panel, const Unit<kTile>* units, std::size_t n_units,
                                     Ahead& ahead, Sums (&sums)[kPanels]) noexcept {
    Float acc[kPanels][kTokens];
    unroll<A, kPanels * kTokens>([&]<int N>() GEMMA_INLINE_LAMBDA {
      acc[N / kTokens][N % kTokens] = A::load(sums[N / kTokens][N % kTokens]);
    });
    for (std::size_t u = 0; u < n_units; ++u) {
      const PanelUnit& p = panel[u];
      for (int i = 0; i < W::kGroups; ++i) {
        const int j = W::group(i / W::kStageGroups, i % W::kStageGroups);
        ahead.ask();
        const Float* group_min = nullptr;
        if constexpr (W::kGroupMins) group_min = p.group_min[j];
        add_group(p.w[j], p.scale[j], group_min, units[u], j, acc);
      }
      if constexpr (W::kMinPairs > 0) subtract_mins(p.min_pairs, p.minus_dmin, units[u], acc);
    }
    unroll<A, kPanels * kTokens>([&]<int N>() GEMMA_INLINE_LAMBDA {
      A::store(sums[N / kTokens][N % kTokens], acc[N / kTokens][N % kTokens]);
    });
  }
};

}  // namespace gemma::kernels
