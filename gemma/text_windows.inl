// Definitions of text_windows.hpp.
#pragma once

#include <algorithm>
#include <string>
#include <utility>

#include "../gguf/linkage.hpp"
#include "plan.hpp"

namespace gemma {

GEMMA_INLINE TextWindows::TextWindows(const Model& model, std::vector<std::int32_t> ids,
                                      const WindowOptions& options)
    : model_(&model), ids_(std::move(ids)), options_(options) {
  detail::or_out_of_memory("no memory for a text's windows", [&] {
    const std::size_t n = options.n_ctx;
    if (n < 4 || options.stride >= n || options.batch == 0) {
      detail::refuse(ErrorCode::kInvalidArgument, [&] {
        return "windows of " + std::to_string(n) + " tokens with a stride of " +
               std::to_string(options.stride) + " in forward passes of " + std::to_string(options.batch) +
               " tokens: a window has at least 4 tokens, and its stride is shorter";
      });
    }
    if (n > model.config().max_seq_len) {
      detail::refuse(ErrorCode::kInvalidArgument, [&] {
        return "windows of " + std::to_string(n) + " tokens: the model's context has " +
               std::to_string(model.config().max_seq_len);
      });
    }
    if (ids_.size() < n) {
      detail::refuse(ErrorCode::kInvalidArgument, [&] {
        return "the text has " + std::to_string(ids_.size()) + " tokens; a window has " + std::to_string(n);
      });
    }
    step_ = options.stride == 0 ? n : options.stride;
    n_scored_ = options.stride == 0 ? n - n / 2 - 1 : options.stride;
    n_windows_ = (ids_.size() - n) / step_ + 1;
    if (options.max_windows != 0) n_windows_ = std::min(n_windows_, options.max_windows);
  });
}

GEMMA_INLINE std::size_t TextWindows::logit_rows() const noexcept {
  constexpr std::size_t kBytes = std::size_t{64} << 20;
  const std::size_t rows = kBytes / sizeof(float) / model_->config().vocab_size;
  return std::clamp<std::size_t>(rows, 16, std::max<std::size_t>(options_.batch, 16));
}

GEMMA_INLINE std::size_t TextWindows::n_together() const noexcept {
  const std::size_t n = std::min(options_.batch / options_.n_ctx, logit_rows() / n_scored_);
  return std::clamp<std::size_t>(n, 1, n_windows_);
}

GEMMA_INLINE void TextWindows::run(const Take& take) const {
  const std::size_t together = n_together();
  const std::size_t chunk = std::min(options_.batch, options_.n_ctx);
  const std::size_t rows = std::min({logit_rows(), together * n_scored_, together * chunk});
  const KvCacheOptions cache_options{options_.n_ctx, options_.kv_type, chunk};
  const WorkspaceOptions workspace_options{std::max(chunk * together, std::size_t{1}), rows,
                                           options_.n_threads};
  MemoryPlan plan = plan_forward(*model_, cache_options, workspace_options);
  plan.kv_bytes *= together;
  if (options_.max_memory != 0 && plan.total_bytes() > options_.max_memory) {
    detail::refuse(ErrorCode::kOutOfMemory, [&] {
      return model_->file().path() + ": windows of " + std::to_string(options_.n_ctx) + " tokens take " +
             std::to_string(plan.total_bytes()) + " bytes, more than the limit of " +
             std::to_string(options_.max_memory);
    });
  }
  std::vector<KvCache> caches;
  std::vector<std::vector<std::int32_t>> ids;
  std::vector<Chunk> chunks;
  std::vector<ScoredToken> scored;
  detail::or_out_of_memory("no memory for a text's windows", [&] {
    for (std::size_t i = 0; i < together; ++i) caches.push_back(model_->make_cache(cache_options));
    ids.resize(together);
    chunks.reserve(together);
    scored.reserve(rows);
  });
  Workspace workspace = model_->make_workspace(workspace_options);
  const bool has_bos = model_->has_tokenizer() && model_->vocab().add_bos() && model_->vocab().bos();
  const std::size_t end = options_.n_ctx - 1, first = end - n_scored_;  // the last token is not computed
  for (std::size_t w = 0; w < n_windows_; w += together) {
    const std::size_t n = std::min(together, n_windows_ - w);
    for (std::size_t i = 0; i < n; ++i) {
      const auto from = window(w + i);
      ids[i].assign(from.begin(), from.end());
      if (has_bos) ids[i].front() = *model_->vocab().bos();
      caches[i].truncate(0);
    }
    const auto forward = [&](std::size_t at, std::size_t count, Logits logits) {
      chunks.clear();
      for (std::size_t i = 0; i < n; ++i)
        chunks.push_back({std::span<const std::int32_t>(ids[i]).subspan(at, count), &caches[i], logits});
      return model_->forward(chunks, workspace, options_.cancel);
    };
    for (std::size_t at = 0; at < first; at += std::min(chunk, first - at))
      forward(at, std::min(chunk, first - at), Logits::kNone);
    const std::size_t piece = std::min({chunk, rows / n, n_scored_});
    for (std::size_t at = first; at < end; at += piece) {
      const std::size_t count = std::min(piece, end - at), vocab = model_->config().vocab_size;
      const std::span<const float> logits = forward(at, count, Logits::kAll);
      scored.clear();
      for (std::size_t i = 0; i < n; ++i)
        for (std::size_t p = at; p < at + count; ++p)
          scored.push_back({w + i, p + 1, ids[i][p + 1], logits.subspan(scored.size() * vocab, vocab)});
      take(scored);
    }
  }
}

}  // namespace gemma
