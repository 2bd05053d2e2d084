// Attention in its plain scalar form: the oracle of the SIMD kernels' tests and what the scalar table runs.
// Invariant: a query's result depends on its own q and on the keys and values it sees, taken in order of
// position; nothing else is read.
#pragma once

#include <cmath>
#include <cstddef>

#include "../kernel_table.hpp"
#include "vector.hpp"

namespace gemma::kernels::reference {

/// VectorKernels::attention_scratch_bytes: head_dim sums in double precision.
inline std::size_t attention_scratch_bytes(std::size_t /*n_tokens*/, std::size_t /*n_heads*/,
                                           std::size_t head_dim) noexcept {
  return head_dim * sizeof(double);
}

/// Score of query q (float[head_dim]) against the key of position p: scaled and capped.
inline double attention_score(const AttentionArgs& a, const float* q, std::size_t p) noexcept {
  const std::size_t slot = p % kKeyBlock;
  const void* const keys = a.pages[p / kKeyBlock] + a.k_offset;
  double dot = 0;
  for (std::size_t d = 0; d < a.head_dim; ++d) {
    const std::size_t i = (slot / kKeyTile * a.head_dim + d) * kKeyTile + slot % kKeyTile;
    dot += static_cast<double>(q[d]) * load_kv(a.type, keys, i);
  }
  const double score = dot * a.scale;
  return a.softcap > 0 ? a.softcap * std::tanh(score / a.softcap) : score;
}

/// VectorKernels::attention: out = sum_j softmax(scores)_j v_j over the visible positions j (Vaswani et al.
/// 2017, eq. 1), in two passes over the keys: the largest score, then the weighted sum.
inline void attention(const AttentionArgs& a) noexcept {
  double* const sums = reinterpret_cast<double*>(a.scratch);  // [head_dim]
  for (std::size_t t = 0; t < a.n_tokens; ++t) {
    const std::size_t behind = a.pos0 + t + 1;  // one past the query's own position
    const std::size_t begin = a.window > 0 && behind > a.window ? behind - a.window : 0;
    const std::size_t end = behind + a.ahead < a.limit ? behind + a.ahead : a.limit;
    for (std::size_t h = 0; h < a.n_heads; ++h) {
      const float* q = a.q + t * a.q_stride + h * a.head_dim;
      float* out = a.out + t * a.out_stride + h * a.head_dim;
      double max = attention_score(a, q, begin);
      for (std::size_t p = begin + 1; p < end; ++p) {
        const double score = attention_score(a, q, p);
        if (score > max) max = score;
      }
      double total = 0;
      for (std::size_t d = 0; d < a.head_dim; ++d) sums[d] = 0;
      for (std::size_t p = begin; p < end; ++p) {
        const double weight = std::exp(attention_score(a, q, p) - max);
        const std::size_t row = p % kKeyBlock * a.head_dim;
        const void* const values = a.pages[p / kKeyBlock] + a.v_offset;
        total += weight;
        for (std::size_t d = 0; d < a.head_dim; ++d) sums[d] += weight * load_kv(a.type, values, row + d);
      }
      for (std::size_t d = 0; d < a.head_dim; ++d) out[d] = static_cast<float>(sums[d] / total);
    }
  }
}

/// The scalar table's vector kernels.
constexpr VectorKernels vector_kernels() noexcept {
  VectorKernels v;
  v.quantize_q8 = quantize_q8;
  v.rms_norm = rms_norm;
  v.add = add;
  v.scale = scale;
  v.rope_half = rope_half;
  v.rope_pairs = rope_pairs;
  v.gelu_mul = gelu_mul;
  v.silu_mul = silu_mul;
  v.softcap = softcap;
  v.store_key = store_key;
  v.store_value = store_value;
  v.attention = attention;
  v.attention_scratch_bytes = attention_scratch_bytes;
  return v;
}

}  // namespace gemma::kernels::reference
