// y = x * w^T for one token with 8-bit activations: each row of weights is read from end to end before the
// next.
// Invariant (law 1): the same bits as PanelMatmul: dot products are exact integers, and the functions of
// PanelMatmul convert them to floats in the same order.
//
// PanelMatmul::direct() reads one block of each of 16 rows in turn. These runs of a few hundred bytes are too
// short for hardware prefetchers, and Q6_K has the most bytes per block (210). Read as one sequential stream,
// Q6_K is 1.1 to 1.2 times as fast (two cores of Zen 5: 28.4 instead of 24.7 GB/s at 2048 weights a row).
// Q4_K would lose a third (47 -> 30 GB/s), because reducing its dot products across lanes costs more than
// reading its rows; it stays with direct(), as does Q5_K.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../kernel_table.hpp"
#include "activation_tiles.hpp"
#include "integer_primitives.hpp"
#include "matmul_panel.hpp"
#include "unroll.hpp"

namespace gemma::kernels {

/// The matmul for one token and formats with row_weights(): blocks of 256 weights that unpack to four vectors
/// of 64.
template <RowPrimitives A, class W>
struct RowMatmul {
  using Panel = PanelMatmul<A, W>;
  using Int = typename A::Int;
  using Float = typename A::Float;
  static_assert(A::kLanes == 16 && W::kGroups == 8 && W::kHalves == 2 && W::kMinPairs == 0);

  using Unit = ActivationUnit<A, W, 1>;
  /// The activations of a block in the order of row_weights(): vector v holds groups row_group(v, 0) and
  /// row_group(v, 1). They are stored apart from the units, so that those of a row of 24,576 stay in the L1.
  struct Vectors {
    alignas(64) std::int8_t q[4][64];
  };

  static constexpr std::size_t kUnits = 128;                    // units in a slice of k
  static constexpr std::size_t kAhead = std::size_t{16} << 10;  // prefetch distance in bytes
  static constexpr std::size_t kDotBytes = 16 * kUnits * sizeof(Int);
  static std::size_t scratch_bytes(std::size_t /*k*/) noexcept {
    return kDotBytes + kUnits * (sizeof(Vectors) + sizeof(Unit));
  }

  static void fill(Vectors& vectors, Unit& unit, const std::int8_t* q, const Q8Group* groups) noexcept {
    fill_unit(unit, q, groups, 256, 1);
    for (int v = 0; v < 4; ++v)
      for (int s = 0; s < 2; ++s) __builtin_memcpy(vectors.q[v] + 32 * s, q + 32 * W::row_group(v, s), 32);
  }

  /// dots[16 * u] = the 16 sums of 16 products of block u of a row. Element 4 * (2 * s + h) + v belongs to
  /// half h of group row_group(v, s).
  [[gnu::noinline]] static void row_dots(const std::uint8_t* row, const Vectors* x, std::size_t n_units,
                                         Int* dots) noexcept {
    for (std::size_t u = 0; u < n_units; ++u, row += W::kBytes) {
      for (int i = 0; i < W::kBytes; i += 64) __builtin_prefetch(row + kAhead + i);
      Int w[4], sums[4];
      W::row_weights(row, w);
      unroll<A, 4>([&]<int V>() GEMMA_INLINE_LAMBDA { sums[V] = A::dot(w[V], A::load_int(x[u].q[V])); });
      dots[16 * u] = A::sum_lanes(sums);
    }
  }

