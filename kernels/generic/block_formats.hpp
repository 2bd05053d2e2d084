// The weight formats (unit_header.hpp) of the types with 32 weights per block.
// Invariant: a unit is one group.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../../gguf/dtype.hpp"
#include "integer_primitives.hpp"
#include "unit_header.hpp"
#include "unroll.hpp"

namespace gemma::kernels {

/// Base of the formats with 32 weights per block.
template <IntegerPrimitives A, class Block, bool kHasMin = false>
struct BlockFormat {
  static constexpr int kBytes = sizeof(Block), kGroups = 1, kHalves = 1;
  static constexpr int kMinPairs = 0;
  static constexpr bool kGroupMins = kHasMin;
  static constexpr int kStages = 1, kStageGroups = 1, kParts = 1, kPartBytes = 0;
  static constexpr int group(int, int) { return 0; }
  using Header = UnitHeader<A, kGroups, kHalves>;
  using Int = typename A::Int;
  using Rows = typename A::Rows;

 protected:
  /// Unpacks 16 bytes of each row: weight i is the low nibble of byte i, weight i + 16 the high nibble.
  [[gnu::always_inline]] static void nibbles(const Rows& rows, std::size_t offset, Int (&w)[8]) noexcept {
    Int c[4];
    A::load_weights16(rows, offset, c);
    unroll<A, 4>([&]<int C>() GEMMA_INLINE_LAMBDA {
      w[C] = A::and_mask(c[C], 0x0F0F0F0F);
      w[C + 4] = A::and_mask(A::template shift_right<4>(c[C]), 0x0F0F0F0F);
    });
  }
  /// Like nibbles(), with a fifth bit for each weight: bit i of a lane of `bits` belongs to weight i of that
  /// row.
  [[gnu::always_inline]] static void nibbles_and_bits(const Rows& rows, std::size_t offset, Int bits,
                                                      Int (&w)[8]) noexcept {
    Int c[4];
    A::load_weights16(rows, offset, c);
    unroll<A, 4>([&]<int C>() GEMMA_INLINE_LAMBDA {
      w[C] = A::and_mask_or(c[C], 0x0F0F0F0F, A::template spread_bits<C>(bits));
      w[C + 4] =
          A::and_mask_or(A::template shift_right<4>(c[C]), 0x0F0F0F0F, A::template spread_bits<C + 4>(bits));
    });
  }
};

template <class A>
struct FormatQ4_0 : BlockFormat<A, BlockQ4_0> {
  using typename BlockFormat<A, BlockQ4_0>::Header, typename BlockFormat<A, BlockQ4_0>::Int;
  static constexpr int kOffset = 8, kLargest = 15;

  static void header(const typename A::Rows& rows, std::size_t offset, Header& h) noexcept {
    h.scale[0][0] = A::load_half(rows, offset + offsetof(BlockQ4_0, d));
  }
  template <int kStage, class Out>
  [[gnu::always_inline]] static void stage(const typename A::Rows& rows, std::size_t offset, Header&,
                                           Out& w) noexcept {
    FormatQ4_0::nibbles(rows, offset + offsetof(BlockQ4_0, qs), w[0]);
  }
};

template <class A>
struct FormatQ4_1 : BlockFormat<A, BlockQ4_1, true> {
  using typename BlockFormat<A, BlockQ4_1, true>::Header, typename BlockFormat<A, BlockQ4_1, true>::Int;
  static constexpr int kOffset = 0, kLargest = 15;

  static void header(const typename A::Rows& rows, std::size_t offset, Header& h) noexcept {
    Int c[4];
    A::load_columns16(rows, offset, c);  // d, m
    h.scale[0][0] = A::half_low(c[0]);
    h.group_min[0] = A::half_high(c[0]);
  }
  template <int kStage, class Out>
  [[gnu::always_inline]] static void stage(const typename A::Rows& rows, std::size_t offset, Header&,
                                           Out& w) noexcept {
    FormatQ4_1::nibbles(rows, offset + offsetof(BlockQ4_1, qs), w[0]);
  }
};

template <class A>
struct FormatQ5_0 : BlockFormat<A, BlockQ5_0> {
  using typename BlockFormat<A, BlockQ5_0>::Header, typename BlockFormat<A, BlockQ5_0>::Int;
  static constexpr int kOffset = 16, kLargest = 31;

