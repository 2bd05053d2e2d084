// MatmulKernel of every type on every instruction set of this machine.
//
// 8-bit activations: bit for bit what kernels/reference/matmul.hpp computes, so one test settles integers,
// rounding and the order of sums at once; and near the exact product in double precision, within a bound that
// is stated. Every type: near the exact product; law 1 by bits; nothing written outside the asked columns.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/kernel_table.hpp"
#include "kernels/reference.hpp"
#include "tests/kernels/random_blocks.hpp"

namespace gemma::kernels {
namespace {

using test::Activations;
using test::kAllTypes;
using test::random_activations;
using test::random_weights;
using test::Scales;

constexpr DType kEightBitTypes[] = {DType::kQ4_K, DType::kQ5_K, DType::kQ6_K, DType::kQ8_0, DType::kQ4_0};

const VectorKernels& oracle() {
  static const VectorKernels v = reference::vector_kernels();
  return v;
}

/// Weights at an address that no vector likes, and what calling a kernel on them needs.
struct Problem {
  DType type;
  std::size_t n, k;
  std::vector<std::byte> storage;
  std::size_t shift;

  Problem(DType type_, std::size_t n_, std::size_t k_, std::uint32_t seed, Scales scales = Scales::kUsual,
          std::size_t shift_ = 0)
      : type(type_), n(n_), k(k_), shift(shift_) {
    storage = random_weights(type, n, k, seed, scales);
    storage.insert(storage.begin(), shift, std::byte{0x5A});
  }
  const std::byte* weights() const { return storage.data() + shift; }
};

constexpr float kUntouched = -12345.0f;

/// y[m, n + 3] of tokens [t0, t0 + m), rows in the given pieces; the last three columns are guards.
std::vector<float> multiply(const MatmulKernel& kernel, const Problem& p, const Activations& a,
                            std::size_t t0, std::size_t m, const std::vector<std::size_t>& row_ends) {
  const std::size_t ldy = p.n + 3;
  std::vector<float> y(m * ldy, kUntouched);
  const std::size_t bytes = kernel.scratch_bytes(p.k) + 64;
  std::unique_ptr<std::byte, void (*)(std::byte*)> scratch(
      static_cast<std::byte*>(::operator new (bytes, std::align_val_t{64})),
      [](std::byte* s) { ::operator delete (s, std::align_val_t{64}); });
  std::memset(scratch.get(), 0xFF, bytes);  // NaN wherever a kernel reads what it did not write
  std::size_t begin = 0;
  for (std::size_t end : row_ends) {
    MatmulArgs args;
    args.w = p.weights();
    args.row_bytes = row_bytes(p.type, p.k);
    args.k = p.k;
    args.row_begin = begin;
    args.row_end = end;
    args.m = m;
    args.x = kernel.quantized_activations ? nullptr : a.x.data() + t0 * p.k;
    args.q = kernel.quantized_activations ? a.q.data() + t0 * p.k : nullptr;
    args.groups = kernel.quantized_activations ? a.groups.data() + t0 * (p.k / 32) : nullptr;
    args.y = y.data();
    args.ldy = ldy;
    args.scratch = scratch.get();
    kernel.matmul(args);
    begin = end;
  }
  for (std::byte* b = scratch.get() + bytes - 64; b < scratch.get() + bytes; ++b)
    EXPECT_EQ(*b, std::byte{0xFF}) << "wrote past the scratch";
  for (std::size_t t = 0; t < m; ++t)
    for (std::size_t i = p.n; i < ldy; ++i) EXPECT_EQ(y[t * ldy + i], kUntouched) << "wrote past n";
  return y;
}

std::vector<float> multiply(const MatmulKernel& kernel, const Problem& p, const Activations& a) {
  return multiply(kernel, p, a, 0, a.m, {p.n});
}

void expect_same_bits(const std::vector<float>& got, const std::vector<float>& want,
                      const std::string& what) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    // which of the operands a NaN takes its sign from differs between instructions, on Arm between vectors
    // and scalars
    if (std::isnan(got[i]) && std::isnan(want[i])) continue;
    ASSERT_EQ(std::bit_cast<std::uint32_t>(got[i]), std::bit_cast<std::uint32_t>(want[i]))
        << what << ": element " << i << " is " << got[i] << ", not " << want[i];
  }
}

