// Definitions of plan.hpp.
#pragma once

#include <algorithm>
#include <limits>
#include <string>

#include "../gguf/linkage.hpp"
#include "check_number.hpp"
#include "cpu_count.hpp"
#include "draft.hpp"

namespace gemma {

namespace detail {

/// Number of tokens of one forward pass: at least one for each sequence.
inline std::size_t chunk_of(const EngineOptions& o, std::size_t n_sequences) noexcept {
  return std::max(o.chunk, n_sequences);
}

GEMMA_INLINE WorkspaceOptions batch_workspace(const EngineOptions& o, std::size_t n_ctx) noexcept {
  const std::size_t n = o.max_sequences;
  const std::size_t tokens = std::min(chunk_of(o, n), n * n_ctx);
  return {tokens, std::min(std::max(o.logit_rows, n + draft_rows(o)), tokens), o.n_threads};
}

GEMMA_INLINE KvCacheOptions batch_cache(const EngineOptions& o, std::size_t n_ctx) noexcept {
  return {n_ctx, o.kv_type, chunk_of(o, o.max_sequences)};
}

/// The plan for o.max_sequences sequences of o.n_ctx tokens.
inline MemoryPlan plan_sequences(const Model& model, const EngineOptions& o) {
  const std::size_t n = o.max_sequences;
  // with these bounds, every product stays below 2^64
  check_number("max_sequences", n, 1, 1u << 16);
  check_number("n_ctx", o.n_ctx, 1, ModelConfig::kMostPositions);
  check_number("chunk", o.chunk, 0, 1u << 24);
  check_number("logit_rows", o.logit_rows, 1);
  check_number("n_threads", o.n_threads, 0, 4096);
  check_number("max_prefixes", o.max_prefixes, 0, 1u << 16);
  MemoryPlan p = plan_forward(model, batch_cache(o, o.n_ctx), batch_workspace(o, o.n_ctx));
  if (p.kv_bytes > std::numeric_limits<std::size_t>::max() / 2 / n) {
    detail::refuse(ErrorCode::kOutOfMemory, [&] {
      return "the caches of " + std::to_string(n) + " sequences of " + std::to_string(o.n_ctx) +
             " tokens are larger than the address space";
    });
  }
  p.kv_bytes *= n;
  p.token_bytes = (n + o.max_prefixes) * o.n_ctx * sizeof(std::int32_t);
  p.draft_bytes = draft_bytes(o, o.n_ctx);
  return p;
}

template <typename F>
MemoryPlan fit_context(const Model& model, std::size_t n_ctx, std::size_t max_memory, F plan_of) {
  const bool any_context = n_ctx == 0;
  const MemoryPlan wanted =
      plan_of(any_context ? std::min(model.config().max_seq_len, kDefaultContext) : n_ctx);
  if (max_memory == 0 || wanted.total_bytes() <= max_memory) return wanted;
  MemoryPlan best;  // n_ctx is the largest context known to fit
  for (std::size_t too_large = wanted.n_ctx; too_large - best.n_ctx > 1;) {
    const MemoryPlan p = plan_of(best.n_ctx + (too_large - best.n_ctx) / 2);
    if (p.total_bytes() <= max_memory) {
      best = p;
    } else {
      too_large = p.n_ctx;
    }
  }
  if (any_context && best.n_ctx != 0) return best;
  detail::refuse(ErrorCode::kOutOfMemory, [&] {
    return model.file().path() + ": a context of " + std::to_string(wanted.n_ctx) + " tokens takes " +
           std::to_string(wanted.total_bytes()) + " bytes (file " + std::to_string(wanted.file_bytes) +
           ", keys and values " + std::to_string(wanted.kv_bytes) + ", workspace " +
           std::to_string(wanted.workspace_bytes) +
           (wanted.draft_bytes == 0 ? "" : ", draft " + std::to_string(wanted.draft_bytes)) +
           "), more than the limit of " + std::to_string(max_memory) + "; " +
           (best.n_ctx == 0 ? "not even one token fits"
                            : "the largest that fits is " + std::to_string(best.n_ctx));
  });
}

/// plan_sequences() within max_memory.
inline MemoryPlan plan_capped(const Model& model, EngineOptions o) {
  model.check_head();
  check_draft(model, o);
  return or_out_of_memory("no memory for a plan", [&] {
    if (o.n_threads == 0) o.n_threads = physical_core_count();
    return fit_context(model, o.n_ctx, o.max_memory, [&](std::size_t n_ctx) {
      o.n_ctx = n_ctx;
      return plan_sequences(model, o);
    });
  });
}

}  // namespace detail

GEMMA_INLINE MemoryPlan plan_forward(const Model& model, const KvCacheOptions& cache,
                                     const WorkspaceOptions& workspace) {
  MemoryPlan out;
  out.file_bytes = model.file_bytes();
  out.kv_bytes = KvCache::bytes_for(model.config(), cache);
  out.workspace_bytes =
      detail::WorkspaceSizes(model.config(), model.weights(), model.kernels(), workspace).bytes();
  out.n_ctx = cache.n_ctx;
  return out;
}

GEMMA_INLINE MemoryPlan plan_session(const Model& model, const EngineOptions& options) {
  EngineOptions o = options;
  o.max_sequences = 1;
  o.max_prefixes = 0;
  return detail::plan_capped(model, o);
}

GEMMA_INLINE MemoryPlan plan_batch(const Model& model, const EngineOptions& options) {
  return detail::plan_capped(model, options);
}

}  // namespace gemma
