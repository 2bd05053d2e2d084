#include "gguf/name_index.hpp"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace gemma::gguf {
namespace {

using detail::NameIndex;

TEST(NameIndex, FindsWhatWasAddedAndNothingElse) {
  std::vector<std::string> names;
  for (int i = 0; i < 100'000; ++i) names.push_back("blk." + std::to_string(i) + ".ffn_down.weight");
  NameIndex index;
  EXPECT_FALSE(index.find("blk.0.ffn_down.weight").has_value());
  for (const std::string& name : names) ASSERT_EQ(index.add(name), NameIndex::Added::kYes);
  EXPECT_EQ(index.size(), names.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    ASSERT_EQ(index.find(names[i]), i);
    ASSERT_FALSE(index.find(names[i] + "s").has_value());
  }
}

TEST(NameIndex, ANameStandsOnce) {
  NameIndex index;
  EXPECT_EQ(index.add("a"), NameIndex::Added::kYes);
  EXPECT_EQ(index.add("b"), NameIndex::Added::kYes);
  EXPECT_EQ(index.add("a"), NameIndex::Added::kTwice);
  EXPECT_EQ(index.size(), 2u);
  EXPECT_EQ(index.find("a"), 0u);
}

TEST(NameIndex, EmptyAndBinaryNames) {
  using namespace std::string_view_literals;
  NameIndex index;
  EXPECT_EQ(index.add(""), NameIndex::Added::kYes);
  EXPECT_EQ(index.add("\0"sv), NameIndex::Added::kYes);
  EXPECT_EQ(index.add("\0\0"sv), NameIndex::Added::kYes);
  EXPECT_EQ(index.find(""), 0u);
  EXPECT_EQ(index.find("\0"sv), 1u);
  EXPECT_EQ(index.find("\0\0"sv), 2u);
}

/// `count` names whose hashes agree in the low 12 bits: they have the same slot in every table of up to 4096.
std::vector<std::string> colliding_names(std::size_t count) {
  std::vector<std::string> names;
  for (std::uint64_t i = 0; names.size() < count; ++i) {
    std::string name = std::to_string(i);
    if ((NameIndex::hash(name) & 0xFFF) == 0x5A5) names.push_back(std::move(name));
  }
  return names;
}

TEST(NameIndex, NamesChosenToCollideAreRefusedInTime) {
  const auto names = colliding_names(NameIndex::kLongestProbe + 1);
  NameIndex index;
  for (std::size_t i = 0; i < NameIndex::kLongestProbe; ++i) {
    ASSERT_EQ(index.add(names[i]), NameIndex::Added::kYes) << i;
  }
  EXPECT_EQ(index.add(names.back()), NameIndex::Added::kRefused);
  EXPECT_EQ(index.find(names[200]), 200u);
}

TEST(NameIndex, MovesWithItsContent) {
  NameIndex from;
  from.add("a");
  const NameIndex to = std::move(from);
  EXPECT_EQ(to.find("a"), 0u);
}

}  // namespace
}  // namespace gemma::gguf
