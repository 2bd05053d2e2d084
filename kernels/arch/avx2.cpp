// The AVX2 and AVX-VNNI kernel tables. Compiled with AVX2's flags; nothing here runs before selection. Of the
// AVX-VNNI table the 8-bit matmuls alone are other code.
#include "kernels/arch/avx2.hpp"

#include "kernels/arch/avx2_vector.hpp"
#include "kernels/arch/avxvnni_matmuls.hpp"
#include "kernels/arch/tables.hpp"
#include "kernels/generic/table.hpp"

namespace gemma::kernels {

constinit const KernelTable kAvx2Table = make_table<Avx2, Avx2Vector>(Isa::kAvx2, "avx2");
constinit const KernelTable kAvxVnniTable =
    make_table_of<AvxVnniMatmuls, Avx2Vector>(Isa::kAvxVnni, "avxvnni");

}  // namespace gemma::kernels
