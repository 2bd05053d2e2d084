// All buffers that a forward pass writes, planned from the configuration and allocated before the first
// token.
// Invariant: forward() allocates nothing; a workspace is used by one forward pass at a time, with any cache
// of its model.
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

/// Limits of one forward pass, which determine the sizes of buffers.
struct WorkspaceOptions {
  std::size_t max_tokens = 512;    // tokens of one forward pass, all chunks together
  std::size_t max_logit_rows = 1;  // positions whose logits one forward pass computes
  unsigned n_threads = 0;          // 0: physical_core_count()
  /// Positions whose final hidden states one forward pass returns without logits; at least max_logit_rows.
  std::size_t max_hidden_rows = 0;

  /// Maximum number of rows that one forward pass may return.
  std::size_t most_rows() const noexcept { return std::max(max_logit_rows, max_hidden_rows); }
};

namespace detail {

/// Maximum number of query tokens in one call of the attention kernel.
inline constexpr std::size_t kAttentionTile = 32;

/// Rows of the feed-forward's gate and up matrices that a worker multiplies before it turns them into 8-bit
/// input of the down matrix: few enough that the results for 512 tokens stay in the L3 cache, many enough
/// that laying out the tokens for each block (as matmuls do) costs little.
inline constexpr std::size_t kFeedForwardRows = 2048;

/// Threads divide the rows of a matrix in multiples of this: whole panels, and whole groups of the next
/// quantisation.
inline constexpr std::size_t kRowUnit = 32;
static_assert(kRowUnit % kernels::kPanelRows == 0);

/// Number of pooled vectors that the linear layers after pooling multiply at a time.
inline constexpr std::size_t kPooledRows = 32;

/// Maximum number of steps of a layer, or before or after the layers, whose work is divided in pieces. Each
/// has its own counter; all workers go through the steps in the same order.
inline constexpr std::size_t kMostSteps = 32;

/// Element counts of the buffers of a mixture of experts. S: max_tokens times experts used.
struct MixtureSizes {
  MixtureSizes() = default;
  /// The largest sizes that any layer needs for t tokens.
  MixtureSizes(const ModelConfig& c, const Weights& w, std::size_t t);
  /// Total size of the buffers, in bytes.
  std::size_t bytes() const noexcept;
  bool operator==(const MixtureSizes&) const = default;

  std::size_t experts = 0, slots = 0, hidden = 0, router = 0, gathered = 0, inner = 0;
  std::size_t floats = 0;  // 1 if a matrix of the experts reads floats, else 0
};

/// State that the workers of one forward pass share; it must not move.
struct WorkspaceShared {
  Barrier barrier;
  std::atomic<bool> stop{false};
};

/// Element counts of every buffer. T: max_tokens, R: max_logit_rows, in the comments below.
struct WorkspaceSizes {
  /// Throws Error{kInvalidArgument} for impossible sizes.
  WorkspaceSizes(const ModelConfig& c, const Weights& w, const kernels::KernelTable& kernels,
                 const WorkspaceOptions& o);

  /// Total size of the buffers, in bytes.
  std::size_t bytes() const noexcept;

  std::size_t per_layer_gate_bytes() const noexcept {
    if (per_layer_gate == 0) return 0;
    return per_layer_gate * (sizeof(float) + 1) + groups(per_layer_gate) * sizeof(kernels::Q8Group);
  }
  static std::size_t groups(std::size_t elements) noexcept { return elements / 32 + 1; }
  /// Floats of gate and up that one worker holds at a time.
  std::size_t ffn_block_floats() const noexcept { return 2 * tokens * ffn_rows; }

  bool operator==(const WorkspaceSizes&) const = default;

  unsigned n_threads;
  std::size_t hidden, q, kv, ffn, ffn_rows, logits, rope, quantized, ffn_quantized, scratch_per_thread,
      tokens, steps, laid_out, per_layer, per_layer_gate, streams, low_rank, branch, pooled, changes,
      change_block;
  MixtureSizes mixture;
};

}  // namespace detail

/// Owns the buffers of one forward pass. Move-only; not thread-safe. Made by Model::make_workspace().
class Workspace {
 public:
  /// Throws Error{kInvalidArgument} for sizes of zero, {kOutOfMemory}.
  Workspace(const ModelConfig& config, const Weights& weights, const kernels::KernelTable& kernels,
            const WorkspaceOptions& options);

  /// The options as given, with n_threads resolved.
  const WorkspaceOptions& options() const noexcept { return options_; }
  /// Whether a model with these parts would make the same workspace from the same options.
  bool fits(const ModelConfig& config, const Weights& weights, const kernels::KernelTable& kernels) const;
  /// Total size of the buffers, in bytes.
  std::size_t size_bytes() const noexcept { return sizes_.bytes(); }

  /// Buffers of activations quantised to 8 bits.
  struct QuantizedRows {
    AlignedBuffer<std::int8_t> q;            // [T, k]
    AlignedBuffer<kernels::Q8Group> groups;  // [T, k / 32]
  };

