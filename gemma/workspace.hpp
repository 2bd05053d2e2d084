// Every buffer that a forward pass writes, planned from the configuration and allocated before the first
// token. Invariant: forward() allocates nothing; a workspace serves one forward at a time and any cache of
// its model.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "../kernels/kernel_table.hpp"
#include "aligned_buffer.hpp"
#include "config.hpp"
#include "thread_team.hpp"
#include "weights.hpp"

namespace gemma {

/// How much one forward may do.
struct WorkspaceOptions {
  std::size_t max_tokens = 512;    // tokens of one forward, all chunks together
  std::size_t max_logit_rows = 1;  // positions whose logits one forward computes
  unsigned n_threads = 0;          // 0: one for each physical core
};

namespace detail {

/// Query tokens that one call of the attention kernel takes.
inline constexpr std::size_t kAttentionTile = 32;

/// Rows of the feed-forward's gate and up matrices that a worker multiplies before it turns them into 8-bit
/// input of the down matrix: few enough for 512 tokens of both to be found in the L3 again, many enough that
/// laying out the tokens for each (as matmuls do) costs little.
inline constexpr std::size_t kFeedForwardRows = 2048;

/// Threads share the rows of a matrix in multiples of this: whole panels, and whole groups of what is
/// quantised next.
inline constexpr std::size_t kRowUnit = 32;
static_assert(kRowUnit % kernels::kPanelRows == 0);

/// The most steps of a layer, or of what comes before and after the layers, whose work is given out in pieces
/// to whoever asks. Each has a counter of its own, drawn in order by the pass.
inline constexpr std::size_t kMostSteps = 16;

/// What workers of one forward share and cannot move.
struct WorkspaceShared {
  Barrier barrier;
  std::atomic<bool> stop{false};
};

/// Element counts of every buffer. T: max_tokens, R: max_logit_rows, in the comments below.
struct WorkspaceSizes {
  /// Throws Error{kInvalidArgument} for sizes that no workspace can have.
  WorkspaceSizes(const ModelConfig& c, const Weights& w, const kernels::KernelTable& kernels,
                 const WorkspaceOptions& o)
      : n_threads(o.n_threads != 0 ? o.n_threads : physical_core_count()) {
    // 32-bit row numbers, and far beyond what a machine runs
    if (o.max_tokens == 0 || o.max_tokens > (1u << 24) || o.max_logit_rows > o.max_tokens ||
        n_threads > 4096) {
      throw Error(ErrorCode::kInvalidArgument, "a workspace of " + std::to_string(o.max_tokens) +
                                                   " tokens, " + std::to_string(o.max_logit_rows) +
                                                   " rows of logits and " + std::to_string(n_threads) +
                                                   " threads is not possible");
    }
    const std::size_t t = o.max_tokens;
    hidden = t * c.d_model;
    q = t * c.largest_q_width();
    kv = t * c.largest_kv_width();
    const bool reads_floats = std::any_of(w.layers.begin(), w.layers.end(), [](const LayerWeights& l) {
      return !l.down.kernel->quantized_activations;
    });
    const std::size_t d_ff = c.largest_d_ff();
    ffn = reads_floats ? t * d_ff : 0;
    const std::size_t even_share = (d_ff + n_threads - 1) / n_threads;
    ffn_rows = std::min(kFeedForwardRows, (even_share + kRowUnit - 1) / kRowUnit * kRowUnit);
    logits = o.max_logit_rows * c.vocab_size;
    rope = t * c.rope_width();
    quantized = t * std::max(c.d_model, c.largest_q_width());
    ffn_quantized = t * d_ff;
    std::size_t most = c.largest([&](const LayerConfig& l) {
      const AttentionConfig& a = l.attention;
      return kernels.vec.attention_scratch_bytes(std::min(t, kAttentionTile), a.n_heads / a.n_kv_heads,
                                                 a.head_dim);
    });
    auto see = [&most](const Matrix& m) { most = std::max(most, m.kernel->scratch_bytes(m.cols)); };
    see(w.output);
    for (const LayerWeights& l : w.layers) l.for_each_matrix(see);
    scratch_per_thread = (most + 63) / 64 * 64;
    tokens = t;
    steps = (c.n_layers() + 2) * kMostSteps;
  }

  std::size_t bytes() const noexcept {
    const std::size_t floats =
        3 * hidden + 2 * q + 2 * kv + ffn + n_threads * ffn_block_floats() + logits + rope;
    return floats * sizeof(float) + quantized + ffn_quantized +
           (groups(quantized) + groups(ffn_quantized)) * sizeof(kernels::Q8Group) +
           scratch_per_thread * n_threads + 4 * tokens * sizeof(std::uint32_t) +
           steps * sizeof(std::atomic<std::size_t>) + sizeof(WorkspaceShared);
  }

