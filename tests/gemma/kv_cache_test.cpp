// The cache: its planned size, its pages and their holders, and truncation.
#include "gemma/kv_cache.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "tests/refusal.hpp"

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

/// Adds n tokens as the decoder does, without computing.
void add(KvCache& cache, std::size_t n) {
  cache.prepare(n);
  cache.advance(n);
}

/// The test value that is stored as the keys and values of a position, a head and a layer.
float value_of(std::size_t layer, std::size_t head, std::size_t p, float sequence = 0) {
  return static_cast<float>(1000 * layer + 500 * head + p) + 0.25f * sequence;
}
/// Element d of the key, or value, of a position; floats of `bytes` bytes, 32 a head.
std::byte* key_at(KvCache& cache, std::size_t l, std::size_t h, std::size_t p, std::size_t d,
                  std::size_t bytes) {
  using kernels::kKeyTile;
  const std::size_t slot = p % kernels::kKeyBlock;
  return cache.keys(l, h, p) + bytes * ((slot / kKeyTile * 32 + d) * kKeyTile + slot % kKeyTile);
}
std::byte* value_at(KvCache& cache, std::size_t l, std::size_t h, std::size_t p, std::size_t d,
                    std::size_t bytes) {
  return cache.values(l, h, p) + bytes * (p % kernels::kKeyBlock * 32 + d);
}
void add_values(KvCache& cache, std::size_t n, float sequence = 0) {
  cache.prepare(n);
  for (std::size_t p = cache.n_past(); p < cache.n_past() + n; ++p) {
    for (std::size_t l = 0; l < 2; ++l) {
      for (std::size_t h = 0; h < 2; ++h) {
        const float x = value_of(l, h, p, sequence);
        for (std::size_t d = 0; d < 32; ++d) {
          std::memcpy(key_at(cache, l, h, p, d, 4), &x, 4);
          std::memcpy(value_at(cache, l, h, p, d, 4), &x, 4);
        }
      }
    }
  }
  cache.advance(n);
}
/// Expects the values of `sequence` in all positions of [begin, end) that the next token sees.
void expect_values(KvCache& cache, std::size_t begin, std::size_t end, float sequence = 0) {
  for (std::size_t l = 0; l < 2; ++l) {
    const std::size_t window = cache.layout().layers[l].window;
    const std::size_t n = cache.n_past();
    const std::size_t from = window == 0 || n < window ? 0 : n - window + 1;
    for (std::size_t p = std::max(begin, from); p < end; ++p) {
      for (std::size_t h = 0; h < 2; ++h) {
        const float x = value_of(l, h, p, sequence);
        for (std::size_t d = 0; d < 32; ++d) {
          ASSERT_EQ(std::memcmp(key_at(cache, l, h, p, d, 4), &x, 4), 0) << l << " " << p;
          ASSERT_EQ(std::memcmp(value_at(cache, l, h, p, d, 4), &x, 4), 0) << l << " " << p;
        }
      }
    }
  }
}

TEST(KvCache, TakesWhatItPlanned) {
  for (const auto& [type, head_bytes] :
       {std::pair(KvType::kF16, 64u), std::pair(KvType::kF32, 128u), std::pair(KvType::kQ8, 34u)}) {
    const KvCacheOptions options{.n_ctx = 1000, .type = type, .max_chunk = 100};
    const std::size_t full = 1024;  // 1000 in pages of 64
    const KvCache cache(two_layers(16), options);
    // a run of 15 + 100 positions touches three pages at most
    ASSERT_EQ(cache.layout().groups.size(), 2u);
    EXPECT_EQ(cache.layout().groups[0].most_pages, 3u);
    EXPECT_EQ(cache.layout().groups[1].most_pages, full / 64);
    EXPECT_EQ(cache.size_bytes(), (3u * 64 + full) * 2 * 2 * head_bytes);
    EXPECT_EQ(cache.size_bytes(), KvCache::bytes_for(two_layers(16), options));
    EXPECT_EQ(cache.held_bytes(), 0u);
  }
  // layers with equal windows share pages
  EXPECT_EQ(KvLayout(two_layers(0), {}).groups.size(), 1u);
}

