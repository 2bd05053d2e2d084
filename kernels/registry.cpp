// Which kernel tables this CPU and its operating system can run.
// Invariant: a table is offered only when everything that it needs (KernelTable::needs, which holds every
// instruction-set flag that its unit was compiled with) is present and the system saves the registers it
// uses.
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>

#include "arch/tables.hpp"
#include "encoder.hpp"

#if defined(GEMMA_WITH_AVX2) || defined(GEMMA_WITH_AVX512VNNI)
#include <cpuid.h>
#elif defined(GEMMA_WITH_NEON) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#elif defined(GEMMA_WITH_NEON) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace gemma::kernels {
namespace {

#if defined(GEMMA_WITH_AVX2) || defined(GEMMA_WITH_AVX512VNNI)

/// Register state that the operating system saves (XCR0). Call only if OSXSAVE is set.
std::uint64_t saved_register_state() noexcept {
  std::uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<std::uint64_t>(high) << 32) | low;
}

/// Maps a bit of a cpuid register to an extension.
struct Bit {
  unsigned bit;
  CpuFeature feature;
};
void add_set(CpuFeatures& found, std::uint32_t word, std::initializer_list<Bit> bits) noexcept {
  for (const Bit& b : bits)
    if (((word >> b.bit) & 1u) != 0) found.add(b.feature);
}

/// The extensions that the CPU has and whose registers the system saves.
CpuFeatures detect_features() noexcept {
  using F = CpuFeature;
  CpuFeatures found;
  std::uint32_t a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return found;
  add_set(
      found, c,
      {{0, F::kSse3}, {9, F::kSsse3}, {19, F::kSse41}, {20, F::kSse42}, {23, F::kPopcnt}, {26, F::kXsave}});
  constexpr std::uint32_t kOsxsave = 1u << 27;
  if ((c & kOsxsave) == 0) return found;
  const std::uint64_t state = saved_register_state();
  constexpr std::uint64_t kYmm = 0x06;  // XMM, YMM
  constexpr std::uint64_t kZmm = 0xE6;  // also opmask, upper halves of ZMM0-15, ZMM16-31
  if ((state & kYmm) != kYmm) return found;
  add_set(found, c, {{12, F::kFma}, {28, F::kAvx}, {29, F::kF16c}});
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return found;
  add_set(found, b, {{5, F::kAvx2}});
  if ((state & kZmm) == kZmm) {
    add_set(found, b,
            {{16, F::kAvx512f},
             {17, F::kAvx512dq},
             {21, F::kAvx512ifma},
             {28, F::kAvx512cd},
             {30, F::kAvx512bw},
             {31, F::kAvx512vl}});
    add_set(found, c, {{1, F::kAvx512vbmi}, {11, F::kAvx512vnni}});
  }
  const bool has_subleaf1 = a >= 1;  // eax of leaf 7: its highest subleaf
  if (has_subleaf1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0) add_set(found, a, {{4, F::kAvxVnni}});
  return found;
}

#elif defined(GEMMA_WITH_NEON) && defined(__linux__)

CpuFeatures detect_features() noexcept {
  using F = CpuFeature;
  const unsigned long word = getauxval(AT_HWCAP), word2 = getauxval(AT_HWCAP2);
  CpuFeatures found;
  const auto add = [&found](unsigned long set, F feature) {
    if (set != 0) found.add(feature);
  };
  add(word & HWCAP_ASIMD, F::kAsimd);
  add(word & HWCAP_CRC32, F::kCrc32);
  add(word & HWCAP_ATOMICS, F::kAtomics);
  add(word & HWCAP_FPHP, F::kFphp);
  add(word & HWCAP_ASIMDHP, F::kAsimdhp);
  add(word & HWCAP_ASIMDRDM, F::kAsimdrdm);
  add(word & HWCAP_ASIMDDP, F::kAsimddp);
  add(word2 & HWCAP2_I8MM, F::kI8mm);
  return found;
}

#elif defined(GEMMA_WITH_NEON)

CpuFeatures detect_features() noexcept {
  CpuFeatures found = kNeonNeeds;  // every Apple CPU since A13 has these
#if defined(__APPLE__)
  int has = 0;
  std::size_t size = sizeof has;
  if (sysctlbyname("hw.optional.arm.FEAT_I8MM", &has, &size, nullptr, 0) == 0 && has == 1)
    found.add(CpuFeature::kI8mm);
#endif
  return found;
}

#else

CpuFeatures detect_features() noexcept {
  return {};
}

#endif

/// The tables of this build, best first.
constexpr const KernelTable* kBuilt[] = {
#if defined(GEMMA_WITH_AVX512VNNI)
    &kAvx512VnniTable,
#endif
#if defined(GEMMA_WITH_AVXVNNI)
    &kAvxVnniTable,
#endif
#if defined(GEMMA_WITH_AVX2)
    &kAvx2Table,
#endif
#if defined(GEMMA_WITH_NEONI8MM)
    &kNeonI8mmTable,
#endif
#if defined(GEMMA_WITH_NEON)
    &kNeonTable,
#endif
    &kScalarTable,
};

struct Available {
  std::array<const KernelTable*, std::size(kBuilt)> tables{};
  std::size_t count = 0;
};

Available detect() noexcept {
  const CpuFeatures has = detect_features();
  Available found;
  for (const KernelTable* table : kBuilt)
    if (has.includes(table->needs)) found.tables[found.count++] = table;
  return found;
}

}  // namespace

std::span<const KernelTable* const> available_tables() noexcept {
  static const Available found = detect();  // detected once, on first use; no static initialiser
  return {found.tables.data(), found.count};
}

const KernelTable& best_table() noexcept {
  return *available_tables().front();
}

const KernelTable* find_table(std::string_view name) noexcept {
  for (const KernelTable* table : available_tables())
    if (table->name == name) return table;
  return nullptr;
}

const Encoder& portable_encoder() noexcept {
  return kPortableEncoder;
}

const Encoder& best_encoder() noexcept {
#if defined(GEMMA_WITH_ENCODE_AVX2)
  if (best_table().needs.includes(kAvx2Needs)) return kAvx2Encoder;  // this CPU has what that table needs
#endif
  return kPortableEncoder;
}

}  // namespace gemma::kernels
