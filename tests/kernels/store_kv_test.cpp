// Storing keys and values in the cache on every instruction set of this machine: binary16 correctly rounded,
// 8 bits equal to the reference's bytes; only the slot of the position is written.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/kernel_table.hpp"
#include "kernels/reference.hpp"
#include "tests/kernels/each_table.hpp"

namespace gemma::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

template <class T>
std::byte* bytes(T* p) {
  return reinterpret_cast<std::byte*>(p);
}

/// Floats around every binary16 number and every midpoint of two neighbours, beyond the largest one, and
/// special values.
std::vector<float> rounding_cases() {
  std::vector<float> x = {0.0f, -0.0f, kInf, -kInf, 65504.0f, 65519.9f, 65520.0f, 1e9f, -7e4f, 1e-30f, 3e-8f};
  for (std::uint32_t h = 0; h < 0x7BFF; h += 3) {
    const float a = f16_to_f32(static_cast<std::uint16_t>(h)),
                b = f16_to_f32(static_cast<std::uint16_t>(h + 1));
    const float middle = (a + b) / 2;
    for (float v : {a, middle, std::nextafter(middle, 0.0f), std::nextafter(middle, kInf), -middle})
      x.push_back(v);
  }
  return x;
}

TEST(StoreKeyAndValue, F16RoundsToNearestEvenAndSaturates) {
  const std::vector<float> x = rounding_cases();
  for_each_table([&](const KernelTable&, const VectorKernels& vec) {
    std::vector<std::uint16_t> v(x.size() + 1, 0x1234), k(x.size() * kKeyTile + 1, 0x1234);
    vec.store_value(x.data(), x.size(), KvType::kF16, bytes(v.data()), 0);
    vec.store_key(x.data(), x.size(), KvType::kF16, bytes(k.data()), 1);
    for (std::size_t i = 0; i < x.size(); ++i) {
      ASSERT_EQ(v[i], reference::saturate_to_f16(x[i])) << x[i];
      ASSERT_EQ(k[1 + i * kKeyTile], v[i]) << x[i];
    }
    EXPECT_EQ(v[2], 0x7BFF);  // infinity is stored as the largest finite number
    EXPECT_EQ(v[7], 0x7BFF);
    EXPECT_EQ(v.back(), 0x1234);
    for (std::size_t i = 0; i < k.size(); ++i)
      ASSERT_TRUE(i % kKeyTile == 1 || k[i] == 0x1234) << "wrote another position's lane";
    float nan = kNan;
    std::uint16_t stored = 0;
    vec.store_value(&nan, 1, KvType::kF16, bytes(&stored), 0);
    EXPECT_TRUE(std::isnan(f16_to_f32(stored)));
  });
}

// ---- 8 bits -----------------------------------------------------------------------------------------------

/// The keys or values of one head in a page, followed by guard bytes.
struct Page {
  explicit Page(std::size_t head_dim) : size(kKeyBlock * kv_type_info(KvType::kQ8).vector_bytes(head_dim)) {
    all.assign(size + 64, std::byte{0x5A});
  }
  bool operator==(const Page&) const = default;
  std::size_t size;
  std::vector<std::byte> all;
};

std::vector<float> normal(std::size_t n, unsigned seed, float spread = 1.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution(0.0f, spread);
  std::vector<float> x(n);
  for (float& v : x) v = distribution(random);
  return x;
}

/// The decoded element d of the key in a slot.
float key_of(const Page& page, std::size_t head_dim, std::size_t slot, std::size_t d) {
  const auto code = static_cast<std::int8_t>(page.all[Q8Vectors<>::key_codes(head_dim, slot, d / 4) + d % 4]);
  return code * reference::load_scale(page.all.data(), head_dim, slot, d / 32);
}
float value_of(const Page& page, std::size_t head_dim, std::size_t slot, std::size_t d) {
  const auto code =
      static_cast<std::int8_t>(page.all[Q8Vectors<>::value_codes(head_dim, slot, d / 32) + d % 32]);
  return code * reference::load_scale(page.all.data(), head_dim, slot, d / 32);
}

