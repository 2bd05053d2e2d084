// Random weights of every stored type, and random activations, for tests and benches.
// Invariant: the same seed gives the same bytes; every weight is finite.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <type_traits>
#include <vector>

#include "gguf/dtype.hpp"
#include "gguf/half.hpp"
#include "kernels/kernel_table.hpp"

namespace gemma::test {

enum class Scales {
  kUsual,    // magnitudes as in real models
  kExtreme,  // any finite binary16: subnormal, huge, zero, negative
};

/// Replaces a block's scales, which random bytes would make arbitrarily large, NaN or infinite: binary16
/// scales by half_scale(), others by values as in real models.
template <class Block, class HalfScale>
void set_scales(Block& b, HalfScale&& half_scale) {
  if constexpr (requires { b.d; }) {
    b.d = half_scale();
    if constexpr (requires { b.dmin; }) b.dmin = half_scale();
    if constexpr (requires { b.m; }) b.m = half_scale();
  } else if constexpr (std::is_same_v<Block, BlockIQ1_M>) {
    const std::uint16_t d = half_scale();
    for (int i = 0; i < 4; ++i)
      b.scales[i] = static_cast<std::uint16_t>((b.scales[i] & 0x0FFF) | ((d >> (4 * i)) & 15) << 12);
  } else if constexpr (std::is_same_v<Block, BlockMXFP4>) {
    b.e = static_cast<std::uint8_t>(116 + b.e % 8);
  } else if constexpr (std::is_same_v<Block, BlockNVFP4>) {
    for (std::uint8_t& scale : b.s) scale &= 0x3F;
  } else {
    static_assert(sizeof(b.w) <= 4, "a new type: which of its fields are scales?");
  }
}

/// `rows` rows of k weights of a type, in the file's layout.
inline std::vector<std::byte> random_weights(DType type, std::size_t rows, std::size_t k, std::uint32_t seed,
                                             Scales scales = Scales::kUsual) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> unit(-1.0f, 1.0f);
  std::vector<std::byte> w(rows * row_bytes(type, k));
  if (type == DType::kF32 || type == DType::kF16 || type == DType::kBF16) {
    const std::size_t size = info(type).block_bytes;
    for (std::size_t i = 0; i < rows * k; ++i) {
      const float f = unit(random);
      const std::uint16_t half = type == DType::kF16 ? f32_to_f16(f) : f32_to_bf16(f);
      std::memcpy(w.data() + i * size, size == 4 ? static_cast<const void*>(&f) : &half, size);
    }
    return w;
  }
  for (std::byte& b : w) b = static_cast<std::byte>(random());
  const auto half_scale = [&] {
    if (scales == Scales::kUsual) return f32_to_f16(0.01f * unit(random));
    const auto bits = static_cast<std::uint16_t>(random());
    return static_cast<std::uint16_t>((bits & 0x7C00) == 0x7C00 ? bits & 0xBFFF : bits);
  };
  for_each_dtype([&]<DType kType>() {
    if (kType != type) return;
    BlockOf<kType> block;
    for (std::size_t at = 0; at < w.size(); at += sizeof(block)) {
      std::memcpy(&block, w.data() + at, sizeof(block));
      set_scales(block, half_scale);
      std::memcpy(w.data() + at, &block, sizeof(block));
    }
  });
  return w;
}

/// The activations of tokens for a matmul: as floats and in 8 bits.
struct Activations {
  std::size_t m = 0, k = 0;
  std::vector<float> x;                  // [m, k]
  std::vector<std::int8_t> q;            // [m, k]
  std::vector<kernels::Q8Group> groups;  // [m, k / 32]
};

/// Normally distributed, one token in three with a few large values; quantised by `vec`. k need not be a
/// multiple of 32 when q is not wanted.
inline Activations random_activations(const kernels::VectorKernels& vec, std::size_t m, std::size_t k,
                                      std::uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Activations a{m, k, std::vector<float>(m * k), std::vector<std::int8_t>(m * k),
                std::vector<kernels::Q8Group>(m * (k / 32))};
  for (std::size_t t = 0; t < m; ++t) {
    for (std::size_t i = 0; i < k; ++i) {
      a.x[t * k + i] = normal(random);
      if (t % 3 == 1 && random() % 100 == 0) a.x[t * k + i] *= 60.0f;
    }
    if (k % 32 == 0)
      vec.quantize_q8(a.x.data() + t * k, k, a.q.data() + t * k, a.groups.data() + t * (k / 32));
  }
  return a;
}

}  // namespace gemma::test
