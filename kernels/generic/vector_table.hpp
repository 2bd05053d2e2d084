// Builds the VectorKernels of one instruction set.
// Invariant: each entry is a template on V alone, so every instruction set has its own instance of all code.
#pragma once

#include "../kernel_table.hpp"
#include "activation.hpp"
#include "attention.hpp"
#include "elementwise.hpp"
#include "float_vector.hpp"
#include "quantize.hpp"
#include "rms_norm.hpp"
#include "rope.hpp"
#include "store_kv.hpp"

namespace gemma::kernels {

/// The vector kernels on vector type V (kernels/arch/*_vector.hpp).
template <FloatVector V>
constexpr VectorKernels make_vector_kernels() {
  VectorKernels v;
  v.quantize_q8 = quantize_q8<V>;
  v.rms_norm = rms_norm<V>;
  v.add = add<V>;
  v.scale = scale<V>;
  v.rope_half = rope_half<V>;
  v.rope_pairs = rope_pairs<V>;
  v.gelu_mul = gelu_mul<V>;
  v.silu_mul = silu_mul<V>;
  v.softcap = softcap<V>;
  v.store_key = store_key<V>;
  v.store_value = store_value<V>;
  v.attention = Attention<V>::run;
  v.attention_scratch_bytes = Attention<V>::scratch_bytes;
  return v;
}

}  // namespace gemma::kernels
