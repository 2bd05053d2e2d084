// Attention of one layer: projections, q/k norms and rotary embedding, the cache, and the sum over its
// values.
// Invariant: units of work are whole heads of whole tokens, so the result does not depend on how threads
// share the work.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>

#include "linear.hpp"
#include "pass.hpp"
#include "residual.hpp"

namespace gemma::detail {

/// Normalises and rotates query heads in ws.q.
inline void rotate_queries(const Pass& p, const Worker& w, std::size_t l) noexcept {
  const AttentionConfig& a = p.config.layers[l].attention;
  const auto rotate = p.config.rope_pairing == RopePairing::kHalf ? p.vec().rope_half : p.vec().rope_pairs;
  const float* const angles = rope_of(p, a.rope);
  const auto share = w.share(p.n_rows * a.n_heads);
  for (std::size_t u = share.begin; u < share.end; ++u) {
    float* head = p.ws.q.data() + u * a.head_dim;
    if (a.qk_norm) {
      p.vec().rms_norm(head, p.weights.layers[l].q_norm.data(), a.head_dim, p.config.rms_eps, head);
    }
    rotate(head, 1, a.head_dim, angles + p.ws.row_origin[u / a.n_heads] * a.head_dim);
  }
}

/// ws.v = ws.k, for layers whose values are the projected keys. Workers share the rows; a barrier must follow
/// before the keys are normalised and rotated.
inline void copy_keys_to_values(const Pass& p, const Worker& w, std::size_t l) noexcept {
  const std::size_t width = p.config.layers[l].attention.kv_width();
  const auto share = w.share(p.n_rows);
  std::copy(p.ws.k.data() + share.begin * width, p.ws.k.data() + share.end * width,
            p.ws.v.data() + share.begin * width);
}

/// Normalises and rotates key heads in ws.k, normalises value heads, and stores both in the caches.
inline void store_keys_and_values(const Pass& p, const Worker& w, std::size_t l) noexcept {
  const AttentionConfig& a = p.config.layers[l].attention;
  const auto rotate = p.config.rope_pairing == RopePairing::kHalf ? p.vec().rope_half : p.vec().rope_pairs;
  const float* const angles = rope_of(p, a.rope);
  const auto share = w.share(p.n_rows * a.n_kv_heads);
  for (std::size_t u = share.begin; u < share.end; ++u) {
    const std::size_t r = u / a.n_kv_heads;
    const std::size_t kv = u % a.n_kv_heads;
    const std::size_t position = p.ws.row_position[r];
    KvCache& cache = *p.chunks[p.ws.row_chunk[r]].cache;
    float* key = p.ws.k.data() + u * a.head_dim;
    if (a.qk_norm) {
      p.vec().rms_norm(key, p.weights.layers[l].k_norm.data(), a.head_dim, p.config.rms_eps, key);
    }
    rotate(key, 1, a.head_dim, angles + p.ws.row_origin[r] * a.head_dim);
    float* value = p.ws.v.data() + u * a.head_dim;
    if (a.v_norm) p.vec().rms_norm(value, p.weights.ones.data(), a.head_dim, p.config.rms_eps, value);
    const std::size_t slot = position % kernels::kKeyBlock;
    p.vec().store_key(key, a.head_dim, cache.type(), cache.keys(l, kv, position), slot);
    p.vec().store_value(value, a.head_dim, cache.type(), cache.values(l, kv, position), slot);
  }
}

/// One unit of attention: a tile of tokens of one chunk, a key/value head, and a part of its query heads.
inline void attend_unit(const Pass& p, const Worker& w, std::size_t l, std::size_t unit,
                        std::size_t splits) noexcept {
  const AttentionConfig& a = p.config.layers[l].attention;
  const std::size_t group = a.n_heads / a.n_kv_heads;
  const std::size_t split = unit % splits;
  const std::size_t kv = unit / splits % a.n_kv_heads;
  std::size_t tile = unit / splits / a.n_kv_heads;
  std::size_t first_row = 0;
  const Chunk* chunk = p.chunks.data();
  for (;; ++chunk) {
    const std::size_t tiles = (rows_of(p, *chunk) + kAttentionTile - 1) / kAttentionTile;
    if (tile < tiles) {
      tile = tiles - 1 - tile;  // the last tile sees the most keys: begin with it
      break;
    }
    tile -= tiles;
    first_row += rows_of(p, *chunk);
  }
  const std::size_t begin = tile * kAttentionTile;
  const std::size_t row = first_row + begin;
  const std::size_t head_begin = kv * group + group * split / splits;
  const std::size_t head_end = kv * group + group * (split + 1) / splits;
  if (head_begin == head_end) return;
  KvCache& cache = *chunk->cache;
  p.vec().attention({.q = p.ws.q.data() + row * a.q_width() + head_begin * a.head_dim,
                     .out = p.ws.attention.data() + row * a.q_width() + head_begin * a.head_dim,
                     .q_stride = a.q_width(),
                     .out_stride = a.q_width(),
                     .n_tokens = std::min(kAttentionTile, rows_of(p, *chunk) - begin),
                     .n_heads = head_end - head_begin,
                     .head_dim = a.head_dim,
                     .pages = cache.pages(a.kv_layer),
                     .k_offset = cache.layout().key_offset(a.kv_layer, kv),
                     .v_offset = cache.layout().value_offset(a.kv_layer, kv),
                     .type = cache.type(),
                     .pos0 = p.ws.row_position[row],
                     .window = a.window,
                     .ahead = a.ahead,
                     .limit = cache.n_past() + chunk->tokens.size(),
                     .scale = a.scale,
                     .softcap = a.softcap,
                     .scratch = p.ws.scratch_of(w.id)});
}

/// ws.attention = attention of ws.q over the caches. Each worker takes the next unit when it is free, since
/// the cost of a tile grows with its position.
inline void attend(Pass& p, const Worker& w, std::size_t l) noexcept {
  const AttentionConfig& a = p.config.layers[l].attention;
  std::size_t units = 0;
  for (const Chunk& c : p.chunks)
    units += (rows_of(p, c) + kAttentionTile - 1) / kAttentionTile * a.n_kv_heads;
  const std::size_t group = a.n_heads / a.n_kv_heads;
  // the heads of one group share a pass over the cache; they are split only when there are fewer units than
  // workers
  const std::size_t splits =
      units >= w.count ? 1 : std::min<std::size_t>(group, (w.count + units - 1) / units);
  std::atomic<std::size_t>& done = p.draw_step();
  for (std::size_t u = done.fetch_add(1); u < units * splits; u = done.fetch_add(1)) {
    attend_unit(p, w, l, u, splits);
  }
}

/// Projects ws.h to the keys and values of all rows and stores them in the caches, where the layer owns its
/// keys and values. Projects the queries too, if `queries` is set. A barrier must follow before attention.
inline void project(Pass& p, const Worker& w, std::size_t l, bool queries) noexcept {
  const LayerWeights& weights = p.weights.layers[l];
  const AttentionConfig& a = p.config.layers[l].attention;
  Input in{p.ws.h.data(), p.ws.q8};
  const bool owner = p.config.owns_kv(l);
  const Matrix none;
  lay_out(
      p, w, in,
      {queries ? &weights.q : &none, owner ? &weights.k : &none, owner && !a.v_from_k ? &weights.v : &none});
  if (queries) matmul(p, w, weights.q, in, p.ws.q.data());
  if (owner) {
    matmul(p, w, weights.k, in, p.ws.k.data());
    if (!a.v_from_k) matmul(p, w, weights.v, in, p.ws.v.data());
  }
  w.sync();
  if (owner && a.v_from_k) {
    copy_keys_to_values(p, w, l);
    w.sync();
  }
  if (queries) {
    rotate_queries(p, w, l);
    note(p, w, "q_rope", l, p.ws.q.data(), a.q_width());
  }
  if (owner) {
    note(p, w, "v", l, p.ws.v.data(), a.kv_width());
    store_keys_and_values(p, w, l);
    note(p, w, "k_rope", l, p.ws.k.data(), a.kv_width());
    if (a.v_norm) note(p, w, "v_norm", l, p.ws.v.data(), a.kv_width());
  }
}

/// residual = W_o attention(rms_norm(x)). Returns false when no row's result is wanted after this layer's
/// keys and values: the pass is over.
inline bool attention(Pass& p, const Worker& w, std::size_t l) noexcept {
  const LayerWeights& weights = p.weights.layers[l];
  norm_rows(p, w, weights.attn_norm,
            reads_quantized(weights.q) || reads_quantized(weights.k) || reads_quantized(weights.v));
  note(p, w, "attn_norm", l, p.ws.h.data(), p.config.d_model);
  w.sync();
  const bool rows_leave = l == p.last_kv_layer && p.n_wanted != p.n_rows;
  project(p, w, l, !rows_leave);
  if (rows_leave) {
    if (p.n_wanted == 0) return false;  // only the keys and values were wanted
    keep_wanted_rows(p, w);
    lay_out_and_multiply(p, w, weights.q, {p.ws.h.data(), p.ws.q8}, p.ws.q.data());
    w.sync();
    rotate_queries(p, w, l);
  }
  w.sync();
  attend(p, w, l);
  w.sync();
  if (reads_quantized(weights.attn_out)) {
    quantize_rows(p, w, p.ws.attention.data(), p.config.layers[l].attention.q_width());
    w.sync();
  }
  lay_out_and_multiply(p, w, weights.attn_out, {p.ws.attention.data(), p.ws.q8}, p.ws.residual.data());
  w.sync();
  note(p, w, "attn_out", l, p.ws.residual.data(), p.config.d_model);
  return true;
}

}  // namespace gemma::detail
