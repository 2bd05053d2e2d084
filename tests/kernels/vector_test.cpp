// The vector kernels of every instruction set of this machine, compared with the scalar reference: odd
// lengths, misaligned pointers, both ends of the range, and that the bits of an element do not depend on its
// neighbours.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/kernel_table.hpp"
#include "kernels/reference.hpp"
#include "tests/kernels/each_table.hpp"
#include "tests/nmse.hpp"

namespace gemma::kernels {
namespace {

using test::nmse;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kGuard = -77.25f;
constexpr std::size_t kLengths[] = {1,  2,  3,  5,  7,  8,  9,   15,  16,  17,  31,   32,
                                    33, 48, 63, 64, 65, 79, 100, 255, 256, 257, 1000, 2051};

/// n normal floats in a guarded buffer, at an offset of `shift` floats.
struct Floats {
  Floats(std::size_t count, std::size_t offset, unsigned seed, float spread = 1.0f)
      : n(count), shift(offset) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0.0f, spread);
    all.assign(n + shift + 8, kGuard);
    for (std::size_t i = 0; i < n; ++i) all[shift + i] = normal(random);
  }
  float* data() { return all.data() + shift; }
  std::size_t size() const { return n; }
  float& operator[](std::size_t i) { return all[shift + i]; }
  float operator[](std::size_t i) const { return all[shift + i]; }
  void expect_guards() const {
    for (std::size_t i = 0; i < shift; ++i) EXPECT_EQ(all[i], kGuard) << "wrote before the array";
    for (std::size_t i = shift + n; i < all.size(); ++i) EXPECT_EQ(all[i], kGuard) << "wrote past the array";
  }
  std::size_t n, shift;
  std::vector<float> all;
};

bool same_bits(float a, float b) {
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}

/// Calls f(n, shift) for all lengths and a few misalignments.
template <class F>
void for_each_shape(F f) {
  for (std::size_t n : kLengths) {
    for (std::size_t shift : {0u, 1u, 3u}) {
      SCOPED_TRACE("n " + std::to_string(n) + ", shift " + std::to_string(shift));
      f(n, shift);
    }
  }
}

// ---- quantize_q8 ------------------------------------------------------------------------------------------

/// Quantises x on every instruction set and compares the whole result with the reference by bits.
void expect_same_groups(const std::vector<float>& x) {
  std::vector<std::int8_t> want_q(x.size());
  std::vector<Q8Group> want(x.size() / 32);
  reference::quantize_q8(x.data(), x.size(), want_q.data(), want.data());
  for_each_table([&](const KernelTable&, const VectorKernels& vec) {
    for (std::size_t shift : {0u, 1u, 5u}) {
      std::vector<float> source(shift, kGuard);
      source.insert(source.end(), x.begin(), x.end());
      std::vector<std::int8_t> q(x.size() + shift + 1, 99);
      std::vector<Q8Group> groups(want.size() + 1, Q8Group{kGuard, kGuard, 99, 99});
      vec.quantize_q8(source.data() + shift, x.size(), q.data() + shift, groups.data());
      EXPECT_EQ(q.back(), 99);
      EXPECT_EQ(groups.back().sum_lo, 99);
      for (std::size_t i = 0; i < x.size(); ++i)
        ASSERT_EQ(int{q[shift + i]}, int{want_q[i]}) << "element " << i << ", " << x[i];
      for (std::size_t g = 0; g < want.size(); ++g) {
        SCOPED_TRACE("group " + std::to_string(g));
        const bool nan = std::isnan(want[g].scale);
        ASSERT_TRUE(nan ? std::isnan(groups[g].scale) : same_bits(groups[g].scale, want[g].scale));
        const bool nan_sum = std::isnan(want[g].scaled_sum);
        ASSERT_TRUE(nan_sum ? std::isnan(groups[g].scaled_sum)
                            : same_bits(groups[g].scaled_sum, want[g].scaled_sum));
        ASSERT_EQ(groups[g].sum_lo, want[g].sum_lo);
        ASSERT_EQ(groups[g].sum_hi, want[g].sum_hi);
      }
    }
  });
}

TEST(QuantizeQ8, EqualsTheReferenceByBitsAtEveryMagnitude) {
  for (float spread : {1e-37f, 1e-30f, 1e-3f, 1.0f, 1e4f, 1e30f}) {
    Floats x(64 * 32, 0, 11, spread);
    expect_same_groups({x.data(), x.data() + x.n});
  }
}