std::string label(const KernelTable& table, const Problem& p, std::size_t m) {
  return std::string(table.name) + " " + std::string(info(p.type).name) + " m " + std::to_string(m) + " n " +
         std::to_string(p.n) + " k " + std::to_string(p.k);
}

// ---- against the reference, by bits ----

TEST(Matmul, EightBitKernelsGiveTheReferencesBits) {
  for (const KernelTable* table : available_tables()) {
    for (DType type : kEightBitTypes) {
      const MatmulKernel& kernel = table->matmul_for(type);
      ASSERT_TRUE(kernel.quantized_activations) << table->name;
      std::uint32_t seed = 1;
      for (std::size_t m : {1, 2, 3, 4, 5, 6, 7, 12, 13, 15, 16, 17, 32, 33}) {
        for (std::size_t n : {1, 4, 7, 8, 9, 15, 16, 17, 33}) {
          ++seed;
          const std::size_t k = info(type).block_elements * (1 + seed % 4);
          const Problem p(type, n, k, seed, seed % 2 ? Scales::kUsual : Scales::kExtreme, seed % 4);
          const Activations a = random_activations(oracle(), m, k, seed);
          expect_same_bits(multiply(kernel, p, a), multiply(reference::matmul_kernel(type), p, a),
                           label(*table, p, m));
        }
      }
    }
  }
}

