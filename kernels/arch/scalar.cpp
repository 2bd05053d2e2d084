// The scalar kernel table: the reference functions themselves. Runs everywhere.
#include "../reference.hpp"
#include "tables.hpp"

namespace gemma::kernels {
namespace {

consteval KernelTable make_scalar_table() {
  KernelTable table;
  table.isa = Isa::kScalar;
  table.name = "scalar";
  for (std::size_t id = 0; id < kDTypeLimit; ++id) {
    const auto type = dtype_from_id(static_cast<std::uint32_t>(id));
    if (!type) continue;
    table.matmul[id] = reference::matmul_kernel(*type);
    table.dequantize[id] = reference::dequantize_function(*type);
  }
  table.vec = reference::vector_kernels();
  return table;
}

}  // namespace

constinit const KernelTable kScalarTable = make_scalar_table();

}  // namespace gemma::kernels
