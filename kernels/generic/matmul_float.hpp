// y = x * w^T with float32 activations: weights of F32, F16 and BF16 are read in place; weights of every
// other type are decoded to float32, a few rows at a time.
//
// Invariant (law 1): an output is accumulated over k in order in one vector of kLanes sums (element i is
// added to lane i % kLanes by a fused multiply-add); V::sum adds the lanes at the end. Register tiles, panels
// and segments of k only decide which outputs are computed at the same time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "../kernel_name.hpp"
#include "../kernel_table.hpp"
#include "dequantize_block.hpp"
#include "float_vector.hpp"
#include "stored_element.hpp"
#include "unroll.hpp"

namespace gemma::kernels {

/// The matmul for weights that are stored as kType (F32, F16 or BF16).
template <FloatVector V, DType kType>
struct FloatMatmul {
  using batch = typename V::batch;
  using Element = StoredElement<V, kType>;
  using stored = typename Element::type;
  static constexpr int kTokens = V::kMatmulTokens;
  /// Number of weight rows of a register tile of n tokens: its accumulators stay in registers.
  static constexpr int rows_of_tile(int n) {
    return V::kMatmulRows * n <= V::kMatmulSums ? V::kMatmulRows : 2;
  }
  /// With many tokens k is processed in segments of this many elements: a tile's activations of one segment
  /// (12 KiB for 6 tokens) stay in the L1 while the panel's rows are read, two or four at a time.
  static constexpr std::size_t kSegment = 512;

  /// One panel of weights: its row r starts at w + r * row_bytes and gives column row + r of y.
  struct Panel {
    const std::byte* w;
    std::size_t row_bytes;
    std::size_t rows;  // 1 .. kPanelRows
    std::size_t row;
    const MatmulArgs& args;
    batch* sums;  // sums_bytes() bytes of scratch
  };

  /// Size of the laid-out activations of all whole tiles of tokens: [tiles][segments][kTokens][segment]. If
  /// they were stored as rows of k floats, a power of two apart in most models, the rows of a tile and of the
  /// weights would compete for the same few sets of the L1.
  static std::size_t layout_bytes(std::size_t k, std::size_t m) noexcept {
    return m < kLayoutTokens ? 0 : m / kTokens * kTokens * k * sizeof(float);
  }
  static void lay_out(const MatmulArgs& a, std::size_t first, std::size_t last, std::byte* out) noexcept {
    static_assert(kLayoutTokens % kTokens == 0);
    for (std::size_t t = first; t + kTokens <= last; t += kTokens) {
      float* to = reinterpret_cast<float*>(out) + t * a.k;
      for (std::size_t begin = 0; begin < a.k; begin += kSegment) {
        const std::size_t n = begin + kSegment < a.k ? kSegment : a.k - begin;
        for (std::size_t j = 0; j < kTokens; ++j, to += n)
          __builtin_memcpy(to, a.x + (t + j) * a.k + begin, n * sizeof(float));
      }
    }
  }

  /// Whether laid-out tokens are multiplied by one slice of k of a panel at a time, in blocks of kBlock
  /// tokens. The accumulators of a block stay in scratch between slices.
  static constexpr bool kSlices = requires { V::kMatmulSlice; };
  static constexpr std::size_t kBlock = 6 * kLayoutTokens;
  static constexpr std::size_t sums_bytes() { return kSlices ? kBlock * kPanelRows * sizeof(batch) : 0; }

  /// Multiplies all tokens by one panel.
  static void multiply(const Panel& p) noexcept {
    const std::size_t m = p.args.m;
    const std::size_t segment = m <= static_cast<std::size_t>(kTokens) ? p.args.k : kSegment;
    std::size_t t = 0;
    if constexpr (kSlices) {
      const std::size_t last = p.args.laid_out == nullptr ? 0 : m / kTokens * kTokens;
      for (; t < last; t = t + kBlock < last ? t + kBlock : last)
        multiply_block(p, t, t + kBlock < last ? t + kBlock : last);
    }
    for (; t + kTokens <= m; t += kTokens) multiply_tokens<kTokens>(p, t, segment);
    if constexpr (rows_of_tile(4) == V::kMatmulRows)
      for (; t + 4 <= m; t += 4) multiply_tokens<4>(p, t, segment);
    for (; t + 3 <= m; t += 3) multiply_tokens<3>(p, t, segment);
    if (t + 2 == m) multiply_tokens<2>(p, t, segment);
    if (t + 1 == m) multiply_tokens<1>(p, t, segment);
  }

