// The weight formats (unit_header.hpp) of the types with 256 weights per super-block.
// Invariant: a unit is eight groups.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../../gguf/dtype.hpp"
#include "block_formats.hpp"
#include "unit_header.hpp"
#include "unroll.hpp"

namespace gemma::kernels {

/// Calls f<c>(column c) for the eight columns of 32 bytes of each row. On instruction sets with few registers
/// (A::kColumnsByHalves) the columns are loaded in two halves: the results of the first are stored before the
/// second is loaded.
template <class A, class F>
[[gnu::always_inline]] inline void for_columns32(const typename A::Rows& rows, std::size_t offset,
                                                 F f) noexcept {
  constexpr bool kByHalves = requires {
    requires A::kColumnsByHalves;
  };
  if constexpr (kByHalves) {
    unroll<A, 2>([&]<int H>() GEMMA_INLINE_LAMBDA {
      typename A::Int c[4];
      A::load_columns16(rows, offset + 16 * H, c);
      unroll<A, 4>([&]<int C>() GEMMA_INLINE_LAMBDA { f.template operator()<4 * H + C>(c[C]); });
    });
  } else {
    typename A::Int c[8];
    A::load_columns32(rows, offset, c);
    unroll<A, 8>([&]<int C>() GEMMA_INLINE_LAMBDA { f.template operator()<C>(c[C]); });
  }
}

template <class A>
struct FormatQ2K {
  static constexpr int kBytes = sizeof(BlockQ2_K), kGroups = 8, kHalves = 2, kOffset = 0;
  static constexpr int kMinPairs = 8;  // a minimum for every 16 weights
  static constexpr bool kGroupMins = false;
  static constexpr int kStages = 8, kStageGroups = 1, kParts = 2, kPartBytes = 32;
  static constexpr int kLargest = 12;  // weights of odd groups are multiplied by 4, their scales by 1/4
  static constexpr int group(int stage, int) { return stage; }
  static constexpr float kQuarter = 0.25f;
  using Header = UnitHeader<A, kGroups, kHalves, kMinPairs>;
  using Int = typename A::Int;

  static void header(const typename A::Rows& rows, std::size_t offset, Header& h) noexcept {
    Int c[4], end[4];
    A::load_columns16(rows, offset, c);
    A::load_columns16(rows, offset + sizeof(BlockQ2_K) - 16, end);  // the block's last 16 bytes
    const auto d = A::half_low(end[3]);
    const auto quarter = A::mul(d, A::broadcast(&kQuarter));
    h.minus_dmin = A::negate(A::half_high(end[3]));
    unroll<A, 16>([&]<int I>() GEMMA_INLINE_LAMBDA {
      const Int scales = A::and_mask(c[I / 4], 0x0F0F0F0F);
      h.scale[I / 2][I % 2] =
          A::mul(A::to_float(A::template unsigned_byte<I % 4>(scales)), I / 2 % 2 == 0 ? d : quarter);
    });
    unroll<A, 8>([&]<int P>() GEMMA_INLINE_LAMBDA {
      h.min_pairs[P] = A::and_mask(A::template shift_right<4 + P % 2 * 8>(c[P / 2]), 0x000F000F);
    });
  }
  template <int kStage, class Out>
  [[gnu::always_inline]] static void stage(const typename A::Rows& rows, std::size_t offset, Header& h,
                                           Out& w) noexcept {
    // 32 bytes hold the weights of four groups; one shift serves two groups
    if constexpr (kStage % 4 == 0)
      A::load_columns32(rows, offset + offsetof(BlockQ2_K, qs) + 32 * (kStage / 4), h.columns);
    unroll<A, 8>([&]<int C>() GEMMA_INLINE_LAMBDA {
      if constexpr (kStage % 4 == 2) h.columns[C] = A::template shift_right<4>(h.columns[C]);
      w[0][C] = A::and_mask(h.columns[C], kStage % 2 == 0 ? 0x03030303 : 0x0C0C0C0C);
    });
  }
};

/// Unpacks the low two bits of the weights of a group of Q3_K; 32 bytes hold those of four groups.
template <class A, int kStage, class Header>
[[gnu::always_inline]] inline void two_bits(const typename A::Rows& rows, std::size_t offset, Header& h,
                                            typename A::Int (&w)[8]) noexcept {
  if constexpr (kStage % 4 == 0) A::load_columns32(rows, offset + 32 * (kStage / 4), h.columns);
  unroll<A, 8>([&]<int C>() GEMMA_INLINE_LAMBDA {
    w[C] = A::and_mask(A::template shift_right<2 * (kStage % 4)>(h.columns[C]), 0x03030303);
  });
}

template <class A>
struct FormatQ3K {
  static constexpr int kBytes = sizeof(BlockQ3_K), kGroups = 8, kHalves = 2, kOffset = 4;
  static constexpr int kMinPairs = 0;
  static constexpr bool kGroupMins = false;
  static constexpr int kStages = 8, kStageGroups = 1, kParts = 1, kPartBytes = 0, kLargest = 7;
  static constexpr int group(int stage, int) { return stage; }
  using Header = UnitHeader<A, kGroups, kHalves>;
  using Int = typename A::Int;

