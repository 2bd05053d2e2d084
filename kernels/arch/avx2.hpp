// Primitives (integer_primitives.hpp) of the 8-bit matmul on AVX2: 8 rows per vector; pairs of products are
// added in 16 bits.
// Invariant: no 16-bit sum saturates (bounds at add_unsigned_dots() and add_signed_dots()). Avx2Primitives is
// a template over the instruction set that derives from it, so that units with different flags share no
// function.
#pragma once

#include <cstddef>
#include <cstdint>

#include <immintrin.h>

#include "../generic/unroll.hpp"

namespace gemma::kernels {

/// Primitives that AVX2 shares with its successors on 32-byte vectors. A is the struct that derives from
/// this.
template <class A>
struct Avx2Primitives {
  using Int = __m256i;
  using Float = __m256;
  static constexpr std::size_t kLanes = 8;
  static constexpr bool kRowVectors = false;
  // The register tile: 2 panels x 6 tokens. 12 dot accumulators (AVX2: sums of 16 bits), two vectors of
  // weights, one of activations and, on AVX2, one of products fill the 16 registers; float accumulators are
  // kept in the L1.
  static constexpr int kPanels = 2;
  static constexpr int kTile = 6;
  static constexpr int kHalvesTile = 6;
  static constexpr int kStep = 6;          // tokens whose dot products are interleaved
  static constexpr int kPart = 1;          // token counts of smaller tiles are its multiples
  static constexpr int kDirectTokens = 6;  // up to this many tokens, weights are multiplied as unpacked
  static constexpr bool kFixedHints = true;
  static constexpr bool kColumnsByHalves = true;  // eight columns at once would exceed the registers

  struct Rows {
    const std::uint8_t* row[kLanes];
  };

  // ---- loads
  static __m128i load16(const std::uint8_t* p) noexcept {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  }
  /// 16 bytes of each row, transposed: c[i] holds bytes 4i .. 4i + 3, of row r in lane r.
  static void load_columns16(const Rows& rows, std::size_t offset, Int (&c)[4]) noexcept {
    Int a[4];  // rows i and i + 4
    unroll<A, 4>([&]<int I>() GEMMA_INLINE_LAMBDA {
      a[I] = _mm256_inserti128_si256(_mm256_castsi128_si256(load16(rows.row[I] + offset)),
                                     load16(rows.row[I + 4] + offset), 1);
    });
    const Int b0 = _mm256_unpacklo_epi32(a[0], a[1]), b1 = _mm256_unpackhi_epi32(a[0], a[1]);
    const Int b2 = _mm256_unpacklo_epi32(a[2], a[3]), b3 = _mm256_unpackhi_epi32(a[2], a[3]);
    c[0] = _mm256_unpacklo_epi64(b0, b2);
    c[1] = _mm256_unpackhi_epi64(b0, b2);
    c[2] = _mm256_unpacklo_epi64(b1, b3);
    c[3] = _mm256_unpackhi_epi64(b1, b3);
  }
  /// 32 bytes of each row, transposed in the same way.
  static void load_columns32(const Rows& rows, std::size_t offset, Int (&c)[8]) noexcept {
    Int low[4], high[4];
    load_columns16(rows, offset, low);
    load_columns16(rows, offset + 16, high);
    unroll<A, 4>([&]<int I>() GEMMA_INLINE_LAMBDA {
      c[I] = low[I];
      c[I + 4] = high[I];
    });
  }
  /// 16 bytes of weights of each row, in the order of add_dots().
  static void load_weights16(const Rows& rows, std::size_t offset, Int (&c)[4]) noexcept {
    load_columns16(rows, offset, c);
  }
  /// The binary16 at `offset` of each row.
  static Float load_half(const Rows& rows, std::size_t offset) noexcept {
    __m128i h = _mm_setzero_si128();
    unroll<A, 8>([&]<int I>() GEMMA_INLINE_LAMBDA {
      std::uint16_t v;
      __builtin_memcpy(&v, rows.row[I] + offset, sizeof v);
      h = _mm_insert_epi16(h, v, I);
    });
    return _mm256_cvtph_ps(h);
  }
  static Float load(const float* p) noexcept { return _mm256_load_ps(p); }
  static void store(float* p, Float v) noexcept { _mm256_store_ps(p, v); }
  static Float broadcast(const float* p) noexcept { return _mm256_broadcast_ss(p); }
  static Int broadcast_int(const std::int32_t* p) noexcept { return _mm256_set1_epi32(*p); }
  /// The four bytes at p, in every lane.
  static Int broadcast_four(const std::int8_t* p) noexcept {
    std::int32_t four;
    __builtin_memcpy(&four, p, sizeof four);
    return _mm256_set1_epi32(four);
  }

