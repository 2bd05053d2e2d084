// The cache's plan, its rings, and what it can go back to.
#include "gemma/kv_cache.hpp"

#include <cstring>
#include <limits>
#include <set>
#include <string>

#include <gtest/gtest.h>

namespace gemma {
namespace {

LayerConfig layer(std::size_t index, std::size_t window) {
  LayerConfig l;
  l.attention = {.n_heads = 4, .n_kv_heads = 2, .head_dim = 32, .window = window, .kv_layer = index};
  return l;
}

ModelConfig two_layers(std::size_t window) {
  ModelConfig c;
  c.layers = {layer(0, window), layer(1, 0)};
  return c;
}

TEST(KvCache, TakesWhatItPlanned) {
  for (const auto type : {KvType::kF16, KvType::kF32}) {
    const KvCacheOptions options{.n_ctx = 1000, .type = type, .max_chunk = 100};
    const std::size_t full = 1024;  // 1000 in blocks of 64
    const KvCache cache(two_layers(16), options);
    EXPECT_EQ(cache.n_slots(0), 128u);
    EXPECT_EQ(cache.n_slots(1), full);
    EXPECT_EQ(cache.size_bytes(), (128u + full) * 2 * 2 * 32 * (type == KvType::kF16 ? 2 : 4));
    EXPECT_EQ(cache.size_bytes(), KvCache::bytes_for(two_layers(16), options));
  }
}

TEST(KvCache, EveryPositionOfABlockHasItsOwnPlace) {
  KvCache cache(two_layers(0), {.n_ctx = 128, .type = KvType::kF16, .max_chunk = 8});
  std::set<std::byte*> places;
  for (std::size_t head = 0; head < 2; ++head) {
    for (std::size_t p = 0; p < 128; ++p) {
      for (std::size_t d = 0; d < 32; ++d)
        places.insert(cache.key_slot(0, head, p) + d * kernels::kKeyTile * 2);
      places.insert(cache.value_slot(0, head, p));
    }
  }
  EXPECT_EQ(places.size(), 2u * 128 * 33);
}

TEST(KvCache, GoesBackAsFarAsTheRingAllows) {
  KvCache cache(two_layers(16),
                {.n_ctx = 1000, .type = KvType::kF16, .max_chunk = 100});  // a ring of 128 slots
  EXPECT_FALSE(cache.can_truncate(1));
  for (int i = 0; i < 5; ++i) {
    cache.will_write(100);
    cache.advance(100);
  }
  EXPECT_EQ(cache.n_past(), 500u);
  EXPECT_TRUE(cache.can_truncate(500));
  // position n sees from n - 15; the oldest position still stored is 500 - 128 = 372
  EXPECT_TRUE(cache.can_truncate(387));
  EXPECT_FALSE(cache.can_truncate(386));
  EXPECT_TRUE(cache.can_truncate(0));
  EXPECT_THROW(cache.truncate(386), Error);
  cache.truncate(400);
  EXPECT_EQ(cache.n_past(), 400u);
  EXPECT_FALSE(cache.can_truncate(386));  // what was overwritten stays overwritten
  cache.truncate(0);
  cache.will_write(100);
  cache.advance(100);
  EXPECT_TRUE(cache.can_truncate(1));
}

TEST(KvCache, WhatNoMemoryHoldsIsPlannedWithoutOverflowAndRefused) {
  ModelConfig c;  // the largest that a file may describe: 2^64 bytes in all
  c.layers.assign(64, {});
  for (std::size_t i = 0; i < 64; ++i) {
    constexpr std::size_t kMost = std::size_t{1} << 12;
    c.layers[i].attention = {.n_heads = kMost, .n_kv_heads = kMost, .head_dim = kMost, .kv_layer = i};
  }
  const KvCacheOptions options{.n_ctx = ModelConfig::kMostPositions, .type = KvType::kF32, .max_chunk = 1};
  EXPECT_EQ(KvCache::bytes_for(c, options), std::numeric_limits<std::size_t>::max());
  try {
    const KvCache cache(c, options);
    FAIL() << "made";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kOutOfMemory);
    EXPECT_NE(e.message().find("KV cache"), std::string::npos) << e.message();
  }
}

TEST(KvCache, FitsConfigurationsOfItsShape) {
  const KvCache cache(two_layers(16), {.n_ctx = 64});
  EXPECT_TRUE(cache.fits(two_layers(16)));
  EXPECT_FALSE(cache.fits(two_layers(17)));
  EXPECT_FALSE(cache.fits(two_layers(0)));
  ModelConfig c = two_layers(16);
  c.layers[0].attention.n_kv_heads = 4;
  EXPECT_FALSE(cache.fits(c));
  c = two_layers(16);
  c.layers[1].attention.head_dim = 16;
  EXPECT_FALSE(cache.fits(c));
  c = two_layers(16);
  c.layers.push_back(layer(2, 0));
  EXPECT_FALSE(cache.fits(c));
  c = two_layers(16);
  c.layers[1].attention.kv_layer = 0;
  EXPECT_FALSE(cache.fits(c));
}

TEST(KvCache, ALayerThatReadsAnothersTakesNoMemory) {
  ModelConfig c = two_layers(0);
  c.layers.push_back(layer(1, 0));  // reads the second layer's
  const KvCacheOptions options{.n_ctx = 100};
  EXPECT_EQ(KvCache::bytes_for(c, options), KvCache::bytes_for(two_layers(0), options));
  const KvCache cache(c, options);
  EXPECT_EQ(cache.n_slots(2), 0u);
  EXPECT_TRUE(cache.fits(c));
  EXPECT_FALSE(cache.fits(two_layers(0)));
}

TEST(KvCache, CopiesWhatIsInUse) {
  const KvCacheOptions options{.n_ctx = 256, .type = KvType::kF32, .max_chunk = 40};
  KvCache a(two_layers(16), options);
  KvCache b(two_layers(16), options);
  const std::size_t n = 100;  // the ring of layer 0 has 64 slots
  for (std::size_t p = 0; p < n; ++p) {
    if (p % 20 == 0) a.will_write(20);
    for (std::size_t l = 0; l < 2; ++l) {
      for (std::size_t h = 0; h < 2; ++h) {
        const auto x = static_cast<float>(1000 * l + 500 * h + p);
        for (std::size_t d = 0; d < 32; ++d) {
          std::memcpy(a.key_slot(l, h, p) + d * kernels::kKeyTile * 4, &x, 4);
          std::memcpy(a.value_slot(l, h, p) + d * 4, &x, 4);
        }
      }
    }
    if (p % 20 == 19) a.advance(20);
  }
  b.copy_from(a);
  EXPECT_EQ(b.n_past(), n);
  EXPECT_EQ(b.can_truncate(50), a.can_truncate(50));
  for (std::size_t p = 0; p < n; ++p) {
    for (std::size_t l = p < n - 64 ? 1 : 0; l < 2; ++l) {
      for (std::size_t h = 0; h < 2; ++h) {
        for (std::size_t d = 0; d < 32; ++d) {
          ASSERT_EQ(std::memcmp(a.key_slot(l, h, p) + d * kernels::kKeyTile * 4,
                                b.key_slot(l, h, p) + d * kernels::kKeyTile * 4, 4),
                    0)
              << p;
        }
        ASSERT_EQ(std::memcmp(a.value_slot(l, h, p), b.value_slot(l, h, p), 32 * 4), 0) << p;
      }
    }
  }
}

TEST(KvCache, RefusesWhatCannotBe) {
  EXPECT_THROW(KvCache(two_layers(0), {.n_ctx = 0}), Error);
  EXPECT_THROW(KvCache(two_layers(0), {.n_ctx = 10, .type = KvType::kF16, .max_chunk = 0}), Error);
  KvCache a(two_layers(0), {.n_ctx = 64});
  const KvCache b(two_layers(0), {.n_ctx = 128});
  EXPECT_THROW(a.copy_from(b), Error);
}

}  // namespace
}  // namespace gemma
