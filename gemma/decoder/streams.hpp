// Models with several parallel residual streams (Gemma 3n: AltUp, Baykal et al. 2023, arXiv:2301.13310). A
// layer predicts all streams, computes on the first, and corrects the others by the change of the first; a
// low-rank branch (LAuReL, Menghani et al. 2024, arXiv:2411.07501) runs beside attention. ws.streams holds
// them one after the other, [n_streams, T, d_model]; ws.x is the one a layer computes on.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

#include "linear.hpp"
#include "pass.hpp"
#include "per_layer_input.hpp"
#include "residual.hpp"

namespace gemma::detail {

/// One row of one stream.
inline float* stream_row(const Pass& p, std::size_t stream, std::size_t r) noexcept {
  return p.ws.streams.data() + (stream * p.ws.options().max_tokens + r) * p.config.d_model;
}

/// Passes all streams as [n_rows, n_streams, d_model] to the trace. Allocates memory, but only if there is a
/// trace.
inline void note_streams(const Pass& p, const Worker& w, const char* name, std::size_t l) noexcept {
  if (p.trace == nullptr) return;
  const std::size_t d = p.config.d_model, n = p.config.streams.count;
  w.sync();
  if (w.id == 0) {
    std::vector<float> rows(p.n_rows * n * d);
    for (std::size_t r = 0; r < p.n_rows; ++r) {
      for (std::size_t s = 0; s < n; ++s) std::copy_n(stream_row(p, s, r), d, rows.data() + (r * n + s) * d);
    }
    p.trace->value(name, l, rows.data(), p.n_rows, n * d);
  }
  w.sync();
}

/// sqrt(mean(x^2)), summed in double in the order of the elements.
inline double magnitude(const float* x, std::size_t n) noexcept {
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return std::sqrt(sum / static_cast<double>(n));
}

/// Scales `row` to the magnitude of `like`.
inline void match_magnitude(const Pass& p, const float* like, float* row) noexcept {
  const std::size_t d = p.config.d_model;
  const double own = magnitude(row, d);
  if (own != 0) p.vec().scale(static_cast<float>(magnitude(like, d) / own), d, row);
}

/// Computes the other streams as projections of the first one, scaled to its magnitude. Uses ws.q8; needs a
/// barrier before it.
inline void start_streams(Pass& p, const Worker& w) noexcept {
  const std::size_t d = p.config.d_model, n_streams = p.config.streams.count;
  const Matrix& all = p.weights.stream_proj;
  const auto share = w.share(p.n_rows);
  for (std::size_t r = share.begin; r < share.end; ++r) {
    const float* x = p.ws.x.data() + r * d;
    std::copy_n(x, d, stream_row(p, 0, r));
    if (reads_quantized(all)) {
      p.vec().quantize_q8(x, d, p.ws.q8.q.data() + r * d, p.ws.q8.groups.data() + r * (d / 32));
    }
  }
  w.sync();
  for (std::size_t s = 1; s < n_streams; ++s) {
    matmul(p, w, rows_of(all, (s - 1) * d, d), {p.ws.x.data(), p.ws.q8}, stream_row(p, s, 0));
  }
  w.sync();
  for (std::size_t s = 1; s < n_streams; ++s) {
    for (std::size_t r = share.begin; r < share.end; ++r) {
      match_magnitude(p, p.ws.x.data() + r * d, stream_row(p, s, r));
    }
  }
  note_streams(p, w, "altup_init", 0);
}

/// Fills the streams that the first layer of a pass reads: from the embeddings, or from the caller's hidden
/// rows.
inline void enter_streams(Pass& p, const Worker& w) noexcept {
  if (p.layer_begin == 0) return start_streams(p, w);
  const std::size_t d = p.config.d_model;
  const auto share = w.share(p.n_rows);
  for (std::size_t s = 0; s < p.config.streams.count; ++s) {
    for (std::size_t r = share.begin; r < share.end; ++r) {
      std::copy_n(p.hidden.data() + (s * p.n_rows + r) * d, d, stream_row(p, s, r));
    }
  }
}

/// Packs the streams of n rows as [n_streams, n, d_model], for a caller that runs the next layers elsewhere.
/// Called after the pass, by one thread.
inline std::span<const float> packed_streams(const Pass& p, std::size_t n) noexcept {
  const std::size_t d = p.config.d_model, count = p.config.streams.count;
  for (std::size_t s = 1; s < count; ++s) {  // move each stream down
    std::memmove(p.ws.streams.data() + s * n * d, stream_row(p, s, 0), n * d * sizeof(float));
  }
  return p.ws.streams.span().first(count * n * d);
}

/// out[n_streams] = tanh(router(rms_norm(x) / d_model)). Uses row r of ws.h and ws.q8.
inline void route_streams(const Pass& p, const Worker& w, const StreamWeights& weights, const float* x,
                          std::size_t r, float* out) noexcept {
  const std::size_t d = p.config.d_model, n = p.config.streams.count;
  float* h = p.ws.h.data() + r * d;
  std::int8_t* q = p.ws.q8.q.data() + r * d;
  kernels::Q8Group* groups = p.ws.q8.groups.data() + r * (d / 32);
  p.vec().rms_norm(x, weights.router_norm.data(), d, p.config.rms_eps, h);
  p.vec().scale(1.0f / static_cast<float>(d), d, h);
  if (reads_quantized(weights.router)) p.vec().quantize_q8(h, d, q, groups);
  multiply(p, w, weights.router, {0, n}, {h, q, groups}, 1, out, n);
  for (std::size_t i = 0; i < n; ++i) out[i] = std::tanh(out[i]);
}

/// Sums over streams are in double and rounded to float once. Rounded after every term, as they were, they
/// caused a third of the error of float32 in this family, on every instruction set (NMSE of nano-gemma3n
/// after ten layers, mean of 48 texts: AVX2 and NEON 3.4e-12 -> 2.3e-12). Loops over pieces of this many
/// elements become vector code (-O3, d_model 2048, four streams: 26 us in float, one element at a time; 10
/// us).
inline constexpr std::size_t kStreamPiece = 64;

/// s[a] += sum over b of c[a, b] * s[b] for n rows s[a] of d elements, all at once; sums in the order of b.
inline void mix_streams(float* const* s, const double* c, std::size_t n, std::size_t d) noexcept {
  double old[StreamsConfig::kMostCount][kStreamPiece], sum[kStreamPiece];
  for (std::size_t begin = 0; begin < d; begin += kStreamPiece) {
    const std::size_t size = std::min(kStreamPiece, d - begin);
    for (std::size_t a = 0; a < n; ++a) {
      for (std::size_t i = 0; i < size; ++i) old[a][i] = static_cast<double>(s[a][begin + i]);
    }
    for (std::size_t a = 0; a < n; ++a) {
      std::copy_n(old[a], size, sum);
      for (std::size_t b = 0; b < n; ++b) {
        const double factor = c[a * n + b];
        for (std::size_t i = 0; i < size; ++i) sum[i] += factor * old[b][i];
      }
      for (std::size_t i = 0; i < size; ++i) s[a][begin + i] = static_cast<float>(sum[i]);
    }
  }
}

/// s[a] += c[a] * (x - s[0]), elementwise, for n rows s[a] of d elements, with the s[0] from before the call.
inline void add_change(const float* x, const double* c, std::size_t n, std::size_t d,
                       float* const* s) noexcept {
  double change[kStreamPiece];
  for (std::size_t begin = 0; begin < d; begin += kStreamPiece) {
    const std::size_t size = std::min(kStreamPiece, d - begin);
    for (std::size_t i = 0; i < size; ++i) {
      change[i] = static_cast<double>(x[begin + i]) - static_cast<double>(s[0][begin + i]);
    }
    for (std::size_t a = 0; a < n; ++a) {
      float* y = s[a] + begin;
      for (std::size_t i = 0; i < size; ++i) {
        y[i] = static_cast<float>(static_cast<double>(y[i]) + c[a] * change[i]);
      }
    }
  }
}

/// c[n_rows] = first + weights[n_rows, n] * routed[n].
inline void stream_coefficients(const float* weights, const float* routed, std::size_t n_rows, std::size_t n,
                                double first, double* c) noexcept {
  for (std::size_t i = 0; i < n_rows; ++i) {
    c[i] = first;
    for (std::size_t j = 0; j < n; ++j) {
      c[i] += static_cast<double>(weights[i * n + j]) * static_cast<double>(routed[j]);
    }
  }
}

/// Stream a += sum over b of c[a, b] * stream b, elementwise, for all a at once; c = coefficients times the
/// router's outputs. Then sets ws.x to the first stream. Shared by rows as norm_rows() does.
inline void predict_streams(const Pass& p, const Worker& w, std::size_t l) noexcept {
  constexpr std::size_t kMost = StreamsConfig::kMostCount;
  const std::size_t d = p.config.d_model, n = p.config.streams.count;
  const StreamWeights& weights = p.weights.layers[l].streams;
  const auto share = w.share(p.n_rows);
  for (std::size_t r = share.begin; r < share.end; ++r) {
    float routed[kMost];
    double c[kMost * kMost];
    route_streams(p, w, weights, stream_row(p, 0, r), r, routed);
    stream_coefficients(weights.predict.data(), routed, n * n, n, 0.0, c);
    float* s[kMost];
    for (std::size_t a = 0; a < n; ++a) s[a] = stream_row(p, a, r);
    mix_streams(s, c, n, d);
    std::copy_n(s[0], d, p.ws.x.data() + r * d);
  }
  note_streams(p, w, "altup_predict", l);
}

/// x = (x + rms_norm(residual) + h + rms_norm(W_r W_l h)) / sqrt(2), where h is the input of attention; the
/// outer sum in double (kStreamPiece says why). Has barriers inside; its last part is shared by rows.
inline void add_attention_and_low_rank(Pass& p, const Worker& w, std::size_t l) noexcept {
  const std::size_t d = p.config.d_model, rank = p.config.streams.low_rank;
  const StreamWeights& weights = p.weights.layers[l].streams;
  w.sync();
  if (reads_quantized(weights.low)) {
    quantize_rows(p, w, p.ws.h.data(), d);
    w.sync();
  }
  matmul(p, w, weights.low, {p.ws.h.data(), p.ws.q8}, p.ws.low_rank.data());
  w.sync();
  if (reads_quantized(weights.high)) {
    quantize_rows(p, w, p.ws.low_rank.data(), rank);
    w.sync();
  }
  matmul(p, w, weights.high, {p.ws.low_rank.data(), p.ws.q8}, p.ws.branch.data());
  w.sync();
  const auto share = w.share(p.n_rows);
  for (std::size_t r = share.begin; r < share.end; ++r) {
    float* branch = p.ws.branch.data() + r * d;
    p.vec().rms_norm(branch, weights.low_rank_norm.data(), d, p.config.rms_eps, branch);
    p.vec().add(p.ws.h.data() + r * d, d, branch);
  }
  note(p, w, "laurel", l, p.ws.branch.data(), d);
  for (std::size_t r = share.begin; r < share.end; ++r) {
    float* x = p.ws.x.data() + r * d;
    float* attention = p.ws.residual.data() + r * d;
    const float* branch = p.ws.branch.data() + r * d;
    p.vec().rms_norm(attention, p.weights.layers[l].post_attn_norm.data(), d, p.config.rms_eps, attention);
    for (std::size_t i = 0; i < d; ++i) {
      const double sum =
          static_cast<double>(x[i]) + static_cast<double>(attention[i]) + static_cast<double>(branch[i]);
      x[i] = static_cast<float>(sum * std::sqrt(0.5));
    }
  }
}

/// Adds to every stream its part of the layer's change, then the layer's input from the token to all but the
/// first. Shared by rows as add_residual() does.
inline void correct_streams(Pass& p, const Worker& w, std::size_t l) noexcept {
  constexpr std::size_t kMost = StreamsConfig::kMostCount;
  const std::size_t d = p.config.d_model, n = p.config.streams.count;
  const LayerWeights& layer = p.weights.layers[l];
  const StreamWeights& weights = layer.streams;
  const auto share = w.share(p.n_rows);
  for (std::size_t r = share.begin; r < share.end; ++r) {
    float* x = p.ws.x.data() + r * d;
    float routed[kMost];
    double c[kMost];
    route_streams(p, w, weights, x, r, routed);
    stream_coefficients(weights.correct.data(), routed, n, n, 1.0, c);
    float* s[kMost];
    for (std::size_t a = 0; a < n; ++a) s[a] = stream_row(p, a, r);
    add_change(x, c, n, d, s);
    for (std::size_t i = 0; i < d; ++i) x[i] = s[0][i] * weights.correct_scale[i];
  }
  note_streams(p, w, "altup_correct", l);
  project_per_layer_input(p, w, l);
  for (std::size_t r = share.begin; r < share.end; ++r) {
    float* input = p.ws.residual.data() + r * d;
    p.vec().rms_norm(input, layer.per_layer.post_norm.data(), d, p.config.rms_eps, input);
    for (std::size_t s = 1; s < n; ++s) p.vec().add(input, d, stream_row(p, s, r));
  }
  note(p, w, "ple_out", l, p.ws.residual.data(), d);
  note_streams(p, w, "l_out", l);
}

/// ws.x = mean of the first stream and the projections of the others, scaled to its magnitude. Needs a
/// barrier before it.
inline void merge_streams(Pass& p, const Worker& w) noexcept {
  const std::size_t d = p.config.d_model, n = p.config.streams.count;
  const Matrix& all = p.weights.stream_unproj;
  const auto share = w.share(p.n_rows);
  w.sync();
  for (std::size_t r = share.begin; r < share.end; ++r) {
    std::copy_n(stream_row(p, 0, r), d, p.ws.x.data() + r * d);
  }
  for (std::size_t s = 1; s < n; ++s) {
    w.sync();
    if (reads_quantized(all)) {
      quantize_rows(p, w, stream_row(p, s, 0), d);
      w.sync();
    }
    matmul(p, w, rows_of(all, (s - 1) * d, d), {stream_row(p, s, 0), p.ws.q8}, p.ws.residual.data());
    w.sync();
    for (std::size_t r = share.begin; r < share.end; ++r) {
      float* y = p.ws.residual.data() + r * d;
      match_magnitude(p, stream_row(p, 0, r), y);
      p.vec().add(y, d, p.ws.x.data() + r * d);
    }
  }
  scale_rows(p, w, 1.0f / static_cast<float>(n));
  note(p, w, "altup_merge", 0, p.ws.x.data(), d);
}

}  // namespace gemma::detail
