// Definitions of sequence.hpp.
#pragma once

#include <algorithm>
#include <string>

#include "../gguf/linkage.hpp"
#include "log_probability.hpp"

namespace gemma {

GEMMA_INLINE Snapshot::Snapshot(KvCache cache, std::vector<std::int32_t> tokens, std::vector<float> logits,
                                std::vector<float> hidden)
    : cache_(std::move(cache)),
      tokens_(std::move(tokens)),
      logits_(std::move(logits)),
      hidden_(std::move(hidden)) {
  const std::size_t n = tokens_.size();
  if (n > cache_.n_ctx() || (cache_.n_past() != n && cache_.n_past() + 1 != n)) {
    detail::refuse(ErrorCode::kInvalidArgument, [&] {
      return "a snapshot of " + std::to_string(n) + " tokens does not match keys and values of " +
             std::to_string(cache_.n_past()) + " positions in a context of " + std::to_string(cache_.n_ctx());
    });
  }
}

GEMMA_INLINE Sequence::Sequence(std::shared_ptr<KvPool> pool) : cache_(std::move(pool)) {
  tokens_.reserve(cache_.n_ctx());
}

GEMMA_INLINE std::span<const float> Sequence::logits() const {
  if (logits_.empty())
    detail::refuse(ErrorCode::kInvalidArgument, "there are no logits before the first token");
  return logits_;
}

GEMMA_INLINE std::span<const float> Sequence::hidden_state() const {
  logits();
  return hidden_;
}

GEMMA_INLINE bool Sequence::can_truncate(std::size_t n) const noexcept {
  return n <= tokens_.size() && (n >= cache_.n_past() || cache_.can_truncate(n));
}

GEMMA_INLINE void Sequence::truncate(std::size_t n) {
  if (n < cache_.n_past() || n > tokens_.size()) cache_.truncate(n);
  tokens_.resize(n);
  set_logits({}, {});
}

GEMMA_INLINE Snapshot Sequence::snapshot() const {
  return detail::or_out_of_memory("no memory for a snapshot", [&] {
    // the uncomputed tokens of a partly computed prompt are not part of the snapshot
    const auto known = std::span(tokens_).first(waiting().size() <= 1 ? tokens_.size() : cache_.n_past());
    return Snapshot(cache_.compact_copy(), {known.begin(), known.end()}, {logits_.begin(), logits_.end()},
                    {hidden_.begin(), hidden_.end()});
  });
}

GEMMA_INLINE void Sequence::restore(const Snapshot& from) {
  if (from.cache().layout() != cache_.layout()) {
    detail::refuse(ErrorCode::kInvalidArgument,
                   "the snapshot is of another model, or of another context, kv_type or chunk");
  }
  tokens_.clear();
  set_logits({}, {});
  cache_.copy_from(from.cache());
  add(from.tokens());  // within the reserved n_ctx
}

GEMMA_INLINE void Sequence::share(const KvCache& other, std::size_t n) {
  set_logits({}, {});
  cache_.share(other, n);
}

namespace detail {

GEMMA_INLINE Generating::Generating(const Tokenizer& tokenizer, std::size_t vocab_size, PickToken pick,
                                    const GenerateOptions& options, std::size_t most_guesses)
    : pick_(std::move(pick)),
      process_(options.process),
      cancel_(options.cancel),
      generation_(tokenizer, options),
      guesses_(options.draft ? most_guesses : 0),
      vocab_size_(vocab_size) {
  if (process_) row_.resize(vocab_size);
}

GEMMA_INLINE void Generating::end(StopReason reason) {
  generation_.end(reason);
  result().seconds = since_begin_.seconds();
}

GEMMA_INLINE void Generating::abandon() noexcept {
  generation_.abandon();
  result().seconds = since_begin_.seconds();
}

GEMMA_INLINE bool Generating::join(Sequence& sequence) {
  if (done()) return false;
  if (is_cancelled()) return end(StopReason::kCancelled), false;
  if (chosen_) {
    if (sequence.n_past() == sequence.n_ctx()) return end(StopReason::kContextFull), false;
    const std::int32_t token = *std::exchange(chosen_, std::nullopt);
    sequence.add({&token, 1});
    sequence.set_logits({}, {});
  }
  if (full()) return end(StopReason::kMaxTokens), false;
  return true;
}

GEMMA_INLINE bool Generating::choose(const Sequence& sequence, std::span<const float> logits) {
  std::span<const float> row = logits;
  if (process_) {
    std::copy(logits.begin(), logits.end(), row_.begin());
    process_(row_, sequence.tokens());
    row = row_;
  }
  const std::int32_t token = pick_(row);
  if (result().tokens.empty()) result().first_token_seconds = since_begin_.seconds();
  const double log_p = generation_.wants_log_probabilities() ? log_probability(logits, token) : 0.0;
  if (generation_.take(token, log_p)) {
    chosen_ = token;
    guesses_.compare(token);
    if (guesses_.right()) ++result().n_accepted;
    return true;
  }
  result().seconds = since_begin_.seconds();
  return false;
}

GEMMA_INLINE std::size_t Generating::most_guesses(const Sequence& sequence, std::size_t n) const noexcept {
  // one guess for each token that may still be chosen, except one: the first is chosen from the row of the
  // waiting token
  const std::size_t left = generation_.n_left();
  const std::size_t room = sequence.cache().room_in_pages();
  return std::min({n, left - std::min<std::size_t>(left, 1), room - std::min<std::size_t>(room, 1)});
}

GEMMA_INLINE DraftQuery Generating::ask(Drafter& drafter, std::size_t slot, const Sequence& sequence,
                                        std::size_t n, const DraftLength::Step& step) {
  return guesses_.query(drafter, slot, sequence.tokens(), most_guesses(sequence, n), step);
}

GEMMA_INLINE void Generating::take_guesses(const DraftQuery& query, std::size_t n, DraftLength::Step& step,
                                           double cost) noexcept {
  guesses_.take(query, n, step, cost, [this](std::int32_t id) {
    // nothing is computed after a token that would end the answer
    return id >= 0 && static_cast<std::size_t>(id) < vocab_size_ && !generation_.would_end(id);
  });
}

}  // namespace detail
}  // namespace gemma
