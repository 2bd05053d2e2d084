// y = x * w^T with 8-bit activations: how rows, tokens and slices of k are divided between calls of the tiles
// in matmul_tile.hpp, which defines the arithmetic.
// Invariant (law 1): on every path the steps of an output follow the order of k.
//
// Up to A::kDirectTokens tokens, run_direct() multiplies weights as they are unpacked. Up to kFewTokens,
// run_few() unpacks a panel of rows into the L1, a few units of k at a time. Beyond that, run_panels()
// unpacks a slice of k of a panel into scratch, where it stays in the L2 and is multiplied by all tokens;
// sums are kept in y between slices. The activations of many tokens may have been laid out earlier, once for
// several calls.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../kernel_table.hpp"
#include "activation_tiles.hpp"
#include "integer_primitives.hpp"
#include "matmul_tile.hpp"
#include "unroll.hpp"

namespace gemma::kernels {

/// The matmul for weights of format W on instruction set A.
template <IntegerPrimitives A, class W>
struct PanelMatmul : PanelTile<A, W> {
  using Tile = PanelTile<A, W>;
  using Ahead = typename Tile::Ahead;
  using PanelUnit = typename Tile::PanelUnit;
  using Sums = typename Tile::Sums;
  template <int kTokens>
  using Unit = typename Tile::template Unit<kTokens>;
  static constexpr int kPanels = Tile::kPanels, kTile = Tile::kTile;
  static constexpr std::size_t kRows = kPanels * A::kLanes;  // rows of a tile

  // ---- sizes
  // Number of tokens whose activations are laid out at a time: a multiple of every kTile, and few enough for
  // slices of nine super-blocks. With 512 tokens, slices have only four; sums are then loaded and stored
  // twice as often, which took 15% longer.
  static constexpr std::size_t kTokenBlock = 288;
  static constexpr std::size_t kActivationBytes = std::size_t{800} << 10;  // most of a 1 MiB L2
  static constexpr std::size_t kPanelBytes = std::size_t{96} << 10;

  static constexpr std::size_t max_of(std::size_t a, std::size_t b) { return a > b ? a : b; }
  static constexpr std::size_t min_of(std::size_t a, std::size_t b) { return a < b ? a : b; }

  /// Number of units of k in a slice, for n_tiles tiles of activations and at most panel_bytes of unpacked
  /// weights.
  static constexpr std::size_t slice_units(std::size_t n_tiles, std::size_t panel_bytes) {
    const std::size_t by_activations = kActivationBytes / (n_tiles * sizeof(Unit<kTile>));
    return max_of(1, min_of(by_activations, panel_bytes / sizeof(PanelUnit)));
  }
  static std::size_t scratch_bytes(std::size_t /*k*/) noexcept { return kPanelBytes + kActivationBytes; }

  /// Pointers to the kLanes rows from r on; past a.row_end the last row is repeated.
  static typename A::Rows row_pointers(const MatmulArgs& a, std::size_t r) noexcept {
    typename A::Rows rows;
    for (std::size_t i = 0; i < A::kLanes; ++i)
      rows.row[i] = reinterpret_cast<const std::uint8_t*>(a.w) + min_of(r + i, a.row_end - 1) * a.row_bytes;
    return rows;
  }
  /// sums[t][i] = y[t0 + t, r + i], or 0 in the first slice and for rows past a.row_end.
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

