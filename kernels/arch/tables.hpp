// The tables that the ISA units define and registry.cpp chooses from.
// Invariant: reading a table needs no instruction beyond those of the baseline CPU; only calls through it do.
// Every table is constant-initialised.
#pragma once

#include "../encoder.hpp"
#include "../kernel_table.hpp"

namespace gemma::kernels {

/// The features that the compiler may use in each unit (flags in cmake/isa.cmake).
inline constexpr CpuFeatures kAvx2Needs = {
    CpuFeature::kSse3,  CpuFeature::kSsse3, CpuFeature::kSse41, CpuFeature::kSse42, CpuFeature::kPopcnt,
    CpuFeature::kXsave, CpuFeature::kAvx,   CpuFeature::kF16c,  CpuFeature::kFma,   CpuFeature::kAvx2};
inline constexpr CpuFeatures kAvxVnniNeeds = kAvx2Needs.with({CpuFeature::kAvxVnni});
inline constexpr CpuFeatures kAvx512VnniNeeds = kAvx2Needs.with(
    {CpuFeature::kAvx512f, CpuFeature::kAvx512dq, CpuFeature::kAvx512ifma, CpuFeature::kAvx512cd,
     CpuFeature::kAvx512bw, CpuFeature::kAvx512vl, CpuFeature::kAvx512vbmi, CpuFeature::kAvx512vnni});
inline constexpr CpuFeatures kNeonNeeds = {CpuFeature::kAsimd,  CpuFeature::kCrc32,   CpuFeature::kAtomics,
                                           CpuFeature::kFphp,   CpuFeature::kAsimdhp, CpuFeature::kAsimdrdm,
                                           CpuFeature::kAsimddp};
inline constexpr CpuFeatures kNeonI8mmNeeds = kNeonNeeds.with({CpuFeature::kI8mm});

extern const KernelTable kScalarTable;
extern const KernelTable kAvx2Table;        // x86-64
extern const KernelTable kAvxVnniTable;     // x86-64
extern const KernelTable kAvx512VnniTable;  // x86-64
extern const KernelTable kNeonTable;        // aarch64
extern const KernelTable kNeonI8mmTable;    // aarch64

extern const Encoder kPortableEncoder;
extern const Encoder kAvx2Encoder;  // x86-64

}  // namespace gemma::kernels
