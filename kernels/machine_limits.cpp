#include "machine_limits.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

#include <omp.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace gemma::kernels {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// Sum of 64-bit words by four 32-byte accumulators: enough loads in flight for any core.
std::uint64_t stream(const std::uint64_t* data, std::size_t n) {
  using Words __attribute__((vector_size(32), aligned(8), may_alias)) = std::uint64_t;
  Words a{}, b{}, c{}, d{};
  for (std::size_t i = 0; i + 16 <= n; i += 16) {
    const auto* p = reinterpret_cast<const Words*>(data + i);
    __builtin_prefetch(data + i + 512);
    __builtin_prefetch(data + i + 520);
    a += p[0];
    b += p[1];
    c += p[2];
    d += p[3];
  }
  const Words s = a + b + c + d;
  return s[0] + s[1] + s[2] + s[3];
}

double read_bandwidth(std::span<const std::uint64_t> memory, unsigned threads) {
  double best = 0;
  std::uint64_t sink = 0;
  for (int round = 0; round < 7; ++round) {
    const auto begin = Clock::now();
#pragma omp parallel num_threads(static_cast <int>(threads)) reduction(+ : sink)
    {
      const std::size_t n = memory.size() / static_cast<std::size_t>(omp_get_num_threads());
      sink += stream(memory.data() + n * static_cast<std::size_t>(omp_get_thread_num()), n);
    }
    best = std::max(best, static_cast<double>(memory.size_bytes()) / seconds_since(begin));
  }
  return sink == 0 ? 0 : best;
}

constexpr int kRounds = 200000;

// Each function runs kRounds rounds of independent dot products in registers and returns the number of
// multiply-adds. The empty asm statements hide from the compiler that every round repeats the one before.
#if defined(__x86_64__)
__attribute__((target("avx512f,avx512bw,avx512vnni"))) double dots_avx512vnni() {
  __m512i acc[16];
  for (auto& a : acc) a = _mm512_setzero_si512();
  __m512i x = _mm512_set1_epi8(3);
  __m512i y = _mm512_set1_epi8(5);
  for (int i = 0; i < kRounds; ++i) {
    __asm__ volatile("" : "+v"(x), "+v"(y));
#pragma GCC unroll 16
    for (auto& a : acc) a = _mm512_dpbusd_epi32(a, x, y);
  }
  for (auto& a : acc) __asm__ volatile("" : "+v"(a));
  return kRounds * 16.0 * 64;
}
__attribute__((target("avx2"))) double dots_avx2() {
  __m256i acc[8];
  for (auto& a : acc) a = _mm256_setzero_si256();
  __m256i x = _mm256_set1_epi8(3);
  __m256i y = _mm256_set1_epi8(5);
  const __m256i ones = _mm256_set1_epi16(1);
  for (int i = 0; i < kRounds; ++i) {
#pragma GCC unroll 8
    for (auto& a : acc) {
      __asm__ volatile("" : "+x"(x), "+x"(y));
      a = _mm256_add_epi32(a, _mm256_madd_epi16(_mm256_maddubs_epi16(x, y), ones));
    }
  }
  for (auto& a : acc) __asm__ volatile("" : "+x"(a));
  return kRounds * 8.0 * 32;
}
// Written in assembly, with arbitrary register contents as operands: gcc 12 compiles a loop as above to code
// that stores every sum in every round.
__attribute__((target("avx2,avxvnni"))) double dots_avxvnni() {
#define GEMMA_DOT(sum) "%{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm" #sum "\n\t"
  for (int i = 0; i < kRounds; ++i)
    __asm__ volatile(GEMMA_DOT(0) GEMMA_DOT(1) GEMMA_DOT(2) GEMMA_DOT(3) GEMMA_DOT(4) GEMMA_DOT(5)
                         GEMMA_DOT(6) GEMMA_DOT(7) GEMMA_DOT(8) GEMMA_DOT(9) GEMMA_DOT(10) GEMMA_DOT(11)::
                             : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
                               "xmm10", "xmm11");
#undef GEMMA_DOT
  return kRounds * 12.0 * 32;
}
#elif defined(__aarch64__)
__attribute__((target("arch=armv8.2-a+dotprod"))) double dots_neon() {
  int32x4_t acc[16];
  for (auto& a : acc) a = vdupq_n_s32(0);
  int8x16_t x = vdupq_n_s8(3);
  int8x16_t y = vdupq_n_s8(5);
  for (int i = 0; i < kRounds; ++i) {
    __asm__ volatile("" : "+w"(x), "+w"(y));
#pragma GCC unroll 16
    for (auto& a : acc) a = vdotq_s32(a, x, y);
  }
  for (auto& a : acc) __asm__ volatile("" : "+w"(a));
  return kRounds * 16.0 * 16;
}
__attribute__((target("arch=armv8.2-a+i8mm"))) double dots_neoni8mm() {
  int32x4_t acc[16];
  for (auto& a : acc) a = vdupq_n_s32(0);
  int8x16_t x = vdupq_n_s8(3);
  int8x16_t y = vdupq_n_s8(5);
  for (int i = 0; i < kRounds; ++i) {
    __asm__ volatile("" : "+w"(x), "+w"(y));
#pragma GCC unroll 16
    for (auto& a : acc) a = vmmlaq_s32(a, x, y);
  }
  for (auto& a : acc) __asm__ volatile("" : "+w"(a));
  return kRounds * 16.0 * 32;
}
#endif

double integer_peak(Isa isa, unsigned threads) {
  double (*dots)() = nullptr;
#if defined(__x86_64__)
  if (isa == Isa::kAvx512Vnni) dots = dots_avx512vnni;
  if (isa == Isa::kAvxVnni) dots = dots_avxvnni;
  if (isa == Isa::kAvx2) dots = dots_avx2;
#elif defined(__aarch64__)
  if (isa == Isa::kNeon) dots = dots_neon;
  if (isa == Isa::kNeonI8mm) dots = dots_neoni8mm;
#endif
  if (dots == nullptr) return 0;
  double best = 0;
  for (int round = 0; round < 20; ++round) {
    double rate = 0;  // each thread measures its own time, so that a late start of another one does not count
#pragma omp parallel num_threads(static_cast <int>(threads)) reduction(+ : rate)
    {
      const auto begin = Clock::now();
      const double count = dots();
      rate += 2 * count / seconds_since(begin);
    }
    best = std::max(best, rate);
  }
  return best;
}

}  // namespace

MachineMeter::MachineMeter(const KernelTable& table, unsigned threads, std::span<std::uint64_t> memory)
    : isa_(table.isa), threads_(threads), memory_(memory) {
  std::fill(memory.begin(), memory.end(), 1);
}

MachineLimits MachineMeter::measure() const {
  return {read_bandwidth(memory_, threads_), integer_peak(isa_, threads_)};
}

}  // namespace gemma::kernels