TEST(KvCache, EveryPositionOfAPageHasItsOwnPlace) {
  KvCache cache(two_layers(0), {.n_ctx = 128, .type = KvType::kF16, .max_chunk = 128});
  cache.prepare(128);
  std::set<std::byte*> places;
  for (std::size_t layer = 0; layer < 2; ++layer) {
    for (std::size_t head = 0; head < 2; ++head) {
      for (std::size_t p = 0; p < 128; ++p) {
        for (std::size_t d = 0; d < 32; ++d) {
          places.insert(key_at(cache, layer, head, p, d, 2));
          places.insert(value_at(cache, layer, head, p, d, 2));
        }
      }
    }
  }
  EXPECT_EQ(places.size(), 2u * 2u * 128 * 64);
}

TEST(KvCache, TakesPagesAsItGrowsAndGivesThemBack) {
  KvCache cache(two_layers(16), {.n_ctx = 1000, .type = KvType::kF16, .max_chunk = 100});
  const KvPool& pool = *cache.pool();
  std::size_t most = 0;
  for (std::size_t n = 0; n < 1000; n += 10) {
    const std::size_t needed = cache.pages_needed(1, 10), used = pool.n_used(1);
    add(cache, 10);
    EXPECT_EQ(pool.n_used(1), KvLayout::pages_for(n + 10));
    EXPECT_EQ(pool.n_used(1), used + needed);
    most = std::max(most, pool.n_used(0));
  }
  EXPECT_EQ(most, 3u);
  EXPECT_EQ(cache.held_bytes(), pool.used_bytes());
  cache.truncate(0);
  EXPECT_EQ(pool.used_bytes(), 0u);
}

TEST(KvCache, GoesBackAsFarAsTheWindowsPagesAllow) {
  KvCache cache(two_layers(16), {.n_ctx = 1000, .type = KvType::kF16, .max_chunk = 100});
  EXPECT_FALSE(cache.can_truncate(1));
  for (int i = 0; i < 5; ++i) add(cache, 100);
  EXPECT_EQ(cache.n_past(), 500u);
  EXPECT_TRUE(cache.can_truncate(500));
  // position n sees from n - 15; the oldest of three pages, up to position 511, begins at 320
  EXPECT_TRUE(cache.can_truncate(335));
  EXPECT_FALSE(cache.can_truncate(334));
  EXPECT_TRUE(cache.can_truncate(0));
  EXPECT_EQ(test::refusal_of([&] { cache.truncate(334); }),
            "invalid_argument: cannot truncate 500 positions to 334: a sliding window has released positions "
            "that they need");
  EXPECT_EQ(test::refusal_of([&] { cache.truncate(501); }),
            "invalid_argument: cannot truncate 500 positions to 501");
  cache.truncate(400);
  EXPECT_EQ(cache.n_past(), 400u);
  EXPECT_FALSE(cache.can_truncate(334));  // released positions do not return
  cache.truncate(0);
  add(cache, 100);
  EXPECT_TRUE(cache.can_truncate(1));
}

/// All tokens of a forward pass can be removed again, e.g. a rejected draft.
TEST(KvCache, TheLastForwardCanAlwaysBeUndone) {
  for (const std::size_t window : {1, 2, 16, 63, 64, 65, 200}) {
    KvCache cache(two_layers(window), {.n_ctx = 2000, .type = KvType::kF16, .max_chunk = 70});
    for (std::size_t i = 0; cache.n_past() + 70 < 2000; ++i) {
      const std::size_t before = cache.n_past();
      add(cache, 1 + i * 13 % 70);
      ASSERT_TRUE(cache.can_truncate(before)) << window << ", " << before;
      if (i % 3 == 0) cache.truncate(before);
    }
  }
}