  static void header(const typename A::Rows& rows, std::size_t offset, Header& h) noexcept {
    Int c[4];
    A::load_columns16(rows, offset, c);  // d and the fifth bits: 2 + 4 bytes
    h.scale[0][0] = A::half_low(c[0]);
    h.high_bits[0] = A::or_int(A::template shift_right<16>(c[0]), A::template shift_left<16>(c[1]));
  }
  template <int kStage, class Out>
  [[gnu::always_inline]] static void stage(const typename A::Rows& rows, std::size_t offset, Header& h,
                                           Out& w) noexcept {
    FormatQ5_0::nibbles_and_bits(rows, offset + offsetof(BlockQ5_0, qs), h.high_bits[0], w[0]);
  }
};

template <class A>
struct FormatQ5_1 : BlockFormat<A, BlockQ5_1, true> {
  using typename BlockFormat<A, BlockQ5_1, true>::Header, typename BlockFormat<A, BlockQ5_1, true>::Int;
  static constexpr int kOffset = 0, kLargest = 31;

  static void header(const typename A::Rows& rows, std::size_t offset, Header& h) noexcept {
    Int c[4];
    A::load_columns16(rows, offset, c);  // d, m, fifth bits
    h.scale[0][0] = A::half_low(c[0]);
    h.group_min[0] = A::half_high(c[0]);
    h.high_bits[0] = c[1];
  }
  template <int kStage, class Out>
  [[gnu::always_inline]] static void stage(const typename A::Rows& rows, std::size_t offset, Header& h,
                                           Out& w) noexcept {
    FormatQ5_1::nibbles_and_bits(rows, offset + offsetof(BlockQ5_1, qs), h.high_bits[0], w[0]);
  }
};

template <class A>
struct FormatQ8_0 : BlockFormat<A, BlockQ8_0> {
  using typename BlockFormat<A, BlockQ8_0>::Header, typename BlockFormat<A, BlockQ8_0>::Int;
  static constexpr int kOffset = A::kSignedWeights ? 0 : 128;  // q as stored, or q + 128 as an unsigned byte
  static constexpr int kLargest = 255;

  static void header(const typename A::Rows& rows, std::size_t offset, Header& h) noexcept {
    h.scale[0][0] = A::load_half(rows, offset + offsetof(BlockQ8_0, d));
  }
  template <int kStage, class Out>
  [[gnu::always_inline]] static void stage(const typename A::Rows& rows, std::size_t offset, Header&,
                                           Out& w) noexcept {
    Int c[8];
    A::load_columns32(rows, offset + offsetof(BlockQ8_0, qs), c);
    unroll<A, 8>([&]<int C>() GEMMA_INLINE_LAMBDA {
      w[0][C] = A::kSignedWeights ? c[C] : A::xor_mask(c[C], 0x80808080);
    });
  }
};

/// The 16 levels of IQ4_NL and IQ4_XS as A::add_dots() takes them: signed, or unsigned with 128 added.
template <class A>
struct Iq4Levels {
  static constexpr int kOffset = A::kSignedWeights ? 0 : 128, kLargest = 255;
  struct Table {
    alignas(16) std::uint8_t level[16];
  };
  static constexpr Table kTable = [] {
    Table t{};
    for (std::size_t i = 0; i < 16; ++i) t.level[i] = static_cast<std::uint8_t>(kIQ4Values[i] + kOffset);
    return t;
  }();
  /// Replaces every byte of v, a code from 0 to 15, by its level.
  [[gnu::always_inline]] static typename A::Int of(typename A::Int v) noexcept {
    return A::look_up(v, kTable.level);
  }
};

template <class A>
struct FormatIQ4_NL : BlockFormat<A, BlockIQ4_NL> {
  using typename BlockFormat<A, BlockIQ4_NL>::Header, typename BlockFormat<A, BlockIQ4_NL>::Int;
  using Levels = Iq4Levels<A>;
  static constexpr int kOffset = Levels::kOffset, kLargest = Levels::kLargest;

  static void header(const typename A::Rows& rows, std::size_t offset, Header& h) noexcept {
    h.scale[0][0] = A::load_half(rows, offset + offsetof(BlockIQ4_NL, d));
  }
  template <int kStage, class Out>
  [[gnu::always_inline]] static void stage(const typename A::Rows& rows, std::size_t offset, Header&,
                                           Out& w) noexcept {
    Int codes[8];
    FormatIQ4_NL::nibbles(rows, offset + offsetof(BlockIQ4_NL, qs), codes);
    unroll<A, 8>([&]<int C>() GEMMA_INLINE_LAMBDA { w[0][C] = Levels::of(codes[C]); });
  }
};

}  // namespace gemma::kernels
