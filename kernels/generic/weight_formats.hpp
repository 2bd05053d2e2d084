// How the blocks of each weight type become operands of the 8-bit matmul: for kLanes rows at once, lanes are
// rows. Invariant: what is unpacked is exact (the stored integers, scales as the float d * sc); the order in
// which a format's groups come is part of the result (see matmul_panel.hpp) and the same for every kernel.
//
// A format has: kBytes of a unit (a block along k), kGroups of 32 weights in it, kHalves scales per group,
// kOffset to be subtracted from every unpacked integer, kMins; kStages steps that give kStageGroups groups
// each; and the functions header() and stage().
// A group is eight vectors: vector c holds, per row, the weights 4c .. 4c + 3 of the group.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../../gguf/dtype.hpp"
#include "unroll.hpp"

namespace gemma::kernels {

/// What is not per-weight in a unit of kLanes rows.
template <class A, int kGroups, int kHalves>
struct UnitHeader {
  typename A::Float scale[kGroups][kHalves];
  typename A::Int min_pairs[4];  // int16 pairs of the minima (j, j + 2), j = 0, 1, 4, 5
  typename A::Float minus_dmin;
  typename A::Int high_bits[8];  // columns of the bytes that hold bits above the fourth
};

/// d and dmin, eight 6-bit scales and minima: the first 16 bytes of Q4_K and Q5_K blocks.
template <class A, class Header>
[[gnu::always_inline]] inline void k_header(const typename A::Rows& rows, std::size_t offset,
                                            Header& h) noexcept {
  typename A::Int c[4];
  A::load_columns16(rows, offset, c);
  const auto d = A::half_low(c[0]);
  h.minus_dmin = A::negate(A::half_high(c[0]));
  const typename A::Int scales[2] = {
      A::and_mask(c[1], 0x3F3F3F3F),
      A::and_mask_or(c[3], 0x0F0F0F0F, A::and_mask(A::template shift_right<2>(c[1]), 0x30303030))};
  const typename A::Int mins[2] = {A::and_mask(c[2], 0x3F3F3F3F),
                                   A::and_mask_or(A::template shift_right<4>(c[3]), 0x0F0F0F0F,
                                                  A::and_mask(A::template shift_right<2>(c[2]), 0x30303030))};
  unroll<A, 8>([&]<int J>() GEMMA_INLINE_LAMBDA {
    h.scale[J][0] = A::mul(A::to_float(A::template unsigned_byte<J % 4>(scales[J / 4])), d);
  });
  unroll<A, 4>([&]<int P>() GEMMA_INLINE_LAMBDA {
    h.min_pairs[P] = A::and_mask(A::template shift_right<P % 2 * 8>(mins[P / 2]), 0x00FF00FF);
  });
}

template <class A>
struct FormatQ4K {
  static constexpr int kBytes = sizeof(BlockQ4_K), kGroups = 8, kHalves = 1, kOffset = 0;
  static constexpr bool kMins = true;
  static constexpr int kStages = 4, kStageGroups = 2, kLargest = 15;
  static constexpr int group(int stage, int i) { return 2 * stage + i; }
  using Header = UnitHeader<A, kGroups, kHalves>;
  using Int = typename A::Int;

  static void header(const typename A::Rows& rows, std::size_t offset, Header& h) noexcept {
    k_header<A>(rows, offset, h);
  }
  template <int kStage>
  [[gnu::always_inline]] static void stage(const typename A::Rows& rows, std::size_t offset, Header&,
                                           Int (&w)[2][8]) noexcept {
    Int c[8];
    A::load_columns32(rows, offset + 16 + 32 * kStage, c);
    unroll<A, 8>([&]<int C>() GEMMA_INLINE_LAMBDA {
      w[0][C] = A::and_mask(c[C], 0x0F0F0F0F);
      w[1][C] = A::and_mask(A::template shift_right<4>(c[C]), 0x0F0F0F0F);
    });
  }
};

template <class A>
struct FormatQ5K {
  static constexpr int kBytes = sizeof(BlockQ5_K), kGroups = 8, kHalves = 1, kOffset = 0;
  static constexpr bool kMins = true;
  static constexpr int kStages = 4, kStageGroups = 2, kLargest = 31;
  static constexpr int group(int stage, int i) { return 2 * stage + i; }
  using Header = UnitHeader<A, kGroups, kHalves>;
  using Int = typename A::Int;

  static void header(const typename A::Rows& rows, std::size_t offset, Header& h) noexcept {
    k_header<A>(rows, offset, h);
    A::load_columns32(rows, offset + 16, h.high_bits);
  }
  template <int kStage>
  [[gnu::always_inline]] static void stage(const typename A::Rows& rows, std::size_t offset, Header& h,
                                           Int (&w)[2][8]) noexcept {
    Int c[8];
    A::load_columns32(rows, offset + 48 + 32 * kStage, c);
    unroll<A, 8>([&]<int C>() GEMMA_INLINE_LAMBDA {  // bit j of each byte is bit 4 of group j's weights
      w[0][C] = A::and_mask_or(
          c[C], 0x0F0F0F0F, A::and_mask(A::template shift_left<4 - 2 * kStage>(h.high_bits[C]), 0x10101010));
      w[1][C] =
          A::and_mask_or(A::template shift_right<4>(c[C]), 0x0F0F0F0F,
                         A::and_mask(A::template shift_left<3 - 2 * kStage>(h.high_bits[C]), 0x10101010));
    });
  }
};

template <class A>
struct FormatQ6K {
  static constexpr int kBytes = sizeof(BlockQ6_K), kGroups = 8, kHalves = 2, kOffset = 32;
  static constexpr bool kMins = false;
  static constexpr int kStages = 4, kStageGroups = 2, kLargest = 63;
  /// The groups come as 0 2 1 3 4 6 5 7: a chunk of 32 bytes holds two groups that are 64 weights apart.
  static constexpr int group(int stage, int i) { return stage / 2 * 4 + stage % 2 + 2 * i; }
  using Header = UnitHeader<A, kGroups, kHalves>;
  using Int = typename A::Int;