  static void header(const typename A::Rows& rows, std::size_t offset, Header& h) noexcept {
    A::load_columns32(rows, offset + offsetof(BlockQ3_K, hmask), h.high_bits);
    Int c[4];
    // the block's last 16 bytes: 2 of weights, 12 of scales, then d
    A::load_columns16(rows, offset + sizeof(BlockQ3_K) - 16, c);
    const auto d = A::half_high(c[3]);
    Int s[3];  // the 12 bytes of scales
    unroll<A, 3>([&]<int I>() GEMMA_INLINE_LAMBDA {
      s[I] = A::or_int(A::template shift_right<16>(c[I]), A::template shift_left<16>(c[I + 1]));
    });
    unroll<A, 4>([&]<int Q>() GEMMA_INLINE_LAMBDA {  // scales 4Q .. 4Q + 3
      const Int low = A::template shift_right<4 * (Q / 2)>(s[Q % 2]);
      const Int scales = A::sub_bytes(
          A::and_mask_or(low, 0x0F0F0F0F, A::and_mask(A::template shift_left<4 - 2 * Q>(s[2]), 0x30303030)),
          32);
      unroll<A, 4>([&]<int I>() GEMMA_INLINE_LAMBDA {
        h.scale[2 * Q + I / 2][I % 2] = A::mul(A::to_float(A::template signed_byte<I>(scales)), d);
      });
    });
  }
  template <int kStage, class Out>
  [[gnu::always_inline]] static void stage(const typename A::Rows& rows, std::size_t offset, Header& h,
                                           Out& w) noexcept {
    Int low[8];
    two_bits<A, kStage>(rows, offset + offsetof(BlockQ3_K, qs), h, low);
    unroll<A, 8>([&]<int C>() GEMMA_INLINE_LAMBDA {  // bit j of each byte is bit 2 of group j's weights
      w[0][C] =
          A::or_int(low[C], A::and_mask(A::template shift_left<2 - kStage>(h.high_bits[C]), 0x04040404));
    });
  }
};

/// Reads the first 16 bytes of Q4_K and Q5_K blocks: d, dmin, and eight 6-bit scales and minima.
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
  static constexpr int kMinPairs = 4;
  static constexpr bool kGroupMins = false;
  static constexpr int kStages = 4, kStageGroups = 2, kParts = 4, kPartBytes = 32, kLargest = 15;
  static constexpr int group(int stage, int i) { return 2 * stage + i; }
  using Header = UnitHeader<A, kGroups, kHalves>;
  using Int = typename A::Int;

  static void header(const typename A::Rows& rows, std::size_t offset, Header& h) noexcept {
    k_header<A>(rows, offset, h);
  }
  template <int kStage, class Out>
  [[gnu::always_inline]] static void stage(const typename A::Rows& rows, std::size_t offset, Header&,
                                           Out& w) noexcept {
    const std::size_t at = offset + offsetof(BlockQ4_K, qs) + 32 * kStage;
    for_columns32<A>(rows, at, [&]<int C>(Int c) GEMMA_INLINE_LAMBDA {
      w[0][C] = A::and_mask(c, 0x0F0F0F0F);
      w[1][C] = A::and_mask(A::template shift_right<4>(c), 0x0F0F0F0F);
    });
  }
};

template <class A>
struct FormatQ5K {
  static constexpr int kBytes = sizeof(BlockQ5_K), kGroups = 8, kHalves = 1, kOffset = 0;
  static constexpr int kMinPairs = 4;
  static constexpr bool kGroupMins = false;
  static constexpr int kStages = 4, kStageGroups = 2, kParts = 1, kPartBytes = 0, kLargest = 31;
  static constexpr int group(int stage, int i) { return 2 * stage + i; }
  using Header = UnitHeader<A, kGroups, kHalves>;
  using Int = typename A::Int;

  static void header(const typename A::Rows& rows, std::size_t offset, Header& h) noexcept {
    k_header<A>(rows, offset, h);
    A::load_columns32(rows, offset + offsetof(BlockQ5_K, qh), h.high_bits);
  }
  template <int kStage, class Out>
  [[gnu::always_inline]] static void stage(const typename A::Rows& rows, std::size_t offset, Header& h,
                                           Out& w) noexcept {
    const std::size_t at = offset + offsetof(BlockQ5_K, qs) + 32 * kStage;
    for_columns32<A>(
        rows, at, [&]<int C>(Int c) GEMMA_INLINE_LAMBDA {  // bit j of each byte is bit 4 of group j's weights
          w[0][C] = A::and_mask_or(
              c, 0x0F0F0F0F, A::and_mask(A::template shift_left<4 - 2 * kStage>(h.high_bits[C]), 0x10101010));
          w[1][C] =
              A::and_mask_or(A::template shift_right<4>(c), 0x0F0F0F0F,
                             A::and_mask(A::template shift_left<3 - 2 * kStage>(h.high_bits[C]), 0x10101010));
        });
  }
};

