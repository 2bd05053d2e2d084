// The vector kernels of one instruction set, gathered for its KernelTable.
// Invariant: each entry is a template on A alone, so every instruction set has its own code for all of it.
#pragma once

#include "../kernel_table.hpp"
#include "activation.hpp"
#include "attention.hpp"
#include "elementwise.hpp"
#include "quantize.hpp"
#include "rms_norm.hpp"
#include "rope.hpp"
#include "stored_element.hpp"

namespace gemma::kernels {

/// VectorKernels of vector type A (kernels/arch/*_vector.hpp).
template <class A>
constexpr VectorKernels make_vector_kernels() {
  VectorKernels v;
  v.quantize_q8 = quantize_q8<A>;
  v.rms_norm = rms_norm<A>;
  v.add = add<A>;
  v.scale = scale<A>;
  v.rope_half = rope_half<A>;
  v.rope_pairs = rope_pairs<A>;
  v.gelu_mul = gelu_mul<A>;
  v.silu_mul = silu_mul<A>;
  v.softcap = softcap<A>;
  v.store_key = store_key<A>;
  v.store_value = store_value<A>;
  v.attention = Attention<A>::run;
  v.attention_scratch_bytes = Attention<A>::scratch_bytes;
  return v;
}

}  // namespace gemma::kernels
