// Instruction-set extensions: which a kernel table needs, and which a CPU has.
// Invariant: GEMMA_CPU_FEATURES is the only list; names are those of Linux's /proc/cpuinfo.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string_view>

/// X(enumerator, name in /proc/cpuinfo): x86-64's, then AArch64's.
#define GEMMA_CPU_FEATURES(X)   \
  X(kSse3, "pni")               \
  X(kSsse3, "ssse3")            \
  X(kSse41, "sse4_1")           \
  X(kSse42, "sse4_2")           \
  X(kPopcnt, "popcnt")          \
  X(kXsave, "xsave")            \
  X(kAvx, "avx")                \
  X(kF16c, "f16c")              \
  X(kFma, "fma")                \
  X(kAvx2, "avx2")              \
  X(kAvxVnni, "avx_vnni")       \
  X(kAvx512f, "avx512f")        \
  X(kAvx512dq, "avx512dq")      \
  X(kAvx512ifma, "avx512ifma")  \
  X(kAvx512cd, "avx512cd")      \
  X(kAvx512bw, "avx512bw")      \
  X(kAvx512vl, "avx512vl")      \
  X(kAvx512vbmi, "avx512vbmi")  \
  X(kAvx512vnni, "avx512_vnni") \
  X(kAsimd, "asimd")            \
  X(kCrc32, "crc32")            \
  X(kAtomics, "atomics")        \
  X(kFphp, "fphp")              \
  X(kAsimdhp, "asimdhp")        \
  X(kAsimdrdm, "asimdrdm")      \
  X(kAsimddp, "asimddp")        \
  X(kI8mm, "i8mm")

namespace gemma::kernels {

/// One instruction set extension.
enum class CpuFeature : std::uint8_t {
#define GEMMA_CPU_FEATURE_ENUMERATOR(enumerator, name) enumerator,
  GEMMA_CPU_FEATURES(GEMMA_CPU_FEATURE_ENUMERATOR)
#undef GEMMA_CPU_FEATURE_ENUMERATOR
};

/// All extensions, in the order of the enum.
inline constexpr CpuFeature kAllCpuFeatures[] = {
#define GEMMA_CPU_FEATURE_VALUE(enumerator, name) CpuFeature::enumerator,
    GEMMA_CPU_FEATURES(GEMMA_CPU_FEATURE_VALUE)
#undef GEMMA_CPU_FEATURE_VALUE
};

/// Its name in /proc/cpuinfo, e.g. "avx512_vnni".
constexpr std::string_view to_string(CpuFeature feature) noexcept {
  constexpr std::string_view kNames[] = {
#define GEMMA_CPU_FEATURE_NAME(enumerator, name) name,
      GEMMA_CPU_FEATURES(GEMMA_CPU_FEATURE_NAME)
#undef GEMMA_CPU_FEATURE_NAME
  };
  return kNames[static_cast<std::size_t>(feature)];
}

/// A set of extensions.
class CpuFeatures {
 public:
  constexpr CpuFeatures() noexcept = default;
  constexpr CpuFeatures(std::initializer_list<CpuFeature> features) noexcept {
    for (const CpuFeature f : features) add(f);
  }
  constexpr void add(CpuFeature f) noexcept { bits_ |= bit(f); }
  constexpr bool has(CpuFeature f) const noexcept { return (bits_ & bit(f)) != 0; }
  /// Whether every one of `others` is in this set.
  constexpr bool includes(CpuFeatures others) const noexcept { return (others.bits_ & ~bits_) == 0; }
  /// The union of this set and `others`.
  constexpr CpuFeatures with(CpuFeatures others) const noexcept {
    others.bits_ |= bits_;
    return others;
  }
  friend constexpr bool operator==(CpuFeatures, CpuFeatures) noexcept = default;

 private:
  static constexpr std::uint64_t bit(CpuFeature f) noexcept {
    return std::uint64_t{1} << static_cast<unsigned>(f);
  }
  static_assert(sizeof(kAllCpuFeatures) <= 64);

  std::uint64_t bits_ = 0;
};

}  // namespace gemma::kernels