TEST(Matmul, EightBitKernelsOfAllTablesGiveTheSameBits) {
  // at sizes that take the reference too long: full tiles, odd rests, slices of k, blocks of tokens
  const std::span<const KernelTable* const> tables = available_tables();
  if (tables.size() < 3) GTEST_SKIP() << "fewer than two tables beside scalar on this CPU";
  for (DType type : kEightBitTypes) {
    for (std::size_t m : {1, 2, 3, 4, 5, 7, 11, 24, 61, 293}) {
      const Problem p(type, 37, 2816, static_cast<std::uint32_t>(m), Scales::kUsual, m % 4);
      const Activations a = random_activations(oracle(), m, p.k, 9);
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
        // keep the binary16 scales finite: where they are is the same in every block
        const std::size_t size = info(type).block_bytes;
        for (std::size_t at = 0; at < p.storage.size(); at += size) {
          const std::size_t d = type == DType::kQ6_K ? 208 : 0;
          const std::size_t length = type == DType::kQ4_K || type == DType::kQ5_K ? 4 : 2;
          std::copy_n(scales.begin() + static_cast<std::ptrdiff_t>(at + d), length,
                      p.storage.begin() + static_cast<std::ptrdiff_t>(at + d));
        }
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
    for (DType type : {DType::kQ4_K, DType::kQ5_K}) {
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
    for (DType type : kAllTypes) {
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

/// Sum of w x in double precision, and the magnitude that rounding errors are measured by.
struct Exact {
  double value = 0;
  double magnitude = 0;  // sum of |d sc q x| + |dmin m x|: before the two parts of a weight cancel
  double min_rounding = 0;
};

Exact exact_product(const Problem& p, const Activations& a, bool quantized, std::size_t t, std::size_t r) {
  std::vector<float> w(p.k);
  const std::byte* row = p.weights() + r * row_bytes(p.type, p.k);
  reference::dequantize_function(p.type)(row, p.k, w.data());
  Exact e;
  for (std::size_t i = 0; i < p.k; ++i) {
    const double x = quantized ? static_cast<double>(a.groups[t * (p.k / 32) + i / 32].scale) *
                                     static_cast<double>(a.q[t * p.k + i])
                               : static_cast<double>(a.x[t * p.k + i]);
    double min = 0;
    if (p.type == DType::kQ4_K || p.type == DType::kQ5_K) {
      const std::byte* block = row + i / 256 * info(p.type).block_bytes;
      std::uint16_t dmin = 0;
      std::uint8_t scales[12];
      std::memcpy(&dmin, block + 2, 2);
      std::memcpy(scales, block + 4, 12);
      const int m = reference::unpack_scale_min(scales, static_cast<int>(i % 256 / 32)).min;
      min = std::abs(static_cast<double>(f16_to_f32(dmin)) * m);
      if (i % 32 == 0) {  // half a step of the rounded group sums: at most 2^-13 of the largest sum
        double largest = 0;
        for (std::size_t j = 0; j < 8; ++j)
          largest = std::max(
              largest, std::abs(static_cast<double>(a.groups[t * (p.k / 32) + i / 256 * 8 + j].scaled_sum)));
        e.min_rounding += min * largest * 0x1p-13;
      }
    }
    e.value += static_cast<double>(w[i]) * x;
    e.magnitude += (std::abs(static_cast<double>(w[i])) + 2 * min) * std::abs(x);
  }
  return e;
}

TEST(Matmul, EveryTypeIsNearTheExactProduct) {
  for (const KernelTable* table : available_tables()) {
    for (DType type : kAllTypes) {
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
              // 8 bits: 2 or 3 roundings a group of 32, each at most 2^-24 of a partial sum; floats: one a
              // product
              const double steps = kernel.quantized_activations ? 3.0 * k / 32 + 8 : k + 8.0;
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
    for (DType type : kAllTypes) {
      const Problem p(type, 17, 256, 31);
      const Activations a = random_activations(oracle(), 2, 256, 32);
      EXPECT_TRUE(multiply(table->matmul_for(type), p, a, 0, 0, {17}).empty());
      for (float y : multiply(table->matmul_for(type), p, a, 0, 2, {0})) EXPECT_EQ(y, kUntouched);
    }
}

// ---- law 1: bits depend on row, token and k alone ----

TEST(Matmul, BitsDoNotDependOnTheTokensBesideThem) {
  for (const KernelTable* table : available_tables()) {
    if (table->isa == Isa::kScalar) continue;  // one token after the other by construction
    for (DType type : kAllTypes) {
      const MatmulKernel& kernel = table->matmul_for(type);
      for (std::size_t m : {2, 3, 5, 8, 11, 16, 19, 40}) {
        const Problem p(type, 35, 1024, static_cast<std::uint32_t>(m));
        const Activations a = random_activations(oracle(), m, 1024, 7);
        const std::vector<float> together = multiply(kernel, p, a);
        std::vector<float> alone;
        for (std::size_t t = 0; t < m; ++t) {
          const std::vector<float> y = multiply(kernel, p, a, t, 1, {p.n});
          alone.insert(alone.end(), y.begin(), y.end());
        }
        expect_same_bits(together, alone, label(*table, p, m));
      }
    }
  }
}

TEST(Matmul, BitsDoNotDependOnSlicesOfKOrBlocksOfTokens) {
  // enough tokens that k is cut into slices and tokens into blocks
  for (const KernelTable* table : available_tables()) {
    if (table->isa == Isa::kScalar) continue;
    for (DType type : kEightBitTypes) {
      const MatmulKernel& kernel = table->matmul_for(type);
      const std::size_t m = 1030, k = 2560;
      const Problem p(type, 17, k, 41);
      const Activations a = random_activations(oracle(), m, k, 42);
      const std::vector<float> together = multiply(kernel, p, a);
      for (std::size_t t : {0, 15, 16, 500, 511, 512, 513, 1023, 1024, 1029}) {
        const std::vector<float> alone = multiply(kernel, p, a, t, 1, {p.n});
        const auto at = together.begin() + static_cast<std::ptrdiff_t>(t * (p.n + 3));
        expect_same_bits({at, at + static_cast<std::ptrdiff_t>(p.n + 3)}, alone,
                         label(*table, p, m) + " token " + std::to_string(t));
      }
    }
  }
}

TEST(Matmul, BitsDoNotDependOnHowRowsAreSplit) {
  for (const KernelTable* table : available_tables()) {
    for (DType type : kAllTypes) {
      const MatmulKernel& kernel = table->matmul_for(type);
      const Problem p(type, 77, 512, 51);
      for (std::size_t m : {1, 9}) {
        const Activations a = random_activations(oracle(), m, 512, 52);
        const std::vector<float> whole = multiply(kernel, p, a);
        for (const std::vector<std::size_t>& ends :
             {std::vector<std::size_t>{16, 32, 48, 64, 77}, {48, 77}, {64, 77}, {16, 77}})
          expect_same_bits(multiply(kernel, p, a, 0, m, ends), whole, label(*table, p, m));
      }
    }
  }
}

}  // namespace
}  // namespace gemma::kernels
