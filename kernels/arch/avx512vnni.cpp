// The AVX-512 VNNI kernel table. Compiled with that instruction set's flags; nothing here runs before the
// table is selected.
#include "avx512vnni.hpp"

#include "../generic/table.hpp"
#include "avx512vnni_vector.hpp"
#include "built_features.hpp"
#include "tables.hpp"

namespace gemma::kernels {

static_assert(built_features().includes(kAvx512VnniNeeds));
// a build may allow more features in all of its units; then the table needs those too
constexpr KernelTable kAvx512VnniTable = make_table<Avx512Vnni, Avx512Vector>(
    Isa::kAvx512Vnni, "avx512vnni", kAvx512VnniNeeds.with(built_features()));
static_assert(kAvx512VnniTable.is_whole());

}  // namespace gemma::kernels
