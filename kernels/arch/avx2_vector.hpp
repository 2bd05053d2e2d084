// The float vector (float_vector.hpp) of AVX2 with FMA and F16C: 8 lanes.
// Invariant: included by kernels/arch/avx2.cpp alone, so that the linker cannot choose this code for another
// unit. Operations that xsimd lacks, or names differently between releases, are written here.
#pragma once

#include <cstddef>
#include <cstdint>

#include <immintrin.h>
#include <xsimd/xsimd.hpp>

namespace gemma::kernels {

struct Avx2Vector {
  using batch = xsimd::batch<float, xsimd::fma3<xsimd::avx2>>;
  static constexpr std::size_t kLanes = 8;
  // attention: rows and vectors of a register tile (12 accumulators in 16 registers)
  static constexpr int kAttentionRows = 6;
  static constexpr int kAttentionVectors = 2;
  // attention over 8-bit keys: dot accumulators of a register tile (besides as many float accumulators, two
  // vectors of a query and two of a key)
  static constexpr int kAttentionDots = 6;
  // matmul: maxima of weight rows, tokens and accumulators of a register tile
  static constexpr int kMatmulRows = 4;
  static constexpr int kMatmulTokens = 6;
  static constexpr int kMatmulSums = 12;
  // elements of k of a panel whose weights stay in the L2: 64 KiB of 16-bit weights
  static constexpr std::size_t kMatmulSlice = 2048;
  // prefetch distance in long rows, in bytes, when there are few tokens
  static constexpr std::size_t kMatmulAhead = 512;

  /// Forces x into a register, so that gcc does not reload it from memory.
  static void hold(batch& x) noexcept {
    __m256 v = x;
    __asm__("" : "+x"(v));
    x = v;
  }
  static batch fma(batch a, batch b, batch c) noexcept { return _mm256_fmadd_ps(a, b, c); }
  /// Correctly rounded (IEEE 754).
  static batch divide(batch a, batch b) noexcept { return _mm256_div_ps(a, b); }

  /// The first n < kLanes floats; the other lanes are 0 and their memory is not read.
  static batch load_part(const float* p, std::size_t n) noexcept { return _mm256_maskload_ps(p, first(n)); }
  static void store_part(batch x, float* p, std::size_t n) noexcept { _mm256_maskstore_ps(p, first(n), x); }

  static batch load_f16(const std::uint16_t* p) noexcept {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static batch load_f16_part(const std::uint16_t* p, std::size_t n) noexcept {
    alignas(16) std::uint16_t lanes[kLanes] = {};
    __builtin_memcpy(lanes, p, n * sizeof(lanes[0]));
    return load_f16(lanes);
  }
  static batch load_bf16(const std::uint16_t* p) noexcept {
    const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
  }
  static batch load_bf16_part(const std::uint16_t* p, std::size_t n) noexcept {
    alignas(16) std::uint16_t lanes[kLanes] = {};
    __builtin_memcpy(lanes, p, n * sizeof(lanes[0]));
    return load_bf16(lanes);
  }
  /// Rounds to nearest even; magnitudes above 65504 saturate. NaN stays NaN, because min and max return their
  /// second operand for it.
  static void store_f16(batch x, std::uint16_t* p) noexcept {
    const __m256 limited =
        _mm256_min_ps(_mm256_set1_ps(65504.0f), _mm256_max_ps(_mm256_set1_ps(-65504.0f), x));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm256_cvtps_ph(limited, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }

  /// Sum of the lanes: the two halves are added until one lane is left.
  static float sum(batch x) noexcept {
    const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
  }
  /// out[i] = sum(v[i])
  static void sums_8(const batch (&v)[8], float (&out)[8]) noexcept {
    __m256 s4[4];  // 4 partial sums each of v[i] and v[i + 4]
    for (int i = 0; i < 4; ++i)
      s4[i] = _mm256_add_ps(_mm256_permute2f128_ps(v[i], v[i + 4], 0x20),
                            _mm256_permute2f128_ps(v[i], v[i + 4], 0x31));
    __m256 s2[2];  // 2 partial sums each of v[j], v[j + 1], v[j + 4], v[j + 5], j = 2i
    for (int i = 0; i < 2; ++i) {
      const __m256d a = _mm256_castps_pd(s4[2 * i]), b = _mm256_castps_pd(s4[2 * i + 1]);
      s2[i] = _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(a, b)),
                            _mm256_castpd_ps(_mm256_unpackhi_pd(a, b)));
    }
    _mm256_storeu_ps(
        out, _mm256_add_ps(_mm256_shuffle_ps(s2[0], s2[1], 0x88), _mm256_shuffle_ps(s2[0], s2[1], 0xDD)));
  }
  static float max(batch x) noexcept {
    const __m128 m4 = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 m2 = _mm_max_ps(m4, _mm_movehl_ps(m4, m4));
    return _mm_cvtss_f32(_mm_max_ss(m2, _mm_movehdup_ps(m2)));
  }

