// One forward pass of the decoder, for every family: it reads ModelConfig and never asks which family it
// runs. Invariant (law 1): the bits of a token's logits depend on the tokens before it only: every step below
// works on whole rows, heads or 32-groups, so shares between threads, chunks and batches do not show in the
// result.
//
// One layer (pre-norm decoder, Vaswani et al. 2017; Touvron et al. 2023):
//   h = rms_norm(x);  q, k, v = W h;  [q, k = rms_norm(q), rms_norm(k)];  q, k = rope(q), rope(k);
//   cache k, v;  x += [rms_norm](W_o attention(q, cache));
//   h = rms_norm(x);  x += [rms_norm](W_down (activation(W_gate h) * (W_up h))).
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>
#include <vector>

#include "../kernels/kernel_table.hpp"
#include "chunk.hpp"
#include "config.hpp"
#include "kv_cache.hpp"
#include "thread_team.hpp"
#include "weights.hpp"
#include "workspace.hpp"

namespace gemma {

namespace detail {

/// What one forward pass works on. Built by Model::forward, which has checked everything.
struct Forward {
  const ModelConfig& config;
  const Weights& weights;
  const kernels::KernelTable& kernels;
  const std::vector<AlignedBuffer<double>>& frequencies;  // [n_ropes][head_dim / 2]
  std::span<const Chunk> chunks;
  Workspace& ws;
  std::size_t n_rows = 0;        // tokens of all chunks
  std::size_t n_logit_rows = 0;  // rows with logits
  const std::atomic<bool>* cancel = nullptr;
  Trace* trace = nullptr;

  /// Runs this worker's share of the whole pass. Every worker of the team calls it once.
  void run(const Worker& worker) noexcept;

 private:
  /// What a matmul reads: one of the two, by its kernel.
  struct Input {
    const float* x;
    const Workspace::QuantizedRows& quantized;
  };

  const kernels::VectorKernels& vec() const noexcept { return kernels.vec; }
  const LayerWeights& layer(std::size_t i) const noexcept { return weights.layers[i]; }
  bool wants_logits(std::size_t row) const noexcept;
  bool stop_requested(const Worker& w) noexcept;
  void note(const Worker& w, const char* name, std::size_t l, const float* rows, std::size_t n,
            std::size_t width) noexcept;

