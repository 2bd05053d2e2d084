// Primitives (integer_primitives.hpp) of the 8-bit matmul on NEON with int8 matrix multiplies (Armv8.6-A):
// those of NEON, except that one instruction computes the 2 x 2 dot products of two rows and two tokens,
// eight bytes of each.
//
// smmla takes (row 0 | row 1) and (token 0 | token 1), eight bytes of each, and adds (r0 t0, r0 t1, r1 t0, r1
// t1) to its accumulator. Therefore the eight vectors of a group are not columns of four rows, as on NEON,
// but, for i < 4,
//   w[2i] = (row 0 | row 1), w[2i + 1] = (row 2 | row 3), weights 8i .. 8i + 7 of each,
// which needs only half of the transpose that columns need. Tokens are stored in pairs, eight bytes of one
// after eight of the other, so that the inner loop loads every operand without rearranging it.
// Invariant: included by kernels/arch/neoni8mm.cpp alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include <arm_neon.h>

#include "../generic/unroll.hpp"
#include "../generic/weight_formats.hpp"
#include "neon.hpp"

namespace gemma::kernels {

struct NeonI8mm : NeonPrimitives<NeonI8mm> {
  // The register tile: 2 panels x 6 tokens. 12 dot accumulators, 12 float accumulators, four vectors of
  // weights and one to three of activations take 29 to 31 of 32 registers, and there are 7 loads for 12 smmla
  // (one panel x 8 tokens, or two x 4: 9). If a group has two scales, the scaled dots of the first half are
  // kept until the second is done: 2 panels x 4 tokens, with 8 dots, products and sums.
  static constexpr int kPanels = 2;
  static constexpr int kTile = 6;
  static constexpr int kHalvesTile = 4;
  static constexpr int kStep = 6;  // tokens whose dot products are interleaved
  static constexpr int kPart = 2;  // token counts of smaller tiles are its multiples

  // ---- loads
  /// 16 bytes of each row, in pairs of rows: p[0] and p[1] hold bytes 0 .. 7 of rows (0 | 1) and (2 | 3),
  /// p[2] and p[3] their bytes 8 .. 15.
  static void load_pairs16(const Rows& rows, std::size_t offset, Int* p) noexcept {
    int64x2_t a[4];
    unroll<NeonI8mm, 4>(
        [&]<int I>() GEMMA_INLINE_LAMBDA { a[I] = vreinterpretq_s64_u8(vld1q_u8(rows.row[I] + offset)); });
    unroll<NeonI8mm, 2>([&]<int I>() GEMMA_INLINE_LAMBDA {
      p[I] = vreinterpretq_s32_s64(vzip1q_s64(a[2 * I], a[2 * I + 1]));
      p[I + 2] = vreinterpretq_s32_s64(vzip2q_s64(a[2 * I], a[2 * I + 1]));
    });
  }
  /// 32 bytes of weights of each row, in the order of add_dots(); hides the function of NeonPrimitives.
  static void load_columns32(const Rows& rows, std::size_t offset, Int (&p)[8]) noexcept {
    load_pairs16(rows, offset, p);
    load_pairs16(rows, offset + 16, p + 4);
  }

