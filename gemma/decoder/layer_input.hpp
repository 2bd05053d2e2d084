// The input of the first layer of a pass: embeddings of tokens, or the hidden rows that the preceding layers
// returned; and the rotary angles of the rows' positions.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstring>

#include "pass.hpp"

namespace gemma::detail {

/// x[d_model] = row `token` of the embedding `e`, plus the changes of adapters, summed in the order of ranks.
inline void read_embedding(const kernels::KernelTable& kernels, const Matrix& e, std::size_t token,
                           float* x) noexcept {
  kernels.dequantize[static_cast<std::size_t>(e.type)](e.data + token * e.row_bytes, e.cols, x);
  for (const LowRank* c = e.changes; c != nullptr; c = c->next) {
    float factors[Weights::kMostEmbeddingRank];
    kernels.dequantize[static_cast<std::size_t>(c->b.type)](c->b.data + token * c->b.row_bytes, c->b.cols,
                                                            factors);
    const float* a = reinterpret_cast<const float*>(c->a.data);  // decoded to float by Weights::from
    for (std::size_t k = 0; k < c->a.rows; ++k, a += e.cols) {
      const float factor = c->b.scale * factors[k];
      for (std::size_t i = 0; i < e.cols; ++i) x[i] += factor * a[i];
    }
  }
}

/// x[d_model] = scale * embedding of the row's token.
inline void embed_row(const Pass& p, std::size_t r, float* x) noexcept {
  const std::size_t d = p.config.d_model;
  read_embedding(p.kernels, p.weights.embedding, p.ws.row_token[r], x);
  if (p.config.embedding_scale != 1.0f) p.vec().scale(p.config.embedding_scale, d, x);
}

/// x = scale * embedding of the token, or the hidden rows that the caller passed (of several streams, the
/// first).
inline void read_input(const Pass& p, const Worker& w) noexcept {
  const std::size_t d = p.config.d_model;
  const auto share = w.share(p.n_rows);
  for (std::size_t r = share.begin; r < share.end; ++r) {
    float* x = p.ws.x.data() + r * d;
    if (p.layer_begin == 0) {
      embed_row(p, r, x);
    } else {
      std::memcpy(x, p.hidden.data() + r * d, d * sizeof(float));
    }
  }
}

/// cos and sin of position * frequency, computed in double and rounded once, so that the phase stays exact in
/// long contexts.
inline void rope_angles(const Pass& p, const Worker& w) noexcept {
  const auto share = w.share(p.n_rows);
  for (std::size_t i = 0; i < p.config.ropes.size(); ++i) {
    const std::size_t head_dim = p.config.ropes[i].head_dim;
    const std::size_t half = head_dim / 2;
    float* const rope = rope_of(p, i);
    for (std::size_t r = share.begin; r < share.end; ++r) {
      float* out = rope + r * head_dim;
      for (std::size_t d = 0; d < half; ++d) {
        const double angle = static_cast<double>(p.ws.row_position[r]) * p.frequencies[i][d];
        out[d] = static_cast<float>(std::cos(angle));
        out[half + d] = static_cast<float>(std::sin(angle));
      }
    }
  }
}

}  // namespace gemma::detail
