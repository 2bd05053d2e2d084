// The end of a pass: the output norm and the product with the vocabulary's matrix.
#pragma once

#include <cstddef>
#include <limits>

#include "linear.hpp"
#include "pass.hpp"
#include "residual.hpp"

namespace gemma::detail {

/// h = rms_norm(x), the hidden states, and if logits are wanted, logits = [softcap](W h); both for the rows
/// that have not been dropped.
inline void head(Pass& p, const Worker& w) noexcept {
  const Matrix& m = p.weights.output;
  norm_rows(p, w, p.weights.output_norm, p.wants_logits && reads_quantized(m));
  note(p, w, "result_norm", 0, p.ws.h.data(), p.config.d_model);
  if (!p.wants_logits) return;
  w.sync();
  const float softcap = p.config.logit_softcap;
  Input in{p.ws.h.data(), p.ws.q8};
  lay_out(p, w, in, {&m});
  share_rows(p, w, m, in, [&](WorkRange rows) {
    float* const logits = p.ws.logits.data() + rows.begin;
    multiply(p, w, m, rows, in, p.n_rows, logits, m.rows);
    for (std::size_t r = 0; r < p.n_rows; ++r) {
      if (softcap != 0.0f) p.vec().softcap(logits + r * m.rows, rows.end - rows.begin, softcap);
      for (const std::size_t id : p.config.suppressed) {
        if (id >= rows.begin && id < rows.end) {
          logits[r * m.rows + id - rows.begin] = -std::numeric_limits<float>::infinity();
        }
      }
    }
  });
}

}  // namespace gemma::detail
