// Attention in plain scalar form: the oracle for tests of the SIMD kernels, and the code of the scalar table.
// Invariant: a query's result depends on its own q and on the keys and values it sees, taken in order of
// position; nothing else is read.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "../kernel_table.hpp"
#include "vector.hpp"

namespace gemma::kernels::reference {

/// A query in 8 bits, for keys of KvType::kQ8.
struct QueryCodes {
  Q8Group* groups;  // [groups of head_dim]
  std::int8_t* q;   // [groups of head_dim, 32]
};

/// Implements VectorKernels::attention_scratch_bytes: head_dim sums in double precision, and QueryCodes.
inline std::size_t attention_scratch_bytes(std::size_t /*n_tokens*/, std::size_t /*n_heads*/,
                                           std::size_t head_dim) noexcept {
  return head_dim * sizeof(double) + Q8Vectors<>::groups(head_dim) * (sizeof(Q8Group) + 32);
}

/// Quantises a query, as activations are, into the call's scratch memory.
inline QueryCodes quantize_query(const AttentionArgs& a, const float* q) noexcept {
  const std::size_t groups = Q8Vectors<>::groups(a.head_dim);
  auto* const at = reinterpret_cast<Q8Group*>(a.scratch + a.head_dim * sizeof(double));
  const QueryCodes out = {at, reinterpret_cast<std::int8_t*>(at + groups)};
  for (std::size_t g = 0; g < groups; ++g)
    quantize_group_of(q, a.head_dim, g, std::numeric_limits<float>::infinity(), out.q + 32 * g,
                      out.groups[g]);
  return out;
}

/// Dot product of a query and an 8-bit key: the exact dot products of groups, each times both scales.
inline double dot_of_codes(const AttentionArgs& a, const QueryCodes& query, const std::byte* keys,
                           std::size_t slot) noexcept {
  double sum = 0;
  for (std::size_t g = 0; g < Q8Vectors<>::groups(a.head_dim); ++g) {
    std::int32_t dot = 0;
    for (std::size_t i = 0; i < Q8Vectors<>::group_codes(a.head_dim, g); ++i) {
      std::int8_t code;
      std::memcpy(&code, keys + Q8Vectors<>::key_codes(a.head_dim, slot, 8 * g + i / 4) + i % 4, 1);
      dot += query.q[32 * g + i] * code;
    }
    sum += static_cast<double>(dot) * query.groups[g].scale * load_scale(keys, a.head_dim, slot, g);
  }
  return sum;
}

/// Score of query q (float[head_dim]) and the key of position p: scaled and capped. `codes`: the query in 8
/// bits, for 8-bit keys.
inline double attention_score(const AttentionArgs& a, const float* q, const QueryCodes& codes,
                              std::size_t p) noexcept {
  const std::size_t slot = p % kKeyBlock;
  const std::byte* const keys = a.pages[p / kKeyBlock] + a.k_offset;
  double dot = 0;
  if (a.type == KvType::kQ8) {
    dot = dot_of_codes(a, codes, keys, slot);
  } else {
    for (std::size_t d = 0; d < a.head_dim; ++d) {
      const std::size_t i = (slot / kKeyTile * a.head_dim + d) * kKeyTile + slot % kKeyTile;
      dot += static_cast<double>(q[d]) * load_kv(a.type, keys, i);
    }
  }
  const double score = dot * a.scale;
  return a.softcap > 0 ? a.softcap * std::tanh(score / a.softcap) : score;
}

/// sums[head_dim] += weight * the value of position p.
inline void add_value(const AttentionArgs& a, double weight, std::size_t p, double* sums) noexcept {
  const std::size_t slot = p % kKeyBlock;
  const std::byte* const values = a.pages[p / kKeyBlock] + a.v_offset;
  if (a.type != KvType::kQ8) {
    for (std::size_t d = 0; d < a.head_dim; ++d)
      sums[d] += weight * load_kv(a.type, values, slot * a.head_dim + d);
    return;
  }
  for (std::size_t d = 0; d < a.head_dim; ++d) {
    const std::size_t g = d / Q8Vectors<>::kGroup;
    std::int8_t code;
    std::memcpy(&code, values + Q8Vectors<>::value_codes(a.head_dim, slot, g) + d % Q8Vectors<>::kGroup, 1);
    sums[d] += weight * load_scale(values, a.head_dim, slot, g) * code;
  }
}

/// Implements VectorKernels::attention: out = sum_j softmax(scores)_j v_j over the visible positions j
/// (Vaswani et al. 2017, eq. 1), in two passes over the keys: the largest score, then the weighted sum.
inline void attention(const AttentionArgs& a) noexcept {
  double* const sums = reinterpret_cast<double*>(a.scratch);  // [head_dim]
  for (std::size_t t = 0; t < a.n_tokens; ++t) {
    const std::size_t behind = a.pos0 + t + 1;  // one past the query's own position
    const std::size_t begin = a.window > 0 && behind > a.window ? behind - a.window : 0;
    const std::size_t end = behind + a.ahead < a.limit ? behind + a.ahead : a.limit;
    for (std::size_t h = 0; h < a.n_heads; ++h) {
      const float* q = a.q + t * a.q_stride + h * a.head_dim;
      float* out = a.out + t * a.out_stride + h * a.head_dim;
      const QueryCodes codes = a.type == KvType::kQ8 ? quantize_query(a, q) : QueryCodes{};
      double max = attention_score(a, q, codes, begin);
      for (std::size_t p = begin + 1; p < end; ++p) {
        const double score = attention_score(a, q, codes, p);
        if (score > max) max = score;
      }
      double total = 0;
      for (std::size_t d = 0; d < a.head_dim; ++d) sums[d] = 0;
      for (std::size_t p = begin; p < end; ++p) {
        const double weight = std::exp(attention_score(a, q, codes, p) - max);
        total += weight;
        add_value(a, weight, p, sums);
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
