// Which kernel tables this CPU and its operating system can run. Invariant: a table is offered only when
// every instruction-set flag that its unit was compiled with is present and the system saves the registers it
// uses.
#include <array>
#include <cstddef>
#include <cstdint>

#include "arch/tables.hpp"

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

/// Register state that the operating system saves (XCR0); to be asked only when OSXSAVE is set.
std::uint64_t saved_register_state() noexcept {
  std::uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<std::uint64_t>(high) << 32) | low;
}

struct X86Features {
  bool avx2 = false;
  bool avxvnni = false;
  bool avx512vnni = false;
};

X86Features detect_x86() noexcept {
  X86Features found;
  std::uint32_t a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return found;
  constexpr std::uint32_t kFma = 1u << 12, kPopcnt = 1u << 23, kOsxsave = 1u << 27, kAvx = 1u << 28,
                          kF16c = 1u << 29;
  constexpr std::uint32_t kLeaf1 = kFma | kPopcnt | kOsxsave | kAvx | kF16c;
  if ((c & kLeaf1) != kLeaf1) return found;
  const std::uint64_t state = saved_register_state();
  constexpr std::uint64_t kYmm = 0x06;  // XMM, YMM
  constexpr std::uint64_t kZmm = 0xE6;  // and opmask, upper halves of ZMM0-15, ZMM16-31
  if ((state & kYmm) != kYmm) return found;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return found;
  constexpr std::uint32_t kAvx2 = 1u << 5;
  constexpr std::uint32_t kAvx512Ebx =  // F, DQ, IFMA, CD, BW, VL
      (1u << 16) | (1u << 17) | (1u << 21) | (1u << 28) | (1u << 30) | (1u << 31);
  constexpr std::uint32_t kAvx512Ecx = (1u << 1) | (1u << 11);  // VBMI, VNNI
  found.avx2 = (b & kAvx2) != 0;
  found.avx512vnni = found.avx2 && (state & kZmm) == kZmm && (b & kAvx512Ebx) == kAvx512Ebx &&
                     (c & kAvx512Ecx) == kAvx512Ecx;
  constexpr std::uint32_t kAvxVnni = 1u << 4;
  const bool has_subleaf1 = a >= 1;  // leaf 7 says which is its last
  found.avxvnni =
      found.avx2 && has_subleaf1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & kAvxVnni) != 0;
  return found;
}

#elif defined(GEMMA_WITH_NEON)

bool detect_neon_dotprod() noexcept {
#if defined(__linux__)
  constexpr unsigned long kNeeded = HWCAP_ASIMD | HWCAP_ASIMDDP | HWCAP_ASIMDHP | HWCAP_FPHP;
  return (getauxval(AT_HWCAP) & kNeeded) == kNeeded;
#else
  return true;  // every 64-bit Apple CPU since A13 has these
#endif
}

/// Besides what detect_neon_dotprod() asks for.
bool detect_neon_i8mm() noexcept {
#if defined(__linux__)
  return (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
#elif defined(__APPLE__)
  int has = 0;
  std::size_t size = sizeof has;
  return sysctlbyname("hw.optional.arm.FEAT_I8MM", &has, &size, nullptr, 0) == 0 && has == 1;
#else
  return false;
#endif
}

#endif

struct Available {
  std::array<const KernelTable*, 4> tables{};
  std::size_t count = 0;
};

Available detect() noexcept {
  Available found;
#if defined(GEMMA_WITH_AVX512VNNI)
  if (detect_x86().avx512vnni) found.tables[found.count++] = &kAvx512VnniTable;
#endif
#if defined(GEMMA_WITH_AVXVNNI)
  if (detect_x86().avxvnni) found.tables[found.count++] = &kAvxVnniTable;
#endif
#if defined(GEMMA_WITH_AVX2)
  if (detect_x86().avx2) found.tables[found.count++] = &kAvx2Table;
#endif
#if defined(GEMMA_WITH_NEONI8MM)
  if (detect_neon_dotprod() && detect_neon_i8mm()) found.tables[found.count++] = &kNeonI8mmTable;
#endif
#if defined(GEMMA_WITH_NEON)
  if (detect_neon_dotprod()) found.tables[found.count++] = &kNeonTable;
#endif
  found.tables[found.count++] = &kScalarTable;
  return found;
}

}  // namespace

std::span<const KernelTable* const> available_tables() noexcept {
  static const Available found = detect();  // asked once, on first use; no static initialiser
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

}  // namespace gemma::kernels