  // ---- bits
  static Int zero_int() noexcept { return _mm256_setzero_si256(); }
  static Int and_mask(Int v, int mask) noexcept { return _mm256_and_si256(v, _mm256_set1_epi32(mask)); }
  static Int xor_mask(Int v, unsigned mask) noexcept {
    return _mm256_xor_si256(v, _mm256_set1_epi32(static_cast<int>(mask)));
  }
  /// (v & mask) | other
  static Int and_mask_or(Int v, int mask, Int other) noexcept {
    return _mm256_or_si256(and_mask(v, mask), other);
  }
  static Int or_int(Int a, Int b) noexcept { return _mm256_or_si256(a, b); }
  static Int sub_bytes(Int v, int subtrahend) noexcept {
    return _mm256_sub_epi8(v, _mm256_set1_epi8(static_cast<char>(subtrahend)));
  }
  /// Replaces every byte b of v, 0 to 15, by table[b].
  static Int look_up(Int v, const std::uint8_t (&table)[16]) noexcept {
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load16(table)), v);
  }
  /// Byte b of each lane: 0x10 if bit 4 * kColumn + b of that lane of v is set, else 0.
  template <int kColumn>
  static Int spread_bits(Int v) noexcept {
    constexpr int kByte = kColumn / 2 * 0x01010101;  // copies the byte of each lane that holds its bits
    const Int bytes = _mm256_shuffle_epi8(
        v, _mm256_setr_epi32(kByte, kByte + 0x04040404, kByte + 0x08080808, kByte + 0x0C0C0C0C, kByte,
                             kByte + 0x04040404, kByte + 0x08080808, kByte + 0x0C0C0C0C));
    const Int bits = _mm256_set1_epi32(kColumn % 2 == 0 ? 0x08040201 : static_cast<int>(0x80402010u));
    return and_mask(_mm256_cmpeq_epi8(_mm256_and_si256(bytes, bits), bits), 0x10101010);
  }
  template <int kBits>
  static Int shift_right(Int v) noexcept {
    if constexpr (kBits == 0)
      return v;
    else
      return _mm256_srli_epi32(v, kBits);
  }
  /// Shifts to the right if kBits is negative.
  template <int kBits>
  static Int shift_left(Int v) noexcept {
    if constexpr (kBits < 0)
      return shift_right<-kBits>(v);
    else if constexpr (kBits == 0)
      return v;
    else
      return _mm256_slli_epi32(v, kBits);
  }
  template <int kByte>
  static Int unsigned_byte(Int v) noexcept {
    return kByte == 3 ? _mm256_srli_epi32(v, 24) : and_mask(shift_right<8 * kByte>(v), 0xFF);
  }
  template <int kByte>
  static Int signed_byte(Int v) noexcept {
    return _mm256_srai_epi32(shift_left<24 - 8 * kByte>(v), 24);
  }

  // ---- arithmetic
  /// The low 16 bits of each lane as binary16.
  static Float half_low(Int v) noexcept {
    const Int low = and_mask(v, 0xFFFF);
    const Int packed = _mm256_packus_epi32(low, low);  // within 128-bit halves: lanes 0-3 0-3 | 4-7 4-7
    return _mm256_cvtph_ps(_mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08)));
  }
  static Float half_high(Int v) noexcept { return half_low(_mm256_srli_epi32(v, 16)); }
  static Float to_float(Int v) noexcept { return _mm256_cvtepi32_ps(v); }
  static Float as_float(Int v) noexcept { return _mm256_castsi256_ps(v); }
  static Int as_int(Float v) noexcept { return _mm256_castps_si256(v); }
  static Float negate(Float v) noexcept { return as_float(xor_mask(as_int(v), 0x80000000u)); }
  static Float mul(Float a, Float b) noexcept { return _mm256_mul_ps(a, b); }
  static Float sub(Float a, Float b) noexcept { return _mm256_sub_ps(a, b); }
  static Float fma(Float a, Float b, Float c) noexcept { return _mm256_fmadd_ps(a, b, c); }
};

struct Avx2 : Avx2Primitives<Avx2> {
  static constexpr bool kSignedWeights = true;  // 8-bit w: pairs of products of w + 128 exceed 16 bits

  /// sum + a.low * b.low + a.high * b.high, with the int16 halves of each lane
  static Int add_pair_products(Int sum, Int a, Int b) noexcept {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
  }

  /// The initial value of the 16-bit sums of add_dots() for weights with an offset, as two int16. The low one
  /// is -offset * (the sum of x[4i] + x[4i + 1] over i < kCount / 4); the high one has x[4i + 2] + x[4i + 3]
  /// instead.
  template <int kCount>
  static std::int32_t offset_pair(const std::int8_t* x, std::int32_t offset) noexcept {
    const __m128i one = _mm_set1_epi8(1);
    __m128i sums = _mm_setzero_si128();
    for (int i = 0; i < kCount; i += 16)
      sums =
          _mm_add_epi16(sums, _mm_maddubs_epi16(one, load16(reinterpret_cast<const std::uint8_t*>(x) + i)));
    sums = _mm_add_epi16(sums, _mm_shuffle_epi32(sums, 0x4E));
    sums = _mm_add_epi16(sums, _mm_shuffle_epi32(sums, 0xB1));
    return _mm_cvtsi128_si32(_mm_mullo_epi16(sums, _mm_set1_epi16(static_cast<std::int16_t>(-offset))));
  }

