// Primitives (integer_primitives.hpp) of the 8-bit matmul on AVX-512 with VNNI: 16 rows per vector.
// Invariant: included by kernels/arch/avx512vnni.cpp alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include <immintrin.h>

#include "../generic/unroll.hpp"

namespace gemma::kernels {

struct Avx512Vnni {
  using Int = __m512i;
  using Float = __m512;
  static constexpr std::size_t kLanes = 16;
  // The register tile: 2 panels x 6 tokens, 12 float accumulators and 12 dot accumulators at a time. Each
  // broadcast of activations serves two panels, each vector of weights six tokens: 8 loads for 12 dot
  // products. One panel x 16 tokens took 17 loads for 16 and was bound by loads (a core does two 64-byte
  // loads and two dot products per cycle).
  static constexpr int kPanels = 2;
  static constexpr int kTile = 6;
  static constexpr int kHalvesTile = 4;          // two scales per group: 8 sums, 8 dots, 8 products
  static constexpr int kStep = 6;                // tokens whose dot products are interleaved
  static constexpr int kPart = 1;                // token counts of smaller tiles are its multiples
  static constexpr int kDirectTokens = 8;        // up to this many tokens, weights are multiplied as unpacked
  static constexpr bool kSignedWeights = false;  // vpdpbusd: unsigned weights

  static constexpr bool kFixedHints = true;
  static constexpr bool kRowVectors = true;  // for one token, rows are read end to end (matmul_rows.hpp)

  struct Rows {
    const std::uint8_t* row[kLanes];
  };