 private:
  /// A segment of the activations of some tokens; that of token j starts at x + j * ldx.
  struct Tokens {
    const float* x;
    std::size_t ldx;
  };
  template <int T>
  static Tokens tokens(const MatmulArgs& a, std::size_t t, std::size_t begin, std::size_t end) noexcept {
    if (T == kTokens && a.laid_out != nullptr)
      return {reinterpret_cast<const float*>(a.laid_out) + t * a.k + begin * T, end - begin};
    return {a.x + t * a.k + begin, a.k};
  }

  /// Multiplies tokens [t, t + T) by one panel.
  template <int T>
  static void multiply_tokens(const Panel& p, std::size_t t, std::size_t segment) noexcept {
    const std::size_t k = p.args.k;
    constexpr int kRows = rows_of_tile(T);
    batch sums[kPanelRows * T];  // [row, T]
    for (std::size_t i = 0; i < p.rows * T; ++i) sums[i] = batch(0.0f);
    for (std::size_t begin = 0; begin < k; begin += segment) {
      const std::size_t end = begin + segment < k ? begin + segment : k;
      const Tokens x = tokens<T>(p.args, t, begin, end);
      std::size_t r = 0;
      for (; r + kRows <= p.rows; r += kRows) add_tile<kRows, T>(p, r, x, begin, end, sums + r * T);
      for (; r < p.rows; ++r) add_tile<1, T>(p, r, x, begin, end, sums + r * T);
    }
    store_sums<T>(p, t, sums);
  }
  template <int T>
  static void store_sums(const Panel& p, std::size_t t, const batch* sums) noexcept {
    for (std::size_t r = 0; r < p.rows; ++r)
      for (std::size_t i = 0; i < T; ++i)
        p.args.y[(t + i) * p.args.ldy + p.row + r] = V::sum(sums[r * T + i]) * p.args.scale;
  }

  /// Bytes of the next segment of activations that a register tile of many tokens prefetches for each element
  /// of k, so that a panel prefetches one segment while it computes another. With many tokens the activations
  /// lie in the L3, and unless prefetched they arrive too late (Zen 3, rows of 16384: 1.5 times the time).
  static constexpr std::size_t kAhead = kTokens * sizeof(float) * rows_of_tile(kTokens) / kPanelRows;

  /// Multiplies the laid-out tokens [t0, t1) by one panel. A slice of the panel's rows stays in the L2 while
  /// all these tokens are multiplied by it.
  static void multiply_block(const Panel& p, std::size_t t0, std::size_t t1) noexcept {
    constexpr int kRows = rows_of_tile(kTokens);
    constexpr std::size_t kSlice = V::kMatmulSlice;
    static_assert(kSlice % kSegment == 0 && kBlock % kTokens == 0);
    const std::size_t k = p.args.k;
    for (std::size_t slice = 0; slice < k; slice += kSlice) {
      const std::size_t slice_end = slice + kSlice < k ? slice + kSlice : k;
      batch* sums = p.sums;  // [row, kTokens] of each tile
      for (std::size_t t = t0; t < t1; t += kTokens, sums += p.rows * kTokens) {
        if (slice == 0)
          for (std::size_t i = 0; i < p.rows * kTokens; ++i) sums[i] = batch(0.0f);
        for (std::size_t begin = slice; begin < slice_end; begin += kSegment) {
          const std::size_t end = begin + kSegment < slice_end ? begin + kSegment : slice_end;
          const Tokens x = tokens<kTokens>(p.args, t, begin, end);
          std::uintptr_t ahead =
              reinterpret_cast<std::uintptr_t>(x.x) + (end - begin) * kTokens * sizeof(float);
          if (end == slice_end) ahead += (k - (slice_end - slice)) * kTokens * sizeof(float);
          std::size_t r = 0;
          for (; r + kRows <= p.rows; r += kRows, ahead += kSegment * kAhead)
            add_tile<kRows, kTokens, kAhead>(p, r, x, begin, end, sums + r * kTokens, ahead);
          for (; r < p.rows; ++r) add_tile<1, kTokens>(p, r, x, begin, end, sums + r * kTokens);
        }
        if (slice_end == k) store_sums<kTokens>(p, t, sums);
      }
    }
  }

