// The table of element types, compared with the numbers of the GGUF specification, which are repeated here.
#include "gguf/dtype.hpp"

#include <cstdint>
#include <iterator>
#include <set>
#include <string_view>

#include <gtest/gtest.h>

namespace gemma {
namespace {

struct Row {
  std::uint32_t id;
  DType type;
  std::string_view name;
  std::size_t block_elements;
  double bits_per_weight;
};
constexpr Row kRows[] = {
    {0, DType::kF32, "F32", 1, 32},
    {1, DType::kF16, "F16", 1, 16},
    {2, DType::kQ4_0, "Q4_0", 32, 4.5},
    {3, DType::kQ4_1, "Q4_1", 32, 5.0},
    {6, DType::kQ5_0, "Q5_0", 32, 5.5},
    {7, DType::kQ5_1, "Q5_1", 32, 6.0},
    {8, DType::kQ8_0, "Q8_0", 32, 8.5},
    {10, DType::kQ2_K, "Q2_K", 256, 2.625},
    {11, DType::kQ3_K, "Q3_K", 256, 3.4375},
    {12, DType::kQ4_K, "Q4_K", 256, 4.5},
    {13, DType::kQ5_K, "Q5_K", 256, 5.5},
    {14, DType::kQ6_K, "Q6_K", 256, 6.5625},
    {16, DType::kIQ2_XXS, "IQ2_XXS", 256, 2.0625},
    {17, DType::kIQ2_XS, "IQ2_XS", 256, 2.3125},
    {18, DType::kIQ3_XXS, "IQ3_XXS", 256, 3.0625},
    {19, DType::kIQ1_S, "IQ1_S", 256, 1.5625},
    {20, DType::kIQ4_NL, "IQ4_NL", 32, 4.5},
    {21, DType::kIQ3_S, "IQ3_S", 256, 3.4375},
    {22, DType::kIQ2_S, "IQ2_S", 256, 2.5625},
    {23, DType::kIQ4_XS, "IQ4_XS", 256, 4.25},
    {29, DType::kIQ1_M, "IQ1_M", 256, 1.75},
    {30, DType::kBF16, "BF16", 1, 16},
    {34, DType::kTQ1_0, "TQ1_0", 256, 1.6875},
    {35, DType::kTQ2_0, "TQ2_0", 256, 2.0625},
    {39, DType::kMXFP4, "MXFP4", 32, 4.25},
    {40, DType::kNVFP4, "NVFP4", 64, 4.5},
    {41, DType::kQ1_0, "Q1_0", 128, 1.125},
    {42, DType::kQ2_0, "Q2_0", 64, 2.25},
};
static_assert(std::size(kRows) == kAllDTypes.size());

TEST(DType, TableIsTheSpecifications) {
  for (const Row& row : kRows) {
    const auto type = dtype_from_id(row.id);
    ASSERT_TRUE(type.has_value()) << row.name;
    EXPECT_EQ(*type, row.type);
    EXPECT_EQ(info(*type).name, row.name);
    EXPECT_EQ(info(*type).block_elements, row.block_elements) << row.name;
    EXPECT_EQ(8.0 * info(*type).block_bytes / info(*type).block_elements, row.bits_per_weight) << row.name;
    EXPECT_EQ(describe_dtype_id(row.id), row.name);
    EXPECT_EQ(dtype_name(row.id), row.name);
    EXPECT_EQ(find_unsupported_type(row.id), nullptr) << row.name;
  }
}

TEST(DType, EveryOtherNumberDoesNotRun) {
  std::set<std::uint32_t> known;
  for (const Row& row : kRows) known.insert(row.id);
  for (std::uint32_t id = 0; id < 1000; ++id) {
    EXPECT_EQ(dtype_from_id(id).has_value(), known.count(id) == 1) << id;
  }
  for (const std::uint32_t id : {0x7FFFFFFFu, 0x80000000u, 0xFFFFFFFFu, 256u + 12u, 65536u + 12u}) {
    EXPECT_FALSE(dtype_from_id(id).has_value()) << id;
  }
  EXPECT_EQ(info(DType::kUnsupported).block_elements, 0);
}

TEST(DType, NumbersThatDoNotRunAreNamed) {
  EXPECT_EQ(describe_dtype_id(144), "iq4_ks (144)");
  EXPECT_EQ(describe_dtype_id(26), "I32 (26)");
  EXPECT_EQ(describe_dtype_id(0xFFFFFFFF), "unknown (4294967295)");
  EXPECT_EQ(dtype_name(144), "iq4_ks");
  EXPECT_EQ(dtype_name(99), "unknown type 99");
}

TEST(DType, OtherTypesAreDistinctAndSaySizeAndReason) {
  std::set<std::uint32_t> numbers;
  std::set<std::string_view> names;
  for (const UnsupportedType& other : detail::kUnsupportedTypes) {
    EXPECT_TRUE(numbers.insert(other.id).second) << other.id;
    EXPECT_TRUE(names.insert(other.name).second) << other.name;
    EXPECT_EQ(find_unsupported_type(other.id), &other);
    EXPECT_EQ(other.has_size(), other.block_bytes != 0) << other.name;
  }
  const UnsupportedType& kss = *find_unsupported_type(146);
  EXPECT_EQ(kss.name, "iq4_kss");
  EXPECT_EQ(kss.block_elements, 256);
  EXPECT_EQ(kss.block_bytes, 128);
  EXPECT_EQ(kss.row_extra, 4);
  EXPECT_EQ(to_string(kss.why), "is ik_llama.cpp's own");
  EXPECT_EQ(to_string(find_unsupported_type(4)->why), "was removed from the format");
  EXPECT_FALSE(find_unsupported_type(36)->has_size());
  EXPECT_EQ(find_unsupported_type(99), nullptr);
}

TEST(DType, RowBytes) {
  static_assert(row_bytes(DType::kF32, 7) == 28);
  static_assert(row_bytes(DType::kBF16, 7) == 14);
  static_assert(row_bytes(DType::kQ8_0, 64) == 68);
  static_assert(row_bytes(DType::kQ4_K, 3072) == 1728);
  static_assert(row_bytes(DType::kQ6_K, std::size_t{1} << 40) == (std::size_t{1} << 32) * 210);
}

}  // namespace
}  // namespace gemma
