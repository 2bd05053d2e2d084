// One forward pass as data: its chunks, weights, buffers and progress. The steps of a pass are the free
// functions of this folder that take it.
// Invariant: every worker of the team holds its own copy; the copies are equal whenever all workers have
// passed the same barrier.
#pragma once

#include <atomic>
#include <cstddef>
#include <span>
#include <vector>

#include "../../kernels/kernel_table.hpp"
#include "../chunk.hpp"
#include "../config.hpp"
#include "../kv_cache.hpp"
#include "../thread_team.hpp"
#include "../weights.hpp"
#include "../workspace.hpp"

namespace gemma::detail {

/// The inputs, outputs and state of one forward pass. Built by Model, which has checked all arguments.
struct Pass {
  const ModelConfig& config;
  const Weights& weights;
  const kernels::KernelTable& kernels;
  const std::vector<AlignedBuffer<double>>& frequencies;  // [n_ropes][head_dim / 2]
  std::span<const Chunk> chunks;
  Workspace& ws;
  std::size_t layer_begin = 0;    // layers [layer_begin, layer_end) are run
  std::size_t layer_end = 0;      // == n_layers: the head is run too
  std::span<const float> hidden;  // input of layer_begin where it is not 0: LayerRange::input
  std::size_t last_kv_layer = 0;  // once its keys and values are stored, only wanted rows are computed
  std::size_t n_wanted = 0;       // rows whose logits or hidden states are wanted
  bool wants_logits = true;       // false: only the final hidden states are wanted
  const std::atomic<bool>* cancel = nullptr;
  Trace* trace = nullptr;

  // state that changes during the pass
  std::size_t n_rows = 0;                              // rows that are being computed
  bool only_wanted = false;                            // rows that are not wanted have been dropped
  std::size_t per_layer_begin = 0, per_layer_end = 0;  // layers whose inputs ws.per_layer holds
  std::size_t next_step = 0;                           // number of counters of Workspace::taken in use

  const kernels::VectorKernels& vec() const noexcept { return kernels.vec; }
  /// The counter of a step whose work is distributed in pieces. All workers call this in the same order, so
  /// they get the same counter.
  std::atomic<std::size_t>& draw_step() noexcept { return ws.taken[next_step++]; }
};

/// The number of rows of `chunk` that are being computed: all of its tokens, or only the wanted last ones.
inline std::size_t rows_of(const Pass& p, const Chunk& chunk) noexcept {
  if (!p.only_wanted || chunk.logits == Logits::kAll) return chunk.tokens.size();
  return chunk.logits == Logits::kLast ? 1 : 0;
}

/// Whether the logits or the hidden state of a row are wanted, before any row has been dropped.
inline bool is_wanted(const Pass& p, std::size_t row) noexcept {
  const Chunk& chunk = p.chunks[p.ws.row_chunk[row]];
  if (chunk.logits != Logits::kLast) return chunk.logits == Logits::kAll;
  return row + 1 == p.n_rows || p.ws.row_chunk[row + 1] != p.ws.row_chunk[row];
}

/// The cosines and sines of one rope: [T, head_dim], indexed by Workspace::row_origin.
inline float* rope_of(const Pass& p, std::size_t rope) noexcept {
  return p.ws.rope.data() + p.config.rope_offset(rope) * p.ws.options().max_tokens;
}

/// Passes an intermediate result, rows of [width] floats, to the trace if there is one.
inline void note(const Pass& p, const Worker& w, const char* name, std::size_t layer, const float* rows,
                 std::size_t width) noexcept {
  if (p.trace == nullptr) return;
  w.sync();
  if (w.id == 0) p.trace->value(name, layer, rows, p.n_rows, width);
  w.sync();
}

}  // namespace gemma::detail
