// Definitions of draft_model.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>

#include "../gguf/linkage.hpp"
#include "plan.hpp"
#include "sampler.hpp"

namespace gemma {

namespace detail {

/// The workspace of a draft model: one row of logits for each sequence.
inline WorkspaceOptions draft_workspace(const EngineOptions& o, std::size_t n_ctx) noexcept {
  const std::size_t n = o.max_sequences;
  const std::size_t tokens = std::min(std::max(o.chunk, n), n * n_ctx);
  return {tokens, n, o.n_threads};
}

GEMMA_INLINE void check_vocabularies(const Model& model, const Model& draft) {
  constexpr std::size_t kMostPadding = 256;  // files may pad the same vocabulary differently
  const std::size_t a = model.config().vocab_size, b = draft.config().vocab_size;
  const bool both = model.has_tokenizer() && draft.has_tokenizer();
  if (std::max(a, b) - std::min(a, b) > (both ? kMostPadding : 0) ||
      model.has_tokenizer() != draft.has_tokenizer()) {
    refuse(ErrorCode::kInvalidArgument, [&] {
      return draft.file().path() + ": a draft needs the vocabulary of " + model.file().path() + ": it has " +
             std::to_string(b) + " tokens, not " + std::to_string(a);
    });
  }
  if (!both) return;
  const Vocab &ours = model.vocab(), &theirs = draft.vocab();
  for (std::size_t i = 0; i < std::min({a, b, ours.size(), theirs.size()}); ++i) {
    const auto id = static_cast<std::int32_t>(i);
    const auto is_text = [id](const Vocab& v) {
      return v.type(id) != TokenType::kControl && v.type(id) != TokenType::kUnused;
    };
    if ((!is_text(ours) && !is_text(theirs)) || ours.piece(id) == theirs.piece(id)) continue;
    refuse(ErrorCode::kInvalidArgument, [&] {
      return draft.file().path() + ": a draft needs the vocabulary of " + model.file().path() + ": token " +
             std::to_string(i) + " is " + quoted(theirs.piece(id)) + ", not " + quoted(ours.piece(id));
    });
  }
}

}  // namespace detail

GEMMA_INLINE DraftModel::DraftModel(Model model, const EngineOptions& o, std::size_t n_ctx, double cost)
    : model_(std::move(model)),
      workspace_(model_.make_workspace(detail::draft_workspace(o, n_ctx))),
      pool_(std::make_shared<KvPool>(KvLayout(model_.config(), detail::batch_cache(o, n_ctx)),
                                     o.max_sequences)),
      cost_(cost) {
  slots_.reserve(o.max_sequences);
  for (std::size_t i = 0; i < o.max_sequences; ++i) {
    slots_.emplace_back(pool_);
    slots_.back().tokens.reserve(n_ctx);
  }
  chunks_.reserve(o.max_sequences);
  of_chunk_.reserve(o.max_sequences);
}

GEMMA_INLINE std::size_t DraftModel::size_bytes_for(const Model& model, const EngineOptions& o,
                                                    std::size_t n_ctx) {
  const MemoryPlan p = plan_forward(model, detail::batch_cache(o, n_ctx), detail::draft_workspace(o, n_ctx));
  return o.max_sequences * (p.kv_bytes + n_ctx * sizeof(std::int32_t)) + p.workspace_bytes;
}

GEMMA_INLINE std::size_t DraftModel::size_bytes() const noexcept {
  return workspace_.size_bytes() + pool_->size_bytes() +
         slots_.size() * pool_->layout().options.n_ctx * sizeof(std::int32_t);
}

GEMMA_INLINE void DraftModel::begin(std::size_t slot, std::span<const std::int32_t>) noexcept {
  slots_[slot].n_same = 0;
}

GEMMA_INLINE bool DraftModel::follow(Slot& s, std::span<const std::int32_t> tokens) {
  const auto differ = std::mismatch(s.tokens.begin() + static_cast<std::ptrdiff_t>(s.n_same), s.tokens.end(),
                                    tokens.begin() + static_cast<std::ptrdiff_t>(s.n_same), tokens.end());
  auto n = static_cast<std::size_t>(differ.first - s.tokens.begin());
  const std::size_t vocab = model_.config().vocab_size;
  for (const std::int32_t token : tokens.subspan(n)) {
    if (static_cast<std::size_t>(token) >= vocab) return false;
  }
  n = std::min(n, tokens.size() - 1);  // the last token is always computed, for its logits
  if (!s.cache.can_truncate(n)) n = 0;
  s.cache.truncate(n);
  s.tokens.resize(n);
  s.n_same = n;
  return true;
}

GEMMA_INLINE void DraftModel::run(const std::atomic<bool>* cancel) {
  const std::span<const float> rows = model_.forward(chunks_, workspace_, cancel);
  const std::size_t vocab = model_.config().vocab_size;
  std::size_t row = 0;
  for (std::size_t i = 0; i < chunks_.size(); ++i) {
    const Chunk& c = chunks_[i];
    Slot& s = slots_[of_chunk_[i]->slot];
    s.tokens.insert(s.tokens.end(), c.tokens.begin(), c.tokens.end());
    if (c.logits == Logits::kNone) continue;
    take(*of_chunk_[i], rows.subspan(row * vocab, vocab));
    ++row;
  }
}

GEMMA_INLINE void DraftModel::take(DraftQuery& q, std::span<const float> logits) {
  const auto id = static_cast<std::size_t>(argmax(logits));
  // logits that are lower by more than this contribute too little to matter
  constexpr float kFar = 12;
  double sum = 0;
  for (const float x : logits) {
    if (x > logits[id] - kFar) sum += std::exp(static_cast<double>(x) - static_cast<double>(logits[id]));
  }
  if (sum * kLeastProbability > 1) {
    q.guesses = q.guesses.first(q.n);  // the model is too uncertain: no more guesses
  } else {
    q.guesses[q.n++] = static_cast<std::int32_t>(id);
  }
}

GEMMA_INLINE bool DraftModel::read(std::span<DraftQuery> queries, const std::atomic<bool>* cancel) {
  chunks_.clear();
  of_chunk_.clear();
  std::size_t room = workspace_.options().max_tokens;
  for (DraftQuery& q : queries) {
    Slot& s = slots_[q.slot];
    const std::size_t left = q.tokens.size() - s.tokens.size();
    if (q.guesses.empty() || q.n != 0 || left == 0 || room == 0) continue;
    const std::size_t n = std::min(left, room);
    chunks_.push_back(
        {q.tokens.subspan(s.tokens.size(), n), &s.cache, n == left ? Logits::kLast : Logits::kNone});
    of_chunk_.push_back(&q);
    room -= n;
  }
  if (chunks_.empty()) return false;
  run(cancel);
  for (const DraftQuery* q : of_chunk_) slots_[q->slot].n_same = slots_[q->slot].tokens.size();
  return true;
}

GEMMA_INLINE bool DraftModel::extend(std::span<DraftQuery> queries, const std::atomic<bool>* cancel) {
  chunks_.clear();
  of_chunk_.clear();
  for (DraftQuery& q : queries) {
    if (q.n == 0 || q.n == q.guesses.size()) continue;
    Slot& s = slots_[q.slot];
    if (s.cache.n_past() == s.cache.n_ctx()) continue;
    chunks_.push_back({q.guesses.subspan(q.n - 1, 1), &s.cache, Logits::kLast});
    of_chunk_.push_back(&q);
  }
  if (chunks_.empty()) return false;
  run(cancel);
  return true;
}

GEMMA_INLINE void DraftModel::guess(std::span<DraftQuery> queries, const std::atomic<bool>* cancel) {
  for (DraftQuery& q : queries) {
    q.n = 0;
    q.kind = kCostlyKind;
    if (!follow(slots_[q.slot], q.tokens)) q.guesses = {};
  }
  while (read(queries, cancel)) {
  }
  while (extend(queries, cancel)) {
  }
}

}  // namespace gemma
