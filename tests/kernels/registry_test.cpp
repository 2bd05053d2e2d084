// Which kernels are offered, and that each table is whole.
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <initializer_list>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

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

#if defined(__aarch64__)
TEST(Registry, OffersWhatTheEmulatedCpuCan) {
  const char* cpu = std::getenv("QEMU_CPU");  // tests/run-aarch64.sh sets it
  if (cpu == nullptr) GTEST_SKIP() << "not emulated: QEMU_CPU does not say which CPU this is";
  const std::map<std::string_view, std::vector<std::string_view>> expected = {
      {"max", {"neoni8mm", "neon", "scalar"}},  // best first
      {"cortex-a76", {"neon", "scalar"}},       // Armv8.2-A with dot products
      {"cortex-a72", {"scalar"}}};              // Armv8.0-A
  ASSERT_TRUE(expected.contains(cpu)) << cpu;
  std::vector<std::string_view> offered;
  for (const KernelTable* table : available_tables()) offered.push_back(table->name);
  EXPECT_EQ(offered, expected.at(cpu));
}
#endif

#if defined(__x86_64__) && defined(__linux__)
TEST(Registry, OffersWhatTheSystemSaysThisCpuCan) {
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::set<std::string> flags;
  for (std::string line; flags.empty() && std::getline(cpuinfo, line);) {
    if (!line.starts_with("flags")) continue;
    std::istringstream words(line);
    for (std::string word; words >> word;) flags.insert(word);
  }
  if (flags.empty()) GTEST_SKIP() << "no flags in /proc/cpuinfo";
  const auto has = [&](std::initializer_list<const char*> all) {
    return std::ranges::all_of(all, [&](const char* flag) { return flags.contains(flag); });
  };
  std::vector<std::string_view> expected;  // best first
  const bool avx2 = has({"avx2", "fma", "f16c", "popcnt"});
  if (avx2 && has({"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd", "avx512ifma", "avx512vbmi",
                   "avx512_vnni"}))
    expected.push_back("avx512vnni");
  if (avx2 && has({"avx_vnni"})) expected.push_back("avxvnni");
  if (avx2) expected.push_back("avx2");
  expected.push_back("scalar");
  std::vector<std::string_view> offered;
  for (const KernelTable* table : available_tables()) offered.push_back(table->name);
  EXPECT_EQ(offered, expected);
}
#endif

TEST(Registry, EveryTableIsWhole) {
  for (const KernelTable* table : available_tables()) {
    SCOPED_TRACE(table->name);
    for (const DType type : kAllDTypes) {
      SCOPED_TRACE(info(type).name);
      const MatmulKernel& kernel = table->matmul_for(type);
      EXPECT_NE(kernel.matmul, nullptr);
      EXPECT_NE(kernel.scratch_bytes, nullptr);
      EXPECT_FALSE(kernel.name.empty());
      EXPECT_NE(table->dequantize[static_cast<std::size_t>(type)], nullptr);
    }
    const VectorKernels& v = table->vec;
    EXPECT_TRUE(v.quantize_q8 && v.rms_norm && v.add && v.scale && v.rope_half && v.rope_pairs &&
                v.gelu_mul && v.silu_mul && v.softcap && v.store_key && v.store_value && v.attention &&
                v.attention_scratch_bytes);
  }
}

TEST(Registry, QuantisedTypesRunOnEightBitsAndOthersOnFloats) {
  const std::set<DType> eight_bit = {DType::kQ4_0, DType::kQ4_1, DType::kQ5_0,   DType::kQ5_1,
                                     DType::kQ8_0, DType::kQ2_K, DType::kQ3_K,   DType::kQ4_K,
                                     DType::kQ5_K, DType::kQ6_K, DType::kIQ4_NL, DType::kIQ4_XS};
  for (const KernelTable* table : available_tables())
    for (const DType type : kAllDTypes)
      EXPECT_EQ(table->matmul_for(type).quantized_activations, eight_bit.contains(type))
          << table->name << ' ' << info(type).name;
}

}  // namespace
}  // namespace gemma::kernels
