// The float vector (float_vector.hpp) of AVX-512: 16 lanes.
// Invariant: included by kernels/arch/avx512vnni.cpp alone, so that the linker cannot choose this code for
// another unit. Operations that xsimd lacks (8.1: fused multiply-add), or names differently between releases,
// are written here.
#pragma once

// gcc 12's AVX-512 intrinsics begin with deliberately undefined registers, and gcc warns about them (GCC PR
// 105593)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop

#include <cstddef>
#include <cstdint>

#include <xsimd/xsimd.hpp>

namespace gemma::kernels {

struct Avx512Vector {
  using batch = xsimd::batch<float, xsimd::avx512bw>;
  static constexpr std::size_t kLanes = 16;
  // attention: rows and vectors of a register tile (24 accumulators in 32 registers)
  static constexpr int kAttentionRows = 12;
  static constexpr int kAttentionVectors = 2;
  // attention over 8-bit keys: dot accumulators of a register tile (besides as many float accumulators)
  static constexpr int kAttentionDots = 12;
  // matmul: maxima of weight rows, tokens and accumulators of a register tile
  static constexpr int kMatmulRows = 4;
  static constexpr int kMatmulTokens = 6;
  static constexpr int kMatmulSums = 24;

  static batch fma(batch a, batch b, batch c) noexcept { return _mm512_fmadd_ps(a, b, c); }
  /// Correctly rounded (IEEE 754).
  static batch divide(batch a, batch b) noexcept { return _mm512_div_ps(a, b); }

  /// Mask of the first n lanes.
  static __mmask16 first(std::size_t n) noexcept { return static_cast<__mmask16>((1u << n) - 1u); }

  /// The first n < kLanes floats; the other lanes are 0 and their memory is not read.
  static batch load_part(const float* p, std::size_t n) noexcept {
    return _mm512_maskz_loadu_ps(first(n), p);
  }
  static void store_part(batch x, float* p, std::size_t n) noexcept { _mm512_mask_storeu_ps(p, first(n), x); }

