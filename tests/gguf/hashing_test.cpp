#include "gguf/hashing.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

namespace gemma::detail {
namespace {

TEST(Hashing, MixesAsSplitMix64) {
  EXPECT_EQ(mixed_bits(0x9E3779B97F4A7C15u), 0xE220A8397B1DCDAFu);  // its first number after the seed 0
}

TEST(Hashing, ProbesFromTheHashOnAndAroundTheEnd) {
  const std::vector<int> slots{0, 5, 6, 7};  // 0: free
  const auto search = [&](int wanted, std::uint64_t hash, std::size_t longest) {
    return probe(
        slots, hash, [wanted](int slot) { return slot == 0 || slot == wanted; }, longest);
  };
  EXPECT_EQ(search(7, 1, 4), 3u);
  EXPECT_EQ(search(7, 9, 4), 3u);  // of a hash, the lower bits count
  EXPECT_EQ(search(8, 1, 4), 0u);  // behind the last slot comes the first
  EXPECT_EQ(search(8, 1, 3), kNoSlot);
  EXPECT_EQ(search(7, 1, 3), 3u);
}

}  // namespace
}  // namespace gemma::detail
