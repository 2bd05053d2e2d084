// MatmulKernel of every type on every instruction set of this machine.
//
// 8-bit activations: results equal those of kernels/reference/matmul.hpp to the bit, which tests integers,
// rounding and the order of sums at once. Every type: the error against the exact product in double precision
// is within a stated bound, and nothing is written outside the requested columns. matmul_law_test.cpp tests
// law 1.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/kernel_table.hpp"
#include "kernels/reference.hpp"
#include "tests/kernels/matmul_problem.hpp"

namespace gemma::kernels {
namespace {

using namespace test;

/// The position of the binary16 numbers in a type's blocks: offset of the first, and their number.
struct HalvesAt {
  std::size_t offset, count;
};
HalvesAt halves_at(DType type) {
  switch (type) {
    case DType::kQ4_K:
    case DType::kQ5_K:
    case DType::kQ4_1:
    case DType::kQ5_1:
      return {0, 2};
    case DType::kQ2_K:
      return {80, 2};
    case DType::kQ3_K:
      return {108, 1};
    case DType::kQ6_K:
      return {208, 1};
    default:
      return {0, 1};
  }
}

// ---- against the reference, by bits ----

TEST(Matmul, EightBitKernelsGiveTheReferencesBits) {
  for (DType type : kEightBitTypes) {
    std::uint32_t seed = 1;
    for (std::size_t m : {1, 2, 3, 4, 5, 6, 7, 12, 13, 15, 16, 17, 32, 33}) {
      for (std::size_t n : {1, 4, 7, 8, 9, 15, 16, 17, 33}) {
        ++seed;
        const std::size_t k = info(type).block_elements * (1 + seed % 4);
        const Problem p(type, n, k, seed, seed % 2 ? Scales::kUsual : Scales::kExtreme, seed % 4);
        const Activations a = random_activations(oracle(), m, k, seed);
        const std::vector<float> want = multiply(reference::matmul_kernel(type), p, a);
        for (const KernelTable* table : available_tables()) {
          const MatmulKernel& kernel = table->matmul_for(type);
          ASSERT_TRUE(kernel.quantized_activations) << table->name;
          expect_same_bits(multiply(kernel, p, a), want, label(*table, p, m));
        }
      }
    }
  }
}

TEST(Matmul, EightBitKernelsOfAllTablesGiveTheSameBits) {
  // sizes for which the reference would take too long: full tiles, odd remainders, slices of k, blocks of
  // tokens
  const std::span<const KernelTable* const> tables = available_tables();
  if (tables.size() < 3) GTEST_SKIP() << "fewer than two tables beside scalar on this CPU";
  const std::size_t k = 2816;
  for (std::size_t m : {1, 2, 3, 4, 5, 7, 11, 24, 61, 293}) {
    const Activations a = random_activations(oracle(), m, k, 9);
    for (DType type : kEightBitTypes) {
      const Problem p(type, 37, k, static_cast<std::uint32_t>(m), Scales::kUsual, m % 4);
      const std::vector<float> best = multiply(tables.front()->matmul_for(type), p, a);
      for (const KernelTable* table : tables.subspan(1, tables.size() - 2))  // without scalar
        expect_same_bits(multiply(table->matmul_for(type), p, a), best,
                         label(*table, p, m) + " beside " + std::string(tables.front()->name));
    }
  }
}

TEST(Matmul, LargestIntegersDoNotSaturate) {
  for (const KernelTable* table : available_tables()) {
    for (DType type : kEightBitTypes) {
      const std::size_t k = 512;
      for (unsigned fill : {0x00u, 0x7Fu, 0x80u, 0xFFu}) {
        Problem p(type, 17, k, 3);
        const std::vector<std::byte> scales = p.storage;
        std::memset(p.storage.data(), static_cast<int>(fill), p.storage.size());
        const auto [first, count] = halves_at(type);  // these stay finite
        const std::size_t size = info(type).block_bytes;
        for (std::size_t at = first; at < p.storage.size(); at += size)
          std::copy_n(scales.begin() + static_cast<std::ptrdiff_t>(at), 2 * count,
                      p.storage.begin() + static_cast<std::ptrdiff_t>(at));
        Activations a = random_activations(oracle(), 7, k, 5);
        for (std::size_t t = 0; t < a.m; ++t)
          for (std::size_t i = 0; i < k; ++i)
            a.x[t * k + i] = t == 0 ? 1.0f : t == 1 ? -1.0f : (t + i) % 2 ? 1.0f : -1.0f;
        for (std::size_t t = 0; t < a.m; ++t)
          oracle().quantize_q8(a.x.data() + t * k, k, a.q.data() + t * k, a.groups.data() + t * (k / 32));
        expect_same_bits(multiply(table->matmul_for(type), p, a),
                         multiply(reference::matmul_kernel(type), p, a),
                         label(*table, p, a.m) + " fill " + std::to_string(fill));
      }
    }
  }
}

TEST(Matmul, GroupSumsOfAnySizeGiveTheReferencesBits) {
  // the rounding of group sums has its own range checks: tiny, huge, zero and infinite activations
  for (const KernelTable* table : available_tables()) {
    for (DType type : {DType::kQ4_K, DType::kQ5_K, DType::kQ2_K, DType::kQ4_1, DType::kQ5_1}) {
      for (std::size_t m : {1, 7}) {
        const Problem p(type, 17, 512, 11);
        for (float factor : {0.0f, 1e-38f, 1e-30f, 1e20f, 1e33f}) {
          Activations a = random_activations(oracle(), m, 512, 12);
          for (float& x : a.x) x *= factor;
          for (std::size_t t = 0; t < m; ++t)
            oracle().quantize_q8(a.x.data() + t * 512, 512, a.q.data() + t * 512, a.groups.data() + t * 16);
          expect_same_bits(multiply(table->matmul_for(type), p, a),
                           multiply(reference::matmul_kernel(type), p, a),
                           label(*table, p, m) + " factor " + std::to_string(factor));
        }
      }
    }
  }
}

TEST(Matmul, NotANumberStaysInItsToken) {
  for (const KernelTable* table : available_tables()) {
    for (DType type : kAllDTypes) {
      for (std::size_t m : {3, 9}) {
        const Problem p(type, 17, 512, 21);
        Activations a = random_activations(oracle(), m, 512, 22);
        const std::vector<float> clean = multiply(table->matmul_for(type), p, a);
        a.x[512 + 40] = std::nanf("");
        oracle().quantize_q8(a.x.data() + 512, 512, a.q.data() + 512, a.groups.data() + 16);
        const std::vector<float> got = multiply(table->matmul_for(type), p, a);
        for (std::size_t t = 0; t < m; ++t)
          for (std::size_t r = 0; r < p.n; ++r) {
            const std::size_t i = t * (p.n + 3) + r;
            if (t == 1)
              EXPECT_TRUE(std::isnan(got[i])) << label(*table, p, m) << " row " << r;
            else
              EXPECT_EQ(std::bit_cast<std::uint32_t>(got[i]), std::bit_cast<std::uint32_t>(clean[i]));
          }
      }
    }
  }
}

// ---- against the exact product ----

/// The sum of w x in double precision, and the magnitude to which rounding errors are relative.
struct Exact {
  double value = 0;
  double magnitude = 0;  // sum of |d sc q x| + |dmin m x|: before the two parts of a weight cancel
  double min_rounding = 0;
};

/// |minimum| of weight i of a block, 0 for types that have none.
double min_magnitude(DType type, const std::byte* block, int i) {
  const auto half = [&] {
    std::uint16_t bits = 0;
    std::memcpy(&bits, block + halves_at(type).offset + 2, 2);
    return std::abs(static_cast<double>(f16_to_f32(bits)));
  };
  if (type == DType::kQ4_1 || type == DType::kQ5_1) return half();
  if (type == DType::kQ2_K) return half() * (static_cast<unsigned>(block[i / 16]) >> 4);
  if (type != DType::kQ4_K && type != DType::kQ5_K) return 0;
  std::uint8_t scales[12];
  std::memcpy(scales, block + 4, 12);
  return half() * reference::unpack_scale_min(scales, i / 32).min;
}

/// The largest sum of a super-block's activations by which a minimum is multiplied.
double largest_sum(const Activations& a, DType type, std::size_t t, std::size_t super_block) {
  double largest = 0;
  for (std::size_t j = 0; j < 8; ++j) {
    const Q8Group& g = a.groups[t * (a.k / 32) + super_block * 8 + j];
    if (type == DType::kQ2_K)
      largest = std::max({largest, std::abs(static_cast<double>(g.scale) * g.sum_lo),
                          std::abs(static_cast<double>(g.scale) * g.sum_hi)});
    else
      largest = std::max(largest, std::abs(static_cast<double>(g.scaled_sum)));
  }
  return largest;
}

Exact exact_product(const Problem& p, const Activations& a, bool quantized, std::size_t t, std::size_t r) {
  std::vector<float> w(p.k);
  const std::byte* row = p.weights() + r * row_bytes(p.type, p.k);
  reference::dequantize_function(p.type)(row, p.k, w.data());
  Exact e;
  for (std::size_t i = 0; i < p.k; ++i) {
    const double x = quantized ? static_cast<double>(a.groups[t * (p.k / 32) + i / 32].scale) *
                                     static_cast<double>(a.q[t * p.k + i])
                               : static_cast<double>(a.x[t * p.k + i]);
    const std::byte* block = row + i / info(p.type).block_elements * info(p.type).block_bytes;
    const double min = min_magnitude(p.type, block, static_cast<int>(i % 256));
    // half a step of the rounded sums: at most 2^-13 of the largest, times each minimum once
    const bool starts_sum = i % (p.type == DType::kQ2_K ? 16 : 32) == 0;
    if (starts_sum && p.type != DType::kQ4_1 && p.type != DType::kQ5_1)
      e.min_rounding += min * largest_sum(a, p.type, t, i / 256) * 0x1p-13;
    e.value += static_cast<double>(w[i]) * x;
    e.magnitude += (std::abs(static_cast<double>(w[i])) + 2 * min) * std::abs(x);
  }
  return e;
}

TEST(Matmul, EveryTypeIsNearTheExactProduct) {
  for (const KernelTable* table : available_tables()) {
    for (DType type : kAllDTypes) {
      const MatmulKernel& kernel = table->matmul_for(type);
      std::uint32_t seed = 100;
      for (std::size_t m : {1, 3, 13}) {
        for (std::size_t n : {1, 17}) {
          ++seed;
          const std::size_t k = 768;
          const Problem p(type, n, k, seed, Scales::kUsual, seed % 3);
          const Activations a = random_activations(oracle(), m, k, seed);
          const std::vector<float> y = multiply(kernel, p, a);
          for (std::size_t t = 0; t < m; ++t)
            for (std::size_t r = 0; r < n; ++r) {
              const Exact e = exact_product(p, a, kernel.quantized_activations, t, r);
              // 8 bits: 2 to 4 roundings per group of 32, each at most 2^-24 of a partial sum; floats: one
              // per product
              const double steps = kernel.quantized_activations ? 4.0 * k / 32 + 8 : k + 8.0;
              ASSERT_NEAR(y[t * (n + 3) + r], e.value, steps * 0x1p-24 * e.magnitude + e.min_rounding)
                  << label(*table, p, m) << " token " << t << " row " << r;
            }
        }
      }
    }
  }
}

TEST(Matmul, OutputOfZeroTokensOrRowsIsNothing) {
  for (const KernelTable* table : available_tables())
    for (DType type : kAllDTypes) {
      const Problem p(type, 17, 256, 31);
      const Activations a = random_activations(oracle(), 2, 256, 32);
      EXPECT_TRUE(multiply(table->matmul_for(type), p, a, 0, 0, {17}).empty());
      for (float y : multiply(table->matmul_for(type), p, a, 0, 2, {0})) EXPECT_EQ(y, kUntouched);
    }
}

}  // namespace
}  // namespace gemma::kernels
