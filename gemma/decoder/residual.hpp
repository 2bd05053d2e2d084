// The residual stream: its norms, additions to it, and dropping the rows that are not wanted.
#pragma once

#include <cstddef>
#include <cstring>

#include "pass.hpp"

namespace gemma::detail {

/// h = rms_norm(x), and its 8-bit form if `quantized`.
inline void norm_rows(const Pass& p, const Worker& w, const FloatBuffer& weight, bool quantized) noexcept {
  const std::size_t d = p.config.d_model;
  const auto share = w.share(p.n_rows);
  for (std::size_t r = share.begin; r < share.end; ++r) {
    float* h = p.ws.h.data() + r * d;
    p.vec().rms_norm(p.ws.x.data() + r * d, weight.data(), d, p.config.rms_eps, h);
    if (quantized) p.vec().quantize_q8(h, d, p.ws.q8.q.data() + r * d, p.ws.q8.groups.data() + r * (d / 32));
  }
}

/// x += residual, or x += rms_norm(residual) if there is a post-norm. Shares rows as norm_rows() does, so no
/// barrier is needed between the two.
inline void add_residual(const Pass& p, const Worker& w, const FloatBuffer& post_norm) noexcept {
  const std::size_t d = p.config.d_model;
  const auto share = w.share(p.n_rows);
  for (std::size_t r = share.begin; r < share.end; ++r) {
    float* from = p.ws.residual.data() + r * d;
    if (post_norm.size() != 0) p.vec().rms_norm(from, post_norm.data(), d, p.config.rms_eps, from);
    p.vec().add(from, d, p.ws.x.data() + r * d);
  }
}

/// x *= factor. Shares rows as add_residual does.
inline void scale_rows(const Pass& p, const Worker& w, float factor) noexcept {
  const std::size_t d = p.config.d_model;
  const auto share = w.share(p.n_rows);
  for (std::size_t r = share.begin; r < share.end; ++r) p.vec().scale(factor, d, p.ws.x.data() + r * d);
}

/// Copies row `from` of the residual stream, and of its normalised and 8-bit forms, to row `to`.
inline void move_row(const Pass& p, std::size_t from, std::size_t to) noexcept {
  Workspace& ws = p.ws;
  const std::size_t d = p.config.d_model;
  const std::size_t groups = d / 32;
  std::memcpy(ws.x.data() + to * d, ws.x.data() + from * d, d * sizeof(float));
  std::memcpy(ws.h.data() + to * d, ws.h.data() + from * d, d * sizeof(float));
  std::memcpy(ws.q8.q.data() + to * d, ws.q8.q.data() + from * d, d);
  std::memcpy(ws.q8.groups.data() + to * groups, ws.q8.groups.data() + from * groups,
              groups * sizeof(kernels::Q8Group));
  for (std::size_t s = 0; s < p.config.streams.count; ++s) {
    float* stream = ws.streams.data() + s * ws.options().max_tokens * d;
    std::memcpy(stream + to * d, stream + from * d, d * sizeof(float));
  }
  ws.row_token[to] = ws.row_token[from];
  ws.row_position[to] = ws.row_position[from];
  ws.row_chunk[to] = ws.row_chunk[from];
  ws.row_origin[to] = ws.row_origin[from];
}

/// Drops the rows whose logits and hidden states are not wanted, and moves the others to the front. Called by
/// all workers when the last keys and values are stored; begins and ends with a barrier.
inline void keep_wanted_rows(Pass& p, const Worker& w) noexcept {
  w.sync();
  if (w.id == 0) {
    for (std::size_t r = 0, to = 0; r < p.n_rows; ++r) {
      if (!is_wanted(p, r)) continue;
      if (to != r) move_row(p, r, to);
      ++to;
    }
  }
  w.sync();
  p.n_rows = p.n_wanted;
  p.only_wanted = true;
}

}  // namespace gemma::detail