  /// 16 bytes of weights of each row: four vectors in the same order; hides the function of NeonPrimitives.
  static void load_weights16(const Rows& rows, std::size_t offset, Int (&p)[4]) noexcept {
    load_pairs16(rows, offset, p);
  }
  /// Vector kVector of a group: the byte of a weight is 0x10 if the weight's bit is set among the 32 bits of
  /// its row, else 0. Hides the function of NeonPrimitives.
  template <int kVector>
  static Int spread_bits(Int v) noexcept {
    constexpr std::uint64_t kFirst = kVector % 2 * 8 + kVector / 2;  // byte kVector / 2 of row 0 or 2
    const uint8x16_t index = vcombine_u8(vdup_n_u8(kFirst), vdup_n_u8(kFirst + 4));
    const uint8x16_t bits = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201u));
    return tested_bits(v, index, bits);
  }

  // ---- activations
  /// Copies the 32 bytes of token t (of kTokens) into a group of a unit. Tokens 2i and 2i + 1 share their 64
  /// bytes, eight of one and eight of the other in turn; the last of an odd number of tokens is copied
  /// without interleaving.
  template <int kTokens>
  static void place_token(const std::int8_t* q, std::size_t t, std::int8_t (*group)[32]) noexcept {
    if ((t | 1) < kTokens) {
      for (std::size_t i = 0; i < 4; ++i)
        __builtin_memcpy(&group[t - t % 2 + i / 2][i % 2 * 16 + t % 2 * 8], q + 8 * i, 8);
    } else {
      __builtin_memcpy(group[t], q, 32);
    }
  }

  // ---- arithmetic
  /// dots[p][t] += the products of w[p][kBegin .. kBegin + kCount) and the same bytes of token t, in the
  /// order of place_token().
  template <class W, int kBegin, int kCount, int n_panels, int kTokens>
  [[gnu::always_inline]] static void add_dots(const Int (*w)[8], const std::int8_t* x,
                                              Int (&dots)[n_panels][kTokens]) noexcept {
    constexpr int kPairs = kTokens / 2;
    Int pair[n_panels][kPairs + 1][2];  // rows (0 | 1) and (2 | 3)
    // for the last of an odd number of tokens the operand is (bytes 0 .. 7 | 8 .. 15) instead of a pair of
    // tokens: of its products with weights 0 .. 7 lanes 0 and 2 count, with weights 8 .. 15 lanes 1 and 3
    Int last[2][n_panels][2];
    unroll<NeonI8mm, n_panels>([&]<int P>() GEMMA_INLINE_LAMBDA {
      unroll<NeonI8mm, kPairs>([&]<int T>()
                                   GEMMA_INLINE_LAMBDA { pair[P][T][0] = pair[P][T][1] = zero_int(); });
      last[0][P][0] = last[0][P][1] = last[1][P][0] = last[1][P][1] = zero_int();
    });
    unroll<NeonI8mm, kCount / 2>([&]<int I>() GEMMA_INLINE_LAMBDA {
      constexpr int kFirst = kBegin + 2 * I;
      unroll<NeonI8mm, kPairs>([&]<int T>() GEMMA_INLINE_LAMBDA {
        const int8x16_t tokens = vld1q_s8(x + 64 * T + 8 * kFirst);
        unroll<NeonI8mm, n_panels>([&]<int P>() GEMMA_INLINE_LAMBDA {
          unroll<NeonI8mm, 2>([&]<int R>() GEMMA_INLINE_LAMBDA {
            pair[P][T][R] = vmmlaq_s32(pair[P][T][R], vreinterpretq_s8_s32(w[P][kFirst + R]), tokens);
          });
        });
      });
      if constexpr (kTokens % 2 == 1) {
        const int8x16_t token = vld1q_s8(x + 64 * kPairs + 4 * (kFirst - kFirst % 4));
        unroll<NeonI8mm, n_panels>([&]<int P>() GEMMA_INLINE_LAMBDA {
          unroll<NeonI8mm, 2>([&]<int R>() GEMMA_INLINE_LAMBDA {
            Int& sum = last[kFirst / 2 % 2][P][R];
            sum = vmmlaq_s32(sum, vreinterpretq_s8_s32(w[P][kFirst + R]), token);
          });
        });
      }
    });
    unroll<NeonI8mm, n_panels>([&]<int P>() GEMMA_INLINE_LAMBDA {
      unroll<NeonI8mm, kPairs>([&]<int T>() GEMMA_INLINE_LAMBDA {
        dots[P][2 * T] = vaddq_s32(dots[P][2 * T], vuzp1q_s32(pair[P][T][0], pair[P][T][1]));
        dots[P][2 * T + 1] = vaddq_s32(dots[P][2 * T + 1], vuzp2q_s32(pair[P][T][0], pair[P][T][1]));
      });
      if constexpr (kTokens % 2 == 1)
        dots[P][kTokens - 1] = vaddq_s32(
            dots[P][kTokens - 1],
            vaddq_s32(vuzp1q_s32(last[0][P][0], last[0][P][1]), vuzp2q_s32(last[1][P][0], last[1][P][1])));
    });
  }
};

/// A format with its weights made signed: the offset is subtracted from each weight once, when it is
/// unpacked, instead of from the dots of every token (for Q6_K, 8 rows and 4 tokens that would take 16 more
/// instructions in a group of 88, and 8 to load the sums of offsets).
template <class Format>
struct SignedFormat : Format {
  static constexpr int kOffset = 0;
  template <int kStage, class Out>
  [[gnu::always_inline]] static void stage(const NeonI8mm::Rows& rows, std::size_t offset,
                                           typename Format::Header& h, Out& w) noexcept {
    if constexpr (Format::kOffset == 0) {
      Format::template stage<kStage>(rows, offset, h, w);
    } else {
      NeonI8mm::Int unpacked[Format::kStageGroups][8];
      Format::template stage<kStage>(rows, offset, h, unpacked);
      unroll<NeonI8mm, Format::kStageGroups>([&]<int G>() GEMMA_INLINE_LAMBDA {
        unroll<NeonI8mm, 8>([&]<int C>() GEMMA_INLINE_LAMBDA {
          w[G][C] = NeonI8mm::sub_bytes(unpacked[G][C], Format::kOffset);
        });
      });
    }
  }
};

}  // namespace gemma::kernels
