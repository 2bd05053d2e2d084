// Definitions of stage.hpp.
#pragma once

#include <algorithm>
#include <string>
#include <utility>

#include "../gguf/linkage.hpp"
#include "check_number.hpp"
#include "cpu_count.hpp"
#include "plan.hpp"

namespace gemma {

GEMMA_INLINE std::string cut_problem(const ModelConfig& config, std::size_t layer) {
  for (std::size_t i = layer; i < config.n_layers(); ++i) {
    const std::size_t from = config.layers[i].attention.kv_layer;
    if (from < layer) {
      return "layer " + std::to_string(i) + " reads the keys and values of layer " + std::to_string(from) +
             ", so there is no cut between them";
    }
  }
  return {};
}

namespace detail {

/// The options with layer_end and n_threads resolved. Throws Error{kInvalidArgument}, {kUnsupported}.
inline StageOptions checked_stage(const Model& model, StageOptions o) {
  const ModelConfig& c = model.config();
  o.layer_end = std::min(o.layer_end, c.n_layers());
  if (o.n_threads == 0) o.n_threads = physical_core_count();
  const auto refuse_stage = [&](ErrorCode code, const std::string& why) {
    detail::refuse(code, [&] {
      return model.file().path() + ": layers " + std::to_string(o.layer_begin) + " to " +
             std::to_string(o.layer_end) + " of " + std::to_string(c.n_layers()) +
             " cannot be a stage: " + why;
    });
  };
  model.check_head();
  if (o.layer_begin >= o.layer_end) refuse_stage(ErrorCode::kInvalidArgument, "the range holds no layers");
  for (const std::size_t cut : {o.layer_begin, o.layer_end}) {
    if (const std::string why = cut_problem(c, cut); !why.empty()) {
      refuse_stage(ErrorCode::kInvalidArgument, why);
    }
  }
  check_number("max_sequences", o.max_sequences, 1, 1u << 16);
  check_number("chunk", o.chunk, 1);
  check_number("logit_rows", o.logit_rows, 1);
  return o;
}

inline KvCacheOptions stage_cache(const StageOptions& o) noexcept {
  return {o.n_ctx, o.kv_type, o.chunk, o.layer_begin, o.layer_end};
}

/// Only the last stage has room for logits; the others return hidden rows.
inline WorkspaceOptions stage_workspace(const Model& model, const StageOptions& o) noexcept {
  const bool is_last = o.layer_end == model.config().n_layers();
  const std::size_t tokens = std::max(o.chunk, o.max_sequences), rows = std::min(o.logit_rows, tokens);
  return {tokens, is_last ? rows : 0, o.n_threads, rows};
}

/// Calls f(data, bytes) for each tensor, or part of one, of which a stage reads every byte.
template <typename F>
void for_each_part(const Model& model, std::size_t begin, std::size_t end, F f) {
  if (begin == end) return;
  const Weights& w = model.weights();
  const auto rows = [&](const Matrix& m, std::size_t first, std::size_t n) {
    if (m.data != nullptr) f(std::span(m.data + first * m.row_bytes, n * m.row_bytes), n * m.row_bytes);
  };
  const auto matrix = [&](const Matrix& m) { rows(m, 0, m.rows); };
  for (std::size_t i = begin; i < end; ++i) {
    w.layers[i].for_each_matrix(matrix);
    w.layers[i].for_each_experts([&](const ExpertMatrices& m) {  // other data may lie between them
      const std::size_t one = m.first.size_bytes();
      f(std::span(m.first.data, (m.count - 1) * m.stride_bytes + one), m.count * one);
    });
  }
  const std::size_t width = model.config().per_layer_width;
  rows(w.per_layer_proj, begin * width, (end - begin) * width);
  if (begin == 0) matrix(w.stream_proj);
  if (end != model.config().n_layers()) return;
  matrix(w.stream_unproj);
  matrix(w.output);
}

inline std::size_t part_bytes(const Model& model, std::size_t begin, std::size_t end) {
  std::size_t sum = 0;
  for_each_part(model, begin, end, [&sum](std::span<const std::byte>, std::size_t bytes) { sum += bytes; });
  return sum;
}

/// Number of multiplications of a layer for one token of a long prompt. After the last keys and values only a
/// few rows are computed.
inline std::size_t prefill_work(const Model& model, std::size_t layer) {
  const ModelConfig& c = model.config();
  const LayerWeights& w = model.weights().layers[layer];
  const std::size_t last = c.last_kv_layer();
  if (layer > last) return 0;
  if (layer == last && last != 0) return w.k.rows * w.k.cols + w.v.rows * w.v.cols;
  std::size_t sum = 0;
  w.for_each_matrix([&sum](const Matrix& m) { sum += m.rows * m.cols; });
  const std::size_t used = c.layers[layer].feed_forward.experts.used;
  w.for_each_experts([&](const ExpertMatrices& m) { sum += used * m.first.rows * m.first.cols; });
  return sum;
}

/// Divides `costs` [n_layers] into n shares, where the last stage costs `last` more: n + 1 cuts, each allowed
/// (allowed[i]: before layer i), such that the largest share is smallest. Empty if there are not enough
/// allowed cuts.
inline std::vector<std::size_t> split_costs(std::span<const std::size_t> costs, std::size_t last,
                                            const std::vector<bool>& allowed, std::size_t n) {
  constexpr std::size_t kNone = SIZE_MAX;
  const std::size_t n_layers = costs.size();
  // best[k][e]: the largest share of k stages that run layers [0, e); from[k][e]: where the k-th of them
  // begins
  std::vector<std::vector<std::size_t>> best(n + 1, std::vector<std::size_t>(n_layers + 1, kNone));
  auto from = best;
  best[0][0] = 0;
  for (std::size_t k = 1; k <= n; ++k) {
    for (std::size_t end = k; end <= n_layers; ++end) {
      if (end != n_layers && !allowed[end]) continue;
      std::size_t share = end == n_layers ? last : 0;
      for (std::size_t begin = end; begin-- > 0;) {
        share += costs[begin];
        if (best[k - 1][begin] == kNone) continue;
        const std::size_t most = std::max(best[k - 1][begin], share);
        if (most < best[k][end]) best[k][end] = most, from[k][end] = begin;
      }
    }
  }
  if (best[n][n_layers] == kNone) return {};
  std::vector<std::size_t> cuts(n + 1, n_layers);
  for (std::size_t k = n; k > 0; --k) cuts[k - 1] = from[k][cuts[k]];
  return cuts;
}

}  // namespace detail

GEMMA_INLINE std::vector<std::size_t> split_layers(const Model& model, std::size_t n, SplitBy by) {
  const ModelConfig& c = model.config();
  const std::size_t n_layers = c.n_layers();
  std::vector<bool> allowed(n_layers);
  std::vector<std::size_t> costs(n_layers);
  std::string problem;
  for (std::size_t i = 0; i < n_layers; ++i) {
    const std::string why = cut_problem(c, i);
    allowed[i] = why.empty();
    if (problem.empty()) problem = why;
    costs[i] = by == SplitBy::kPrefill ? detail::prefill_work(model, i) : detail::part_bytes(model, i, i + 1);
  }
  std::size_t last = 0;
  if (by == SplitBy::kDecode) {  // part_bytes() adds the head to the last layer; here it is a separate share
    last = model.weights().output.size_bytes() + model.weights().stream_unproj.size_bytes();
    costs.back() -= last;
  }
  std::vector<std::size_t> cuts;
  if (n != 0 && n <= n_layers) cuts = detail::split_costs(costs, last, allowed, n);
  if (cuts.empty()) {
    const auto n_cuts = static_cast<std::size_t>(std::count(allowed.begin() + 1, allowed.end(), true));
    detail::refuse(ErrorCode::kInvalidArgument, [&] {
      return model.file().path() + ": " + std::to_string(n_layers) + " layers cannot be divided into " +
             std::to_string(n) + " stages: 1 to " + std::to_string(n_cuts + 1) + " are possible" +
             (problem.empty() ? "" : " (" + problem + ")");
    });
  }
  return cuts;
}

GEMMA_INLINE std::vector<std::size_t> split_layers(const Model& model,
                                                   std::span<const std::size_t> n_layers) {
  const ModelConfig& c = model.config();
  std::vector<std::size_t> cuts{0};
  for (const std::size_t n : n_layers) {
    const std::size_t left = c.n_layers() - cuts.back();
    if (n == 0 || n > left) {
      detail::refuse(ErrorCode::kInvalidArgument, [&] {
        return model.file().path() + ": a stage of " + std::to_string(n) + " layers, where " +
               std::to_string(left) + " of " + std::to_string(c.n_layers()) + " are left";
      });
    }
    cuts.push_back(cuts.back() + n);
    if (const std::string why = cut_problem(c, cuts.back()); !why.empty()) {
      detail::refuse(ErrorCode::kInvalidArgument, [&] { return model.file().path() + ": " + why; });
    }
  }
  if (cuts.back() != c.n_layers()) {
    detail::refuse(ErrorCode::kInvalidArgument, [&] {
      return model.file().path() + ": stages of " + std::to_string(cuts.back()) +
             " layers together; it has " + std::to_string(c.n_layers());
    });
  }
  return cuts;
}

GEMMA_INLINE MemoryPlan plan_stage(const Model& model, const StageOptions& options) {
  const StageOptions o = detail::checked_stage(model, options);
  MemoryPlan p = plan_forward(model, detail::stage_cache(o), detail::stage_workspace(model, o));
  p.file_bytes = detail::part_bytes(model, o.layer_begin, o.layer_end);
  if (p.kv_bytes > SIZE_MAX / 2 / o.max_sequences) {
    detail::refuse(ErrorCode::kOutOfMemory, [&] {
      return "the caches of " + std::to_string(o.max_sequences) + " sequences of " + std::to_string(o.n_ctx) +
             " tokens are larger than the address space";
    });
  }
  p.kv_bytes *= o.max_sequences;
  return p;
}

GEMMA_INLINE Stage::Stage(Model model, const StageOptions& options)
    : model_(std::move(model)),
      options_(detail::checked_stage(model_, options)),
      workspace_(model_.make_workspace(detail::stage_workspace(model_, options_))) {
  detail::or_out_of_memory("no memory for a stage", [&] {
    caches_.reserve(options_.max_sequences);
    chunks_.reserve(options_.max_sequences);
    for (std::size_t i = 0; i < options_.max_sequences; ++i) {
      caches_.emplace_back(model_.config(), detail::stage_cache(options_));
    }
  });
}

GEMMA_INLINE std::size_t Stage::input_size(std::span<const StageChunk> chunks) const noexcept {
  if (is_first()) return 0;
  std::size_t rows = 0;
  for (const StageChunk& c : chunks) {
    // after the last keys and values only the requested rows are computed
    const bool all = c.logits == Logits::kAll || options_.layer_begin <= model_.config().last_kv_layer();
    rows += all ? c.tokens.size() : c.logits == Logits::kLast ? 1 : 0;
  }
  return rows * model_.config().hidden_width();
}

GEMMA_INLINE std::size_t Stage::output_size(std::span<const StageChunk> chunks) const noexcept {
  std::size_t rows = 0;
  for (const StageChunk& c : chunks) {
    const bool all = c.logits == Logits::kAll || options_.layer_end <= model_.config().last_kv_layer();
    rows += all ? c.tokens.size() : c.logits == Logits::kLast ? 1 : 0;
  }
  return rows * (is_last() ? model_.config().vocab_size : model_.config().hidden_width());
}

GEMMA_INLINE void Stage::check_sequence(std::size_t sequence) const {
  if (sequence < caches_.size()) return;
  detail::refuse(ErrorCode::kInvalidArgument, [&] {
    return "there is no sequence " + std::to_string(sequence) + ": the stage has " +
           std::to_string(caches_.size());
  });
}

GEMMA_INLINE std::span<const float> Stage::forward(std::span<const StageChunk> chunks,
                                                   std::span<const float> input,
                                                   const std::atomic<bool>* cancel) {
  chunks_.clear();
  if (chunks.size() > caches_.size()) {
    detail::refuse(ErrorCode::kInvalidArgument, [&] {
      return std::to_string(chunks.size()) + " chunks; the stage has " + std::to_string(caches_.size()) +
             " sequences";
    });
  }
  for (const StageChunk& c : chunks) {
    check_sequence(c.sequence);
    chunks_.push_back({c.tokens, &caches_[c.sequence], c.logits});  // within the reserved capacity
  }
  return model_.forward_layers(chunks_, workspace_, {options_.layer_begin, options_.layer_end, input},
                               cancel);
}

GEMMA_INLINE std::size_t Stage::n_past(std::size_t sequence) const {
  check_sequence(sequence);
  return caches_[sequence].n_past();
}

GEMMA_INLINE void Stage::truncate(std::size_t sequence, std::size_t n) {
  check_sequence(sequence);
  caches_[sequence].truncate(n);
}

GEMMA_INLINE void Stage::read_ahead() const noexcept {
  const gguf::File& file = model_.file();
  const std::size_t begin = options_.layer_begin, end = options_.layer_end;
  const auto not_needed = [&](std::span<const std::byte> part, std::size_t) { file.will_not_need(part); };
  file.will_not_need(file.map().bytes().first(file.data_offset()));
  // pages that this stage needs in part are mapped again when they are read
  detail::for_each_part(model_, 0, begin, not_needed);
  detail::for_each_part(model_, end, model_.config().n_layers(), not_needed);
  detail::for_each_part(model_, begin, end,
                        [&](std::span<const std::byte> part, std::size_t) { file.will_need(part); });
}

GEMMA_INLINE void Stage::give_back_embeddings() const noexcept {
  const Weights& w = model_.weights();
  const auto give_back = [&](const Matrix& m) {
    if (m.data != nullptr) model_.file().will_not_need({m.data, m.size_bytes()});
  };
  give_back(w.per_layer_embedding);
  if (!is_last() || w.output.data != w.embedding.data) give_back(w.embedding);
}

}  // namespace gemma