  static void header(const typename A::Rows& rows, std::size_t offset, Header& h) noexcept {
    Int c[4];
    A::load_columns16(rows, offset + 192, c);
    const auto d = A::load_half(rows, offset + 208);
    unroll<A, 16>([&]<int I>() GEMMA_INLINE_LAMBDA {
      h.scale[I / 2][I % 2] = A::mul(A::to_float(A::template signed_byte<I % 4>(c[I / 4])), d);
    });
  }
  template <int kStage>
  [[gnu::always_inline]] static void stage(const typename A::Rows& rows, std::size_t offset, Header& h,
                                           Int (&w)[2][8]) noexcept {
    constexpr int kHalf = kStage / 2, kChunk = kStage % 2;
    if constexpr (kChunk == 0) A::load_columns32(rows, offset + 128 + 32 * kHalf, h.high_bits);
    Int c[8];
    A::load_columns32(rows, offset + 32 * kStage, c);
    unroll<A, 8>([&]<int C>() GEMMA_INLINE_LAMBDA {
      w[0][C] = A::and_mask_or(
          c[C], 0x0F0F0F0F, A::and_mask(A::template shift_left<4 - 2 * kChunk>(h.high_bits[C]), 0x30303030));
      w[1][C] = A::and_mask_or(A::template shift_right<4>(c[C]), 0x0F0F0F0F,
                               A::and_mask(A::template shift_left<-2 * kChunk>(h.high_bits[C]), 0x30303030));
    });
  }
  static constexpr int row_group(int v, int s) { return v + 4 * s; }
  static void row_weights(const std::uint8_t* block, Int (&w)[4]) noexcept requires A::kRowVectors {
    const Int high = A::load_int(block + 128);
    unroll<A, 2>([&]<int C>() GEMMA_INLINE_LAMBDA {  // chunk C of each half of the block
      const Int c = A::load32(block + 32 * C, block + 64 + 32 * C);
      w[C] = A::and_mask_or(c, 0x0F0F0F0F, A::and_mask(A::template shift_left<4 - 2 * C>(high), 0x30303030));
      w[C + 2] = A::and_mask_or(A::template shift_right<4>(c), 0x0F0F0F0F,
                                A::and_mask(A::template shift_left<-2 * C>(high), 0x30303030));
    });
  }
};

template <class A>
struct FormatQ8_0 {
  static constexpr int kBytes = sizeof(BlockQ8_0), kGroups = 1, kHalves = 1;
  static constexpr int kOffset = A::kSignedWeights ? 0 : 128;  // stored q, or q + 128 as unsigned
  static constexpr bool kMins = false;
  static constexpr int kStages = 1, kStageGroups = 1, kLargest = 255;
  static constexpr int group(int, int) { return 0; }
  using Header = UnitHeader<A, kGroups, kHalves>;
  using Int = typename A::Int;

  static void header(const typename A::Rows& rows, std::size_t offset, Header& h) noexcept {
    h.scale[0][0] = A::load_half(rows, offset);
  }
  template <int kStage>
  [[gnu::always_inline]] static void stage(const typename A::Rows& rows, std::size_t offset, Header&,
                                           Int (&w)[1][8]) noexcept {
    A::load_columns32(rows, offset + 2, w[0]);
    if constexpr (!A::kSignedWeights)
      unroll<A, 8>([&]<int C>() GEMMA_INLINE_LAMBDA { w[0][C] = A::xor_mask(w[0][C], 0x80808080); });
  }
};

template <class A>
struct FormatQ4_0 {
  static constexpr int kBytes = sizeof(BlockQ4_0), kGroups = 1, kHalves = 1, kOffset = 8;
  static constexpr bool kMins = false;
  static constexpr int kStages = 1, kStageGroups = 1, kLargest = 15;
  static constexpr int group(int, int) { return 0; }
  using Header = UnitHeader<A, kGroups, kHalves>;
  using Int = typename A::Int;

  static void header(const typename A::Rows& rows, std::size_t offset, Header& h) noexcept {
    h.scale[0][0] = A::load_half(rows, offset);
  }
  template <int kStage>
  [[gnu::always_inline]] static void stage(const typename A::Rows& rows, std::size_t offset, Header&,
                                           Int (&w)[1][8]) noexcept {
    Int c[4];
    A::load_columns16(rows, offset + 2, c);
    unroll<A, 4>([&]<int C>() GEMMA_INLINE_LAMBDA {
      w[0][C] = A::and_mask(c[C], 0x0F0F0F0F);
      w[0][C + 4] = A::and_mask(A::template shift_right<4>(c[C]), 0x0F0F0F0F);
    });
  }
};

}  // namespace gemma::kernels