  static std::size_t groups(std::size_t elements) noexcept { return elements / 32 + 1; }
  /// What one worker keeps of gate and up.
  std::size_t ffn_block_floats() const noexcept { return 2 * tokens * ffn_rows; }

  bool operator==(const WorkspaceSizes&) const = default;

  unsigned n_threads;
  std::size_t hidden, q, kv, ffn, ffn_rows, logits, rope, quantized, ffn_quantized, scratch_per_thread,
      tokens, steps;
};

}  // namespace detail

/// Owns the buffers of one forward pass. Move-only; not thread-safe. Made by Model::make_workspace().
class Workspace {
 public:
  /// Throws Error{kInvalidArgument} for sizes of zero, {kOutOfMemory}.
  Workspace(const ModelConfig& config, const Weights& weights, const kernels::KernelTable& kernels,
            const WorkspaceOptions& options)
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
    scratch = AlignedBuffer<std::byte>(sizes_.scratch_per_thread * sizes_.n_threads, "workspace");
    row_token = AlignedBuffer<std::uint32_t>(sizes_.tokens, "workspace");
    row_position = AlignedBuffer<std::uint32_t>(sizes_.tokens, "workspace");
    row_chunk = AlignedBuffer<std::uint32_t>(sizes_.tokens, "workspace");
    row_origin = AlignedBuffer<std::uint32_t>(sizes_.tokens, "workspace");
    taken = std::vector<std::atomic<std::size_t>>(sizes_.steps);
  }

  /// As given, n_threads settled.
  const WorkspaceOptions& options() const noexcept { return options_; }
  /// Whether the workspace is what a model of these would make with the same options.
  bool fits(const ModelConfig& config, const Weights& weights, const kernels::KernelTable& kernels) const {
    return detail::WorkspaceSizes(config, weights, kernels, options_) == sizes_;
  }
  /// Bytes of all buffers.
  std::size_t size_bytes() const noexcept { return sizes_.bytes(); }

  /// 8-bit activations.
  struct QuantizedRows {
    AlignedBuffer<std::int8_t> q;            // [T, k]
    AlignedBuffer<kernels::Q8Group> groups;  // [T, k / 32]
  };

  // ---- for the decoder; T = tokens of the forward, R = rows with logits ----
  AlignedBuffer<float> x;             // [T, d_model] residual stream
  AlignedBuffer<float> h;             // [T, d_model] normalised input of a matmul
  AlignedBuffer<float> residual;      // [T, d_model] output of attention or feed-forward
  AlignedBuffer<float> q, attention;  // [T, n_heads, head_dim] of the layer
  AlignedBuffer<float> k, v;          // [T, n_kv_heads, head_dim] of the layer
  AlignedBuffer<float> ffn;           // [T, d_ff] activated, where a down matrix reads floats; else empty
  AlignedBuffer<float> ffn_blocks;    // [n_threads, 2, T, ffn_rows()] of gate and up
  AlignedBuffer<float> logits;        // [R, vocab_size]
  AlignedBuffer<float> rope;          // each rope's [T, head_dim]: cos, then sin
  QuantizedRows q8;                   // [T, k] what q, k, v, gate and up, or attn_out read
  QuantizedRows ffn_q8;               // [T, d_ff] what down reads
  AlignedBuffer<std::byte> scratch;   // [n_threads, scratch_per_thread]
  AlignedBuffer<std::uint32_t> row_token, row_position, row_chunk;  // [T]
  AlignedBuffer<std::uint32_t> row_origin;      // [T] the row's number when the pass began
  std::vector<std::atomic<std::size_t>> taken;  // [steps] work given out
  /// What the workers share.
  std::unique_ptr<detail::WorkspaceShared> shared = std::make_unique<detail::WorkspaceShared>();

  /// Rows of gate or up that a worker multiplies at a time.
  std::size_t ffn_rows() const noexcept { return sizes_.ffn_rows; }
  /// [2, T, ffn_rows()] of one worker.
  float* ffn_block_of(unsigned worker) noexcept {
    return ffn_blocks.data() + worker * sizes_.ffn_block_floats();
  }
  /// Scratch of one worker, 64-byte aligned.
  std::byte* scratch_of(unsigned worker) noexcept {
    return scratch.data() + worker * sizes_.scratch_per_thread;
  }

 private:
  WorkspaceOptions options_;
  detail::WorkspaceSizes sizes_;
};

}  // namespace gemma
