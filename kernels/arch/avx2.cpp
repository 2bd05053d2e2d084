// The AVX2 and AVX-VNNI kernel tables. Compiled with AVX2's flags; nothing here runs before a table is
// selected. The AVX-VNNI table differs in its 8-bit matmuls only (avxvnni.cpp).
#include "avx2.hpp"

#include "../generic/table.hpp"
#include "avx2_vector.hpp"
#include "avxvnni_matmuls.hpp"
#include "built_features.hpp"
#include "tables.hpp"

namespace gemma::kernels {

static_assert(built_features().includes(kAvx2Needs));
// a build may allow more features in all of its units; then the table needs those too
constexpr KernelTable kAvx2Table =
    make_table<Avx2, Avx2Vector>(Isa::kAvx2, "avx2", kAvx2Needs.with(built_features()));
static_assert(kAvx2Table.is_whole());
#if !defined(GEMMA_WITHOUT_AVXVNNI)
constexpr KernelTable kAvxVnniTable =
    make_table_of<AvxVnniMatmuls, Avx2Vector>(Isa::kAvxVnni, "avxvnni", kAvxVnniNeeds.with(built_features()));
static_assert(kAvxVnniTable.is_whole());
#endif

}  // namespace gemma::kernels
