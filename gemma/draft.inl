// Definitions of draft.hpp.
#pragma once

#include <algorithm>
#include <bit>
#include <string>

#include "../gguf/hashing.hpp"
#include "../gguf/linkage.hpp"
#include "check_number.hpp"
#include "draft_model.hpp"
#include "model.hpp"

namespace gemma {

// ---- prompt lookup ----

GEMMA_INLINE PromptLookup::PromptLookup(std::size_t n_slots, std::size_t n_ctx) : slots_(n_slots) {
  for (Slot& s : slots_) {
    s.tokens.resize(n_ctx);
    s.previous.resize(n_ctx);
    s.latest.resize(std::bit_ceil(n_ctx));
  }
}

GEMMA_INLINE std::size_t PromptLookup::size_bytes_for(std::size_t n_slots, std::size_t n_ctx) noexcept {
  return n_slots * (sizeof(Slot) + n_ctx * (sizeof(std::int32_t) + sizeof(std::uint32_t)) +
                    std::bit_ceil(n_ctx) * sizeof(std::uint32_t));
}

GEMMA_INLINE std::size_t PromptLookup::size_bytes() const noexcept {
  return slots_.empty() ? 0 : size_bytes_for(slots_.size(), slots_[0].tokens.size());
}

GEMMA_INLINE std::uint32_t& PromptLookup::latest(Slot& s, std::size_t i) noexcept {
  const std::uint64_t two = std::uint64_t{static_cast<std::uint32_t>(s.tokens[i - 1])} << 32 |
                            static_cast<std::uint32_t>(s.tokens[i]);
  return s.latest[detail::fibonacci_hash(two) & (s.latest.size() - 1)];
}

GEMMA_INLINE void PromptLookup::add(Slot& s, std::span<const std::int32_t> tokens) noexcept {
  for (const std::int32_t token : tokens) {
    s.tokens[s.n] = token;
    if (s.n != 0) {
      std::uint32_t& place = latest(s, s.n);
      s.previous[s.n] = place;
      place = static_cast<std::uint32_t>(s.n);
    }
    ++s.n;
  }
}

GEMMA_INLINE void PromptLookup::begin(std::size_t slot, std::span<const std::int32_t> tokens) noexcept {
  Slot& s = slots_[slot];
  const auto known = std::span(s.tokens).first(s.n);
  const auto same = std::mismatch(tokens.begin(), tokens.end(), known.begin(), known.end()).first;
  const auto n = static_cast<std::size_t>(same - tokens.begin());
  while (s.n > n) {  // from the end, so that each position is the latest of its hash
    --s.n;
    if (s.n != 0) latest(s, s.n) = s.previous[s.n];
  }
  add(s, tokens.subspan(n));
}

GEMMA_INLINE void PromptLookup::guess(std::span<DraftQuery> queries, const std::atomic<bool>*) {
  for (DraftQuery& q : queries) {
    Slot& s = slots_[q.slot];
    add(s, q.tokens.subspan(s.n));
    guess(s, q);
  }
}

GEMMA_INLINE void PromptLookup::guess(const Slot& s, DraftQuery& q) noexcept {
  q.n = 0;
  if (s.n < 3) return;
  const std::size_t end = s.n - 1;
  std::size_t place = 0, agreed = 1;
  std::size_t at = s.previous[end];
  for (std::size_t tries = 0; at != 0 && tries < kMostPlaces && agreed < kLongest; ++tries) {
    std::size_t n = 0;
    const std::size_t most = std::min(kLongest, at + 1);
    while (n < most && s.tokens[at - n] == s.tokens[end - n]) ++n;
    if (n > agreed) {
      agreed = n;
      place = at;
    }
    at = s.previous[at];
  }
  if (place == 0) return;
  // beyond the end of the sequence, continue the repetition
  const std::size_t period = end - place;
  for (; q.n < q.guesses.size(); ++q.n) {
    q.guesses[q.n] = q.n < period ? s.tokens[place + 1 + q.n] : q.guesses[q.n - period];
  }
  q.kind = DraftLength::kind(agreed);
}

// ---- number of guesses ----

GEMMA_INLINE unsigned DraftLength::kind(std::size_t n_agreed) noexcept {
  constexpr std::size_t kFrom[kKinds] = {0, 3, 4, 6, 10, 18};
  unsigned kind = kKinds - 1;
  while (n_agreed < kFrom[kind]) --kind;
  return kind;
}

GEMMA_INLINE std::size_t DraftLength::worth(unsigned kind, std::size_t n, Step& step,
                                            double cost) const noexcept {
  double chance = 1;  // probability that this guess and all before it are right
  for (std::size_t i = 0; i < n; ++i) {
    chance *= right_[kind];
    if (chance * step.time <= (kRowCost + cost) * step.tokens) return i;
    step.tokens += chance;
    step.time += kRowCost + cost;
  }
  return n;
}

namespace detail {

GEMMA_INLINE DraftQuery Guesses::query(Drafter& drafter, std::size_t slot,
                                       std::span<const std::int32_t> tokens, std::size_t n,
                                       const DraftLength::Step& step) {
  clear();
  tokens_[0] = tokens.back();
  // guesses without a row are compared as well, which measures how often they are right
  std::size_t room = n == 0 ? 0 : tokens_.size() - 1;
  if (drafter.cost() > 0) {
    DraftLength::Step planned = step;
    room = length_.worth(Drafter::kCostlyKind, n, planned, drafter.cost());
    if (room == 0) length_.rest(Drafter::kCostlyKind);
  }
  if (room != 0) {
    if (n_known_ == 0 || n_known_ > tokens.size()) drafter.begin(slot, tokens);
    n_known_ = tokens.size();
  }
  return {.slot = slot, .tokens = tokens, .guesses = std::span(tokens_).subspan(1, room)};
}

GEMMA_INLINE void Guesses::compare(std::int32_t chosen) noexcept {
  right_ = false;
  if (next_ == n_) return;
  const bool right = tokens_[1 + next_] == chosen;
  length_.compared(kind_, right);
  right_ = right && next_ < n_rows_;
  if (right_) {
    ++next_;
  } else {
    n_ = next_;  // the guesses after it are dropped
  }
}

// ---- choice of the drafter ----

GEMMA_INLINE void check_draft(const Model& model, const EngineOptions& o) {
  const DraftOptions& d = o.draft;
  if (d.source == DraftSource::kNone) return;
  check_number("DraftOptions::max_tokens", d.max_tokens, 1, 64);
  if (d.source == DraftSource::kCustom && d.custom == nullptr)
    refuse(ErrorCode::kInvalidArgument, "DraftSource::kCustom needs DraftOptions::custom");
  if (d.source != DraftSource::kModel) return;
  if (d.model == nullptr)
    refuse(ErrorCode::kInvalidArgument, "DraftSource::kModel needs DraftOptions::model");
  d.model->check_head();
  check_vocabularies(model, *d.model);
}

GEMMA_INLINE std::size_t draft_bytes(const EngineOptions& o, std::size_t n_ctx) {
  switch (o.draft.source) {
    case DraftSource::kLookup:
      return PromptLookup::size_bytes_for(o.max_sequences, n_ctx);
    case DraftSource::kModel:
      return o.draft.model->file().size_bytes() + DraftModel::size_bytes_for(*o.draft.model, o, n_ctx);
    default:
      return 0;
  }
}

GEMMA_INLINE std::shared_ptr<Drafter> make_drafter(const Model& model, const EngineOptions& o,
                                                   std::size_t n_ctx) {
  check_draft(model, o);
  const auto bytes = [](const Model& m) { return static_cast<double>(m.weights().step_bytes(m.config())); };
  switch (o.draft.source) {
    case DraftSource::kLookup:
      return std::make_shared<PromptLookup>(o.max_sequences, n_ctx);
    case DraftSource::kModel:  // relative cost: a step of either model reads all of its weights
      return std::make_shared<DraftModel>(*o.draft.model, o, n_ctx, bytes(*o.draft.model) / bytes(model));
    default:
      return o.draft.custom;
  }
}

}  // namespace detail
}  // namespace gemma
