// Definitions of batch.hpp.
#pragma once

#include <algorithm>
#include <exception>
#include <string>

#include "../gguf/linkage.hpp"
#include "engine_error_code.hpp"
#include "log_probability.hpp"

namespace gemma {

GEMMA_INLINE Batch::Batch(Model model, const BatchOptions& options)
    : Batch(model, options, plan_batch(model, options)) {}

GEMMA_INLINE Batch::Batch(Model model, const BatchOptions& options, const MemoryPlan& plan)
    : model_(std::move(model)),
      n_ctx_(plan.n_ctx),
      max_prompt_tokens_(options.max_prompt_tokens),
      workspace_(model_.make_workspace(detail::batch_workspace(options, plan.n_ctx))),
      pool_(detail::or_out_of_memory("no memory for a batch",
                                     [&] {
                                       const KvLayout layout(model_.config(),
                                                             detail::batch_cache(options, plan.n_ctx));
                                       return std::make_shared<KvPool>(layout, options.max_sequences);
                                     })),
      prefixes_(detail::or_out_of_memory("no memory for a batch",
                                         [&] { return detail::PrefixCache(pool_, options.max_prefixes); })),
      drafter_(detail::or_out_of_memory("no memory for a draft",
                                        [&] { return detail::make_drafter(model_, options, plan.n_ctx); })),
      most_guesses_(drafter_ == nullptr ? 0 : options.draft.max_tokens) {
  detail::or_out_of_memory("no memory for a batch", [&] {
    slots_.reserve(options.max_sequences);
    if (drafter_ != nullptr) queries_.reserve(options.max_sequences);
    for (std::size_t i = 0; i < options.max_sequences; ++i) slots_.emplace_back(pool_);
    chunks_.reserve(2 * options.max_sequences);
    chunk_slot_.reserve(2 * options.max_sequences);
  });
}

GEMMA_INLINE std::size_t Batch::n_sequences() const noexcept {
  return static_cast<std::size_t>(
      std::count_if(slots_.begin(), slots_.end(), [](const Slot& s) { return s.taken(); }));
}
GEMMA_INLINE std::size_t Batch::n_running() const noexcept {
  return static_cast<std::size_t>(
      std::count_if(slots_.begin(), slots_.end(), [](const Slot& s) { return s.running(); }));
}

// ---- the sequences ----

GEMMA_INLINE void Batch::check_prompt(std::span<const std::int32_t> prompt, std::size_t before) const {
  if (prompt.empty()) detail::refuse(ErrorCode::kInvalidArgument, "a prompt without tokens");
  if (prompt.size() > n_ctx_ - before) {
    detail::refuse(EngineErrorCode::kContextFull, [&] {
      return "a prompt of " + std::to_string(before + prompt.size()) + " tokens; the context holds " +
             std::to_string(n_ctx_);
    });
  }
  for (const std::int32_t token : prompt) model_.check_token(token);
}

GEMMA_INLINE Batch::Slot& Batch::free_slot() {
  const auto free = std::find_if(slots_.begin(), slots_.end(), [](const Slot& s) { return !s.taken(); });
  if (free == slots_.end()) {
    detail::refuse(ErrorCode::kInvalidArgument,
                   [&] { return "all " + std::to_string(slots_.size()) + " slots of the batch are taken"; });
  }
  return *free;
}

GEMMA_INLINE void Batch::join(Slot& s, std::span<const std::int32_t> tokens) {
  s.sequence.add(tokens);
  s.n_prompt = s.sequence.n_past();
  s.error = nullptr;
  s.n_reused = 0;
  s.donor = 0;
  s.n_donor = 0;
}

GEMMA_INLINE Batch::Id Batch::add(std::span<const std::int32_t> prompt, PickToken pick,
                                  const GenerateOptions& options) {
  check_prompt(prompt, 0);
  Slot& s = free_slot();
  detail::or_out_of_memory("no memory for a generation", [&] {
    s.generating.emplace(model_.tokenizer(), model_.config().vocab_size, std::move(pick), options,
                         most_guesses_);
  });
  join(s, prompt);
  s.id = next_id_++;
  if (s.generating->full()) {
    s.generating->end(StopReason::kMaxTokens);  // max_tokens = 0
  } else {
    find_donor(s);
  }
  return s.id;
}

GEMMA_INLINE Batch::Id Batch::add(std::span<const std::int32_t> prompt, Sampler sampler,
                                  const GenerateOptions& options) {
  sampler.note(prompt);
  auto pick = [s = std::move(sampler)](std::span<const float> logits) mutable { return s.sample(logits); };
  return add(prompt,
             detail::or_out_of_memory("no memory for a sampler", [&] { return PickToken(std::move(pick)); }),
             options);
}

GEMMA_INLINE Batch::Id Batch::add_score(std::span<const std::int32_t> prompt,
                                        std::span<const std::int32_t> continuation) {
  check_prompt(prompt, 0);
  if (!continuation.empty()) check_prompt(continuation, prompt.size());
  Slot& s = free_slot();
  detail::or_out_of_memory("no memory for scores", [&] {
    Scoring scoring{prompt.size(), {}, continuation.empty()};
    scoring.result.tokens.assign(continuation.begin(), continuation.end());
    scoring.result.log_probabilities.reserve(continuation.size());
    s.scoring.emplace(std::move(scoring));
  });
  join(s, prompt);
  s.sequence.add(continuation);
  s.id = next_id_++;
  if (!s.scoring->done) find_donor(s);
  return s.id;
}

GEMMA_INLINE void Batch::resume(Id id, std::span<const std::int32_t> tokens, PickToken pick,
                                const GenerateOptions& options) {
  Slot& s = slot(id);
  if (s.running()) detail::refuse(ErrorCode::kInvalidArgument, "the sequence is still running");
  check_prompt(tokens, s.sequence.n_past());
  detail::or_out_of_memory("no memory for a generation", [&] {
    detail::Generating next(model_.tokenizer(), model_.config().vocab_size, std::move(pick), options,
                            most_guesses_);
    s.scoring.reset();
    s.generating.emplace(std::move(next));
  });
  join(s, tokens);
  if (s.generating->full()) s.generating->end(StopReason::kMaxTokens);
}

GEMMA_INLINE Batch::Slot* Batch::find(Id id) noexcept {
  for (Slot& s : slots_) {
    if (s.taken() && s.id == id) return &s;
  }
  return nullptr;
}

GEMMA_INLINE const Batch::Slot& Batch::slot(Id id) const {
  const Slot* const s = const_cast<Batch*>(this)->find(id);
  if (s != nullptr) return *s;
  detail::refuse(ErrorCode::kInvalidArgument,
                 [&] { return "there is no sequence " + std::to_string(id) + " in the batch"; });
}

GEMMA_INLINE void Batch::truncate(Id id, std::size_t n) {
  Slot& s = slot(id);
  if (s.running()) detail::refuse(ErrorCode::kInvalidArgument, "the sequence is still running");
  s.sequence.truncate(n);
}

GEMMA_INLINE void Batch::cancel(Id id) {
  Slot& s = slot(id);
  if (!s.running()) return;
  if (s.generating) s.generating->end(StopReason::kCancelled);
  if (s.scoring) {
    s.scoring->done = true;
    s.scoring->result.reason = StopReason::kCancelled;
  }
  s.sequence.drop_waiting(s.sequence.cache().n_past());
}

GEMMA_INLINE GenerateResult Batch::take(Id id) {
  cancel(id);
  Slot& s = slot(id);
  GenerateResult out = std::move(s.generating ? s.generating->result() : s.scoring->result);
  s.generating.reset();
  s.scoring.reset();
  prefixes_.keep_all(s.sequence);
  return out;
}

GEMMA_INLINE void Batch::remember(const Snapshot& snapshot) {
  detail::or_out_of_memory("no memory for a sequence", [&] {
    const KvLayout& layout = pool_->layout();
    Sequence sequence(pool_);
    std::vector<std::size_t> n_pages(layout.groups.size(), 0);
    snapshot.cache().for_each_page([&](std::size_t g, std::size_t, const std::byte*) { ++n_pages[g]; });
    for (std::size_t g = 0; g < n_pages.size(); ++g) prefixes_.make_room(g, n_pages[g]);
    sequence.restore(snapshot);
    prefixes_.keep_all(sequence);
  });
}

// ---- shared prefixes ----

GEMMA_INLINE void Batch::find_donor(Slot& s) {
  s.donor = 0;
  s.n_donor = 0;
  // the last token of a prompt is never shared: its logits must be computed
  const auto wanted = s.sequence.tokens().first(s.n_prompt - 1);
  for (const Slot& other : slots_) {
    if (!other.taken() || other.id >= s.id) continue;
    const std::size_t n = detail::common_prefix(wanted, other.sequence.tokens());
    const std::size_t computed = other.sequence.cache().n_past();
    // a sliding window may have released pages of the prefix
    const bool possible = n > computed ? other.running() : other.sequence.can_truncate(n);
    if (n > s.n_donor && possible) {
      s.donor = other.id;
      s.n_donor = n;
    }
  }
}

GEMMA_INLINE void Batch::share(Slot& s, const KvCache& from, std::size_t n) {
  for (std::size_t g = 0; g < pool_->layout().groups.size(); ++g) {
    if (!prefixes_.make_room(g, 1, &from)) return;  // one page, for the copy of the last one
  }
  s.sequence.share(from, n);
  s.n_reused = n;
  stats_.n_reused += n;
}

GEMMA_INLINE bool Batch::take_from_donor(Slot& s) {
  if (s.sequence.cache().n_past() != 0) return true;
  Slot* donor = s.donor == 0 ? nullptr : find(s.donor);
  if (s.donor != 0 && donor == nullptr) {
    // the donor has left: prefixes_ or another sequence may have its prefix
    find_donor(s);
    donor = s.donor == 0 ? nullptr : find(s.donor);
  }
  const auto wanted = s.sequence.tokens().first(s.n_prompt - 1);
  const detail::PrefixCache::Match kept = prefixes_.find(wanted);
  if (donor != nullptr) {
    const Sequence& from = donor->sequence;
    std::size_t n =
        std::min(s.n_donor, detail::common_prefix(wanted, from.tokens()));  // its tokens may have changed
    if (n > kept.n && n > from.cache().n_past() && donor->running()) return false;
    n = std::min(n, from.cache().n_past());
    if (n > kept.n && from.can_truncate(n)) {
      share(s, from.cache(), n);
      return true;
    }
  }
  if (kept.n != 0) share(s, *kept.cache, kept.n);
  return true;
}

}  // namespace gemma

#include "batch_step.inl"