  /// dots[p][t] += the products of w[p][kBegin .. kBegin + kCount) and bytes 4 * kBegin .. of token t (32
  /// bytes per token). The caller initialises dots to zero or, if the format has an offset, to its
  /// offset_pair().
  template <class W, int kBegin, int kCount, int n_panels, int kTokens>
  [[gnu::always_inline]] static void add_dots(const Int (*w)[8], const std::int8_t* x,
                                              Int (&dots)[n_panels][kTokens]) noexcept {
    if constexpr (W::kLargest > 127)
      add_signed_dots<kBegin, kCount>(w, x, dots);
    else
      add_unsigned_dots<W, kBegin, kCount>(w, x, dots);
  }

 private:
  /// Forces the sum into a register at this point. Otherwise gcc delays the additions to the end and spills
  /// all products.
  static void pin(Int& sum) noexcept { __asm__("" : "+x"(sum)); }

  /// Accumulates pairs of products in 16 bits for as many columns as fit, then adds pairs of these sums to
  /// the 32-bit accumulators.
  template <class W, int kBegin, int kCount, int n_panels, int kTokens>
  [[gnu::always_inline]] static void add_unsigned_dots(const Int (*w)[8], const std::int8_t* x,
                                                       Int (&dots)[n_panels][kTokens]) noexcept {
    // number of columns whose 16-bit sums stay below 2^15: Q4_K 8 * 2 * 15 * 127 = 30480, Q5_K 4 * 2 * 31 *
    // 127 = 31496; with the offset subtracted, Q5_0 8 * 2 * 16 * 127 = 32512, Q6_K 4 * 2 * 32 * 127 = 32512.
    // Intermediate sums may wrap; a single pair, 2 * 63 * 127 = 16002, does not saturate.
    constexpr int kMagnitude = W::kOffset > W::kLargest - W::kOffset ? W::kOffset : W::kLargest - W::kOffset;
    constexpr int kTogether = 8 * 2 * kMagnitude * 127 < 1 << 15 ? 8 : 4;
    static_assert(kTogether * 2 * kMagnitude * 127 < 1 << 15 && 2 * W::kLargest * 127 < 1 << 15);
    constexpr int kRun = kTogether < kCount ? kTogether : kCount;
    static_assert(W::kOffset == 0 || kRun == kCount);  // only the first run includes the offset
    Int sums[n_panels][kTokens];
    Int x4 = zero_int();
    unroll<Avx2, kCount * kTokens * n_panels>([&]<int N>() GEMMA_INLINE_LAMBDA {
      constexpr int I = N / n_panels / kTokens, T = N / n_panels % kTokens, P = N % n_panels;
      if constexpr (P == 0) x4 = broadcast_four(x + 32 * T + 4 * (kBegin + I));
      if constexpr (I % kRun == 0) sums[P][T] = I == 0 ? dots[P][T] : zero_int();
      sums[P][T] = _mm256_add_epi16(sums[P][T], _mm256_maddubs_epi16(w[P][kBegin + I], x4));
      pin(sums[P][T]);
      if constexpr (I % kRun == kRun - 1) {
        const Int sum = _mm256_madd_epi16(sums[P][T], _mm256_set1_epi16(1));
        dots[P][T] = I < kRun ? sum : _mm256_add_epi32(dots[P][T], sum);
      }
    });
  }

  /// For Q8_0 and IQ4: multiplies |w| by x with the sign of w. A pair of products is at most 2 * 128 * 127 =
  /// 32512.
  template <int kBegin, int kCount, int n_panels, int kTokens>
  [[gnu::always_inline]] static void add_signed_dots(const Int (*w)[8], const std::int8_t* x,
                                                     Int (&dots)[n_panels][kTokens]) noexcept {
    Int magnitude[n_panels];
    Int x4 = zero_int();
    unroll<Avx2, kCount * kTokens * n_panels>([&]<int N>() GEMMA_INLINE_LAMBDA {
      constexpr int kColumn = kBegin + N / n_panels / kTokens, T = N / n_panels % kTokens, P = N % n_panels;
      if constexpr (T == 0) magnitude[P] = _mm256_abs_epi8(w[P][kColumn]);
      if constexpr (P == 0) x4 = broadcast_four(x + 32 * T + 4 * kColumn);
      const Int pairs = _mm256_maddubs_epi16(magnitude[P], _mm256_sign_epi8(x4, w[P][kColumn]));
      dots[P][T] = _mm256_add_epi32(dots[P][T], _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
      pin(dots[P][T]);
    });
  }
};

}  // namespace gemma::kernels
