// A mixture of experts beside the feed-forward block (Shazeer et al. 2017, arXiv:1701.06538; here as in Gemma
// 4 26B-A4B): a router chooses some experts for each token, and the token's result is their weighted sum.
// Invariant (law 1): tokens are grouped by expert only for speed. The output of an expert for a token depends
// on that token alone, and the sum of a token runs in the order in which its router chose.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "feed_forward.hpp"
#include "linear.hpp"
#include "pass.hpp"

namespace gemma::detail {

/// The inputs of the router and of the experts: two norms of the residual stream, beside the one of the dense
/// block. Shared by rows as norm_rows() does.
inline void mixture_input(const Pass& p, const Worker& w, std::size_t l) noexcept {
  const std::size_t d = p.config.d_model;
  const MixtureWeights& weights = p.weights.layers[l].mixture;
  Workspace::Mixture& m = p.ws.mixture;
  const auto share = w.share(p.n_rows);
  for (std::size_t r = share.begin; r < share.end; ++r) {
    const float* x = p.ws.x.data() + r * d;
    float* input = m.input.data() + r * d;
    p.vec().rms_norm(x, weights.router_norm.data(), d, p.config.rms_eps, m.router_input.data() + r * d);
    p.vec().rms_norm(x, weights.input_norm.data(), d, p.config.rms_eps, input);
    if (reads_quantized(weights.gate.first) || reads_quantized(weights.up.first)) {
      p.vec().quantize_q8(input, d, m.input_q8.q.data() + r * d, m.input_q8.groups.data() + r * (d / 32));
    }
    if (reads_quantized(weights.router)) {  // published routers are float32, but any type is supported
      p.vec().quantize_q8(m.router_input.data() + r * d, d, p.ws.mixture.gathered_q8.q.data() + r * d,
                          p.ws.mixture.gathered_q8.groups.data() + r * (d / 32));
    }
  }
}

/// expert[used] = indices of the `used` largest of scores[n], in descending order; of equal scores, the one
/// with the lower index comes first.
inline void choose_experts(const float* scores, std::size_t n, std::size_t used,
                           std::uint32_t* expert) noexcept {
  std::size_t count = 0;
  for (std::size_t e = 0; e < n; ++e) {
    if (count == used && !(scores[e] > scores[expert[count - 1]])) continue;
    std::size_t at = count < used ? count++ : count - 1;
    for (; at > 0 && scores[e] > scores[expert[at - 1]]; --at) expert[at] = expert[at - 1];
    expert[at] = static_cast<std::uint32_t>(e);
  }
}

/// Chooses the experts of each token and their weights: softmax over all experts, divided by the sum of the
/// chosen ones, which equals the softmax over the chosen ones.
inline void route(const Pass& p, const Worker& w, std::size_t l) noexcept {
  const ExpertsConfig& e = p.config.layers[l].feed_forward.experts;
  const MixtureWeights& weights = p.weights.layers[l].mixture;
  Workspace::Mixture& m = p.ws.mixture;
  const auto share = w.share(p.n_rows);
  for (std::size_t r = share.begin; r < share.end; ++r) {
    const float* scores = m.router.data() + r * e.count;
    std::uint32_t* expert = m.expert.data() + r * e.used;
    float* weight = m.weight.data() + r * e.used;
    choose_experts(scores, e.count, e.used, expert);
    float sum = 0.0f;
    for (std::size_t s = 0; s < e.used; ++s) {
      weight[s] = std::exp(scores[expert[s]] - scores[expert[0]]);
      sum += weight[s];
    }
    for (std::size_t s = 0; s < e.used; ++s) weight[s] = weight[s] / sum * weights.scale[expert[s]];
  }
}

/// Passes the router's probabilities, and the weights without the experts' scales, to the trace if there is
/// one.
inline void note_router(const Pass& p, const Worker& w, std::size_t l) noexcept {
  if (p.trace == nullptr) return;
  const ExpertsConfig& e = p.config.layers[l].feed_forward.experts;
  const MixtureWeights& weights = p.weights.layers[l].mixture;
  Workspace::Mixture& m = p.ws.mixture;
  const auto share = w.share(p.n_rows);
  for (std::size_t r = share.begin; r < share.end; ++r) {
    float* row = m.router.data() + r * e.count;
    const float most = *std::max_element(row, row + e.count);
    float sum = 0.0f;
    for (std::size_t i = 0; i < e.count; ++i) sum += row[i] = std::exp(row[i] - most);
    for (std::size_t i = 0; i < e.count; ++i) row[i] /= sum;
  }
  note(p, w, "moe_router", l, m.router.data(), e.count);
  for (std::size_t r = share.begin; r < share.end; ++r) {
    float* row = m.router.data() + r * e.count;
    std::fill_n(row, e.count, 0.0f);
    for (std::size_t s = r * e.used; s < (r + 1) * e.used; ++s) {
      row[m.expert[s]] = m.weight[s] / weights.scale[m.expert[s]];
    }
  }
  note(p, w, "moe_weights", l, m.router.data(), e.count);
}

/// Sorts the slots by expert (a counting sort; by token within an expert). Called by one worker.
inline void group_by_expert(const Pass& p, const ExpertsConfig& e) noexcept {
  Workspace::Mixture& m = p.ws.mixture;
  const std::size_t slots = p.n_rows * e.used;
  std::fill_n(m.begin.data(), e.count + 1, 0u);
  for (std::size_t s = 0; s < slots; ++s) ++m.begin[m.expert[s] + 1];
  std::uint32_t in_use = 0;
  for (std::size_t i = 0; i < e.count; ++i) {
    if (m.begin[i + 1] != 0) m.in_use[in_use++] = static_cast<std::uint32_t>(i);
    m.begin[i + 1] += m.begin[i];
  }
  m.in_use[e.count] = in_use;
  for (std::size_t s = 0; s < slots; ++s) {
    const std::uint32_t place = m.begin[m.expert[s]]++;
    m.place[s] = place;
    m.token[place] = static_cast<std::uint32_t>(s / e.used);
  }
  for (std::size_t i = e.count; i > 0; --i) m.begin[i] = m.begin[i - 1];
  m.begin[0] = 0;
}

/// Copies the input of each slot to the position from which its expert reads it.
inline void gather_inputs(const Pass& p, const Worker& w, std::size_t l) noexcept {
  const std::size_t d = p.config.d_model, groups = d / 32;
  const MixtureWeights& weights = p.weights.layers[l].mixture;
  Workspace::Mixture& m = p.ws.mixture;
  const bool quantized = reads_quantized(weights.gate.first) || reads_quantized(weights.up.first);
  const bool floats = !reads_quantized(weights.gate.first) || !reads_quantized(weights.up.first);
  const auto share = w.share(p.n_rows * p.config.layers[l].feed_forward.experts.used);
  for (std::size_t s = share.begin; s < share.end; ++s) {
    const std::size_t r = m.token[s];
    if (floats) std::memcpy(m.gathered.data() + s * d, m.input.data() + r * d, d * sizeof(float));
    if (!quantized) continue;
    std::memcpy(m.gathered_q8.q.data() + s * d, m.input_q8.q.data() + r * d, d);
    std::memcpy(m.gathered_q8.groups.data() + s * groups, m.input_q8.groups.data() + r * groups,
                groups * sizeof(kernels::Q8Group));
  }
}

/// Calls f(expert, first slot, number of slots, rows) for pieces of the experts' `rows` rows; each worker
/// takes the next piece when it is free. A piece is a whole expert when there are many, and a part of one for
/// a token or two.
template <class F>
void share_experts(Pass& p, const Worker& w, std::size_t n_experts, std::size_t rows, F f) noexcept {
  const Workspace::Mixture& m = p.ws.mixture;
  const std::size_t in_use = m.in_use[n_experts];
  const std::size_t wanted = (in_use * rows / (12 * w.count) + kRowUnit - 1) / kRowUnit * kRowUnit;
  const std::size_t piece = std::min(rows, std::max(kRowUnit, wanted));
  const std::size_t pieces = (rows + piece - 1) / piece;
  std::atomic<std::size_t>& taken = p.draw_step();
  for (std::size_t u = taken.fetch_add(1); u < in_use * pieces; u = taken.fetch_add(1)) {
    const std::size_t expert = m.in_use[u / pieces];
    const std::size_t begin = u % pieces * piece;
    f(expert, m.begin[expert], m.begin[expert + 1] - m.begin[expert],
      WorkRange{begin, std::min(begin + piece, rows)});
  }
}

/// Pointer to element `at` of a buffer, or nullptr for an empty one (where no kernel reads floats).
inline float* floats_at(AlignedBuffer<float>& buffer, std::size_t at) noexcept {
  return buffer.size() == 0 ? nullptr : buffer.data() + at;
}

/// Passes the input of each expert's matrix to the trace: `which` selects the matrix, whose rows have k
/// elements.
template <class F>
void note_experts(const Pass& p, const Worker& w, std::size_t n_experts, std::size_t k,
                  AlignedBuffer<float>& x, const Workspace::QuantizedRows& q8, F which) noexcept {
  if (p.trace == nullptr) return;
  const Workspace::Mixture& m = p.ws.mixture;
  w.sync();
  for (std::size_t i = 0; w.id == 0 && i < m.in_use[n_experts]; ++i) {
    const std::size_t e = m.in_use[i], slot = m.begin[e];
    const Input in{floats_at(x, slot * k), q8.q.data() + slot * k, q8.groups.data() + slot * (k / 32)};
    tell_input(p, which(e), in, m.begin[e + 1] - slot);
  }
  w.sync();
}

/// out = down(activation(gate(in)) * up(in)) of every expert for the slots that use it. Contains a barrier.
inline void run_experts(Pass& p, const Worker& w, std::size_t l) noexcept {
  const FeedForwardConfig& f = p.config.layers[l].feed_forward;
  const MixtureWeights& weights = p.weights.layers[l].mixture;
  Workspace::Mixture& m = p.ws.mixture;
  const std::size_t d = p.config.d_model, ff = f.experts.d_ff;
  const bool quantized = reads_quantized(weights.down.first);
  const auto tell = [&](const ExpertMatrices& matrices, std::size_t k, auto& x, const auto& q8) {
    note_experts(p, w, f.experts.count, k, x, q8, [&](std::size_t e) { return matrices.of(e); });
  };
  tell(weights.gate, d, m.gathered, m.gathered_q8);
  tell(weights.up, d, m.gathered, m.gathered_q8);
  share_experts(p, w, f.experts.count, ff,
                [&](std::size_t e, std::size_t slot, std::size_t n, WorkRange rows) {
                  const Input in{floats_at(m.gathered, slot * d), m.gathered_q8.q.data() + slot * d,
                                 m.gathered_q8.groups.data() + slot * (d / 32)};
                  const Activated out{floats_at(m.inner, slot * ff),
                                      quantized ? m.inner_q8.q.data() + slot * ff : nullptr,
                                      m.inner_q8.groups.data() + slot * (ff / 32), ff};
                  gate_and_up(p, w, f.activation, weights.gate.of(e), weights.up.of(e), rows, in, n, out);
                });
  w.sync();
  tell(weights.down, ff, m.inner, m.inner_q8);
  share_experts(p, w, f.experts.count, d,
                [&](std::size_t e, std::size_t slot, std::size_t n, WorkRange rows) {
                  const Input in{floats_at(m.inner, slot * ff), m.inner_q8.q.data() + slot * ff,
                                 m.inner_q8.groups.data() + slot * (ff / 32)};
                  multiply(p, w, weights.down.of(e), rows, in, n, m.out.data() + slot * d + rows.begin, d);
                });
}

/// residual = rms_norm(residual) + rms_norm(weighted sum of the experts). Shared by rows as add_residual()
/// does.
inline void add_experts(const Pass& p, const Worker& w, std::size_t l) noexcept {
  const std::size_t d = p.config.d_model;
  const ExpertsConfig& e = p.config.layers[l].feed_forward.experts;
  const MixtureWeights& weights = p.weights.layers[l].mixture;
  Workspace::Mixture& m = p.ws.mixture;
  const auto share = w.share(p.n_rows);
  for (std::size_t r = share.begin; r < share.end; ++r) {
    float* sum = m.input.data() + r * d;  // reused: its content is no longer needed
    std::fill_n(sum, d, 0.0f);
    for (std::size_t s = r * e.used; s < (r + 1) * e.used; ++s) {
      float* part = m.out.data() + m.place[s] * d;
      p.vec().scale(m.weight[s], d, part);
      p.vec().add(part, d, sum);
    }
  }
  note(p, w, "moe_out", l, m.input.data(), d);
  for (std::size_t r = share.begin; r < share.end; ++r) {
    float* sum = m.input.data() + r * d;
    float* dense = p.ws.residual.data() + r * d;
    p.vec().rms_norm(sum, weights.post_norm.data(), d, p.config.rms_eps, sum);
    p.vec().rms_norm(dense, weights.dense_post_norm.data(), d, p.config.rms_eps, dense);
    p.vec().add(sum, d, dense);
  }
  note(p, w, "ffn_moe", l, p.ws.residual.data(), d);
}

/// Computes the router's scores from the result of mixture_input(). Needs a barrier before it, and one before
/// mixture().
inline void score_experts(Pass& p, const Worker& w, std::size_t l) noexcept {
  matmul(p, w, p.weights.layers[l].mixture.router,
         {p.ws.mixture.router_input.data(), p.ws.mixture.gathered_q8}, p.ws.mixture.router.data());
}

/// Adds the experts' sum to the dense block's result in ws.residual.
inline void mixture(Pass& p, const Worker& w, std::size_t l) noexcept {
  route(p, w, l);
  note_router(p, w, l);
  w.sync();
  if (w.id == 0) group_by_expert(p, p.config.layers[l].feed_forward.experts);
  w.sync();
  gather_inputs(p, w, l);
  w.sync();
  run_experts(p, w, l);
  w.sync();
  add_experts(p, w, l);
}

}  // namespace gemma::detail