  void embed(const Worker& w) noexcept;
  void rope_angles(const Worker& w) noexcept;
  void norm_rows(const Worker& w, std::size_t n, const Vector& weight, bool quantized) noexcept;
  void add_residual(const Worker& w, std::size_t n, const Vector& post_norm) noexcept;
  void quantize_rows(const Worker& w, const float* rows, std::size_t n, std::size_t width) noexcept;
  template <class F>
  void share_rows(const Worker& w, const Matrix& m, std::size_t n, std::size_t step, F f) noexcept;
  void multiply(const Worker& w, const Matrix& m, Range rows, const Input& in, std::size_t n, float* out,
                std::size_t ld_out) noexcept;
  /// out[n, m.rows] = in * m^T, shared.
  void matmul(const Worker& w, const Matrix& m, const Input& in, std::size_t n, float* out,
              std::size_t step) noexcept {
    share_rows(w, m, n, step, [&](Range rows) { multiply(w, m, rows, in, n, out + rows.begin, m.rows); });
  }
  void rotate_and_store(const Worker& w, std::size_t l) noexcept;
  void attend(const Worker& w, std::size_t l) noexcept;
  void attend_unit(const Worker& w, std::size_t l, std::size_t unit, std::size_t splits) noexcept;
  void keep_logit_rows() noexcept;
  void feed_forward(const Worker& w, const LayerWeights& l, std::size_t n, std::size_t step) noexcept;
  void output(const Worker& w) noexcept;
};

inline bool Forward::wants_logits(std::size_t row) const noexcept {
  const Chunk& chunk = chunks[ws.row_chunk[row]];
  if (chunk.logits != Logits::kLast) return chunk.logits == Logits::kAll;
  return row + 1 == n_rows || ws.row_chunk[row + 1] != ws.row_chunk[row];
}

/// All workers see the same answer: worker 0 reads the flag between two barriers.
inline bool Forward::stop_requested(const Worker& w) noexcept {
  if (cancel == nullptr) return false;
  if (w.id == 0) ws.shared->stop.store(cancel->load(std::memory_order_relaxed), std::memory_order_relaxed);
  w.sync();
  return ws.shared->stop.load(std::memory_order_relaxed);
}

inline void Forward::note(const Worker& w, const char* name, std::size_t l, const float* rows, std::size_t n,
                          std::size_t width) noexcept {
  if (trace == nullptr) return;
  w.sync();
  if (w.id == 0) trace->value(name, l, rows, n, width);
  w.sync();
}

inline void Forward::embed(const Worker& w) noexcept {
  const Matrix& e = weights.embedding;
  const auto share = w.share(n_rows);
  for (std::size_t r = share.begin; r < share.end; ++r) {
    float* x = ws.x.data() + r * config.d_model;
    kernels.dequantize[static_cast<std::size_t>(e.type)](e.data + ws.row_token[r] * e.row_bytes,
                                                         config.d_model, x);
    if (config.embedding_scale != 1.0f) vec().scale(config.embedding_scale, config.d_model, x);
  }
}

/// cos and sin of position * frequency, in double and rounded once: long contexts keep their phase.
inline void Forward::rope_angles(const Worker& w) noexcept {
  const std::size_t half = config.head_dim / 2;
  const auto share = w.share(n_rows);
  for (std::size_t i = 0; i < config.ropes.size(); ++i) {
    for (std::size_t r = share.begin; r < share.end; ++r) {
      float* out = ws.rope.data() + (i * n_rows + r) * config.head_dim;
      for (std::size_t d = 0; d < half; ++d) {
        const double angle = static_cast<double>(ws.row_position[r]) * frequencies[i][d];
        out[d] = static_cast<float>(std::cos(angle));
        out[half + d] = static_cast<float>(std::sin(angle));
      }
    }
  }
}

/// h = rms_norm(x), and its 8-bit form where a matmul will read that.
inline void Forward::norm_rows(const Worker& w, std::size_t n, const Vector& weight,
                               bool quantized) noexcept {
  const std::size_t d = config.d_model;
  const auto share = w.share(n);
  for (std::size_t r = share.begin; r < share.end; ++r) {
    float* h = ws.h.data() + r * d;
    vec().rms_norm(ws.x.data() + r * d, weight.data(), d, config.rms_eps, h);
    if (quantized) vec().quantize_q8(h, d, ws.q8.q.data() + r * d, ws.q8.groups.data() + r * (d / 32));
  }
}

/// x += residual, or x += rms_norm(residual). Shares rows as norm_rows does, so no barrier is needed between.
inline void Forward::add_residual(const Worker& w, std::size_t n, const Vector& post_norm) noexcept {
  const std::size_t d = config.d_model;
  const auto share = w.share(n);
  for (std::size_t r = share.begin; r < share.end; ++r) {
    float* from = ws.residual.data() + r * d;
    if (config.post_norms) vec().rms_norm(from, post_norm.data(), d, config.rms_eps, from);
    vec().add(from, d, ws.x.data() + r * d);
  }
}

inline void Forward::quantize_rows(const Worker& w, const float* rows, std::size_t n,
                                   std::size_t width) noexcept {
  // shared by 32-groups, not rows, so that one row is shared too
  const std::size_t groups = width / 32;
  const auto share = w.share(n * groups);
  for (std::size_t g = share.begin; g < share.end;) {
    const std::size_t run = std::min(share.end, (g / groups + 1) * groups) - g;
    vec().quantize_q8(rows + g * 32, run * 32, ws.q8.q.data() + g * 32, ws.q8.groups.data() + g);
    g += run;
  }
}

/// f(rows of m) for this worker's rows. With few tokens, where the weights are read only once, whoever is
/// free takes the next: memory does not serve all cores alike, nor does a shared machine. With many, even
/// shares, since each call of a kernel lays out the tokens again.
template <class F>
void Forward::share_rows(const Worker& w, const Matrix& m, std::size_t n, std::size_t step, F f) noexcept {
  constexpr std::size_t kFewTokens = 4;
  constexpr std::size_t kPieceBytes = std::size_t{512} << 10;  // the last pieces at most
  if (w.count == 1 || n > kFewTokens) {
    const Range rows = w.share(m.rows, kRowUnit);
    if (rows.begin < rows.end) f(rows);
    return;
  }
  const std::size_t piece = std::min(kPieceBytes / m.row_bytes, m.rows / (12 * w.count));
  const std::size_t unit = std::max(kRowUnit, piece / kRowUnit * kRowUnit);
  for (;;) {
    const Range rows = take(ws.taken[step], m.rows, unit, w.count);
    if (rows.begin == rows.end) return;
    f(rows);
  }
}

/// out[n, ld_out] = in * (rows of m)^T.
inline void Forward::multiply(const Worker& w, const Matrix& m, Range rows, const Input& in, std::size_t n,
                              float* out, std::size_t ld_out) noexcept {
  m.kernel->matmul({.w = m.data + rows.begin * m.row_bytes,
                    .row_bytes = m.row_bytes,
                    .k = m.cols,
                    .row_begin = 0,
                    .row_end = rows.end - rows.begin,
                    .m = n,
                    .x = in.x,
                    .q = in.quantized.q.data(),
                    .groups = in.quantized.groups.data(),
                    .y = out,
                    .ldy = ld_out,
                    .scratch = ws.scratch_of(w.id)});
}

inline void Forward::rotate_and_store(const Worker& w, std::size_t l) noexcept {
  const std::size_t hd = config.head_dim;
  const std::size_t per_row = config.n_heads + config.n_kv_heads;
  const auto rope = config.rope_pairing == RopePairing::kHalf ? vec().rope_half : vec().rope_pairs;
  const auto share = w.share(n_rows * per_row);
  for (std::size_t u = share.begin; u < share.end; ++u) {
    const std::size_t r = u / per_row;
    const std::size_t i = u % per_row;
    const float* angles = ws.rope.data() + (config.layers[l].rope * n_rows + r) * hd;
    const bool is_query = i < config.n_heads;
    const std::size_t kv = i - config.n_heads;
    float* head = is_query ? ws.q.data() + (r * config.n_heads + i) * hd
                           : ws.k.data() + (r * config.n_kv_heads + kv) * hd;
    if (config.qk_norm) {
      vec().rms_norm(head, (is_query ? layer(l).q_norm : layer(l).k_norm).data(), hd, config.rms_eps, head);
    }
    rope(head, 1, hd, angles);
    if (is_query) continue;
    KvCache& cache = *chunks[ws.row_chunk[r]].cache;
    vec().store_key(head, hd, cache.type(), cache.key_slot(l, kv, ws.row_position[r]));
    vec().store_value(ws.v.data() + (r * config.n_kv_heads + kv) * hd, hd, cache.type(),
                      cache.value_slot(l, kv, ws.row_position[r]));
  }
}

/// Work is taken in units of (chunk, token tile, key/value head, part of its query heads); whoever is free
/// takes the next, since a tile's cost grows with its position.
inline void Forward::attend(const Worker& w, std::size_t l) noexcept {
  std::size_t units = 0;
  for (const Chunk& c : chunks)
    units += (c.tokens.size() + kAttentionTile - 1) / kAttentionTile * config.n_kv_heads;
  const std::size_t group = config.n_heads / config.n_kv_heads;
  // heads of one group share a pass over the cache; they part only when there is too little work otherwise
  const std::size_t splits =
      units >= w.count ? 1 : std::min<std::size_t>(group, (w.count + units - 1) / units);
  std::atomic<std::size_t>& done = ws.taken[l * kSteps + kAttention];
  for (std::size_t u = done.fetch_add(1); u < units * splits; u = done.fetch_add(1))
    attend_unit(w, l, u, splits);
}

inline void Forward::attend_unit(const Worker& w, std::size_t l, std::size_t unit,
                                 std::size_t splits) noexcept {
  const std::size_t hd = config.head_dim;
  const std::size_t group = config.n_heads / config.n_kv_heads;
  const std::size_t split = unit % splits;
  const std::size_t kv = unit / splits % config.n_kv_heads;
  std::size_t tile = unit / splits / config.n_kv_heads;
  std::size_t first_row = 0;
  const Chunk* chunk = chunks.data();
  for (;; ++chunk) {
    const std::size_t tiles = (chunk->tokens.size() + kAttentionTile - 1) / kAttentionTile;
    if (tile < tiles) {
      tile = tiles - 1 - tile;  // the last tile sees the most keys: begin with it
      break;
    }
    tile -= tiles;
    first_row += chunk->tokens.size();
  }
  const std::size_t begin = tile * kAttentionTile;
  const std::size_t row = first_row + begin;
  const std::size_t head_begin = kv * group + group * split / splits;
  const std::size_t head_end = kv * group + group * (split + 1) / splits;
  if (head_begin == head_end) return;
  KvCache& cache = *chunk->cache;
  vec().attention({.q = ws.q.data() + row * config.q_width() + head_begin * hd,
                   .out = ws.attention.data() + row * config.q_width() + head_begin * hd,
                   .q_stride = config.q_width(),
                   .out_stride = config.q_width(),
                   .n_tokens = std::min(kAttentionTile, chunk->tokens.size() - begin),
                   .n_heads = head_end - head_begin,
                   .head_dim = hd,
                   .k = cache.keys(l, kv),
                   .v = cache.values(l, kv),
                   .type = cache.type(),
                   .n_slots = cache.n_slots(l),
                   .pos0 = ws.row_position[row],
                   .window = config.layers[l].window,
                   .scale = config.attention_scale,
                   .softcap = config.attention_softcap,
                   .scratch = ws.scratch_of(w.id)});
}

/// Moves the rows whose logits are wanted to the front: after the last attention no other row is needed.
inline void Forward::keep_logit_rows() noexcept {
  std::size_t to = 0;
  for (std::size_t r = 0; r < n_rows; ++r) {
    if (!wants_logits(r)) continue;
    if (to != r) {
      std::memcpy(ws.x.data() + to * config.d_model, ws.x.data() + r * config.d_model,
                  config.d_model * sizeof(float));
      std::memcpy(ws.attention.data() + to * config.q_width(), ws.attention.data() + r * config.q_width(),
                  config.q_width() * sizeof(float));
    }
    ++to;
  }
}

/// residual = down(activation(gate(h)) * up(h)). Block of rows by block of rows, so that gate and up of many
/// tokens are activated and quantised where they are, not in memory a step later.
inline void Forward::feed_forward(const Worker& w, const LayerWeights& l, std::size_t n,
                                  std::size_t step) noexcept {
  const std::size_t ff = config.d_ff, ld = ws.ffn_rows();
  const bool quantized = l.down.kernel->quantized_activations;
  const auto activate = config.activation == Activation::kGeluTanh ? vec().gelu_mul : vec().silu_mul;
  const Input in{ws.h.data(), ws.q8};
  float* const up = ws.ffn_block_of(w.id);
  share_rows(w, l.gate, n, step + kGateUp, [&](Range rows) {
    for (std::size_t begin = rows.begin; begin < rows.end; begin += ld) {
      const Range block{begin, std::min(begin + ld, rows.end)};
      const std::size_t size = block.end - block.begin;
      float* const gate = quantized ? up + n * ld : ws.ffn.data() + begin;
      const std::size_t ld_gate = quantized ? ld : ff;
      multiply(w, l.gate, block, in, n, gate, ld_gate);
      multiply(w, l.up, block, in, n, up, ld);
      for (std::size_t r = 0; r < n; ++r) {
        activate(gate + r * ld_gate, up + r * ld, size);
        const std::size_t at = r * ff + begin;
        if (quantized)
          vec().quantize_q8(gate + r * ld_gate, size, ws.ffn_q8.q.data() + at,
                            ws.ffn_q8.groups.data() + at / 32);
      }
    }
  });
  w.sync();
  matmul(w, l.down, {ws.ffn.data(), ws.ffn_q8}, n, ws.residual.data(), step + kDown);
}

inline void Forward::output(const Worker& w) noexcept {
  const Matrix& m = weights.output;
  norm_rows(w, n_logit_rows, weights.output_norm, m.kernel->quantized_activations);
  note(w, "result_norm", 0, ws.h.data(), n_logit_rows, config.d_model);
  w.sync();
  share_rows(w, m, n_logit_rows, config.n_layers * kSteps, [&](Range rows) {
    multiply(w, m, rows, {ws.h.data(), ws.q8}, n_logit_rows, ws.logits.data() + rows.begin, m.rows);
    if (config.logit_softcap == 0.0f) return;
    for (std::size_t r = 0; r < n_logit_rows; ++r) {
      vec().softcap(ws.logits.data() + r * m.rows + rows.begin, rows.end - rows.begin, config.logit_softcap);
    }
  });
}

inline void Forward::run(const Worker& w) noexcept {
  const std::size_t d = config.d_model;
  embed(w);
  rope_angles(w);
  note(w, "embd", 0, ws.x.data(), n_rows, d);
  std::size_t n = n_rows;
  for (std::size_t i = 0; i < config.n_layers; ++i) {
    const LayerWeights& l = layer(i);
    if (stop_requested(w)) return;
    auto quantized = [](std::initializer_list<const Matrix*> ms) {
      return std::any_of(ms.begin(), ms.end(),
                         [](const Matrix* m) { return m->kernel->quantized_activations; });
    };
    norm_rows(w, n, l.attn_norm, quantized({&l.q, &l.k, &l.v}));
    note(w, "attn_norm", i, ws.h.data(), n, d);
    w.sync();
    matmul(w, l.q, {ws.h.data(), ws.q8}, n, ws.q.data(), i * kSteps + kQ);
    matmul(w, l.k, {ws.h.data(), ws.q8}, n, ws.k.data(), i * kSteps + kK);
    matmul(w, l.v, {ws.h.data(), ws.q8}, n, ws.v.data(), i * kSteps + kV);
    w.sync();
    rotate_and_store(w, i);
    note(w, "q_rope", i, ws.q.data(), n, config.q_width());
    note(w, "k_rope", i, ws.k.data(), n, config.kv_width());
    note(w, "v", i, ws.v.data(), n, config.kv_width());
    const bool last = i + 1 == config.n_layers;
    if (last && n_logit_rows == 0) return;  // its keys and values are all that was wanted
    w.sync();
    attend(w, i);
    w.sync();
    if (last && n_logit_rows != n_rows) {
      if (w.id == 0) keep_logit_rows();
      n = n_logit_rows;
      w.sync();
    }
    if (quantized({&l.attn_out})) {
      quantize_rows(w, ws.attention.data(), n, config.q_width());
      w.sync();
    }
    matmul(w, l.attn_out, {ws.attention.data(), ws.q8}, n, ws.residual.data(), i * kSteps + kAttentionOut);
    w.sync();
    note(w, "attn_out", i, ws.residual.data(), n, d);
    add_residual(w, n, l.post_attn_norm);
    norm_rows(w, n, l.ffn_norm, quantized({&l.gate, &l.up}));
    note(w, "ffn_norm", i, ws.h.data(), n, d);
    w.sync();
    feed_forward(w, l, n, i * kSteps);
    w.sync();
    note(w, "ffn_out", i, ws.residual.data(), n, d);
    add_residual(w, n, l.post_ffn_norm);
    note(w, "l_out", i, ws.x.data(), n, d);
  }
  output(w);
}

}  // namespace detail
}  // namespace gemma
