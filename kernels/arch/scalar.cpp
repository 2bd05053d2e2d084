// The scalar kernel table: the reference functions themselves. Runs on every CPU.
#include "../reference.hpp"
#include "tables.hpp"

namespace gemma::kernels {
namespace {

consteval KernelTable make_scalar_table() {
  KernelTable table;
  table.isa = Isa::kScalar;
  table.name = "scalar";
  for_each_dtype([&]<DType kType>() {
    constexpr auto kAt = static_cast<std::size_t>(kType);
    table.matmul[kAt] = reference::matmul_kernel(kType);
    table.dequantize[kAt] = reference::dequantize_blocks<kType>;
  });
  table.vec = reference::vector_kernels();
  return table;
}

}  // namespace

constexpr KernelTable kScalarTable = make_scalar_table();
static_assert(kScalarTable.is_whole());

}  // namespace gemma::kernels
