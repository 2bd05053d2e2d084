// The NEON kernel tables, with dot products and with int8 matrix multiplies. Compiled for Armv8.2-A with dot
// products; nothing here runs before a table is selected. The second table differs in its 8-bit matmuls only
// (neoni8mm.cpp).
#include "neon.hpp"

#include "../generic/table.hpp"
#include "built_features.hpp"
#include "neon_vector.hpp"
#include "neoni8mm_matmuls.hpp"
#include "tables.hpp"

namespace gemma::kernels {

static_assert(built_features().includes(kNeonNeeds));
// a build may allow more features in all of its units; then the table needs those too
constexpr KernelTable kNeonTable =
    make_table<Neon, NeonVector>(Isa::kNeon, "neon", kNeonNeeds.with(built_features()));
constexpr KernelTable kNeonI8mmTable = make_table_of<NeonI8mmMatmuls, NeonVector>(
    Isa::kNeonI8mm, "neoni8mm", kNeonI8mmNeeds.with(built_features()));
static_assert(kNeonTable.is_whole() && kNeonI8mmTable.is_whole());

}  // namespace gemma::kernels