  /// Adds a slice's products of 16 rows to `sums`. dots: [n_units][16], from row_dots() of each row.
  [[gnu::noinline]] static void add(const typename A::Rows& rows, std::size_t offset, const Unit* units,
                                    std::size_t n_units, const Int* dots,
                                    float (&sums)[1][A::kLanes]) noexcept {
    Float acc = A::load(sums[0]);
    for (std::size_t u = 0; u < n_units; ++u, offset += W::kBytes) {
      const Unit& unit = units[u];
      typename W::Header h;
      W::header(rows, offset, h);
      Int d[16];
      unroll<A, 16>([&]<int R>() GEMMA_INLINE_LAMBDA { d[R] = dots[16 * u + R]; });
      A::transpose(d);
      unroll<A, 8>([&]<int I>() GEMMA_INLINE_LAMBDA {
        constexpr int kGroup = W::group(I / W::kStageGroups, I % W::kStageGroups);
        constexpr int kAt = slot(kGroup);
        Float t{};
        unroll<A, 2>([&]<int H>() GEMMA_INLINE_LAMBDA {
          const Int dot = A::add_int(d[kAt + 4 * H], A::broadcast_int(unit.offset[2 * kGroup + H]));
          t = Panel::template scaled<H>(dot, h.scale[kGroup], t);
        });
        acc = A::fma(t, A::broadcast(unit.scale[kGroup]), acc);
      });
    }
    A::store(sums[0], acc);
  }

  /// Index of the first half of `group` among the 16 sums of row_dots(); the second half is 4 further.
  static constexpr int slot(int group) {
    for (int v = 0; v < 4; ++v)
      for (int s = 0; s < 2; ++s)
        if (W::row_group(v, s) == group) return 8 * s + v;
    return -1;
  }

  static void run(const MatmulArgs& a) noexcept {
    Int* const dots = reinterpret_cast<Int*>(a.scratch);
    Vectors* const x = reinterpret_cast<Vectors*>(a.scratch + kDotBytes);
    Unit* const units = reinterpret_cast<Unit*>(x + kUnits);
    const std::size_t n_units = a.k / 256;
    for (std::size_t u0 = 0; u0 < n_units; u0 += kUnits) {
      const std::size_t n = n_units - u0 < kUnits ? n_units - u0 : kUnits;
      for (std::size_t u = 0; u < n; ++u) fill(x[u], units[u], a.q + 256 * (u0 + u), a.groups + 8 * (u0 + u));
      for (std::size_t r = a.row_begin; r < a.row_end; r += A::kLanes) {
        const auto rows = Panel::row_pointers(a, r);
        for (std::size_t i = 0; i < A::kLanes; ++i) row_dots(rows.row[i] + u0 * W::kBytes, x, n, dots + i);
        alignas(64) float sums[1][A::kLanes];
        Panel::load_sums(a, 0, 1, r, u0 == 0, sums);
        add(rows, u0 * W::kBytes, units, n, dots, sums);
        Panel::store_sums(a, 0, 1, r, sums);
      }
    }
  }
};

/// The matmul of a format: RowMatmul for one token if the format and the instruction set allow it, otherwise
/// PanelMatmul.
template <IntegerPrimitives A, class W>
struct QuantizedMatmul {
  static constexpr bool kRows = requires(const std::uint8_t* p, typename A::Int (&w)[4]) {
    W::row_weights(p, w);
  };

  static std::size_t scratch_bytes(std::size_t k) noexcept {
    const std::size_t panels = PanelMatmul<A, W>::scratch_bytes(k);
    if constexpr (kRows)
      return panels > RowMatmul<A, W>::scratch_bytes(k) ? panels : RowMatmul<A, W>::scratch_bytes(k);
    return panels;
  }
  static std::size_t layout_bytes(std::size_t k, std::size_t m) noexcept {
    return PanelMatmul<A, W>::layout_bytes(k, m);
  }
  static void lay_out(const MatmulArgs& a, std::size_t begin, std::size_t end, std::byte* out) noexcept {
    PanelMatmul<A, W>::lay_out(a, begin, end, out);
  }
  static void run(const MatmulArgs& a) noexcept {
    if constexpr (kRows)
      if (a.m == 1) return RowMatmul<A, W>::run(a);
    PanelMatmul<A, W>::run(a);
  }
};

}  // namespace gemma::kernels
