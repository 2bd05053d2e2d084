// The AVX2 and AVX-VNNI kernel tables. Compiled with AVX2's flags; nothing here runs before selection. Of the
// AVX-VNNI table the 8-bit matmuls alone are other code.
#include "avx2.hpp"

#include "../generic/table.hpp"
#include "avx2_vector.hpp"
#include "avxvnni_matmuls.hpp"
#include "tables.hpp"

namespace gemma::kernels {

constinit const KernelTable kAvx2Table = make_table<Avx2, Avx2Vector>(Isa::kAvx2, "avx2");
constinit const KernelTable kAvxVnniTable =
    make_table_of<AvxVnniMatmuls, Avx2Vector>(Isa::kAvxVnni, "avxvnni");

}  // namespace gemma::kernels