  /// The float whose bits are those of x shifted left by 23: an integer in the low mantissa bits of x becomes
  /// an exponent.
  static batch low_bits_to_exponent(batch x) noexcept {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(x), 23));
  }
  /// 0, 1, ..., kLanes - 1
  static batch lane_index() noexcept { return _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7); }

  /// p[0], p[0], p[1], p[1], ...: kLanes / 2 floats, each twice.
  static batch load_twice(const float* p) noexcept {
    const __m256i index = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
    return _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), index);
  }
  /// Exchanges lanes 2i and 2i + 1.
  static batch swap_pairs(batch x) noexcept { return _mm256_permute_ps(x, 0xB1); }
  /// -1, 1, -1, 1, ...
  static batch alternating_sign() noexcept { return _mm256_setr_ps(-1, 1, -1, 1, -1, 1, -1, 1); }

  // ---- 8-bit keys and values
  using Dots = __m256i;
  struct QueryCodes {
    __m256i codes, magnitudes;
  };
  static Dots begin_dots(std::int32_t /*sum*/) noexcept { return _mm256_setzero_si256(); }
  static __m256i load_codes(const std::int8_t* p) noexcept {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static QueryCodes broadcast_codes(const std::int8_t* p) noexcept {
    std::int32_t four;
    __builtin_memcpy(&four, p, sizeof four);
    const __m256i codes = _mm256_set1_epi32(four);
    return {codes, _mm256_abs_epi8(codes)};
  }
  /// A pair of products of magnitudes up to 127 is at most 32258, so no 16-bit sum saturates.
  static Dots add_dots(Dots dots, __m256i key, const QueryCodes& q) noexcept {
    const __m256i pairs = _mm256_maddubs_epi16(q.magnitudes, _mm256_sign_epi8(key, q.codes));
    return _mm256_add_epi32(dots, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  static batch dots_to_float(Dots dots) noexcept { return _mm256_cvtepi32_ps(dots); }
  static batch load_bytes(const std::int8_t* p) noexcept {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }
  static batch load_bytes_part(const std::int8_t* p, std::size_t n) noexcept {
    std::int8_t bytes[kLanes] = {};
    __builtin_memcpy(bytes, p, n);
    return load_bytes(bytes);
  }

  /// Largest |x[i]| of 32, as the integer maximum of the bits: NaN exceeds infinity, infinity exceeds every
  /// finite number.
  static float max_magnitude_32(const float* x) noexcept {
    const __m256i m8 = _mm256_max_epi32(_mm256_max_epi32(magnitude(x), magnitude(x + 8)),
                                        _mm256_max_epi32(magnitude(x + 16), magnitude(x + 24)));
    const __m128i m4 = _mm_max_epi32(_mm256_castsi256_si128(m8), _mm256_extracti128_si256(m8, 1));
    const __m128i m2 = _mm_max_epi32(m4, _mm_shuffle_epi32(m4, 0x4E));
    return __builtin_bit_cast(float, _mm_cvtsi128_si32(_mm_max_epi32(m2, _mm_shuffle_epi32(m2, 0xB1))));
  }
  /// q[i] = x[i] for 32 integers; sums[0] and sums[1]: the sums of the first and of the last 16.
  static void to_bytes_32(const float* x, std::int8_t* q, std::int32_t* sums) noexcept {
    for (int half = 0; half < 2; ++half, x += 16, q += 16) {
      const __m256i a = _mm256_cvtps_epi32(_mm256_loadu_ps(x));
      const __m256i b = _mm256_cvtps_epi32(_mm256_loadu_ps(x + 8));
      // packing works in 128-bit lanes: 64-bit pieces a0 b0 a1 b1 -> a0 a1 b0 b1
      const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xD8);
      const __m128i bytes =
          _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(q), bytes);
      const __m256i s8 = _mm256_add_epi32(a, b);
      const __m128i s4 = _mm_add_epi32(_mm256_castsi256_si128(s8), _mm256_extracti128_si256(s8, 1));
      const __m128i s2 = _mm_add_epi32(s4, _mm_shuffle_epi32(s4, 0x4E));
      sums[half] = _mm_cvtsi128_si32(_mm_add_epi32(s2, _mm_shuffle_epi32(s2, 0xB1)));
    }
  }

 private:
  /// Mask of the first n lanes.
  static __m256i first(std::size_t n) noexcept {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static __m256i magnitude(const float* x) noexcept {
    return _mm256_and_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)),
                            _mm256_set1_epi32(0x7FFFFFFF));
  }
};

}  // namespace gemma::kernels
