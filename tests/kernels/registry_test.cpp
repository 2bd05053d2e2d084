// Which kernels are offered, and that each table is whole.
#include <set>
#include <string_view>

#include <gtest/gtest.h>

#include "kernels/kernel_table.hpp"
#include "tests/kernels/random_blocks.hpp"

namespace gemma::kernels {
namespace {

TEST(Registry, ScalarIsAlwaysThereAndLast) {
  ASSERT_FALSE(available_tables().empty());
  EXPECT_EQ(available_tables().back()->isa, Isa::kScalar);
  EXPECT_EQ(&best_table(), available_tables().front());
}

TEST(Registry, TablesAreFoundByTheirOwnNamesOnly) {
  std::set<std::string_view> names;
  for (const KernelTable* table : available_tables()) {
    EXPECT_EQ(find_table(table->name), table);
    EXPECT_TRUE(names.insert(table->name).second) << table->name;
  }
  for (const std::string_view unknown : {"", "sse2", "AVX2", "avx2 ", "best"})
    EXPECT_EQ(find_table(unknown), nullptr) << unknown;
}

TEST(Registry, EveryTableIsWhole) {
  for (const KernelTable* table : available_tables()) {
    SCOPED_TRACE(table->name);
    for (const DType type : test::kAllTypes) {
      SCOPED_TRACE(info(type).name);
      const MatmulKernel& kernel = table->matmul_for(type);
      EXPECT_NE(kernel.matmul, nullptr);
      EXPECT_NE(kernel.scratch_bytes, nullptr);
      EXPECT_FALSE(kernel.name.empty());
      EXPECT_NE(table->dequantize[static_cast<std::size_t>(type)], nullptr);
    }
    const VectorKernels& v = table->vec;
    EXPECT_TRUE(v.quantize_q8 && v.rms_norm && v.add && v.scale && v.rope_half && v.rope_pairs && v.softmax &&
                v.gelu_mul && v.silu_mul && v.softcap && v.store_key && v.store_value && v.attention &&
                v.attention_scratch_bytes);
  }
}

TEST(Registry, TypesOfTheMissionRunOnEightBitsAndOthersOnFloats) {
  const std::set<DType> eight_bit = {DType::kQ4_0, DType::kQ8_0, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K};
  for (const KernelTable* table : available_tables())
    for (const DType type : test::kAllTypes)
      EXPECT_EQ(table->matmul_for(type).quantized_activations, eight_bit.contains(type))
          << table->name << ' ' << info(type).name;
}

}  // namespace
}  // namespace gemma::kernels
