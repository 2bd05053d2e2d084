// Definitions of workspace.hpp.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>

#include "../gguf/linkage.hpp"
#include "check_number.hpp"
#include "token_layouts.hpp"

namespace gemma {

namespace detail {

GEMMA_INLINE MixtureSizes::MixtureSizes(const ModelConfig& c, const Weights& w, std::size_t t) {
  if (!c.has_experts()) return;
  experts = c.largest([](const LayerConfig& l) { return l.feed_forward.experts.count; });
  slots = t * c.largest([](const LayerConfig& l) { return l.feed_forward.experts.used; });
  hidden = t * c.d_model;
  router = t * experts;
  gathered = slots * c.d_model;
  inner = slots * c.largest([](const LayerConfig& l) { return l.feed_forward.experts.d_ff; });
  for (const LayerWeights& l : w.layers) {
    l.for_each_experts([&](const ExpertMatrices& m) {
      if (!m.first.kernel->quantized_activations) floats = 1;
    });
  }
}

/// Bytes of the layouts of any input of t tokens, or of n_logits at the head (see linear.hpp).
inline std::size_t largest_layouts(const Weights& w, std::size_t t, std::size_t n_logits) noexcept {
  TokenLayouts head;
  head.add(w.output, n_logits);
  std::size_t most = head.bytes();
  auto see = [&most, t](std::initializer_list<const Matrix*> readers) {
    TokenLayouts layouts;
    for (const Matrix* m : readers) layouts.add(*m, t);
    most = std::max(most, layouts.bytes());
  };
  see({&w.per_layer_proj});
  for (const LayerWeights& l : w.layers) {
    see({&l.q, &l.k, &l.v});
    see({&l.attn_out});
    see({&l.gate, &l.up});
    see({&l.down});
    see({&l.per_layer.gate});
    see({&l.per_layer.proj});
  }
  return most;
}

/// Bytes of scratch that one thread needs in any step of a pass of t tokens.
inline std::size_t largest_scratch(const ModelConfig& c, const Weights& w,
                                   const kernels::KernelTable& kernels, std::size_t t) {
  std::size_t most = c.largest([&](const LayerConfig& l) {
    const AttentionConfig& a = l.attention;
    return kernels.vec.attention_scratch_bytes(std::min(t, kAttentionTile), a.n_heads / a.n_kv_heads,
                                               a.head_dim);
  });
  auto see = [&most](const Matrix& m) { most = std::max(most, m.kernel->scratch_bytes(m.cols)); };
  see(w.output);
  for (const Matrix* m : {&w.per_layer_proj, &w.stream_proj, &w.stream_unproj}) {
    if (m->data != nullptr) see(*m);
  }
  for (const Matrix& m : w.dense) see(m);
  for (const auto& change : w.changes) {
    see(change->a);
    see(change->b);
  }
  for (const LayerWeights& l : w.layers) {
    l.for_each_matrix(see);
    l.for_each_experts([&](const ExpertMatrices& m) { see(m.first); });
  }
  return std::max(most, c.n_layers() * c.per_layer_width * sizeof(float));  // one token's embedding
}

GEMMA_INLINE WorkspaceSizes::WorkspaceSizes(const ModelConfig& c, const Weights& w,
                                            const kernels::KernelTable& kernels, const WorkspaceOptions& o)
    : n_threads(o.n_threads != 0 ? o.n_threads : physical_core_count()) {
  // row indices have 32 bits, and no machine has resources near these limits
  detail::check_number("max_tokens", o.max_tokens, 1, 1u << 24);
  detail::check_number("max_logit_rows", o.max_logit_rows, 0, o.max_tokens);
  detail::check_number("max_hidden_rows", o.max_hidden_rows, 0, o.max_tokens);
  detail::check_number("n_threads", n_threads, 0, 4096);
  const std::size_t t = o.max_tokens;
  hidden = t * c.d_model;
  q = t * c.largest_q_width();
  kv = t * c.largest_kv_width();
  const bool sparse = c.largest([](const LayerConfig& l) { return l.feed_forward.sparsity != 0.0f; }) != 0;
  const bool reads_floats =
      sparse || std::any_of(w.layers.begin(), w.layers.end(), [](const LayerWeights& l) {
        return !l.down.kernel->quantized_activations || l.down.changes != nullptr;
      });
  const std::size_t d_ff = c.largest_d_ff();
  ffn = reads_floats ? t * d_ff : 0;
  const std::size_t even_share = (d_ff + n_threads - 1) / n_threads;
  ffn_rows = std::min(kFeedForwardRows, (even_share + kRowUnit - 1) / kRowUnit * kRowUnit);
  logits = o.max_logit_rows * c.vocab_size;
  rope = t * c.rope_width();
  quantized = t * std::max({c.d_model, c.largest_q_width(), c.streams.low_rank});
  ffn_quantized = t * d_ff;
  pooled = 0;
  if (!w.dense.empty() && o.max_hidden_rows != 0) {
    std::size_t widest = c.d_model;
    for (const DenseConfig& dense : c.embedding.dense) widest = std::max(widest, dense.width);
    pooled = kPooledRows * widest;
    quantized = std::max(quantized, pooled);
  }
  // rows that are not wanted are dropped in the last layer that owns keys and values: layers before it have
  // inputs for all rows, later layers only for the remaining ones
  per_layer = c.per_layer_width * std::max(t * c.last_kv_layer(), o.most_rows() * c.n_layers());
  per_layer_gate = t * c.per_layer_width;
  mixture = MixtureSizes(c, w, t);
  streams = t * c.streams.count * c.d_model;
  low_rank = t * c.streams.low_rank;
  branch = c.streams.count != 0 ? hidden : 0;
  changes = t * w.changes_width;
  change_block = changes != 0 ? t * kRowUnit : 0;
  laid_out = largest_layouts(w, t, o.most_rows());
  scratch_per_thread = (largest_scratch(c, w, kernels, t) + 63) / 64 * 64;
  tokens = t;
  steps = (c.n_layers() + 2) * kMostSteps;
}

GEMMA_INLINE std::size_t WorkspaceSizes::bytes() const noexcept {
  const std::size_t floats = 3 * hidden + 2 * q + 2 * kv + ffn + n_threads * ffn_block_floats() + logits +
                             rope + per_layer + streams + low_rank + branch + 2 * pooled + changes +
                             n_threads * change_block;
  return mixture.bytes() + per_layer_gate_bytes() + floats * sizeof(float) + quantized + ffn_quantized +
         (groups(quantized) + groups(ffn_quantized)) * sizeof(kernels::Q8Group) +
         scratch_per_thread * n_threads + laid_out + 4 * tokens * sizeof(std::uint32_t) +
         steps * sizeof(std::atomic<std::size_t>) + sizeof(WorkspaceShared);
}

GEMMA_INLINE std::size_t MixtureSizes::bytes() const noexcept {
  if (experts == 0) return 0;
  const std::size_t quantized = hidden + gathered + inner;
  const std::size_t n_groups =
      WorkspaceSizes::groups(hidden) + WorkspaceSizes::groups(gathered) + WorkspaceSizes::groups(inner);
  const std::size_t n_floats = 2 * hidden + router + slots + gathered + floats * (gathered + inner);
  return n_floats * sizeof(float) + quantized + n_groups * sizeof(kernels::Q8Group) +
         (3 * slots + 2 * experts + 2) * sizeof(std::uint32_t);
}

}  // namespace detail

GEMMA_INLINE Workspace::Workspace(const ModelConfig& config, const Weights& weights,
                                  const kernels::KernelTable& kernels, const WorkspaceOptions& options)
    : options_(options), sizes_(config, weights, kernels, options_) {
  options_.n_threads = sizes_.n_threads;
  auto floats = [](std::size_t n) {
    AlignedBuffer<float> b(n, "workspace");
    b.prefer_huge_pages();
    return b;
  };
  auto quantized = [](std::size_t n) {
    QuantizedRows rows{AlignedBuffer<std::int8_t>(n, "workspace"),
                       AlignedBuffer<kernels::Q8Group>(detail::WorkspaceSizes::groups(n), "workspace")};
    rows.q.prefer_huge_pages();
    rows.groups.prefer_huge_pages();
    return rows;
  };
  x = floats(sizes_.hidden);
  h = floats(sizes_.hidden);
  residual = floats(sizes_.hidden);
  q = floats(sizes_.q);
  attention = floats(sizes_.q);
  k = floats(sizes_.kv);
  v = floats(sizes_.kv);
  ffn = floats(sizes_.ffn);
  ffn_blocks = floats(sizes_.n_threads * sizes_.ffn_block_floats());
  logits = floats(sizes_.logits);
  rope = floats(sizes_.rope);
  q8 = quantized(sizes_.quantized);
  ffn_q8 = quantized(sizes_.ffn_quantized);
  laid_out = AlignedBuffer<std::byte>(sizes_.laid_out, "workspace");
  laid_out.prefer_huge_pages();
  scratch = AlignedBuffer<std::byte>(sizes_.scratch_per_thread * sizes_.n_threads, "workspace");
  per_layer = floats(sizes_.per_layer);
  per_layer_gate = floats(sizes_.per_layer_gate);
  if (sizes_.per_layer_gate != 0) per_layer_q8 = quantized(sizes_.per_layer_gate);
  streams = floats(sizes_.streams);
  low_rank = floats(sizes_.low_rank);
  branch = floats(sizes_.branch);
  changes = floats(sizes_.changes);
  change_blocks = floats(sizes_.n_threads * sizes_.change_block);
  pooled = floats(sizes_.pooled);
  projected = floats(sizes_.pooled);
  allocate_mixture(sizes_.mixture, floats, quantized);
  row_token = AlignedBuffer<std::uint32_t>(sizes_.tokens, "workspace");
  row_position = AlignedBuffer<std::uint32_t>(sizes_.tokens, "workspace");
  row_chunk = AlignedBuffer<std::uint32_t>(sizes_.tokens, "workspace");
  row_origin = AlignedBuffer<std::uint32_t>(sizes_.tokens, "workspace");
  taken = std::vector<std::atomic<std::size_t>>(sizes_.steps);
}

GEMMA_INLINE bool Workspace::fits(const ModelConfig& config, const Weights& weights,
                                  const kernels::KernelTable& kernels) const {
  return detail::WorkspaceSizes(config, weights, kernels, options_) == sizes_;
}

}  // namespace gemma
