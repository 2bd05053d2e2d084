// The tables that the ISA units define and registry.cpp chooses from. Invariant: reading a table needs no
// instruction beyond the baseline; only calling through it does. Each is constant-initialised.
#pragma once

#include "../kernel_table.hpp"

namespace gemma::kernels {

extern const KernelTable kScalarTable;
extern const KernelTable kAvx2Table;        // x86-64
extern const KernelTable kAvxVnniTable;     // x86-64
extern const KernelTable kAvx512VnniTable;  // x86-64
extern const KernelTable kNeonTable;        // aarch64
extern const KernelTable kNeonI8mmTable;    // aarch64

}  // namespace gemma::kernels
