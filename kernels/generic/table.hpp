// One instruction set's whole KernelTable, assembled from its integer primitives A and its float vector V.
// Invariant: every DType has a matmul and a decoder; all code is instantiated for A or V, so no unit shares a
// symbol.
#pragma once

#include <cstddef>
#include <string_view>

#include "../kernel_table.hpp"
#include "dequantize_block.hpp"
#include "matmul_float.hpp"
#include "matmul_rows.hpp"
#include "vector_table.hpp"
#include "weight_formats.hpp"

namespace gemma::kernels {

/// The 8-bit matmuls that primitives A make.
template <class A>
struct MatmulsOf {
  template <template <class> class Format>
  using Matmul = QuantizedMatmul<A, Format<A>>;
};

template <class Matmuls, template <class> class Format>
consteval MatmulKernel panel_kernel(std::string_view name) {
  using P = typename Matmuls::template Matmul<Format>;
  return {P::run, P::scratch_bytes, true, name};
}

template <class Matmuls, class V>
consteval KernelTable make_table_of(Isa isa, std::string_view name) {
  KernelTable t;
  t.isa = isa;
  t.name = name;
  auto at = [](DType type) { return static_cast<std::size_t>(type); };
  for_each_dtype([&]<DType kType>() {
    t.matmul[at(kType)] = make_float_matmul<V, kType>();
    t.dequantize[at(kType)] = dequantize_row<V, kType>;
  });
  t.matmul[at(DType::kQ4_0)] = panel_kernel<Matmuls, FormatQ4_0>("q4_0 panels");
  t.matmul[at(DType::kQ8_0)] = panel_kernel<Matmuls, FormatQ8_0>("q8_0 panels");
  t.matmul[at(DType::kQ4_K)] = panel_kernel<Matmuls, FormatQ4K>("q4_k panels");
  t.matmul[at(DType::kQ5_K)] = panel_kernel<Matmuls, FormatQ5K>("q5_k panels");
  t.matmul[at(DType::kQ6_K)] = panel_kernel<Matmuls, FormatQ6K>("q6_k panels");
  t.matmul[at(DType::kQ4_1)] = panel_kernel<Matmuls, FormatQ4_1>("q4_1 panels");
  t.matmul[at(DType::kQ5_0)] = panel_kernel<Matmuls, FormatQ5_0>("q5_0 panels");
  t.matmul[at(DType::kQ5_1)] = panel_kernel<Matmuls, FormatQ5_1>("q5_1 panels");
  t.matmul[at(DType::kQ2_K)] = panel_kernel<Matmuls, FormatQ2K>("q2_k panels");
  t.matmul[at(DType::kQ3_K)] = panel_kernel<Matmuls, FormatQ3K>("q3_k panels");
  t.matmul[at(DType::kIQ4_NL)] = panel_kernel<Matmuls, FormatIQ4_NL>("iq4_nl panels");
  t.matmul[at(DType::kIQ4_XS)] = panel_kernel<Matmuls, FormatIQ4XS>("iq4_xs panels");
  t.vec = make_vector_kernels<V>();
  return t;
}

template <class A, class V>
consteval KernelTable make_table(Isa isa, std::string_view name) {
  return make_table_of<MatmulsOf<A>, V>(isa, name);
}

}  // namespace gemma::kernels
