// How much memory running a model takes, before anything is allocated, and the longest context that a cap
// allows. Invariant: what is made afterwards with the same options takes exactly this.
#pragma once

#include "kv_cache.hpp"
#include "model.hpp"
#include "options.hpp"
#include "workspace.hpp"

namespace gemma {

/// What one cache and one workspace will take. Throws Error{kInvalidArgument} for sizes that they cannot
/// have.
MemoryPlan plan_forward(const Model& model, const KvCacheOptions& cache, const WorkspaceOptions& workspace);
/// What a Session of these options will take. With n_ctx = 0 and a cap, the context is the largest that the
/// cap allows. Throws Error{kOutOfMemory} when the cap does not allow it, naming the largest context that
/// would fit; {kInvalidArgument} for options out of range; {kUnsupported} for a model that only embeds.
MemoryPlan plan_session(const Model& model, const EngineOptions& options = {});
/// Memory plan of a Batch, like plan_session().
MemoryPlan plan_batch(const Model& model, const EngineOptions& options = {});
/// Memory plan of an Embedder, like plan_session().
MemoryPlan plan_embedder(const Model& model, const EmbedderOptions& options = {});

namespace detail {

/// The workspace of a Batch of these options, whose sequences have n_ctx tokens each.
WorkspaceOptions batch_workspace(const EngineOptions& o, std::size_t n_ctx) noexcept;
/// The cache of one sequence of a Batch.
KvCacheOptions batch_cache(const EngineOptions& o, std::size_t n_ctx) noexcept;

/// plan_of(n_ctx), for the largest context within max_memory where n_ctx is 0.
template <typename F>
MemoryPlan fit_context(const Model& model, std::size_t n_ctx, std::size_t max_memory, F plan_of);

}  // namespace detail
}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "plan.inl"
#endif
