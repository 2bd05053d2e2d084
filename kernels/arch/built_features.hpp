// The CPU features that the compiler may use under the flags of the unit that includes this, beyond those of
// the baseline CPU.
// Invariant: included by ISA units only; everything is internal to the including unit and evaluated by the
// compiler, so no code is emitted.
#pragma once

#include "../cpu_features.hpp"

namespace gemma::kernels {
namespace {

consteval CpuFeatures built_features() {
  CpuFeatures f;
#if defined(__SSE3__)
  f.add(CpuFeature::kSse3);
#endif
#if defined(__SSSE3__)
  f.add(CpuFeature::kSsse3);
#endif
#if defined(__SSE4_1__)
  f.add(CpuFeature::kSse41);
#endif
#if defined(__SSE4_2__)
  f.add(CpuFeature::kSse42);
#endif
#if defined(__POPCNT__)
  f.add(CpuFeature::kPopcnt);
#endif
#if defined(__XSAVE__)
  f.add(CpuFeature::kXsave);
#endif
#if defined(__AVX__)
  f.add(CpuFeature::kAvx);
#endif
#if defined(__F16C__)
  f.add(CpuFeature::kF16c);
#endif
#if defined(__FMA__)
  f.add(CpuFeature::kFma);
#endif
#if defined(__AVX2__)
  f.add(CpuFeature::kAvx2);
#endif
#if defined(__AVXVNNI__)
  f.add(CpuFeature::kAvxVnni);
#endif
#if defined(__AVX512F__)
  f.add(CpuFeature::kAvx512f);
#endif
#if defined(__AVX512DQ__)
  f.add(CpuFeature::kAvx512dq);
#endif
#if defined(__AVX512IFMA__)
  f.add(CpuFeature::kAvx512ifma);
#endif
#if defined(__AVX512CD__)
  f.add(CpuFeature::kAvx512cd);
#endif
#if defined(__AVX512BW__)
  f.add(CpuFeature::kAvx512bw);
#endif
#if defined(__AVX512VL__)
  f.add(CpuFeature::kAvx512vl);
#endif
#if defined(__AVX512VBMI__)
  f.add(CpuFeature::kAvx512vbmi);
#endif
#if defined(__AVX512VNNI__)
  f.add(CpuFeature::kAvx512vnni);
#endif
#if defined(__ARM_NEON)
  f.add(CpuFeature::kAsimd);
#endif
#if defined(__ARM_FEATURE_CRC32)
  f.add(CpuFeature::kCrc32);
#endif
#if defined(__ARM_FEATURE_ATOMICS)
  f.add(CpuFeature::kAtomics);
#endif
#if defined(__ARM_FEATURE_FP16_SCALAR_ARITHMETIC)
  f.add(CpuFeature::kFphp);
#endif
#if defined(__ARM_FEATURE_FP16_VECTOR_ARITHMETIC)
  f.add(CpuFeature::kAsimdhp);
#endif
#if defined(__ARM_FEATURE_QRDMX)
  f.add(CpuFeature::kAsimdrdm);
#endif
#if defined(__ARM_FEATURE_DOTPROD)
  f.add(CpuFeature::kAsimddp);
#endif
#if defined(__ARM_FEATURE_MATMUL_INT8)
  f.add(CpuFeature::kI8mm);
#endif
  return f;
}

}  // namespace
}  // namespace gemma::kernels
