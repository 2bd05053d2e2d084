// The AVX-512 VNNI kernel table. Compiled with that instruction set's flags; nothing here runs before
// selection.
#include "avx512vnni.hpp"

#include "../generic/table.hpp"
#include "avx512vnni_vector.hpp"
#include "tables.hpp"

namespace gemma::kernels {

constinit const KernelTable kAvx512VnniTable =
    make_table<Avx512Vnni, Avx512Vector>(Isa::kAvx512Vnni, "avx512vnni");

}  // namespace gemma::kernels