  /// Prefetches the elements of y that load_sums() and store_sums() will access.
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
        Tile::template direct<kTokens>(row_pointers(a, r), u0 * W::kBytes, units, n,
                                       w + min_of(r + A::kLanes, a.row_end) * a.row_bytes, sums);
        store_sums(a, 0, kTokens, r, sums);
      }
    }
  }

  /// Runs the smallest tile that holds n_tokens tokens. Tiles are compiled for kTile tokens and for fewer,
  /// down to half as many, in steps of A::kPart.
  static void run_tile(std::size_t n_tokens, const PanelUnit* panel, const Unit<kTile>* units,
                       std::size_t n_units, Ahead& ahead, Sums (&sums)[kPanels]) noexcept {
    constexpr int kSizes = (kTile + 1) / 2 / A::kPart + 1;
    unroll<A, kSizes>([&]<int S>() GEMMA_INLINE_LAMBDA {
      constexpr std::size_t kTokens = kTile - S * A::kPart;
      constexpr std::size_t kFewer = S + 1 == kSizes ? 0 : kTokens - A::kPart;
      if (n_tokens > kFewer && n_tokens <= kTokens)
        Tile::template tile<kTokens>(panel, units, n_units, ahead, sums);
    });
  }
  /// Lays out the activations of tokens [t, t + n_tokens) for units [u0, u0 + n) of k.
  template <int kTokens>
  static void fill_units(const MatmulArgs& a, std::size_t t, std::size_t n_tokens, std::size_t u0,
                         std::size_t n, Unit<kTokens>* units) noexcept {
    for (std::size_t u = 0; u < n; ++u) {
      const std::size_t g = (u0 + u) * W::kGroups;
      fill_unit(units[u], a.q + t * a.k + 32 * g, a.groups + t * (a.k / 32) + g, a.k, n_tokens);
    }
  }
  static void unpack_panels(const MatmulArgs& a, std::size_t r, std::size_t u0, std::size_t n,
                            PanelUnit* panel) noexcept {
    for (std::size_t p = 0; p < kPanels; ++p)
      Tile::unpack(row_pointers(a, r + p * A::kLanes), u0 * W::kBytes, n, panel, p);
  }

  // ---- many tokens
  static constexpr std::size_t units_of(std::size_t k) { return k / (32 * W::kGroups); }
  static constexpr std::size_t tiles_of(std::size_t n_tokens) { return (n_tokens + kTile - 1) / kTile; }

  /// Laid-out activations are stored in blocks of kTokenBlock tokens, each block as [slices][tiles][units of
  /// the slice]. Returns the index of the first unit of the block that begins at token t0.
  static constexpr std::size_t first_unit(std::size_t k, std::size_t t0) {
    return tiles_of(t0) * units_of(k);
  }
  static std::size_t layout_bytes(std::size_t k, std::size_t m) noexcept {
    return m <= kFewTokens ? 0 : first_unit(k, m) * sizeof(Unit<kTile>);
  }
  static void lay_out(const MatmulArgs& a, std::size_t begin, std::size_t end, std::byte* out) noexcept {
    static_assert(kLayoutTokens % kTile == 0 && kTokenBlock % kLayoutTokens == 0);
    const std::size_t n_units = units_of(a.k);
    for (std::size_t t = begin; t < end; t += kTile) {
      const std::size_t t0 = t / kTokenBlock * kTokenBlock, tile = (t - t0) / kTile;
      const std::size_t n_tiles = tiles_of(min_of(kTokenBlock, a.m - t0));
      const std::size_t slice = slice_units(n_tiles, kPanelBytes);
      Unit<kTile>* const block = reinterpret_cast<Unit<kTile>*>(out) + first_unit(a.k, t0);
      for (std::size_t u0 = 0; u0 < n_units; u0 += slice) {
        const std::size_t n = min_of(slice, n_units - u0);
        fill_units<kTile>(a, t, min_of(kTile, a.m - t), u0, n, block + u0 * n_tiles + tile * n);
      }
    }
  }

  /// Multiplies tokens [t0, t0 + m) by all panels, one slice of k after another. A slice of a panel is
  /// unpacked once and multiplied with all of these tokens.
  static void run_panels(const MatmulArgs& a, std::size_t t0, std::size_t m) noexcept {
    using U = Unit<kTile>;
    PanelUnit* const panel = reinterpret_cast<PanelUnit*>(a.scratch);
    U* const own = reinterpret_cast<U*>(a.scratch + kPanelBytes);
    const U* const given =
        a.laid_out == nullptr ? nullptr : reinterpret_cast<const U*>(a.laid_out) + first_unit(a.k, t0);
    const std::size_t n_units = units_of(a.k);
    const std::size_t n_tiles = tiles_of(m);
    const std::size_t slice = slice_units(n_tiles, kPanelBytes);
    for (std::size_t u0 = 0; u0 < n_units; u0 += slice) {
      const std::size_t n = min_of(slice, n_units - u0);
      if (given == nullptr)
        for (std::size_t i = 0; i < n_tiles; ++i)
          fill_units<kTile>(a, t0 + i * kTile, min_of(kTile, m - i * kTile), u0, n, own + i * n);
      const U* const units = given == nullptr ? own : given + u0 * n_tiles;  // [n_tiles, n]
      // number of the next panel's rows whose prefetch is issued before tile i; only the second half of the
      // tiles prefetches, since lines that arrive earlier are evicted before they are used
      const auto asked = [n_tiles](std::size_t i) {
        return 2 * i > n_tiles ? kRows * (2 * i - n_tiles) / n_tiles : 0;
      };
      for (std::size_t r = a.row_begin; r < a.row_end; r += kRows) {
        prefetch_sums(a, t0, min_of(kTile, m), r);
        unpack_panels(a, r, u0, n, panel);
        for (std::size_t i = 0; i < n_tiles; ++i) {
          const std::size_t t = t0 + i * kTile, n_tokens = min_of(kTile, t0 + m - t);
          // the tile takes long enough for these lines to arrive
          if (i + 1 < n_tiles) prefetch_sums(a, t + kTile, min_of(kTile, t0 + m - t - kTile), r);
          Ahead ahead = rows_ahead(a, min_of(r + kRows + asked(i), a.row_end),
                                   min_of(r + kRows + asked(i + 1), a.row_end), u0, n);
          alignas(64) Sums sums[kPanels];
          for (std::size_t p = 0; p < kPanels; ++p)
            load_sums(a, t, n_tokens, r + p * A::kLanes, u0 == 0, sums[p]);
          run_tile(n_tokens, panel, units + i * n, n, ahead, sums);
          for (std::size_t p = 0; p < kPanels; ++p) store_sums(a, t, n_tokens, r + p * A::kLanes, sums[p]);
        }
      }
    }
  }
  /// The prefetches of units [u0, u0 + n) of rows [begin, end), spread over the n units of a tile.
  static Ahead rows_ahead(const MatmulArgs& a, std::size_t begin, std::size_t end, std::size_t u0,
                          std::size_t n) noexcept {
    if (begin == end) return {nullptr, nullptr, 0, 0, 0, 0};
    const std::size_t bytes = n * W::kBytes;
    const std::uint8_t* const p =
        reinterpret_cast<const std::uint8_t*>(a.w) + begin * a.row_bytes + u0 * W::kBytes;
    const std::size_t lines = (end - begin) * (bytes / 64 + 1);
    return {p, p + bytes, bytes, a.row_bytes, end - begin - 1, lines / (n * W::kGroups) + 1};
  }

  /// Multiplies all tokens, at most kFewTokens. A panel is unpacked a few units at a time into the L1, where
  /// all tiles read it; the sums stay in the L1 as well. Tokens are divided evenly: 8 tokens are two tiles of
  /// 4, not one of 6 and one of 2, because a tile of 2 has so few products per load that it takes as long as
  /// a tile of 6.
  static constexpr std::size_t kFewTiles = 8, kFewTokens = kFewTiles * kTile;
  static constexpr std::size_t kFewPanelBytes = std::size_t{24} << 10;
  static void run_few(const MatmulArgs& a) noexcept {
    using U = Unit<kTile>;
    PanelUnit* const panel = reinterpret_cast<PanelUnit*>(a.scratch);
    U* const units = reinterpret_cast<U*>(a.scratch + kPanelBytes);  // [n_tiles, slice]
    const std::size_t n_units = a.k / (32 * W::kGroups);
    const std::size_t n_tiles = (a.m + kTile - 1) / kTile;
    const std::size_t slice = slice_units(n_tiles, static_cast<std::size_t>(-1));
    const auto token = [&](std::size_t i) { return a.m * i / n_tiles; };  // first token of tile i
    for (std::size_t u0 = 0; u0 < n_units; u0 += slice) {
      const std::size_t n = min_of(slice, n_units - u0);
      for (std::size_t i = 0; i < n_tiles; ++i)
        fill_units<kTile>(a, token(i), token(i + 1) - token(i), u0, n, units + i * slice);
      for (std::size_t r = a.row_begin; r < a.row_end; r += kRows) {
        alignas(64) Sums sums[kFewTiles][kPanels];
        for (std::size_t i = 0; i < n_tiles; ++i)
          for (std::size_t p = 0; p < kPanels; ++p)
            load_sums(a, token(i), token(i + 1) - token(i), r + p * A::kLanes, u0 == 0, sums[i][p]);
        Ahead ahead = rows_ahead(a, min_of(r + kRows, a.row_end), min_of(r + 2 * kRows, a.row_end), u0, n);
        ahead.lines = (ahead.lines + n_tiles - 1) / n_tiles;
        constexpr std::size_t kUnits = max_of(1, kFewPanelBytes / sizeof(PanelUnit));
        for (std::size_t v = 0; v < n; v += kUnits) {
          const std::size_t n_now = min_of(kUnits, n - v);
          unpack_panels(a, r, u0 + v, n_now, panel);
          for (std::size_t i = 0; i < n_tiles; ++i)
            run_tile(token(i + 1) - token(i), panel, units + i * slice + v, n_now, ahead, sums[i]);
        }
        for (std::size_t i = 0; i < n_tiles; ++i)
          for (std::size_t p = 0; p < kPanels; ++p)
            store_sums(a, token(i), token(i + 1) - token(i), r + p * A::kLanes, sums[i][p]);
      }
    }
  }

  /// Implements MatmulKernel::matmul.
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
    if (a.m <= kFewTokens) return run_few(a);
    for (std::size_t t0 = 0; t0 < a.m; t0 += kTokenBlock) run_panels(a, t0, min_of(kTokenBlock, a.m - t0));
  }
};

}  // namespace gemma::kernels