TEST(QuantizeQ8, TiesAndExactIntegers) {
  std::vector<float> x(64);
  for (std::size_t i = 0; i < 32; ++i) {
    x[i] = static_cast<float>(i) - 15.5f;
    x[32 + i] = static_cast<float>(8 * i) - 121.0f;
  }
  x[0] = x[32] = -127.0f;  // max / 127 = 1: the first group's other elements are ties, the second's are exact
  expect_same_groups(x);
}

TEST(QuantizeQ8, NoWorseThanRoundingToMaxOver127) {
  for_each_table([](const KernelTable&, const VectorKernels& vec) {
    Floats x(256 * 32, 0, 12);
    std::vector<std::int8_t> q(x.n);
    std::vector<Q8Group> groups(x.n / 32);
    vec.quantize_q8(x.data(), x.n, q.data(), groups.data());
    double error = 0, plain = 0;
    for (std::size_t g = 0; g < groups.size(); ++g) {
      double max = 0;
      for (std::size_t i = 32 * g; i < 32 * g + 32; ++i) max = std::max<double>(max, std::abs(x[i]));
      for (std::size_t i = 32 * g; i < 32 * g + 32; ++i) {
        const double value = x[i], step = max / 127;
        error += std::pow(value - static_cast<double>(groups[g].scale) * q[i], 2);
        plain += std::pow(value - step * std::nearbyint(value / step), 2);
        ASSERT_GE(int{q[i]}, -127);
      }
    }
    EXPECT_LE(error, plain * (1 + 1e-4));
  });
}

TEST(QuantizeQ8, ZerosSubnormalsInfinitiesAndNan) {
  std::vector<float> x(32 * 6, 0.0f);
  for (std::size_t i = 0; i < 32; ++i) {
    x[32 + i] = 1e-40f * static_cast<float>(i);  // scale would be subnormal
    x[64 + i] = (i % 2 ? -1.5e-36f : 1e-36f);    // scale just above the smallest normal
    x[96 + i] = x[128 + i] = x[160 + i] = static_cast<float>(i);
  }
  x[96 + 7] = -kInf;
  x[128 + 31] = kNan;
  x[160] = std::numeric_limits<float>::max();
  expect_same_groups(x);
  std::vector<std::int8_t> q(x.size());
  std::vector<Q8Group> groups(6);
  best_table().vec.quantize_q8(x.data(), x.size(), q.data(), groups.data());
  EXPECT_EQ(groups[0].scale, 0.0f);
  EXPECT_EQ(groups[1].scale, 0.0f);
  EXPECT_EQ(groups[3].scale, kInf);
  EXPECT_TRUE(std::isnan(groups[4].scale));
}

// ---- norms, sums ------------------------------------------------------------------------------------------

TEST(RmsNorm, AgreesWithTheReference) {
  for_each_table([](const KernelTable&, const VectorKernels& vec) {
    for_each_shape([&](std::size_t n, std::size_t shift) {
      Floats x(n, shift, 1, 3.0f), w(n, (shift + 2) % 4, 2), y(n, (shift + 1) % 4, 3), want(n, 0, 4);
      reference::rms_norm(x.data(), w.data(), n, 1e-6f, want.data());
      vec.rms_norm(x.data(), w.data(), n, 1e-6f, y.data());
      EXPECT_LE(nmse(y, want), 1e-13);
      y.expect_guards();
      vec.rms_norm(x.data(), w.data(), n, 1e-6f, x.data());  // in place
      for (std::size_t i = 0; i < n; ++i) ASSERT_TRUE(same_bits(x[i], y[i])) << i;
      x.expect_guards();
    });
  });
}

TEST(RmsNorm, WideRowsAndTinyValues) {
  for_each_table([](const KernelTable&, const VectorKernels& vec) {
    for (float spread : {1e-12f, 1e-3f, 1.0f, 1e6f}) {
      for (std::size_t n : {3072u, 16384u, 16389u}) {
        Floats x(n, 1, 5, spread), w(n, 0, 6), y(n, 0, 7), want(n, 0, 8);
        reference::rms_norm(x.data(), w.data(), n, 1e-5f, want.data());
        vec.rms_norm(x.data(), w.data(), n, 1e-5f, y.data());
        EXPECT_LE(nmse(y, want), 1e-13) << n << " at " << spread;
      }
    }
    std::vector<float> zero(40, 0.0f), w(40, 2.0f);
    vec.rms_norm(zero.data(), w.data(), zero.size(), 1e-6f, zero.data());
    for (float z : zero) EXPECT_EQ(z, 0.0f);
  });
}

