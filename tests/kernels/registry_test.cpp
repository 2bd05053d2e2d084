// The kernel tables that are offered on this machine, and that each table is complete.
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

#include "kernels/arch/tables.hpp"
#include "kernels/kernel_table.hpp"
#include "tests/kernels/random_blocks.hpp"
#include "tests/paths.hpp"

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

/// The features that a unit's compiler flags in cmake/isa.cmake enable, including implied ones.
std::set<std::string> features_of_flags(const std::string& unit) {
  const std::string text = gemma::test::read_bytes(gemma::test::source_dir() / "cmake/isa.cmake");
  const std::string call = "gemma_isa_unit(" + unit + " ";
  const std::size_t begin = text.find(call);
  EXPECT_NE(begin, std::string::npos) << unit;
  std::set<std::string> out;
  std::istringstream words(text.substr(begin + call.size(), text.find(')', begin) - begin - call.size()));
  for (std::string word; words >> word;) {
    if (word.starts_with("-march=armv8.2-a")) {
      out.insert({"asimd", "crc32", "atomics", "asimdrdm"});
      if (word.find("+dotprod") != std::string::npos) out.insert("asimddp");
      if (word.find("+fp16") != std::string::npos) out.insert({"fphp", "asimdhp"});
      if (word.find("+i8mm") != std::string::npos) out.insert("i8mm");
    } else if (word.starts_with("-m")) {
      const std::string name = word.substr(2);
      out.insert(name == "avxvnni" ? "avx_vnni" : name == "avx512vnni" ? "avx512_vnni" : name);
      out.insert({"pni", "ssse3", "sse4_1", "sse4_2", "popcnt", "xsave", "avx"});  // implied by AVX2
    }
  }
  return out;
}

std::set<std::string> names_of(CpuFeatures features) {
  std::set<std::string> out;
  for (const CpuFeature f : kAllCpuFeatures)
    if (features.has(f)) out.emplace(to_string(f));
  return out;
}

TEST(Registry, NeedsAreTheFlagsOfTheUnits) {
  EXPECT_EQ(names_of(kAvx2Needs), features_of_flags("avx2"));
  EXPECT_EQ(names_of(kAvxVnniNeeds), features_of_flags("avxvnni"));
  EXPECT_EQ(names_of(kAvx512VnniNeeds), features_of_flags("avx512vnni"));
  EXPECT_EQ(names_of(kNeonNeeds), features_of_flags("neon"));
  EXPECT_EQ(names_of(kNeonI8mmNeeds), features_of_flags("neoni8mm"));
}

TEST(Registry, TablesSayWhatTheyNeed) {
  const std::map<std::string_view, CpuFeatures> expected = {{"scalar", {}},
                                                            {"avx2", kAvx2Needs},
                                                            {"avxvnni", kAvxVnniNeeds},
                                                            {"avx512vnni", kAvx512VnniNeeds},
                                                            {"neon", kNeonNeeds},
                                                            {"neoni8mm", kNeonI8mmNeeds}};
  for (const KernelTable* table : available_tables()) {
    ASSERT_TRUE(expected.contains(table->name)) << table->name;
    EXPECT_EQ(names_of(table->needs), names_of(expected.at(table->name))) << table->name;
  }
}

TEST(Registry, EveryTableIsWhole) {
  for (const KernelTable* table : available_tables()) EXPECT_TRUE(table->is_whole()) << table->name;
  KernelTable table = *find_table("scalar");
  table.dequantize[static_cast<std::size_t>(DType::kIQ1_M)] = nullptr;
  EXPECT_FALSE(table.is_whole());
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
