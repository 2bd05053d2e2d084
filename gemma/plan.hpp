// Plans of memory: how much running a model takes, before anything is allocated, and the longest context
// within a limit.
// Invariant: an object made later with the same options takes exactly this much.
#pragma once

#include "kv_cache.hpp"
#include "model.hpp"
#include "options.hpp"
#include "workspace.hpp"

namespace gemma {

/// Memory plan of one cache and one workspace. Throws Error{kInvalidArgument} for impossible sizes.
MemoryPlan plan_forward(const Model& model, const KvCacheOptions& cache, const WorkspaceOptions& workspace);
/// Memory plan of a Session. With n_ctx = 0 and max_memory, the context is the largest that fits. Throws
/// Error{kOutOfMemory} if max_memory is too small, naming the largest context that would fit;
/// {kInvalidArgument} for options out of range; {kUnsupported} for a model that only embeds.
MemoryPlan plan_session(const Model& model, const EngineOptions& options = {});
/// Memory plan of a Batch, like plan_session().
MemoryPlan plan_batch(const Model& model, const EngineOptions& options = {});
/// Memory plan of an Embedder, like plan_session().
MemoryPlan plan_embedder(const Model& model, const EmbedderOptions& options = {});

namespace detail {

/// Options of the workspace of a Batch whose sequences have n_ctx tokens each.
WorkspaceOptions batch_workspace(const EngineOptions& o, std::size_t n_ctx) noexcept;
/// Options of the cache of one sequence of a Batch.
KvCacheOptions batch_cache(const EngineOptions& o, std::size_t n_ctx) noexcept;

/// plan_of(n_ctx); if n_ctx is 0, for the largest context within max_memory.
template <typename F>
MemoryPlan fit_context(const Model& model, std::size_t n_ctx, std::size_t max_memory, F plan_of);

}  // namespace detail
}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "plan.inl"
#endif
