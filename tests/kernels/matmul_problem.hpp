// Common parts of the tests of matmuls: weights and activations, a call that checks which memory a kernel
// changes, and comparison by bits.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/kernel_table.hpp"
#include "kernels/reference.hpp"
#include "tests/kernels/random_blocks.hpp"

namespace gemma::kernels::test {

using gemma::test::Activations;
using gemma::test::random_activations;
using gemma::test::random_weights;
using gemma::test::Scales;

/// The types that every instruction set multiplies with 8-bit activations.
inline constexpr DType kEightBitTypes[] = {DType::kQ4_K, DType::kQ5_K, DType::kQ6_K,   DType::kQ8_0,
                                           DType::kQ4_0, DType::kQ4_1, DType::kQ5_0,   DType::kQ5_1,
                                           DType::kQ2_K, DType::kQ3_K, DType::kIQ4_NL, DType::kIQ4_XS};

inline const VectorKernels& oracle() {
  static const VectorKernels v = reference::vector_kernels();
  return v;
}

/// Weights at an unaligned address, and the operands of a kernel call.
struct Problem {
  DType type;
  std::size_t n, k;
  std::vector<std::byte> storage;
  std::size_t shift;

  Problem(DType of_type, std::size_t rows, std::size_t cols, std::uint32_t seed,
          Scales scales = Scales::kUsual, std::size_t offset = 0)
      : type(of_type), n(rows), k(cols), shift(offset) {
    storage = random_weights(type, n, k, seed, scales);
    storage.insert(storage.begin(), shift, std::byte{0x5A});
  }
  const std::byte* weights() const { return storage.data() + shift; }
};

inline constexpr float kUntouched = -12345.0f;

using AlignedBytes = std::unique_ptr<std::byte, void (*)(std::byte*)>;

/// 64-byte aligned memory with all bits set, so that uninitialised floats are NaN.
inline AlignedBytes aligned_bytes(std::size_t size) {
  AlignedBytes bytes(static_cast<std::byte*>(::operator new (size, std::align_val_t{64})),
                     [](std::byte* b) { ::operator delete (b, std::align_val_t{64}); });
  std::memset(bytes.get(), 0xFF, size);
  return bytes;
}

inline void expect_untouched(const std::byte* guard, const char* what) {
  for (std::size_t i = 0; i < 64; ++i) EXPECT_EQ(guard[i], std::byte{0xFF}) << "wrote past the " << what;
}

/// All tokens of `a` laid out in parts that end at `ends`, the last part first.
inline AlignedBytes lay_out(const MatmulKernel& kernel, const Activations& a, std::size_t k,
                            const std::vector<std::size_t>& ends) {
  const std::size_t bytes = kernel.layout_bytes(k, a.m);
  AlignedBytes out = aligned_bytes(bytes + 64);
  MatmulArgs args;
  args.k = k;
  args.m = a.m;
  args.x = kernel.quantized_activations ? nullptr : a.x.data();
  args.q = kernel.quantized_activations ? a.q.data() : nullptr;
  args.groups = kernel.quantized_activations ? a.groups.data() : nullptr;
  for (std::size_t i = ends.size(); i-- > 0;)
    kernel.lay_out(args, i == 0 ? 0 : ends[i - 1], ends[i], out.get());
  expect_untouched(out.get() + bytes, "layout");
  return out;
}

/// Computes y[m, n + 3] of tokens [t0, t0 + m), rows in the given pieces; the last three columns are guards.
/// `laid_out`: all tokens as laid out by lay_out(), or nothing.
inline std::vector<float> multiply(const MatmulKernel& kernel, const Problem& p, const Activations& a,
                                   std::size_t t0, std::size_t m, const std::vector<std::size_t>& row_ends,
                                   float scale = 1.0f, const std::byte* laid_out = nullptr) {
  const std::size_t ldy = p.n + 3;
  std::vector<float> y(m * ldy, kUntouched);
  const std::size_t bytes = kernel.scratch_bytes(p.k) + 64;
  const AlignedBytes scratch = aligned_bytes(bytes);
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
    args.scale = scale;
    args.laid_out = laid_out;
    kernel.matmul(args);
    begin = end;
  }
  expect_untouched(scratch.get() + bytes - 64, "scratch");
  for (std::size_t t = 0; t < m; ++t)
    for (std::size_t i = p.n; i < ldy; ++i) EXPECT_EQ(y[t * ldy + i], kUntouched) << "wrote past n";
  return y;
}

inline std::vector<float> multiply(const MatmulKernel& kernel, const Problem& p, const Activations& a) {
  return multiply(kernel, p, a, 0, a.m, {p.n});
}

inline void expect_same_bits(const std::vector<float>& got, const std::vector<float>& want,
                             const std::string& what) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    // the operand that gives a NaN its sign differs between instructions, and on Arm between vectors and
    // scalars
    if (std::isnan(got[i]) && std::isnan(want[i])) continue;
    ASSERT_EQ(std::bit_cast<std::uint32_t>(got[i]), std::bit_cast<std::uint32_t>(want[i]))
        << what << ": element " << i << " is " << got[i] << ", not " << want[i];
  }
}

inline std::string label(const KernelTable& table, const Problem& p, std::size_t m) {
  return std::string(table.name) + " " + std::string(info(p.type).name) + " m " + std::to_string(m) + " n " +
         std::to_string(p.n) + " k " + std::to_string(p.k);
}

}  // namespace gemma::kernels::test