TEST(KvCache, SharesPagesAndCopiesOnlyTheLast) {
  for (const std::size_t window : {0, 16, 100}) {
    for (const std::size_t n : {1, 63, 64, 65, 128, 200, 256, 300}) {
      const KvLayout layout(two_layers(window), {.n_ctx = 512, .type = KvType::kF32, .max_chunk = 400});
      auto pool = std::make_shared<KvPool>(layout, 3);
      KvCache a(pool), b(pool), c(pool);
      add_values(a, 300);
      ASSERT_TRUE(a.can_truncate(n));
      const std::size_t all = layout.groups.size() - 1;  // the group without a window
      const std::size_t alone = pool->n_used(all);
      b.share(a, n);
      c.share(a, n);
      EXPECT_EQ(pool->n_used(all), alone + (n % 64 == 0 ? 0 : 2)) << n;
      EXPECT_EQ(b.n_past(), n);
      // the sequences diverge
      add_values(b, 70, 1);
      add_values(c, 70, 2);
      add_values(a, 70);
      expect_values(a, 0, 370);
      expect_values(b, 0, n);
      expect_values(b, n, n + 70, 1);
      expect_values(c, 0, n);
      expect_values(c, n, n + 70, 2);
      // the first cache may be destroyed
      a.truncate(0);
      expect_values(b, 0, n);
      c.truncate(0);
      expect_values(b, n, n + 70, 1);
      b.truncate(0);
      EXPECT_EQ(pool->used_bytes(), 0u);
    }
  }
}

TEST(KvCache, WritesToASharedPageOnlyAfterCopyingIt) {
  auto pool = std::make_shared<KvPool>(KvLayout(two_layers(0), {.n_ctx = 512, .type = KvType::kF32}), 2);
  KvCache a(pool), b(pool);
  add_values(a, 256);
  b.share(a, 256);
  EXPECT_EQ(b.pages_needed(0, 1), 1u);
  b.truncate(100);  // within a page that `a` holds as well
  EXPECT_EQ(b.pages_needed(0, 1), 1u);
  EXPECT_EQ(b.pages_needed(0, 40), 2u);
  add_values(b, 60, 1);
  expect_values(a, 0, 256);
  expect_values(b, 0, 100);
  expect_values(b, 100, 160, 1);
}

TEST(KvCache, APoolWithoutPagesRefusesAndChangesNothing) {
  const KvLayout layout(two_layers(0), {.n_ctx = 512, .type = KvType::kF32, .max_chunk = 512});
  const std::size_t pages[] = {3};
  auto pool = std::make_shared<KvPool>(layout, pages);
  KvCache a(pool), b(pool);
  add_values(a, 100);
  add_values(b, 50, 1);
  EXPECT_THROW(b.prepare(100), Error);
  expect_values(a, 0, 100);
  expect_values(b, 0, 50, 1);
  EXPECT_EQ(b.n_past(), 50u);
  KvCache c(pool);
  EXPECT_THROW(c.share(a, 100), Error);  // no page for the copy
  EXPECT_EQ(c.n_past(), 0u);
  a.truncate(0);
  add_values(b, 100, 1);
  expect_values(b, 0, 150, 1);
}

TEST(KvCache, WhatNoMemoryHoldsIsPlannedWithoutOverflowAndRefused) {
  ModelConfig c;  // the largest sizes that a file can have: 2^64 bytes in total
  c.layers.assign(64, {});
  for (std::size_t i = 0; i < 64; ++i) {
    constexpr std::size_t kMost = std::size_t{1} << 12;
    c.layers[i].attention = {.n_heads = kMost, .n_kv_heads = kMost, .head_dim = kMost, .kv_layer = i};
  }
  const KvCacheOptions options{.n_ctx = ModelConfig::kMostPositions, .type = KvType::kF32, .max_chunk = 1};
  EXPECT_EQ(KvCache::bytes_for(c, options), std::numeric_limits<std::size_t>::max());
  test::expect_error(ErrorCode::kOutOfMemory, {"KV cache"}, [&] { KvCache(c, options); });
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
  c.layers.push_back(layer(1, 0));  // uses the keys and values of the second layer
  const KvCacheOptions options{.n_ctx = 100};
  EXPECT_EQ(KvCache::bytes_for(c, options), KvCache::bytes_for(two_layers(0), options));
  const KvCache cache(c, options);
  EXPECT_EQ(cache.layout().layers[2].group, KvLayout::kNoGroup);
  EXPECT_TRUE(cache.fits(c));
  EXPECT_FALSE(cache.fits(two_layers(0)));
}

