// The AVX2 and AVX-VNNI kernel tables. Compiled with AVX2's flags; nothing here runs before selection. Of the
// AVX-VNNI table the 8-bit matmuls alone are other code.
#include "avx2.hpp"

#include "../generic/table.hpp"
#include "avx2_vector.hpp"
#include "avxvnni_matmuls.hpp"
#include "built_features.hpp"
#include "tables.hpp"

namespace gemma::kernels {

static_assert(built_features().includes(kAvx2Needs));
// a build whose flags allow more for all of its units needs more
constexpr KernelTable kAvx2Table =
    make_table<Avx2, Avx2Vector>(Isa::kAvx2, "avx2", kAvx2Needs.with(built_features()));
static_assert(kAvx2Table.is_whole());
#if !defined(GEMMA_WITHOUT_AVXVNNI)
constexpr KernelTable kAvxVnniTable =
    make_table_of<AvxVnniMatmuls, Avx2Vector>(Isa::kAvxVnni, "avxvnni", kAvxVnniNeeds.with(built_features()));
static_assert(kAvxVnniTable.is_whole());
#endif

}  // namespace gemma::kernels