TEST(AddAndScale, EqualTheReferenceByBits) {
  for_each_table([](const KernelTable&, const VectorKernels& vec) {
    for_each_shape([&](std::size_t n, std::size_t shift) {
      Floats x(n, shift, 1), y(n, (shift + 1) % 4, 2), want = y;
      vec.add(x.data(), n, y.data());
      reference::add(x.data(), n, want.data());
      vec.scale(0.3f, n, y.data());
      reference::scale(0.3f, n, want.data());
      for (std::size_t i = 0; i < n; ++i) ASSERT_TRUE(same_bits(y[i], want[i])) << i;
      y.expect_guards();
    });
  });
}

// ---- rope -------------------------------------------------------------------------------------------------

TEST(Rope, BothPairingsAgreeWithTheReferenceAndHeadsAreIndependent) {
  for_each_table([](const KernelTable&, const VectorKernels& vec) {
    for (std::size_t head_dim : {2u, 6u, 16u, 34u, 64u, 80u, 128u, 256u}) {
      for (bool pairs : {false, true}) {
        SCOPED_TRACE("head_dim " + std::to_string(head_dim) + (pairs ? " pairs" : " halves"));
        const auto rope = pairs ? vec.rope_pairs : vec.rope_half;
        const std::size_t n_heads = 3, half = head_dim / 2;
        std::vector<float> cos_sin(head_dim + 1);
        for (std::size_t i = 0; i < half; ++i) {
          cos_sin[1 + i] = static_cast<float>(std::cos(0.7 * static_cast<double>(i) + 0.1));
          cos_sin[1 + half + i] = static_cast<float>(std::sin(0.7 * static_cast<double>(i) + 0.1));
        }
        Floats x(n_heads * head_dim, 1, 9), want = x, single = x;
        (pairs ? reference::rope_pairs : reference::rope_half)(want.data(), n_heads, head_dim, &cos_sin[1]);
        rope(x.data(), n_heads, head_dim, &cos_sin[1]);
        EXPECT_LE(nmse(x, want), 1e-13);
        x.expect_guards();
        for (std::size_t h = 0; h < n_heads; ++h)
          rope(single.data() + h * head_dim, 1, head_dim, &cos_sin[1]);
        for (std::size_t i = 0; i < x.n; ++i) ASSERT_TRUE(same_bits(x[i], single[i])) << i;
      }
    }
  });
}

// ---- activations
// -------------------------------------------------------------------------------------------

/// Largest error, in units of the last place of the exact value, over a sweep of all finite float32; values
/// below `tiny` are held to an absolute error of `tiny` instead.
template <class Kernel, class Exact>
double sweep_error(Kernel kernel, Exact exact, double tiny) {
  double worst = 0;
  std::vector<float> x, y;
  for (std::uint32_t sign : {0u, 0x80000000u}) {
    x.clear();
    for (std::uint32_t bits = 0; bits < 0x7F800000u; bits += 2999)
      x.push_back(std::bit_cast<float>(bits | sign));
    y = x;
    kernel(y.data(), y.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double want = exact(static_cast<double>(x[i])),
                   error = std::abs(static_cast<double>(y[i]) - want);
      const double unit = std::abs(want) < tiny ? tiny : std::ldexp(1.0, std::ilogb(want) - 23);
      if (!(error <= 10 * unit)) ADD_FAILURE() << "f(" << x[i] << ") = " << y[i] << ", not " << want;
      worst = std::max(worst, error / unit);
    }
  }
  return worst;
}

TEST(Activations, AccurateOverTheWholeRange) {
  for_each_table([](const KernelTable&, const VectorKernels& vec) {
    const std::vector<float> ones(1'000'000, 1.0f);
    const auto gelu = [&](float* x, std::size_t n) { vec.gelu_mul(x, ones.data(), n); };
    const auto silu = [&](float* x, std::size_t n) { vec.silu_mul(x, ones.data(), n); };
    const auto tanh = [&](float* x, std::size_t n) { vec.softcap(x, n, 1.0f); };
    EXPECT_LE(sweep_error(
                  gelu, [](double x) { return reference::gelu_tanh(x); }, 1e-36),
              2.5);
    EXPECT_LE(sweep_error(
                  silu, [](double x) { return x / (1.0 + std::exp(-x)); }, 1e-36),
              2.3);
    EXPECT_LE(sweep_error(
                  tanh, [](double x) { return std::tanh(x); }, 1e-37),
              3.4);
  });
}

