// Law 1 of the matmuls: the bits of an output depend on its row, its token and k alone, on every instruction
// set of this machine and for every type.
#include <cstddef>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/kernel_table.hpp"
#include "tests/kernels/matmul_problem.hpp"

namespace gemma::kernels {
namespace {

using namespace test;

TEST(MatmulLaw, EveryNumberOfTokensGivesTheSameBits) {
  // numbers of tokens at which kernels switch between algorithms; the switch must have no effect
  for (const KernelTable* table : available_tables()) {
    if (table->isa == Isa::kScalar) continue;  // one token after the other by construction
    for (DType type : kAllDTypes) {
      const MatmulKernel& kernel = table->matmul_for(type);
      for (const std::size_t k : {512, 1536}) {
        constexpr std::size_t kMost = 40;
        const Problem p(type, 37, k, 61);
        const Activations a = random_activations(oracle(), kMost, k, 62);
        const std::vector<float> most = multiply(kernel, p, a);
        for (std::size_t m = 1; m < kMost; ++m) {
          const auto end = most.begin() + static_cast<std::ptrdiff_t>(m * (p.n + 3));
          expect_same_bits(multiply(kernel, p, a, 0, m, {p.n}), {most.begin(), end}, label(*table, p, m));
        }
      }
    }
  }
}

TEST(MatmulLaw, BitsDoNotDependOnTheTokensBesideThem) {
  for (const KernelTable* table : available_tables()) {
    if (table->isa == Isa::kScalar) continue;  // one token after the other by construction
    for (DType type : kAllDTypes) {
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

TEST(MatmulLaw, BitsDoNotDependOnSlicesOfKOrBlocksOfTokens) {
  // enough tokens that k is cut into slices and tokens into blocks
  const std::size_t m = 1030, k = 2560;
  const Activations a = random_activations(oracle(), m, k, 42);
  for (const KernelTable* table : available_tables()) {
    if (table->isa == Isa::kScalar) continue;
    for (DType type : kEightBitTypes) {
      const MatmulKernel& kernel = table->matmul_for(type);
      const Problem p(type, 17, k, 41);
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

TEST(MatmulLaw, TokensLaidOutBeforeGiveTheSameBitsInAnyPieces) {
  // one block of tokens, a block and one token, several blocks; layouts in parts, rows in odd pieces
  const std::size_t k = 2560;
  std::vector<Activations> all;
  for (const std::size_t m : {97, 289, 580}) all.push_back(random_activations(oracle(), m, k, 44));
  for (const KernelTable* table : available_tables()) {
    if (table->isa == Isa::kScalar) continue;  // one token after the other by construction
    for (DType type : {DType::kF16, DType::kIQ2_XS, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K, DType::kQ8_0,
                       DType::kQ4_0, DType::kQ4_1, DType::kQ2_K, DType::kIQ4_XS}) {
      const MatmulKernel& kernel = table->matmul_for(type);
      ASSERT_NE(kernel.lay_out, nullptr) << table->name;
      const Problem p(type, 91, k, 43);
      for (const Activations& a : all) {
        const std::size_t m = a.m;
        ASSERT_TRUE(kernel.wants_layout(k, m)) << label(*table, p, m);
        std::vector<std::size_t> ends = {kLayoutTokens, 3 * kLayoutTokens, m};
        const AlignedBytes laid_out = lay_out(kernel, a, k, ends);
        const std::vector<float> y = multiply(kernel, p, a, 0, m, {16, 64, 80, p.n}, 1.0f, laid_out.get());
        expect_same_bits(y, multiply(kernel, p, a), label(*table, p, m));
      }
    }
  }
}

TEST(MatmulLaw, OnlyManyTokensAreLaidOutBefore) {
  for (const KernelTable* table : available_tables()) {
    for (DType type : kAllDTypes) {
      const MatmulKernel& kernel = table->matmul_for(type);
      EXPECT_EQ(kernel.layout_bytes == nullptr, kernel.lay_out == nullptr) << table->name;
      EXPECT_FALSE(kernel.wants_layout(512, 1)) << table->name << ' ' << info(type).name;
      EXPECT_FALSE(kernel.wants_layout(512, 16)) << table->name << ' ' << info(type).name;
    }
  }
}

TEST(MatmulLaw, BitsDoNotDependOnHowRowsAreSplit) {
  for (const KernelTable* table : available_tables()) {
    for (DType type : kAllDTypes) {
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