  // ---- loads
  /// 32 bytes at `low`, then 32 bytes at `high`.
  static Int load32(const std::uint8_t* low, const std::uint8_t* high) noexcept {
    const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(low));
    const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(high));
    return _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1);
  }
  /// 32 bytes of each row, transposed: c[i] holds bytes 4i .. 4i + 3, of row r in lane r.
  static void load_columns32(const Rows& rows, std::size_t offset, Int (&c)[8]) noexcept {
    Int a[8], b[8];
    // a[i] holds rows i and i + 4 of the first eight rows (i < 4) or of the last eight
    unroll<Avx512Vnni, 8>([&]<int I>() GEMMA_INLINE_LAMBDA {
      constexpr int kRow = I / 4 * 8 + I % 4;
      a[I] = load32(rows.row[kRow] + offset, rows.row[kRow + 4] + offset);
    });
    unroll<Avx512Vnni, 4>([&]<int I>() GEMMA_INLINE_LAMBDA {
      b[2 * I] = _mm512_unpacklo_epi32(a[2 * I], a[2 * I + 1]);
      b[2 * I + 1] = _mm512_unpackhi_epi32(a[2 * I], a[2 * I + 1]);
    });
    // a[4h + i]: its 128-bit lanes hold dwords i and i + 4 of rows 0-3, then of rows 4-7, of the eight rows h
    unroll<Avx512Vnni, 2>([&]<int H>() GEMMA_INLINE_LAMBDA {
      a[4 * H + 0] = _mm512_unpacklo_epi64(b[4 * H], b[4 * H + 2]);
      a[4 * H + 1] = _mm512_unpackhi_epi64(b[4 * H], b[4 * H + 2]);
      a[4 * H + 2] = _mm512_unpacklo_epi64(b[4 * H + 1], b[4 * H + 3]);
      a[4 * H + 3] = _mm512_unpackhi_epi64(b[4 * H + 1], b[4 * H + 3]);
    });
    unroll<Avx512Vnni, 4>([&]<int I>() GEMMA_INLINE_LAMBDA {
      c[I] = _mm512_shuffle_i32x4(a[I], a[I + 4], 0x88);
      c[I + 4] = _mm512_shuffle_i32x4(a[I], a[I + 4], 0xDD);
    });
  }
  /// 16 bytes of each row, transposed in the same way.
  static void load_columns16(const Rows& rows, std::size_t offset, Int (&c)[4]) noexcept {
    const auto load = [&](int r) GEMMA_INLINE_LAMBDA {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows.row[r] + offset));
    };
    Int a[4];
    unroll<Avx512Vnni, 4>([&]<int I>() GEMMA_INLINE_LAMBDA {
      Int v = _mm512_castsi128_si512(load(I));
      v = _mm512_inserti32x4(v, load(I + 4), 1);
      v = _mm512_inserti32x4(v, load(I + 8), 2);
      a[I] = _mm512_inserti32x4(v, load(I + 12), 3);
    });
    const Int b0 = _mm512_unpacklo_epi32(a[0], a[1]), b1 = _mm512_unpackhi_epi32(a[0], a[1]);
    const Int b2 = _mm512_unpacklo_epi32(a[2], a[3]), b3 = _mm512_unpackhi_epi32(a[2], a[3]);
    c[0] = _mm512_unpacklo_epi64(b0, b2);
    c[1] = _mm512_unpackhi_epi64(b0, b2);
    c[2] = _mm512_unpacklo_epi64(b1, b3);
    c[3] = _mm512_unpackhi_epi64(b1, b3);
  }
  /// 16 bytes of weights of each row, in the order of add_dots().
  static void load_weights16(const Rows& rows, std::size_t offset, Int (&c)[4]) noexcept {
    load_columns16(rows, offset, c);
  }
  /// The binary16 at `offset` of each row.
  static Float load_half(const Rows& rows, std::size_t offset) noexcept {
    __m128i low = _mm_setzero_si128(), high = _mm_setzero_si128();
    unroll<Avx512Vnni, 8>([&]<int I>() GEMMA_INLINE_LAMBDA {
      low = _mm_insert_epi16(low, load_u16(rows.row[I] + offset), I);
      high = _mm_insert_epi16(high, load_u16(rows.row[I + 8] + offset), I);
    });
    return _mm512_cvtph_ps(_mm256_set_m128i(high, low));
  }
  static int load_u16(const std::uint8_t* p) noexcept {
    std::uint16_t v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
  }
  static Float load(const float* p) noexcept { return _mm512_load_ps(p); }
  static void store(float* p, Float v) noexcept { _mm512_store_ps(p, v); }
  static Float broadcast(const float* p) noexcept { return _mm512_set1_ps(*p); }
  static Int broadcast_int(const std::int32_t* p) noexcept { return _mm512_set1_epi32(*p); }

  // ---- rows
  static Int load_int(const void* p) noexcept { return _mm512_loadu_si512(p); }
  static Int add_int(Int a, Int b) noexcept { return _mm512_add_epi32(a, b); }
  static Int dot(Int w, Int x) noexcept { return _mm512_dpbusd_epi32(_mm512_setzero_si512(), w, x); }
  /// Element i of each 128-bit lane: the sum of that lane's elements of v[i].
  static Int sum_lanes(const Int (&v)[4]) noexcept {
    const Int a = _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
    const Int b = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
    return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
  }
  /// Transposes d in place: exchanges d[i][r] and d[r][i].
  static void transpose(Int (&d)[16]) noexcept {
    Int t[16];
    unroll<Avx512Vnni, 8>([&]<int I>() GEMMA_INLINE_LAMBDA {
      t[2 * I] = _mm512_unpacklo_epi32(d[2 * I], d[2 * I + 1]);
      t[2 * I + 1] = _mm512_unpackhi_epi32(d[2 * I], d[2 * I + 1]);
    });
    unroll<Avx512Vnni, 4>([&]<int I>() GEMMA_INLINE_LAMBDA {  // rows 4I .. 4I + 3
      d[4 * I] = _mm512_unpacklo_epi64(t[4 * I], t[4 * I + 2]);
      d[4 * I + 1] = _mm512_unpackhi_epi64(t[4 * I], t[4 * I + 2]);
      d[4 * I + 2] = _mm512_unpacklo_epi64(t[4 * I + 1], t[4 * I + 3]);
      d[4 * I + 3] = _mm512_unpackhi_epi64(t[4 * I + 1], t[4 * I + 3]);
    });
    unroll<Avx512Vnni, 4>([&]<int I>() GEMMA_INLINE_LAMBDA {  // columns I, 4 + I, 8 + I, 12 + I
      const Int low = _mm512_shuffle_i32x4(d[I], d[4 + I], 0x88);
      const Int high = _mm512_shuffle_i32x4(d[8 + I], d[12 + I], 0x88);
      const Int odd_low = _mm512_shuffle_i32x4(d[I], d[4 + I], 0xDD);
      const Int odd_high = _mm512_shuffle_i32x4(d[8 + I], d[12 + I], 0xDD);
      t[I] = _mm512_shuffle_i32x4(low, high, 0x88);
      t[4 + I] = _mm512_shuffle_i32x4(odd_low, odd_high, 0x88);
      t[8 + I] = _mm512_shuffle_i32x4(low, high, 0xDD);
      t[12 + I] = _mm512_shuffle_i32x4(odd_low, odd_high, 0xDD);
    });
    unroll<Avx512Vnni, 16>([&]<int I>() GEMMA_INLINE_LAMBDA { d[I] = t[I]; });
  }

  // ---- bits
  static Int zero_int() noexcept { return _mm512_setzero_si512(); }
  static Int and_mask(Int v, int mask) noexcept { return _mm512_and_si512(v, _mm512_set1_epi32(mask)); }
  static Int xor_mask(Int v, unsigned mask) noexcept {
    return _mm512_xor_si512(v, _mm512_set1_epi32(static_cast<int>(mask)));
  }
  /// (v & mask) | other
  static Int and_mask_or(Int v, int mask, Int other) noexcept {
    return _mm512_ternarylogic_epi32(v, _mm512_set1_epi32(mask), other, 0xEA);
  }
  static Int or_int(Int a, Int b) noexcept { return _mm512_or_si512(a, b); }
  static Int sub_bytes(Int v, int subtrahend) noexcept {
    return _mm512_sub_epi8(v, _mm512_set1_epi8(static_cast<char>(subtrahend)));
  }
  /// Replaces every byte b of v, 0 to 15, by table[b].
  static Int look_up(Int v, const std::uint8_t (&table)[16]) noexcept {
    const __m128i t = _mm_load_si128(reinterpret_cast<const __m128i*>(table));
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(t), v);
  }
  /// Byte b of each lane: 0x10 if bit 4 * kColumn + b of that lane of v is set, else 0.
  template <int kColumn>
  static Int spread_bits(Int v) noexcept {
    // byte b of the result: eight bits of the 64-bit word, from bit 4 * kColumn + b - 4 of the lane on
    constexpr unsigned kEven = (4u * kColumn + 60) % 64 * 0x01010101u + 0x03020100u;
    constexpr unsigned kOdd = (4u * kColumn + 28) % 64 * 0x01010101u + 0x03020100u;
    const Int from = _mm512_set1_epi64(static_cast<long long>((std::uint64_t{kOdd} << 32) | kEven));
    return and_mask(_mm512_multishift_epi64_epi8(from, v), 0x10101010);
  }
  template <int kBits>
  static Int shift_right(Int v) noexcept {
    if constexpr (kBits == 0)
      return v;
    else
      return _mm512_srli_epi32(v, kBits);
  }
  /// Shifts to the right if kBits is negative.
  template <int kBits>
  static Int shift_left(Int v) noexcept {
    if constexpr (kBits < 0)
      return shift_right<-kBits>(v);
    else if constexpr (kBits == 0)
      return v;
    else
      return _mm512_slli_epi32(v, kBits);
  }
  template <int kByte>
  static Int unsigned_byte(Int v) noexcept {
    return kByte == 3 ? _mm512_srli_epi32(v, 24) : and_mask(shift_right<8 * kByte>(v), 0xFF);
  }
  template <int kByte>
  static Int signed_byte(Int v) noexcept {
    return _mm512_srai_epi32(shift_left<24 - 8 * kByte>(v), 24);
  }

  // ---- arithmetic
  static Float half_low(Int v) noexcept { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v)); }
  static Float half_high(Int v) noexcept { return half_low(_mm512_srli_epi32(v, 16)); }
  static Float to_float(Int v) noexcept { return _mm512_cvtepi32_ps(v); }
  static Float as_float(Int v) noexcept { return _mm512_castsi512_ps(v); }
  static Int as_int(Float v) noexcept { return _mm512_castps_si512(v); }
  static Float negate(Float v) noexcept { return as_float(xor_mask(as_int(v), 0x80000000u)); }
  static Float mul(Float a, Float b) noexcept { return _mm512_mul_ps(a, b); }
  static Float sub(Float a, Float b) noexcept { return _mm512_sub_ps(a, b); }
  static Float fma(Float a, Float b, Float c) noexcept { return _mm512_fmadd_ps(a, b, c); }
  /// sum + a.low * b.low + a.high * b.high, with the int16 halves of each lane
  static Int add_pair_products(Int sum, Int a, Int b) noexcept { return _mm512_dpwssd_epi32(sum, a, b); }

  /// dots[p][t] += the products of w[p][kBegin .. kBegin + kCount) and bytes 4 * kBegin .. of token t (32
  /// bytes per token).
  template <class W, int kBegin, int kCount, int n_panels, int kTokens>
  [[gnu::always_inline]] static void add_dots(const Int (*w)[8], const std::int8_t* x,
                                              Int (&dots)[n_panels][kTokens]) noexcept {
    Int x4 = zero_int();
    unroll<Avx512Vnni, kCount * kTokens * n_panels>([&]<int N>() GEMMA_INLINE_LAMBDA {
      constexpr int kColumn = kBegin + N / n_panels / kTokens, T = N / n_panels % kTokens, P = N % n_panels;
      if constexpr (P == 0) {
        std::int32_t four;
        __builtin_memcpy(&four, x + 32 * T + 4 * kColumn, sizeof four);
        x4 = _mm512_set1_epi32(four);
      }
      dots[P][T] = _mm512_dpbusd_epi32(dots[P][T], w[P][kColumn], x4);
    });
  }
};

}  // namespace gemma::kernels
