// The linear layers after pooling (EmbeddingGemma). Their rows are vectors of texts, not of tokens. Invariant
// (law 1): the vector of a text does not depend on which other texts are multiplied with it.
#pragma once

#include <cstddef>
#include <utility>

#include "linear.hpp"
#include "pass.hpp"

namespace gemma::detail {

/// Multiplies ws.pooled [n_rows, d_model] by all of these layers in turn; they have no bias and no
/// activation. project_pooled_result() returns the result. Every worker of the team calls it once.
inline void project_pooled(Pass p, const Worker& w) noexcept {
  constexpr const char* kNames[] = {"dense_2", "dense_3"};
  float* in = p.ws.pooled.data();
  float* out = p.ws.projected.data();
  for (std::size_t i = 0; i < p.weights.dense.size(); ++i) {
    const Matrix& m = p.weights.dense[i];
    if (reads_quantized(m)) {
      quantize_rows(p, w, in, m.cols);
      w.sync();
    }
    matmul(p, w, m, {in, p.ws.q8}, out);
    w.sync();
    note(p, w, kNames[i], 0, out, m.rows);
    std::swap(in, out);
  }
}

/// The result of the last of these layers, [n_rows, embedding_width]: ws.pooled or ws.projected.
inline const float* project_pooled_result(const Pass& p) noexcept {
  return p.weights.dense.size() % 2 == 0 ? p.ws.pooled.data() : p.ws.projected.data();
}

}  // namespace gemma::detail