template <class A>
struct FormatQ6K {
  static constexpr int kBytes = sizeof(BlockQ6_K), kGroups = 8, kHalves = 2, kOffset = 32;
  static constexpr int kMinPairs = 0;
  static constexpr bool kGroupMins = false;
  static constexpr int kStages = 4, kStageGroups = 2, kParts = 1, kPartBytes = 0, kLargest = 63;
  /// Groups are unpacked in the order 0 2 1 3 4 6 5 7: a chunk of 32 bytes holds two groups that are 64
  /// weights apart.
  static constexpr int group(int stage, int i) { return stage / 2 * 4 + stage % 2 + 2 * i; }
  using Header = UnitHeader<A, kGroups, kHalves>;
  using Int = typename A::Int;

  static void header(const typename A::Rows& rows, std::size_t offset, Header& h) noexcept {
    Int c[4];
    A::load_columns16(rows, offset + offsetof(BlockQ6_K, scales), c);
    const auto d = A::load_half(rows, offset + offsetof(BlockQ6_K, d));
    unroll<A, 16>([&]<int I>() GEMMA_INLINE_LAMBDA {
      h.scale[I / 2][I % 2] = A::mul(A::to_float(A::template signed_byte<I % 4>(c[I / 4])), d);
    });
  }
  template <int kStage, class Out>
  [[gnu::always_inline]] static void stage(const typename A::Rows& rows, std::size_t offset, Header& h,
                                           Out& w) noexcept {
    constexpr int kHalf = kStage / 2, kChunk = kStage % 2;
    if constexpr (kChunk == 0)
      A::load_columns32(rows, offset + offsetof(BlockQ6_K, qh) + 32 * kHalf, h.high_bits);
    const std::size_t at = offset + offsetof(BlockQ6_K, ql) + 32 * kStage;
    for_columns32<A>(rows, at, [&]<int C>(Int c) GEMMA_INLINE_LAMBDA {
      w[0][C] = A::and_mask_or(
          c, 0x0F0F0F0F, A::and_mask(A::template shift_left<4 - 2 * kChunk>(h.high_bits[C]), 0x30303030));
      w[1][C] = A::and_mask_or(A::template shift_right<4>(c), 0x0F0F0F0F,
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
struct FormatIQ4XS {
  using Levels = Iq4Levels<A>;
  static constexpr int kBytes = sizeof(BlockIQ4_XS), kGroups = 8, kHalves = 1, kOffset = Levels::kOffset;
  static constexpr int kMinPairs = 0;
  static constexpr bool kGroupMins = false;
  static constexpr int kStages = 4, kStageGroups = 2, kParts = 4, kPartBytes = 32,
                       kLargest = Levels::kLargest;
  static constexpr int group(int stage, int i) { return 2 * stage + i; }
  using Header = UnitHeader<A, kGroups, kHalves>;
  using Int = typename A::Int;

  static void header(const typename A::Rows& rows, std::size_t offset, Header& h) noexcept {
    Int c[4];
    A::load_columns16(rows, offset, c);  // d, then the scales' high 2 bits and low 4 bits
    const auto d = A::half_low(c[0]);
    // moves nibble i of the high bits to byte i: two bits of scale 2i and two of scale 2i + 1
    const Int high = A::template shift_right<16>(c[0]);
    const Int bytes =
        A::and_mask_or(high, 0x000000FF, A::and_mask(A::template shift_left<8>(high), 0x00FF0000));
    const Int pairs =
        A::and_mask_or(bytes, 0x000F000F, A::and_mask(A::template shift_left<4>(bytes), 0x0F000F00));
    unroll<A, 2>([&]<int I>() GEMMA_INLINE_LAMBDA {  // scales I, I + 2, I + 4, I + 6
      const Int scales =
          A::sub_bytes(A::and_mask_or(A::template shift_right<4 * I>(c[1]), 0x0F0F0F0F,
                                      A::and_mask(A::template shift_left<4 - 2 * I>(pairs), 0x30303030)),
                       32);
      unroll<A, 4>([&]<int B>() GEMMA_INLINE_LAMBDA {
        h.scale[2 * B + I][0] = A::mul(A::to_float(A::template signed_byte<B>(scales)), d);
      });
    });
  }
  template <int kStage, class Out>
  [[gnu::always_inline]] static void stage(const typename A::Rows& rows, std::size_t offset, Header&,
                                           Out& w) noexcept {
    Int c[8];
    A::load_columns32(rows, offset + offsetof(BlockIQ4_XS, qs) + 32 * kStage, c);  // 16 bytes of each group
    unroll<A, 2>([&]<int G>() GEMMA_INLINE_LAMBDA {
      unroll<A, 4>([&]<int C>() GEMMA_INLINE_LAMBDA {
        const Int v = c[4 * G + C];
        w[G][C] = Levels::of(A::and_mask(v, 0x0F0F0F0F));
        w[G][C + 4] = Levels::of(A::and_mask(A::template shift_right<4>(v), 0x0F0F0F0F));
      });
    });
  }
};

}  // namespace gemma::kernels