TEST(StoreQ8, EveryByteOfAPageBelongsToOneSlot) {
  for (const std::size_t n : {4u, 32u, 64u, 80u, 100u, 256u, 300u}) {
    for (const bool key : {true, false}) {
      Page page(n);
      std::vector<int> writers(page.all.size());
      for (std::size_t slot = 0; slot < kKeyBlock; ++slot) {
        Page low(n), high(n);  // two fillers: a byte that is written differs from at least one of them
        std::fill(high.all.begin(), high.all.end(), std::byte{0xA5});
        const std::vector<float> x = normal(n, static_cast<unsigned>(slot));
        for (Page* p : {&low, &high})
          (key ? reference::store_key : reference::store_value)(x.data(), n, KvType::kQ8, p->all.data(),
                                                                slot);
        for (std::size_t i = 0; i < page.all.size(); ++i)
          writers[i] += low.all[i] != std::byte{0x5A} || high.all[i] != std::byte{0xA5};
      }
      for (std::size_t i = 0; i < writers.size(); ++i)
        ASSERT_EQ(writers[i], i < page.size ? 1 : 0) << n << " " << i;
    }
  }
}

TEST(StoreQ8, WritesTheReferencesBytes) {
  for (const std::size_t n : {1u, 3u, 4u, 16u, 31u, 32u, 33u, 64u, 80u, 96u, 128u, 256u, 257u, 300u, 512u}) {
    SCOPED_TRACE(n);
    Page keys(n), values(n);
    std::vector<std::vector<float>> x;
    for (std::size_t slot = 0; slot < kKeyBlock; ++slot) {
      const float spread = slot == 5 ? 1e-6f : slot == 6 ? 3e4f : slot == 7 ? 1e30f : 1.0f;
      x.push_back(normal(n, static_cast<unsigned>(100 * n + slot), spread));
      if (slot == 9) std::fill(x.back().begin(), x.back().end(), 0.0f);
      if (slot == 10) x.back()[n / 2] = kInf;
      if (slot == 11) x.back()[n / 2] = -kInf;
      if (slot == 12) x.back()[n / 2] = kNan;
      reference::store_key(x.back().data(), n, KvType::kQ8, keys.all.data(), slot);
      reference::store_value(x.back().data(), n, KvType::kQ8, values.all.data(), slot);
    }
    for_each_table([&](const KernelTable&, const VectorKernels& vec) {
      Page k(n), v(n);
      for (std::size_t slot = kKeyBlock; slot-- > 0;) {
        vec.store_key(x[slot].data(), n, KvType::kQ8, k.all.data(), slot);
        vec.store_value(x[slot].data(), n, KvType::kQ8, v.all.data(), slot);
      }
      EXPECT_TRUE(k == keys);
      EXPECT_TRUE(v == values);
    });
  }
}

TEST(StoreQ8, KeepsNumbersToAStepAndSaturates) {
  const std::size_t n = 80;
  Page keys(n), values(n);
  for (std::size_t slot = 0; slot < kKeyBlock; ++slot) {
    std::vector<float> x = normal(n, static_cast<unsigned>(slot));
    if (slot == 3) x[40] = kInf;
    if (slot == 4) x[70] = kNan;
    reference::store_key(x.data(), n, KvType::kQ8, keys.all.data(), slot);
    reference::store_value(x.data(), n, KvType::kQ8, values.all.data(), slot);
    for (std::size_t d = 0; d < n; ++d) {
      const float got = key_of(keys, n, slot, d);
      float largest = 0;
      for (std::size_t i = d / 32 * 32; i < n && i < d / 32 * 32 + 32; ++i)
        largest = std::max(largest, std::abs(x[i]));
      if (slot == 4 && d >= 64) {
        EXPECT_TRUE(std::isnan(got)) << d;
        continue;
      }
      ASSERT_EQ(got, value_of(values, n, slot, d));
      if (slot != 3 || d / 32 != 1) {
        EXPECT_NEAR(got, x[d], largest / 124.0f) << slot << " " << d;
      } else if (d == 40) {
        EXPECT_NEAR(got, 65504.0f, 300.0f);
      }
    }
  }
}

}  // namespace
}  // namespace gemma::kernels