  static batch load_f16(const std::uint16_t* p) noexcept {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static batch load_f16_part(const std::uint16_t* p, std::size_t n) noexcept {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first(n), p));
  }
  static batch load_bf16(const std::uint16_t* p) noexcept {
    return from_bf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static batch load_bf16_part(const std::uint16_t* p, std::size_t n) noexcept {
    return from_bf16(_mm256_maskz_loadu_epi16(first(n), p));
  }
  /// Rounds to nearest even; magnitudes above 65504 saturate. NaN stays NaN, because min and max return their
  /// second operand for it.
  static void store_f16(batch x, std::uint16_t* p) noexcept {
    const __m512 limited =
        _mm512_min_ps(_mm512_set1_ps(65504.0f), _mm512_max_ps(_mm512_set1_ps(-65504.0f), x));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtps_ph(limited, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }

  /// Sum of the lanes: the two halves are added until one lane is left.
  static float sum(batch x) noexcept {
    const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1));
    const __m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(x), high);
    const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
  }
  /// out[i] = sum(v[i])
  static void sums_8(const batch (&v)[8], float (&out)[8]) noexcept {
    __m512 s8[4], s4[2];  // 8 partial sums each of two vectors; 4 each of four
    for (int i = 0; i < 4; ++i)
      s8[i] = _mm512_add_ps(_mm512_shuffle_f32x4(v[2 * i], v[2 * i + 1], 0x44),
                            _mm512_shuffle_f32x4(v[2 * i], v[2 * i + 1], 0xEE));
    for (int i = 0; i < 2; ++i)
      s4[i] = _mm512_add_ps(_mm512_shuffle_f32x4(s8[2 * i], s8[2 * i + 1], 0x88),
                            _mm512_shuffle_f32x4(s8[2 * i], s8[2 * i + 1], 0xDD));
    const __m512d a = _mm512_castps_pd(s4[0]), b = _mm512_castps_pd(s4[1]);
    const __m512 s2 =
        _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
    const __m512 s1 = _mm512_add_ps(s2, _mm512_permute_ps(s2, 0xB1));
    // lanes 0, 4, 8, 12 hold the first four sums, lanes 2, 6, 10, 14 the other four
    const __m512i index = _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 0, 0, 0, 0, 0, 0, 0, 0);
    _mm256_storeu_ps(out, _mm512_castps512_ps256(_mm512_permutexvar_ps(index, s1)));
  }
  static float max(batch x) noexcept {
    const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1));
    const __m256 m8 = _mm256_max_ps(_mm512_castps512_ps256(x), high);
    const __m128 m4 = _mm_max_ps(_mm256_castps256_ps128(m8), _mm256_extractf128_ps(m8, 1));
    const __m128 m2 = _mm_max_ps(m4, _mm_movehl_ps(m4, m4));
    return _mm_cvtss_f32(_mm_max_ss(m2, _mm_movehdup_ps(m2)));
  }

  /// The float whose bits are those of x shifted left by 23: an integer in the low mantissa bits of x becomes
  /// an exponent.
  static batch low_bits_to_exponent(batch x) noexcept {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(x), 23));
  }
  /// 0, 1, ..., kLanes - 1
  static batch lane_index() noexcept {
    return _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  }

  /// p[0], p[0], p[1], p[1], ...: kLanes / 2 floats, each twice.
  static batch load_twice(const float* p) noexcept {
    const __m512i index = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    return _mm512_permutexvar_ps(index, _mm512_castps256_ps512(_mm256_loadu_ps(p)));
  }
  /// Exchanges lanes 2i and 2i + 1.
  static batch swap_pairs(batch x) noexcept { return _mm512_permute_ps(x, 0xB1); }
  /// -1, 1, -1, 1, ...
  static batch alternating_sign() noexcept {
    return _mm512_setr_ps(-1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1);
  }

  // ---- 8-bit keys and values: 128 is added to keys to make them unsigned, so dots begin at -128 * sum
  using Dots = __m512i;
  static Dots begin_dots(std::int32_t sum) noexcept { return _mm512_set1_epi32(-128 * sum); }
  static __m512i load_codes(const std::int8_t* p) noexcept {
    return _mm512_xor_si512(_mm512_loadu_si512(p), _mm512_set1_epi8(static_cast<char>(-128)));
  }
  static __m512i broadcast_codes(const std::int8_t* p) noexcept {
    std::int32_t four;
    __builtin_memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
  }
  static Dots add_dots(Dots dots, __m512i key, __m512i q) noexcept {
    return _mm512_dpbusd_epi32(dots, key, q);
  }
  static batch dots_to_float(Dots dots) noexcept { return _mm512_cvtepi32_ps(dots); }
  static batch load_bytes(const std::int8_t* p) noexcept {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
  static batch load_bytes_part(const std::int8_t* p, std::size_t n) noexcept {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(first(n), p)));
  }

  /// Largest |x[i]| of 32, as the integer maximum of the bits: NaN exceeds infinity, infinity exceeds every
  /// finite number.
  static float max_magnitude_32(const float* x) noexcept {
    const __m512i mask = _mm512_set1_epi32(0x7FFFFFFF);
    const __m512i m = _mm512_max_epi32(_mm512_and_si512(_mm512_loadu_si512(x), mask),
                                       _mm512_and_si512(_mm512_loadu_si512(x + 16), mask));
    return __builtin_bit_cast(float, _mm512_reduce_max_epi32(m));
  }
  /// q[i] = x[i] for 32 integers; sums[0] and sums[1]: the sums of the first and of the last 16.
  static void to_bytes_32(const float* x, std::int8_t* q, std::int32_t* sums) noexcept {
    const __m128i low = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_load_ps(x)));
    const __m128i high = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_load_ps(x + 16)));
    const __m256i bytes = _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), bytes);
    const __m256i s4 = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1), bytes);
    const __m256i s2 = _mm256_add_epi32(s4, _mm256_shuffle_epi32(s4, 0x4E));
    const __m256i s1 = _mm256_add_epi32(s2, _mm256_shuffle_epi32(s2, 0xB1));
    sums[0] = _mm256_cvtsi256_si32(s1);
    sums[1] = _mm_cvtsi128_si32(_mm256_extracti128_si256(s1, 1));
  }

 private:
  static batch from_bf16(__m256i x) noexcept {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
  }
};

}  // namespace gemma::kernels