  /// The prefetch distances of a tile of few tokens, which is bound by memory bandwidth. At element k of its
  /// rows it prefetches element k of the next tile's rows into the L2. If V::kMatmulAhead exists and the rows
  /// are long, so that each row is a separate stream, it prefetches that many bytes ahead in the same row
  /// instead, and near the end of a row the beginning of the next tile's row.
  struct FewAhead {
    std::size_t near, wrapped, turn;  // distances in bytes: before element `turn`, and from it on
    std::size_t of(std::size_t k) const noexcept { return k < turn ? near : wrapped; }
  };
  static FewAhead few_ahead(std::size_t next_rows, std::size_t begin, std::size_t end) noexcept {
    if constexpr (requires { V::kMatmulAhead; }) {
      const std::size_t bytes = (end - begin) * sizeof(stored);
      if (bytes >= kLongRow)
        return {V::kMatmulAhead, V::kMatmulAhead + next_rows - bytes, end - V::kMatmulAhead / sizeof(stored)};
    }
    return {next_rows, next_rows, 0};
  }
  static constexpr std::size_t kLongRow = 8192;  // in bytes

  /// sum[i][j] += weight(i) * token(j), lane by lane. Rows or tokens, whichever are fewer, are kept in
  /// registers. V::hold() keeps gcc from loading a token again for every row (AVX2, 2 rows x 6 tokens: 14
  /// loads for 12 multiply-adds, while a core does two of either per cycle).
  template <int R, int T, class Weight, class Token>
  [[gnu::always_inline]] static void add_products(batch (&sum)[R][T], Weight weight, Token token) noexcept {
    if constexpr (R < T && requires(batch x) { V::hold(x); }) {
      batch w[R];
#pragma GCC unroll 16
      for (std::size_t i = 0; i < R; ++i) w[i] = weight(i);
#pragma GCC unroll 16
      for (std::size_t j = 0; j < T; ++j) {
        batch x = token(j);
        V::hold(x);
#pragma GCC unroll 16
        for (std::size_t i = 0; i < R; ++i) sum[i][j] = V::fma(w[i], x, sum[i][j]);
      }
    } else {
      batch x[T];
#pragma GCC unroll 16
      for (std::size_t j = 0; j < T; ++j) x[j] = token(j);
#pragma GCC unroll 16
      for (std::size_t i = 0; i < R; ++i) {
        const batch w = weight(i);
#pragma GCC unroll 16
        for (std::size_t j = 0; j < T; ++j) sum[i][j] = V::fma(w, x[j], sum[i][j]);
      }
    }
  }

  /// The register tile: sums[R, T] += w[R, begin .. end) * x[T, begin .. end), lane by lane. Also prefetches
  /// kAsk bytes for each element of k, starting at address `ahead`; the addresses need not be valid.
  template <int R, int T, std::size_t kAsk = 0>
  static void add_tile(const Panel& p, std::size_t r, const Tokens& tokens, std::size_t begin,
                       std::size_t end, batch* sums, std::uintptr_t ahead = 0) noexcept {
    const stored* w[R];
    for (std::size_t i = 0; i < R; ++i) w[i] = reinterpret_cast<const stored*>(p.w + (r + i) * p.row_bytes);
    const std::size_t ldx = tokens.ldx;
    const float* const x = tokens.x - begin;
    batch sum[R][T];
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 16
      for (int j = 0; j < T; ++j) sum[i][j] = sums[i * T + j];
    [[maybe_unused]] const FewAhead few = few_ahead(R * p.row_bytes, begin, end);
    std::size_t k = begin;
    for (; k + V::kLanes <= end; k += V::kLanes) {
      if constexpr (kAsk != 0) __builtin_prefetch(reinterpret_cast<const void*>(ahead + (k - begin) * kAsk));
      if constexpr (T <= 4) {
        const std::size_t bytes = few.of(k);
#pragma GCC unroll 16
        for (int i = 0; i < R; ++i)
          __builtin_prefetch(
              reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(w[i] + k) + bytes), 0, 2);
      }
      add_products<R, T>(
          sum, [&](std::size_t i) GEMMA_INLINE_LAMBDA { return Element::load(w[i] + k); },
          [&](std::size_t j) GEMMA_INLINE_LAMBDA { return batch::load_unaligned(x + j * ldx + k); });
    }
    if (k < end)  // the tail of the row: lanes past its end add 0 * 0
      add_products<R, T>(
          sum, [&](std::size_t i) GEMMA_INLINE_LAMBDA { return Element::load_part(w[i] + k, end - k); },
          [&](std::size_t j) GEMMA_INLINE_LAMBDA { return V::load_part(x + j * ldx + k, end - k); });
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 16
      for (int j = 0; j < T; ++j) sums[i * T + j] = sum[i][j];
  }
};

