// Definitions of batch.hpp: one forward pass, from collecting its tokens to choosing the next ones. Included
// by batch.inl.
#pragma once

#include <algorithm>
#include <exception>

#include "../gguf/linkage.hpp"
#include "log_probability.hpp"

namespace gemma {

GEMMA_INLINE void Batch::add_chunk(Slot& s, std::size_t n, Logits which) {
  chunks_.push_back({s.sequence.waiting().first(n), &s.sequence.cache(), which});
  chunk_slot_.push_back(&s);
  room_ -= n;
}

GEMMA_INLINE bool Batch::join_chosen(Slot& s, std::exception_ptr& first) {
  try {
    return s.generating->join(s.sequence);
  } catch (...) {  // thrown by a callback that received text that had been held back
    s.error = std::current_exception();
    if (first == nullptr) first = s.error;
    return false;
  }
}

/// Fills chunks_: first one token of each sequence that is past its prompt, followed by its guesses; then
/// prompts, oldest first; then scored sequences.
GEMMA_INLINE void Batch::collect(std::exception_ptr& first, const std::atomic<bool>* cancel) {
  chunks_.clear();
  chunk_slot_.clear();
  room_ = workspace_.options().max_tokens;
  std::size_t rows = workspace_.options().max_logit_rows;
  for (Slot& s : slots_) {
    s.sequence.set_logits({}, {});
    if (!s.generating || !join_chosen(s, first) || s.is_reading()) continue;
    s.generating->forget_guesses();
    add_chunk(s, 1, Logits::kLast);
    --rows;
  }
  if (drafter_ != nullptr && !chunks_.empty()) rows -= collect_guesses(cancel);
  if (max_prompt_tokens_ != 0 && !chunks_.empty()) room_ = std::min(room_, max_prompt_tokens_);
  collect_prompts(rows);
  collect_scores(rows);
}

GEMMA_INLINE std::size_t Batch::collect_guesses(const std::atomic<bool>* cancel) {
  // one row of each sequence is reserved; while prompts or scores are waiting, guesses get at most half of
  // the remaining tokens of this forward pass
  std::size_t left = std::min(workspace_.options().max_logit_rows - slots_.size(),
                              chunks_.size() == n_running() ? room_ : room_ / 2);
  const std::size_t before = left;
  DraftLength::Step step = DraftLength::Step::of(chunks_.size());
  queries_.clear();
  for (Slot* const s : chunk_slot_) {
    DraftQuery q;
    if (s->generating->may_guess(s->sequence)) {
      const auto slot = static_cast<std::size_t>(s - slots_.data());
      q = s->generating->ask(*drafter_, slot, s->sequence, std::min(most_guesses_, left), step);
    }
    if (!q.guesses.empty()) queries_.push_back(q);
  }
  if (!queries_.empty()) drafter_->guess(queries_, cancel);
  std::size_t n_left = queries_.size();
  for (std::size_t i = 0, at = 0; at < queries_.size(); ++i) {
    Slot& s = *chunk_slot_[i];
    const DraftQuery& q = queries_[at];
    if (&s != &slots_[q.slot]) continue;
    ++at;
    detail::Generating& g = *s.generating;
    // rows that a sequence does not use are available to later sequences
    const std::size_t share = (left + n_left - 1) / n_left;
    --n_left;
    g.take_guesses(q, g.most_guesses(s.sequence, std::min(most_guesses_, share)), step, drafter_->cost());
    if (g.n_guesses() == 0) continue;
    chunks_[i].tokens = g.rows();
    chunks_[i].logits = Logits::kAll;
    room_ -= g.n_guesses();
    left -= g.n_guesses();
  }
  return before - left;
}

GEMMA_INLINE void Batch::collect_prompts(std::size_t& rows) {
  for (Id after = 0; room_ != 0;) {
    Slot* oldest = nullptr;
    for (Slot& s : slots_) {
      if (s.running() && s.is_reading() && s.id > after && (oldest == nullptr || s.id < oldest->id))
        oldest = &s;
    }
    if (oldest == nullptr) break;
    after = oldest->id;
    if (!take_from_donor(*oldest)) continue;
    const std::size_t left = oldest->n_prompt - oldest->sequence.cache().n_past();
    const std::size_t n = std::min(room_, left);
    if (n == left && rows == 0) continue;
    add_chunk(*oldest, n, n == left ? Logits::kLast : Logits::kNone);
    if (n == left) --rows;
  }
}

GEMMA_INLINE void Batch::collect_scores(std::size_t rows) {
  for (Slot& s : slots_) {
    if (!s.scoring || s.scoring->done || s.is_reading()) continue;
    // the logits of the last token are not needed
    const GenerateResult& r = s.scoring->result;
    const std::size_t n = std::min({rows, room_, r.tokens.size() - r.log_probabilities.size()});
    if (n == 0) continue;
    add_chunk(s, n, Logits::kAll);
    rows -= n;
  }
}

GEMMA_INLINE void Batch::make_room() {
  for (std::size_t g = 0; g < pool_->layout().groups.size(); ++g) {
    std::size_t n_pages = 0;
    for (const Chunk& c : chunks_) n_pages += c.cache->pages_needed(g, c.tokens.size());
    prefixes_.make_room(g, n_pages);  // the pool has enough pages for all running sequences
  }
}

GEMMA_INLINE void Batch::keep_prompt(const Slot& s) {
  const auto& groups = pool_->layout().groups;
  const bool slides = std::any_of(groups.begin(), groups.end(), [](const auto& g) { return g.window != 0; });
  // without windows, nothing is kept here: other sequences share the prompt of this one while it runs, and
  // the kept sequence afterwards
  if (slides) prefixes_.keep(s.sequence, s.n_prompt);
}

GEMMA_INLINE void Batch::choose(Slot& s, std::span<const float> logits) {
  detail::Generating& g = *s.generating;
  try {
    ++stats_.n_generated;
    // the last token is appended to the sequence, and nothing is computed after it
    if (g.choose(s.sequence, logits) && (g.full() || s.sequence.n_past() == n_ctx_)) g.join(s.sequence);
  } catch (...) {
    g.abandon();
    throw;
  }
}

GEMMA_INLINE void Batch::choose_all(Slot& s, std::size_t n_guesses, std::span<const float> logits) {
  detail::Generating& g = *s.generating;
  KvCache& cache = s.sequence.cache();
  const std::size_t vocab = model_.config().vocab_size, accepted = g.result().n_accepted;
  cache.retreat(n_guesses);  // a row is appended again once its token has been chosen
  std::exception_ptr thrown;
  try {
    for (std::size_t row = 0;; row = g.n_right() - 1) {
      choose(s, logits.subspan(row * vocab, vocab));
      if (g.done() || !g.is_computed() || !g.join(s.sequence)) break;
      cache.advance(1);
    }
  } catch (...) {
    thrown = std::current_exception();
  }
  cache.truncate(cache.n_past());
  stats_.n_accepted += g.result().n_accepted - accepted;
  if (thrown != nullptr) std::rethrow_exception(thrown);
}

GEMMA_INLINE void Batch::take_scores(Slot& s, std::size_t begin, std::span<const float> logits) {
  Scoring& scoring = *s.scoring;
  const std::size_t vocab = model_.config().vocab_size;
  std::vector<double>& out = scoring.result.log_probabilities;
  try {
    for (std::size_t row = 0; row * vocab < logits.size(); ++row) {
      const std::size_t next = begin + row + 1 - scoring.from;  // index in the continuation
      if (next < scoring.result.tokens.size()) {
        out.push_back(log_probability(logits.subspan(row * vocab, vocab), scoring.result.tokens[next]));
      }
    }
  } catch (...) {
    scoring.done = true;
    throw;
  }
  if (out.size() == scoring.result.tokens.size()) scoring.done = true;
}

GEMMA_INLINE bool Batch::step(const std::atomic<bool>* cancel) {
  std::exception_ptr first;
  collect(first, cancel);
  std::span<const float> rows;
  if (!chunks_.empty()) {
    make_room();
    rows = model_.run(chunks_, workspace_, cancel);
    ++stats_.n_steps;
  }
  const std::size_t vocab = model_.config().vocab_size;
  std::size_t row = 0;
  for (std::size_t i = 0; i < chunks_.size(); ++i) {
    const Chunk& c = chunks_[i];
    Slot& s = *chunk_slot_[i];
    stats_.n_computed += c.tokens.size();
    if (c.logits == Logits::kNone) continue;
    const std::size_t n = c.logits == Logits::kAll ? c.tokens.size() : 1;
    const std::span<const float> logits = rows.subspan(row * vocab, n * vocab);
    row += n;
    try {
      const std::size_t n_past = s.sequence.cache().n_past();
      if (n_past == s.n_prompt) keep_prompt(s);
      if (s.scoring) {
        take_scores(s, n_past - n, logits);
      } else {
        if (n_past != s.n_prompt) s.generating->count_step();
        stats_.n_drafted += n - 1;
        choose_all(s, n - 1, logits);
      }
    } catch (...) {
      s.error = std::current_exception();
      if (first == nullptr) first = s.error;
    }
  }
  if (first != nullptr) std::rethrow_exception(first);
  return n_running() != 0;
}

}  // namespace gemma
