// The matmuls with float32 activations on every instruction set of this machine: compared with sums of
// products in double precision, and law 1 by bits (tokens alone or together, any division of the rows). Types
// with 8-bit activations are tested in matmul_test.cpp.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "gguf/dtype.hpp"
#include "kernels/kernel_table.hpp"
#include "kernels/reference.hpp"

namespace gemma::kernels {
namespace {

constexpr float kGuard = -77.25f;

/// n rows of k weights in the layout of a file, at an address that is off by `shift` bytes, and their float32
/// values.
struct Weights {
  Weights(DType dtype, std::size_t n_rows, std::size_t width, std::size_t offset, unsigned seed)
      : type(dtype), n(n_rows), k(width), shift(offset), stride(row_bytes(dtype, width)) {
    std::mt19937 random(seed);
    const std::size_t block = info(type).block_elements, block_bytes = info(type).block_bytes;
    bytes.resize(shift + n * stride);
    values.resize(n * k);
    for (std::size_t b = 0; b < n * k / block; ++b) {
      std::byte* const at = bytes.data() + shift + b * block_bytes;
      float* const decoded = values.data() + b * block;
      do {  // all codes are valid, but blocks with scales that are huge, infinite or NaN are drawn again
        if (type == DType::kF32) {
          const float w = std::normal_distribution<float>()(random);
          std::memcpy(at, &w, sizeof w);
        } else {
          for (std::size_t i = 0; i < block_bytes; ++i) at[i] = static_cast<std::byte>(random());
        }
        reference::dequantize_function(type)(at, block, decoded);
      } while (!usable(decoded, block));
    }
  }
  static bool usable(const float* w, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i)
      if (!(std::abs(w[i]) < 1e3f)) return false;
    return true;
  }
  DType type;
  std::size_t n, k, shift, stride;
  std::vector<std::byte> bytes;
  std::vector<float> values;  // [n, k]
};

std::vector<float> activations(std::size_t m, std::size_t k, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(m * k);
  for (float& v : x) v = normal(random);
  return x;
}

/// Computes tokens [t, t + m) and rows [begin, end) of y[all tokens, ldy].
void multiply(const MatmulKernel& kernel, const Weights& w, const float* x, std::size_t m, std::size_t begin,
              std::size_t end, float* y, std::size_t ldy) {
  const std::size_t bytes = kernel.scratch_bytes(w.k);
  std::vector<std::byte> scratch(bytes + 128, std::byte{0xFF});
  const std::size_t pad = 64 - reinterpret_cast<std::uintptr_t>(scratch.data()) % 64;
  MatmulArgs a;
  a.w = w.bytes.data() + w.shift;
  a.row_bytes = w.stride;
  a.k = w.k;
  a.row_begin = begin;
  a.row_end = end;
  a.m = m;
  a.x = x;
  a.y = y;
  a.ldy = ldy;
  a.scratch = scratch.data() + pad;
  kernel.matmul(a);
  for (std::size_t i = pad + bytes; i < scratch.size(); ++i)
    ASSERT_EQ(scratch[i], std::byte{0xFF}) << "past scratch";
}

/// Calls f(table's name, kernel) for every kernel with float activations for the type.
template <class F>
void for_each_kernel(DType type, F f) {
  for (const KernelTable* table : available_tables()) {
    const MatmulKernel& kernel = table->matmul_for(type);
    if (kernel.quantized_activations) continue;
    SCOPED_TRACE(std::string(table->name) + ", " + std::string(info(type).name));
    f(kernel);
  }
}

/// Widths of rows, including odd ones if the type's block allows them.
std::vector<std::size_t> widths(DType type) {
  const std::size_t block = info(type).block_elements;
  if (block == 1) return {1, 3, 7, 16, 17, 31, 100, 512, 1030, 1537};
  return {block, 3 * block, block * (1536 / block) + block};
}

void expect_product(const Weights& w, const std::vector<float>& x, std::size_t m, const std::vector<float>& y,
                    std::size_t ldy) {
  for (std::size_t t = 0; t < m; ++t) {
    for (std::size_t r = 0; r < w.n; ++r) {
      double sum = 0, size = 0;
      for (std::size_t i = 0; i < w.k; ++i) {
        const double product =
            static_cast<double>(x[t * w.k + i]) * static_cast<double>(w.values[r * w.k + i]);
        sum += product;
        size += std::abs(product);
      }
      ASSERT_NEAR(y[t * ldy + r], sum, 1e-6 * size + 1e-30) << "token " << t << ", row " << r;
    }
    for (std::size_t r = w.n; r < ldy; ++r) ASSERT_EQ(y[t * ldy + r], kGuard) << "wrote past the row";
  }
}

TEST(MatmulFloat, EveryTypeAgreesWithDoublePrecision) {
  for (DType type : kAllDTypes) {
    for (std::size_t k : widths(type)) {
      for (std::size_t m : {1u, 3u, 13u}) {
        SCOPED_TRACE("k " + std::to_string(k) + ", m " + std::to_string(m));
        const std::size_t n = 37, ldy = n + 5;
        const Weights w(type, n, k, k % 4, static_cast<unsigned>(k));
        const std::vector<float> x = activations(m, k, 7);
        for_each_kernel(type, [&](const MatmulKernel& kernel) {
          std::vector<float> y(m * ldy, kGuard);
          multiply(kernel, w, x.data(), m, 0, n, y.data(), ldy);
          expect_product(w, x, m, y, ldy);
        });
      }
    }
  }
}

TEST(MatmulFloat, TokensAndSplitsOfRowsGiveTheSameBits) {
  for (DType type : kAllDTypes) {
    for (std::size_t k : {widths(type).front(), widths(type).back()}) {
      const std::size_t n = 39, m = 19;  // two panels and a part of a third
      const Weights w(type, n, k, 1, 5);
      const std::vector<float> x = activations(m, k, 8);
      for_each_kernel(type, [&](const MatmulKernel& kernel) {
        std::vector<float> together(m * n), split(m * n);
        multiply(kernel, w, x.data(), m, 0, n, together.data(), n);
        for (std::size_t tokens : {1u, 2u, 5u, 7u}) {
          for (std::size_t rows : {16u, 32u}) {
            for (std::size_t t = 0; t < m; t += tokens)
              for (std::size_t r = 0; r < n; r += rows)
                multiply(kernel, w, x.data() + t * k, std::min(tokens, m - t), r, std::min(r + rows, n),
                         split.data() + t * n, n);
            for (std::size_t i = 0; i < together.size(); ++i)
              ASSERT_EQ(std::bit_cast<std::uint32_t>(together[i]), std::bit_cast<std::uint32_t>(split[i]))
                  << "token " << i / n << ", row " << i % n << ", by " << tokens << " and " << rows;
          }
        }
      });
    }
  }
}

TEST(MatmulFloat, LongRows) {
  for (DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
    const std::size_t n = 5, m = 2, k = 16384;
    const Weights w(type, n, k, 0, 3);
    const std::vector<float> x = activations(m, k, 4);
    for_each_kernel(type, [&](const MatmulKernel& kernel) {
      std::vector<float> y(m * n, kGuard);
      multiply(kernel, w, x.data(), m, 0, n, y.data(), n);
      expect_product(w, x, m, y, n);
    });
  }
}

TEST(MatmulFloat, EverySimdTableReadsF32AndF16WithoutDecodingToScratch) {
  for (const KernelTable* table : available_tables()) {
    if (table->isa == Isa::kScalar) continue;
    SCOPED_TRACE(std::string(table->name));
    for (DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
      EXPECT_FALSE(table->matmul_for(type).quantized_activations);
      const auto scratch_bytes = table->matmul_for(type).scratch_bytes;
      EXPECT_EQ(scratch_bytes(4096), scratch_bytes(16384));  // scratch holds sums at most, not rows
      EXPECT_LE(scratch_bytes(4096), 80u * 1024u);
    }
  }
}

}  // namespace
}  // namespace gemma::kernels
