// What the first layer of a pass reads: embeddings of tokens, or hidden rows of the layers before; and the
// rotary angles of the rows' positions.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstring>

#include "pass.hpp"

namespace gemma::detail {

/// x[d_model] = scale * embedding of the row's token.
inline void embed_row(const Pass& p, std::size_t r, float* x) noexcept {
  const Matrix& e = p.weights.embedding;
  const std::size_t d = p.config.d_model;
  p.kernels.dequantize[static_cast<std::size_t>(e.type)](e.data + p.ws.row_token[r] * e.row_bytes, d, x);
  if (p.config.embedding_scale != 1.0f) p.vec().scale(p.config.embedding_scale, d, x);
}

/// x = scale * embedding of the token, or the hidden rows that were handed in (of several streams the first).
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

/// cos and sin of position * frequency, in double and rounded once: long contexts keep their phase.
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
