// Builds the KernelTable of one instruction set from its integer primitives A and its float vector V.
// Invariant: every DType has a matmul and a decoder; all code is instantiated for A or V, so no two units
// share a symbol.
#pragma once

#include <cstddef>
#include <string_view>

#include "../kernel_table.hpp"
#include "dequantize_block.hpp"
#include "float_vector.hpp"
#include "integer_primitives.hpp"
#include "matmul_float.hpp"
#include "matmul_rows.hpp"
#include "vector_table.hpp"
#include "weight_formats.hpp"

namespace gemma::kernels {

/// The 8-bit matmuls on primitives A, as a parameter of make_table_of().
template <IntegerPrimitives A>
struct MatmulsOf {
  template <template <class> class Format>
  using Matmul = QuantizedMatmul<A, Format<A>>;
};

/// Runs P's matmul, then applies MatmulArgs::scale. V, the unit's own type, keeps the function unique to the
/// unit.
template <class P, FloatVector V>
void run_and_scale(const MatmulArgs& a) noexcept {
  P::run(a);
  if (a.scale == 1.0f) return;
  for (std::size_t t = 0; t < a.m; ++t) {
    float* const y = a.y + t * a.ldy;
    for (std::size_t r = a.row_begin; r < a.row_end; ++r) y[r] *= a.scale;
  }
}

/// The MatmulKernel of the 8-bit matmul for weights of Format.
template <class Matmuls, FloatVector V, template <class> class Format>
consteval MatmulKernel panel_kernel(std::string_view name) {
  using P = typename Matmuls::template Matmul<Format>;
  return {run_and_scale<P, V>, P::scratch_bytes, true, name, P::layout_bytes, P::lay_out};
}

/// The kernel table with the 8-bit matmuls of Matmuls and all other kernels on V.
template <class Matmuls, FloatVector V>
consteval KernelTable make_table_of(Isa isa, std::string_view name, CpuFeatures needs) {
  KernelTable t;
  t.isa = isa;
  t.name = name;
  t.needs = needs;
  auto at = [](DType type) { return static_cast<std::size_t>(type); };
  for_each_dtype([&]<DType kType>() {
    t.matmul[at(kType)] = make_float_matmul<V, kType>();
    t.dequantize[at(kType)] = dequantize_row<V, kType>;
  });
  t.matmul[at(DType::kQ4_0)] = panel_kernel<Matmuls, V, FormatQ4_0>("q4_0 panels");
  t.matmul[at(DType::kQ8_0)] = panel_kernel<Matmuls, V, FormatQ8_0>("q8_0 panels");
  t.matmul[at(DType::kQ4_K)] = panel_kernel<Matmuls, V, FormatQ4K>("q4_k panels");
  t.matmul[at(DType::kQ5_K)] = panel_kernel<Matmuls, V, FormatQ5K>("q5_k panels");
  t.matmul[at(DType::kQ6_K)] = panel_kernel<Matmuls, V, FormatQ6K>("q6_k panels");
  t.matmul[at(DType::kQ4_1)] = panel_kernel<Matmuls, V, FormatQ4_1>("q4_1 panels");
  t.matmul[at(DType::kQ5_0)] = panel_kernel<Matmuls, V, FormatQ5_0>("q5_0 panels");
  t.matmul[at(DType::kQ5_1)] = panel_kernel<Matmuls, V, FormatQ5_1>("q5_1 panels");
  t.matmul[at(DType::kQ2_K)] = panel_kernel<Matmuls, V, FormatQ2K>("q2_k panels");
  t.matmul[at(DType::kQ3_K)] = panel_kernel<Matmuls, V, FormatQ3K>("q3_k panels");
  t.matmul[at(DType::kIQ4_NL)] = panel_kernel<Matmuls, V, FormatIQ4_NL>("iq4_nl panels");
  t.matmul[at(DType::kIQ4_XS)] = panel_kernel<Matmuls, V, FormatIQ4XS>("iq4_xs panels");
  t.vec = make_vector_kernels<V>();
  return t;
}

/// The kernel table of a unit that instantiates all of its kernels itself.
template <IntegerPrimitives A, FloatVector V>
consteval KernelTable make_table(Isa isa, std::string_view name, CpuFeatures needs) {
  return make_table_of<MatmulsOf<A>, V>(isa, name, needs);
}

}  // namespace gemma::kernels
