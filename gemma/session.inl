// Definitions of session.hpp.
#pragma once

#include <algorithm>
#include <string>
#include <utility>

#include "../gguf/linkage.hpp"
#include "check_number.hpp"
#include "engine_error_code.hpp"
#include "log_probability.hpp"

namespace gemma {

namespace detail {

/// A session's options as the options of a batch of one sequence.
inline EngineOptions of_one(EngineOptions o) noexcept {
  o.max_sequences = 1;
  return o;
}

}  // namespace detail

GEMMA_INLINE Session::Session(Model model, const SessionOptions& options)
    : Session(model, detail::of_one(options), plan_session(model, options)) {}

GEMMA_INLINE Session::Session(Model model, const SessionOptions& options, const MemoryPlan& plan)
    : model_(std::move(model)),
      sequence_(detail::or_out_of_memory("no memory for a session",
                                         [&] {
                                           const KvLayout layout(model_.config(),
                                                                 detail::batch_cache(options, plan.n_ctx));
                                           return Sequence(std::make_shared<KvPool>(layout, 1));
                                         })),
      workspace_(model_.make_workspace(detail::batch_workspace(options, plan.n_ctx))),
      drafter_(detail::or_out_of_memory("no memory for a draft",
                                        [&] { return detail::make_drafter(model_, options, plan.n_ctx); })),
      most_guesses_(drafter_ == nullptr ? 0 : options.draft.max_tokens) {}

GEMMA_INLINE void Session::check_room(std::size_t n) const {
  if (n > n_ctx() - n_past()) {
    detail::refuse(EngineErrorCode::kContextFull, [&] {
      return "the context of " + std::to_string(n_ctx()) + " tokens is full: " + std::to_string(n_past()) +
             " are used, " + std::to_string(n) + " more do not fit";
    });
  }
}

GEMMA_INLINE void Session::check_tokens(std::span<const std::int32_t> tokens) const {
  for (const std::int32_t token : tokens) model_.check_token(token);
}

GEMMA_INLINE std::span<const float> Session::advance(std::span<const std::int32_t> tokens, Logits which,
                                                     const std::atomic<bool>* cancel) {
  drop_guessed();
  const Chunk chunk{tokens, &sequence_.cache(), which};
  std::span<const float> rows;
  try {
    rows = model_.run({&chunk, 1}, workspace_, cancel);
  } catch (const Error& e) {
    if (e.code() == EngineErrorCode::kCancelled)
      sequence_.set_logits({}, {});  // the only error that occurs after computing has begun
    throw;
  }
  n_rows_ = 0;
  const std::size_t vocab = model_.config().vocab_size, d = model_.config().d_model;
  if (rows.empty()) {
    sequence_.set_logits({}, {});
  } else {
    const std::size_t n_wanted = rows.size() / vocab;
    sequence_.set_logits(rows.last(vocab), model_.hidden_states(workspace_, n_wanted).last(d));
  }
  return rows;
}

GEMMA_INLINE void Session::compute_waiting(const std::atomic<bool>* cancel) {
  if (!sequence_.waiting().empty()) advance(sequence_.waiting(), Logits::kLast, cancel);
}

GEMMA_INLINE void Session::show_row(std::size_t row) {
  const std::size_t vocab = model_.config().vocab_size, d = model_.config().d_model;
  sequence_.set_logits(workspace_.logits.span().subspan(row * vocab, vocab),
                       model_.hidden_states(workspace_, row + 1).last(d));
}

GEMMA_INLINE void Session::drop_guessed() noexcept {
  if (std::exchange(n_ahead_, 0) != 0) sequence_.cache().truncate(sequence_.cache().n_past());
}

GEMMA_INLINE void Session::compute_next(detail::Generating& g) {
  if (n_ahead_ != 0 && g.is_computed()) {
    sequence_.cache().advance(1);
    --n_ahead_;
    return show_row(g.n_right() - 1);
  }
  drop_guessed();
  g.forget_guesses();
  if (sequence_.waiting().empty()) return;
  if (drafter_ != nullptr && g.may_guess(sequence_)) {
    // limited by the rows of the workspace; the cache has room for at least as many
    const std::size_t most =
        g.most_guesses(sequence_, std::min(most_guesses_, workspace_.options().max_logit_rows - 1));
    DraftLength::Step step;
    DraftQuery query = g.ask(*drafter_, 0, sequence_, most, step);
    if (!query.guesses.empty()) drafter_->guess({&query, 1}, g.cancel());
    g.take_guesses(query, most, step, drafter_->cost());
  }
  const std::size_t n = g.n_guesses();
  if (n == 0) {
    compute_waiting(g.cancel());
  } else {
    advance(g.rows(), Logits::kAll, g.cancel());
    sequence_.cache().retreat(n);
    n_ahead_ = n;
    show_row(0);
  }
  g.count_step();
}

GEMMA_INLINE std::span<const float> Session::logits() {
  compute_waiting(nullptr);
  return sequence_.logits();
}

GEMMA_INLINE std::span<const float> Session::hidden_state() {
  compute_waiting(nullptr);
  return sequence_.hidden_state();
}

GEMMA_INLINE PrefillResult Session::set_tokens(std::span<const std::int32_t> tokens, const RunOptions& run) {
  if (tokens.empty()) detail::refuse(ErrorCode::kInvalidArgument, "a prompt without tokens");
  if (tokens.size() > n_ctx()) {
    detail::refuse(EngineErrorCode::kContextFull, [&] {
      return "a prompt of " + std::to_string(tokens.size()) + " tokens; the context holds " +
             std::to_string(n_ctx());
    });
  }
  check_tokens(tokens);
  const detail::Stopwatch stopwatch;
  const std::span<const std::int32_t> old = sequence_.tokens().first(sequence_.cache().n_past());
  std::size_t keep = static_cast<std::size_t>(
      std::mismatch(tokens.begin(), tokens.end(), old.begin(), old.end()).first - tokens.begin());
  if (keep == tokens.size() && keep == n_past() && sequence_.has_logits()) return {keep, 0, 0.0};
  keep = std::min(keep, tokens.size() - 1);     // the last token is computed again for its logits
  if (!sequence_.can_truncate(keep)) keep = 0;  // a sliding window has released pages: start from 0
  truncate(keep);
  feed(tokens.subspan(keep), run);
  return {keep, tokens.size() - keep, stopwatch.seconds()};
}

GEMMA_INLINE void Session::append(std::span<const std::int32_t> tokens, const RunOptions& run) {
  check_room(tokens.size());
  check_tokens(tokens);
  feed(tokens, run);
}

GEMMA_INLINE void Session::feed(std::span<const std::int32_t> tokens, const RunOptions& run) {
  if (tokens.empty()) return;
  const std::size_t most = workspace_.options().max_tokens;
  const std::size_t before = n_past();
  sequence_.add(tokens);
  const std::size_t total = sequence_.waiting().size();
  try {
    for (std::size_t done = 0; done < total;) {
      const std::size_t n = std::min(most, total - done);
      done += n;
      advance(sequence_.waiting().first(n), done == total ? Logits::kLast : Logits::kNone, run.cancel);
      if (run.progress) run.progress(done, total);
    }
  } catch (...) {
    sequence_.drop_waiting(before);
    throw;
  }
}

GEMMA_INLINE std::span<const float> Session::append_for_logits(std::span<const std::int32_t> tokens,
                                                               const RunOptions& run) {
  check_room(tokens.size());
  check_tokens(tokens);
  detail::check_number("the number of tokens (at most logit_rows)", tokens.size(), 1,
                       workspace_.options().max_logit_rows);
  if (!sequence_.waiting().empty())
    detail::refuse(ErrorCode::kInvalidArgument,
                   "call logits() first: the tokens before these are not computed yet");
  const std::size_t before = n_past();
  sequence_.add(tokens);
  try {
    const std::span<const float> rows = advance(sequence_.waiting(), Logits::kAll, run.cancel);
    n_rows_ = tokens.size();
    return rows;
  } catch (...) {
    sequence_.drop_waiting(before);
    throw;
  }
}

GEMMA_INLINE void Session::keep(std::size_t n) {
  if (n_rows_ == 0)
    detail::refuse(ErrorCode::kInvalidArgument, "there are no tokens of append_for_logits() to keep");
  detail::check_number("the number of tokens to keep", n, 1, n_rows_);
  truncate(n_past() - n_rows_ + n);
  n_rows_ = n;
  show_row(n - 1);
}

GEMMA_INLINE void Session::truncate(std::size_t n) {
  drop_guessed();
  sequence_.truncate(n);
  n_rows_ = 0;
}

GEMMA_INLINE void Session::restore(const Snapshot& from) {
  const ModelConfig& c = model_.config();
  const bool same = (from.logits().empty() || from.logits().size() == c.vocab_size) &&
                    (from.hidden_state().empty() || from.hidden_state().size() == c.d_model);
  if (!same) detail::refuse(ErrorCode::kInvalidArgument, "the snapshot is of another model");
  drop_guessed();
  sequence_.restore(from);
  n_rows_ = 0;
  if (from.logits().empty()) return;
  std::copy(from.logits().begin(), from.logits().end(), workspace_.logits.data());
  std::copy(from.hidden_state().begin(), from.hidden_state().end(), workspace_.h.data());
  sequence_.set_logits(workspace_.logits.span().first(c.vocab_size), workspace_.h.span().first(c.d_model));
}

GEMMA_INLINE TokenStream::TokenStream(Session& session, PickToken pick, const GenerateOptions& options)
    : session_(&session),
      generating_(session.model().tokenizer(), session.model().config().vocab_size, std::move(pick), options,
                  session.most_guesses_) {}

GEMMA_INLINE bool TokenStream::step() {
  const bool any = take_step();
  if (generating_.done()) session_->drop_guessed();
  return any;
}

GEMMA_INLINE bool TokenStream::take_step() {
  if (generating_.done()) return false;
  Session& s = *session_;
  const std::size_t before = s.n_past();
  // the generation ended without a new token: there is output only if text had been held back
  if (!generating_.join(s.sequence_)) return !generating_.last().text.empty();
  try {
    s.compute_next(generating_);
  } catch (const Error& e) {
    s.sequence_.drop_waiting(before);
    if (e.code() != EngineErrorCode::kCancelled) throw;
    generating_.end(StopReason::kCancelled);
    return !generating_.last().text.empty();
  }
  const std::size_t n = generating_.result().tokens.size();
  if (generating_.choose(s.sequence_, s.sequence_.logits())) return true;
  // the generation ended with this token: there is output unless the token only ends the turn
  return generating_.result().tokens.size() != n || !generating_.last().text.empty();
}

GEMMA_INLINE TokenStream Session::stream(PickToken pick, const GenerateOptions& options) {
  return detail::or_out_of_memory("no memory for a generation",
                                  [&] { return TokenStream(*this, std::move(pick), options); });
}
GEMMA_INLINE TokenStream Session::stream(Sampler& sampler, const GenerateOptions& options) {
  sampler.note(tokens());
  return stream([&sampler](std::span<const float> logits) { return sampler.sample(logits); }, options);
}

GEMMA_INLINE GenerateResult Session::generate(PickToken pick, const GenerateOptions& options) {
  TokenStream all = stream(std::move(pick), options);
  while (all.step()) {
  }
  return std::move(all.generating_.result());
}
GEMMA_INLINE GenerateResult Session::generate(Sampler& sampler, const GenerateOptions& options) {
  sampler.note(tokens());
  return generate([&sampler](std::span<const float> logits) { return sampler.sample(logits); }, options);
}

GEMMA_INLINE std::vector<double> Session::score(std::span<const std::int32_t> continuation,
                                                const RunOptions& run) {
  check_room(continuation.size());
  check_tokens(continuation);
  compute_waiting(run.cancel);
  std::span<const float> given = sequence_.logits();  // [rows, vocab_size]
  const std::size_t vocab = model_.config().vocab_size;
  const std::size_t most = workspace_.options().max_logit_rows;
  std::vector<double> out;
  detail::or_out_of_memory("no memory for scores", [&] { out.reserve(continuation.size()); });
  for (std::size_t done = 0; done < continuation.size();) {
    if (done == 0) out.push_back(log_probability(given, continuation[0]));
    const auto part = continuation.subspan(done, std::min(most, continuation.size() - done));
    given = append_for_logits(part, run);
    done += part.size();
    for (std::size_t row = 0; row < part.size() && out.size() < continuation.size(); ++row) {
      out.push_back(log_probability(given.subspan(row * vocab, vocab), continuation[out.size()]));
    }
    if (run.progress) run.progress(done, continuation.size());
  }
  return out;
}

}  // namespace gemma