/// Implements MatmulKernel::matmul for F32, F16 and BF16.
template <FloatVector V, DType kType>
void matmul_direct(const MatmulArgs& a) noexcept {
  for (std::size_t row = a.row_begin; row < a.row_end; row += kPanelRows) {
    const std::size_t rows = a.row_end - row < kPanelRows ? a.row_end - row : kPanelRows;
    FloatMatmul<V, kType>::multiply({a.w + row * a.row_bytes, a.row_bytes, rows, row, a,
                                     reinterpret_cast<typename V::batch*>(a.scratch)});
  }
}

/// Implements MatmulKernel::matmul for every other type. Rows are decoded to float32 in scratch: a panel at a
/// time for many tokens, a register tile at a time for few, so that the decoded rows stay in the L1.
template <FloatVector V, DType kType>
void matmul_decoded(const MatmulArgs& a) noexcept {
  using Multiply = FloatMatmul<V, DType::kF32>;
  const std::size_t step = a.m <= static_cast<std::size_t>(V::kMatmulTokens)
                               ? static_cast<std::size_t>(V::kMatmulRows)
                               : kPanelRows;
  auto* const sums = reinterpret_cast<typename V::batch*>(a.scratch);
  std::byte* const panel = a.scratch + Multiply::sums_bytes();
  float* const decoded = reinterpret_cast<float*>(panel);  // [step, k]
  for (std::size_t row = a.row_begin; row < a.row_end; row += step) {
    const std::size_t rows = a.row_end - row < step ? a.row_end - row : step;
    for (std::size_t r = 0; r < rows; ++r)
      dequantize_row<V, kType>(a.w + (row + r) * a.row_bytes, a.k, decoded + r * a.k);
    Multiply::multiply({panel, a.k * sizeof(float), rows, row, a, sums});
  }
}

/// MatmulKernel::scratch_bytes of matmul_direct(), and that of matmul_decoded().
template <FloatVector V>
std::size_t direct_matmul_scratch(std::size_t /*k*/) noexcept {
  return FloatMatmul<V, DType::kF32>::sums_bytes();
}
template <FloatVector V>
std::size_t decoded_matmul_scratch(std::size_t k) noexcept {
  return FloatMatmul<V, DType::kF32>::sums_bytes() + kPanelRows * k * sizeof(float);
}

/// The matmul kernel with float32 activations for weights of kType, on vector type V
/// (kernels/arch/*_vector.hpp).
template <FloatVector V, DType kType>
consteval MatmulKernel make_float_matmul() {
  if constexpr (kBlockElements<kType> == 1)
    return {matmul_direct<V, kType>,
            direct_matmul_scratch<V>,
            false,
            kKernelName<kType, ", float">,
            FloatMatmul<V, kType>::layout_bytes,
            FloatMatmul<V, kType>::lay_out};
  else
    return {matmul_decoded<V, kType>,
            decoded_matmul_scratch<V>,
            false,
            kKernelName<kType, " decoded, float">,
            FloatMatmul<V, DType::kF32>::layout_bytes,
            FloatMatmul<V, DType::kF32>::lay_out};
}

}  // namespace gemma::kernels