TEST(KvCache, CopiesWhatIsInUse) {
  const KvCacheOptions options{.n_ctx = 256, .type = KvType::kF32, .max_chunk = 40};
  KvCache a(two_layers(16), options);
  KvCache b(two_layers(16), options);
  for (int i = 0; i < 5; ++i) add_values(a, 20);
  b.copy_from(a);
  EXPECT_EQ(b.n_past(), 100u);
  EXPECT_EQ(b.held_bytes(), a.held_bytes());
  for (std::size_t n = 0; n < 100; ++n) EXPECT_EQ(b.can_truncate(n), a.can_truncate(n));
  KvCache c = a.compact_copy();
  EXPECT_EQ(c.size_bytes(), a.held_bytes());
  for (KvCache* copy : {&b, &c}) expect_values(*copy, 0, 100);
  add_values(a, 20);
  expect_values(b, 0, 100);
}

TEST(KvCache, RefusesWhatCannotBe) {
  EXPECT_THROW(KvCache(two_layers(0), {.n_ctx = 0}), Error);
  EXPECT_THROW(KvCache(two_layers(0), {.n_ctx = 10, .type = KvType::kF16, .max_chunk = 0}), Error);
  KvCache a(two_layers(0), {.n_ctx = 64});
  const KvCache b(two_layers(0), {.n_ctx = 128});
  EXPECT_THROW(a.copy_from(b), Error);
  EXPECT_THROW(a.share(b, 0), Error);  // belongs to another pool
  EXPECT_THROW(a.share(a, 0), Error);
}

/// With a window of one position, no page may be left after a truncation.
TEST(KvCache, GoesOnWhereNoPageIsLeft) {
  ModelConfig c = two_layers(1);
  KvCache cache(c, {.n_ctx = 1000, .type = KvType::kF32, .max_chunk = 8});
  for (int i = 0; i < 20; ++i) add_values(cache, 8);
  ASSERT_TRUE(cache.can_truncate(128));
  cache.truncate(128);
  for (int i = 0; i < 20; ++i) {
    add_values(cache, 3);
    expect_values(cache, cache.n_past() - 3, cache.n_past());
  }
}

/// Guesses release no page of a window that the next token alone would not have released.
TEST(KvCache, TellsHowManyFitBeforeAWindowMoves) {
  for (const std::size_t window : {1, 20, 64, 200}) {
    KvCache cache(two_layers(window), {.n_ctx = 1000, .type = KvType::kF32, .max_chunk = 30});
    while (cache.n_past() < cache.n_ctx()) {
      const std::size_t room = cache.room_in_pages();
      ASSERT_GE(room, 1u);
      ASSERT_LE(room, cache.n_ctx() - cache.n_past());
      const std::size_t n = std::min<std::size_t>(room, 1 + cache.n_past() % 9);
      add_values(cache, 1);
      const std::size_t first = cache.blocks(0).first;
      if (n > 1) {
        add_values(cache, n - 1);
        EXPECT_EQ(cache.blocks(0).first, first) << n << " tokens at " << cache.n_past();
        cache.retreat(n - 1);
        cache.truncate(cache.n_past());
        EXPECT_EQ(cache.blocks(0).first, first);
      }
    }
    EXPECT_EQ(cache.room_in_pages(), 0u);
  }
}

}  // namespace
}  // namespace gemma