  // ---- for the decoder; T = tokens of the pass, R = rows with logits ----
  AlignedBuffer<float> x;             // [T, d_model] residual stream
  AlignedBuffer<float> h;             // [T, d_model] normalised input of a matmul
  AlignedBuffer<float> residual;      // [T, d_model] output of attention or feed-forward
  AlignedBuffer<float> q, attention;  // [T, n_heads, head_dim] of the layer
  AlignedBuffer<float> k, v;          // [T, n_kv_heads, head_dim] of the layer
  AlignedBuffer<float> ffn;         // [T, d_ff] activated, where a down matrix reads floats, or the gate of a
                                    // sparse layer; else empty
  AlignedBuffer<float> ffn_blocks;  // [n_threads, 2, T, ffn_rows()] of gate and up
  AlignedBuffer<float> logits;      // [R, vocab_size]
  AlignedBuffer<float> rope;        // each rope's [T, head_dim]: cos, then sin
  QuantizedRows q8;                 // [T, k] input of q, k, v, gate and up, or attn_out
  QuantizedRows ffn_q8;             // [T, d_ff] input of down
  AlignedBuffer<std::byte> laid_out;       // inputs of matmuls of many tokens, laid out for their kernels
  AlignedBuffer<float> per_layer;          // [layers, T, per_layer_width] inputs of layers from the tokens
  AlignedBuffer<float> per_layer_gate;     // [T, per_layer_width] the layer's gate times this input
  QuantizedRows per_layer_q8;              // [T, per_layer_width] input of the projection that follows
  AlignedBuffer<float> streams;            // [n_streams, T, d_model]; empty unless there are several
  AlignedBuffer<float> low_rank;           // [T, low_rank] of the branch beside attention
  AlignedBuffer<float> branch;             // [T, d_model] that branch
  AlignedBuffer<float> changes;            // [T, ranks] A x of adapters; empty without adapters
  AlignedBuffer<float> change_blocks;      // [n_threads, T, kRowUnit] B (A x) of adapters
  AlignedBuffer<float> pooled, projected;  // [kPooledRows, widest] input and output of a layer after pooling
  /// Buffers of a layer with experts. A slot is one expert that one token uses; S = T * experts used.
  struct Mixture {
    AlignedBuffer<float> router_input, input;  // [T, d_model]
    QuantizedRows input_q8;                    // [T, d_model]
    AlignedBuffer<float> router;               // [T, n_experts]
    AlignedBuffer<std::uint32_t> expert;       // [S] by token: index of the expert
    AlignedBuffer<float> weight;               // [S] by token: its weight in the token's sum
    AlignedBuffer<std::uint32_t> place;        // [S] by token: index of the slot in the order by expert
    AlignedBuffer<std::uint32_t> token;        // [S] by expert: token of the slot
    AlignedBuffer<std::uint32_t> begin;        // [n_experts + 1] by expert: its first slot
    AlignedBuffer<std::uint32_t> in_use;       // [n_experts + 1] experts in use; last: their number
    AlignedBuffer<float> gathered, inner;      // [S, d_model], [S, d_ff] by expert, where kernels read floats
    QuantizedRows gathered_q8, inner_q8;       // [S, d_model], [S, d_ff] by expert
    AlignedBuffer<float> out;                  // [S, d_model] by expert
  };
  Mixture mixture;                                                  // empty unless a layer has experts
  AlignedBuffer<std::byte> scratch;                                 // [n_threads, scratch_per_thread]
  AlignedBuffer<std::uint32_t> row_token, row_position, row_chunk;  // [T]
  AlignedBuffer<std::uint32_t> row_origin;      // [T] the row's index before rows were dropped
  std::vector<std::atomic<std::size_t>> taken;  // [steps] number of work items taken
  /// State that the workers share.
  std::unique_ptr<detail::WorkspaceShared> shared = std::make_unique<detail::WorkspaceShared>();

  /// Number of rows of gate or up that a worker multiplies at a time.
  std::size_t ffn_rows() const noexcept { return sizes_.ffn_rows; }
  /// Buffer of one worker, [2, T, ffn_rows()].
  float* ffn_block_of(unsigned worker) noexcept {
    return ffn_blocks.data() + worker * sizes_.ffn_block_floats();
  }
  /// One worker's sums for adapters, [T, kRowUnit].
  float* change_block_of(unsigned worker) noexcept {
    return change_blocks.data() + worker * sizes_.change_block;
  }
  /// Scratch of one worker, 64-byte aligned.
  std::byte* scratch_of(unsigned worker) noexcept {
    return scratch.data() + worker * sizes_.scratch_per_thread;
  }

 private:
  template <class Floats, class Quantized>
  void allocate_mixture(const detail::MixtureSizes& s, Floats floats, Quantized quantized) {
    if (s.experts == 0) return;
    auto numbers = [](std::size_t n) { return AlignedBuffer<std::uint32_t>(n, "workspace"); };
    mixture.router_input = floats(s.hidden);
    mixture.input = floats(s.hidden);
    mixture.input_q8 = quantized(s.hidden);
    mixture.router = floats(s.router);
    mixture.expert = numbers(s.slots);
    mixture.weight = floats(s.slots);
    mixture.place = numbers(s.slots);
    mixture.token = numbers(s.slots);
    mixture.begin = numbers(s.experts + 1);
    mixture.in_use = numbers(s.experts + 1);
    mixture.gathered = floats(s.floats * s.gathered);
    mixture.inner = floats(s.floats * s.inner);
    mixture.gathered_q8 = quantized(s.gathered);
    mixture.inner_q8 = quantized(s.inner);
    mixture.out = floats(s.gathered);
  }

  WorkspaceOptions options_;
  detail::WorkspaceSizes sizes_;
};

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "workspace.inl"
#endif