TEST(Activations, BothEnds) {
  for_each_table([](const KernelTable&, const VectorKernels& vec) {
    const std::vector<float> ends = {-3e38f, -1e30f, -1e10f, -200.0f, 0.0f, 200.0f, 1e10f, 1e30f, 3e38f};
    const std::vector<float> ones(ends.size(), 1.0f), want = {0, 0, 0, 0, 0, 200.0f, 1e10f, 1e30f, 3e38f};
    std::vector<float> x = ends;
    vec.gelu_mul(x.data(), ones.data(), x.size());
    EXPECT_EQ(x, want);
    x = ends;
    vec.silu_mul(x.data(), ones.data(), x.size());
    EXPECT_EQ(x, want);
    x = ends;
    vec.softcap(x.data(), x.size(), 50.0f);
    EXPECT_EQ(x[0], -50.0f);
    EXPECT_EQ(x[2], -50.0f);
    EXPECT_NEAR(x[3], 50.0f * std::tanh(-4.0f), 1e-4f);
    EXPECT_EQ(x[4], 0.0f);
    EXPECT_EQ(x[8], 50.0f);
    std::vector<float> nan = {kNan, kNan, kNan};
    vec.gelu_mul(&nan[0], ones.data(), 1);
    vec.silu_mul(&nan[1], ones.data(), 1);
    vec.softcap(&nan[2], 1, 30.0f);
    for (float v : nan) EXPECT_TRUE(std::isnan(v));
  });
}

TEST(Activations, ShapesAlignmentAndIndependenceOfNeighbours) {
  for_each_table([](const KernelTable&, const VectorKernels& vec) {
    for_each_shape([&](std::size_t n, std::size_t shift) {
      Floats up(n, (shift + 3) % 4, 31);
      for (int kind = 0; kind < 3; ++kind) {
        SCOPED_TRACE(kind);
        Floats x(n, shift, 32, 4.0f), want = x, single = x;
        const auto run = [&](const VectorKernels& v, float* gate, const float* with, std::size_t count) {
          if (kind == 0) v.gelu_mul(gate, with, count);
          if (kind == 1) v.silu_mul(gate, with, count);
          if (kind == 2) v.softcap(gate, count, 30.0f);
        };
        run(reference::vector_kernels(), want.data(), up.data(), n);
        run(vec, x.data(), up.data(), n);
        for (std::size_t i = 0; i < n; ++i)
          ASSERT_NEAR(x[i], want[i], 1e-6f * std::abs(want[i]) + 1e-37f) << i;
        x.expect_guards();
        for (std::size_t i = 0; i < n; ++i) run(vec, single.data() + i, up.data() + i, 1);
        for (std::size_t i = 0; i < n; ++i) ASSERT_TRUE(same_bits(x[i], single[i])) << i;
      }
    });
  });
}

// ---- the cache --------------------------------------------------------------------------------------------

template <class T>
std::byte* bytes(T* p) {
  return reinterpret_cast<std::byte*>(p);
}

TEST(StoreKeyAndValue, EveryWidthAndBothTypes) {
  for_each_table([](const KernelTable&, const VectorKernels& vec) {
    for_each_shape([&](std::size_t n, std::size_t shift) {
      Floats x(n, shift, 41), v(n, (shift + 1) % 4, 42), k(n * kKeyTile, 2, 43);
      const std::vector<float> before = k.all;
      vec.store_value(x.data(), n, KvType::kF32, bytes(v.data()), 0);
      vec.store_key(x.data(), n, KvType::kF32, bytes(k.data()), 5);
      std::vector<std::uint16_t> half(n + 2, 0x1234);
      vec.store_value(x.data(), n, KvType::kF16, bytes(half.data() + 1), 0);
      for (std::size_t i = 0; i < n; ++i) {
        ASSERT_EQ(v[i], x[i]);
        ASSERT_EQ(k[5 + i * kKeyTile], x[i]);
        ASSERT_EQ(half[1 + i], f32_to_f16(x[i]));
      }
      v.expect_guards();
      EXPECT_EQ(half.front(), 0x1234);
      EXPECT_EQ(half.back(), 0x1234);
      std::size_t changed = 0;
      for (std::size_t i = 0; i < before.size(); ++i) changed += !same_bits(before[i], k.all[i]);
      EXPECT_LE(changed, n);
    });
  });
}

}  // namespace
}  // namespace gemma::kernels
