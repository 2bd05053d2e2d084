// KernelTable::dequantize for every type on every instruction set: compared with blocks that an independent
// program decoded (tests/golden/blocks), and between instruction sets, with unaligned sources.
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "gguf/dtype.hpp"
#include "kernels/kernel_table.hpp"
#include "tests/paths.hpp"

namespace gemma::kernels {
namespace {

std::string read_golden(const std::string& name) {
  return test::read_bytes(test::source_dir() / "tests/golden/blocks" / name);
}

/// Compares the decoded golden blocks of a type, in a folder of tests/golden/blocks, by bits.
void expect_golden_bits(const KernelTable& table, DType type, const std::string& folder) {
  const std::string name = folder + std::string(info(type).name);
  SCOPED_TRACE(std::string(table.name) + " " + name);
  const std::string blocks = read_golden(name + ".blocks");
  const std::string golden = read_golden(name + ".f32");
  std::vector<std::uint32_t> want(golden.size() / sizeof(float));
  std::memcpy(want.data(), golden.data(), golden.size());
  ASSERT_GT(want.size(), 0u);
  ASSERT_EQ(blocks.size(), row_bytes(type, want.size()));
  for (const std::size_t shift : {0u, 1u, 3u}) {  // mapped weights are unaligned
    std::vector<std::byte> source(blocks.size() + shift);
    std::memcpy(source.data() + shift, blocks.data(), blocks.size());
    std::vector<float> got(want.size() + 1, -77.0f);
    table.dequantize[static_cast<std::size_t>(type)](source.data() + shift, want.size(), got.data());
    EXPECT_EQ(got.back(), -77.0f) << "wrote past the end";
    for (std::size_t i = 0; i < want.size(); ++i) {
      const auto bits = std::bit_cast<std::uint32_t>(got[i]);
      // the golden F16 and BF16 hold NaNs, whose payload a conversion may change
      if (info(type).block_elements == 1 && std::isnan(got[i]) && std::isnan(std::bit_cast<float>(want[i])))
        continue;
      ASSERT_EQ(bits, want[i]) << "weight " << i << " is " << got[i] << ", not "
                               << std::bit_cast<float>(want[i]);
    }
  }
}

TEST(Dequantize, EveryTypeOnEveryIsaGivesTheGoldenBits) {
  for (const KernelTable* table : available_tables()) {
    for (const DType type : kAllDTypes) {
      if (type != DType::kF32) expect_golden_bits(*table, type, "");  // F32: nothing to decode
    }
  }
}

TEST(Dequantize, ScalesThatNoWriterMakesGiveTheGoldenBits) {
  // exponents of MXFP4 from 253 on, whose larger values are infinite; bit 7 of NVFP4's scales
  for (const KernelTable* table : available_tables()) {
    for (const DType type : {DType::kMXFP4, DType::kNVFP4}) expect_golden_bits(*table, type, "special/");
  }
}

TEST(Dequantize, IsasAgreeToTheBitOnEveryLength) {
  const KernelTable& scalar = *find_table("scalar");
  for (const KernelTable* table : available_tables()) {
    for (DType type : kAllDTypes) {
      SCOPED_TRACE(std::string(table->name) + " " + std::string(info(type).name));
      const std::size_t step = info(type).block_elements;
      const std::string blocks =
          read_golden(type == DType::kF32 ? "F16.f32" : std::string(info(type).name) + ".blocks");
      for (std::size_t n_blocks : {0u, 1u, 2u, 3u, 5u, 7u, 15u, 16u}) {
        const std::size_t n = n_blocks * step;
        ASSERT_LE(row_bytes(type, n), blocks.size());
        const auto* from = reinterpret_cast<const std::byte*>(blocks.data());
        std::vector<float> want(n + 1, -77.0f), got(n + 1, -77.0f);
        scalar.dequantize[static_cast<std::size_t>(type)](from, n, want.data());
        table->dequantize[static_cast<std::size_t>(type)](from, n, got.data());
        ASSERT_EQ(std::memcmp(want.data(), got.data(), want.size() * sizeof(float)), 0) << "n = " << n;
      }
    }
  }
}

}  // namespace
}  // namespace gemma::kernels
