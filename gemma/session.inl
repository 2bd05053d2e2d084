// Definitions of session.hpp.
#pragma once

#include <algorithm>
#include <string>

#include "../gguf/linkage.hpp"
#include "log_probability.hpp"

namespace gemma {

namespace detail {

/// Tokens of one forward.
inline std::size_t chunk_of(const SessionOptions& o) {
  return std::max<std::size_t>(o.chunk, 1);
}

}  // namespace detail

GEMMA_INLINE Session::Session(const Model& model, const SessionOptions& options)
    : Session(model, options, model.plan(options)) {}

GEMMA_INLINE Session::Session(const Model& model, const SessionOptions& options, const MemoryPlan& plan)
    : model_(&model),
      cache_(model.make_cache({plan.n_ctx, options.kv_type, detail::chunk_of(options)})),
      workspace_(model.make_workspace({std::min(detail::chunk_of(options), plan.n_ctx),
                                       std::min({options.logit_rows, detail::chunk_of(options), plan.n_ctx}),
                                       options.n_threads})) {
  detail::or_out_of_memory("no memory for a session", [&] {
    cancelled_ = std::make_unique<std::atomic<bool>>(false);
    tokens_.reserve(plan.n_ctx);
  });
}

GEMMA_INLINE void Session::check_room(std::size_t n) const {
  if (n > cache_.n_ctx() - cache_.n_past()) cache_.refuse_more(n);
}

GEMMA_INLINE void Session::check_tokens(std::span<const std::int32_t> tokens) const {
  for (const std::int32_t token : tokens) model_->check_token(token);
}

GEMMA_INLINE std::span<const float> Session::advance(std::span<const std::int32_t> part, Logits which) {
  const Chunk chunk{part, &cache_, which};
  std::span<const float> rows;
  try {
    rows = model_->run({&chunk, 1}, workspace_, cancelled_.get());
  } catch (const Error& e) {
    if (e.code() == ErrorCode::kCancelled) forget_logits();  // the only error after work has begun
    throw;
  }
  forget_logits();
  tokens_.insert(tokens_.end(), part.begin(), part.end());
  if (!rows.empty()) {
    logits_ = rows.last(model_->config().vocab_size);
    const std::size_t n = rows.size() / model_->config().vocab_size;
    hidden_ = model_->hidden_states(workspace_, n).last(model_->config().d_model);
  }
  return rows;
}

GEMMA_INLINE std::span<const float> Session::logits() const {
  if (logits_.empty()) throw Error(ErrorCode::kInvalidArgument, "there are no logits before the first token");
  return logits_;
}

GEMMA_INLINE std::span<const float> Session::hidden_state() const {
  logits();
  return hidden_;
}

GEMMA_INLINE PrefillResult Session::prefill(std::span<const std::int32_t> tokens, const Progress& progress) {
  if (tokens.empty()) throw Error(ErrorCode::kInvalidArgument, "a prompt without tokens");
  if (tokens.size() > cache_.n_ctx()) {
    detail::refuse(ErrorCode::kContextFull, [&] {
      return "a prompt of " + std::to_string(tokens.size()) + " tokens; the context holds " +
             std::to_string(cache_.n_ctx());
    });
  }
  check_tokens(tokens);
  const detail::Stopwatch stopwatch;
  std::size_t keep = static_cast<std::size_t>(
      std::mismatch(tokens.begin(), tokens.end(), tokens_.begin(), tokens_.end()).first - tokens.begin());
  if (keep == tokens.size() && keep == tokens_.size() && !logits_.empty()) return {keep, 0, 0.0};
  keep = std::min(keep, tokens.size() - 1);  // the last token is computed again for its logits
  if (!cache_.can_truncate(keep)) keep = 0;  // a window has moved on: from the start
  truncate(keep);
  feed(tokens.subspan(keep), progress);
  return {keep, tokens.size() - keep, stopwatch.seconds()};
}

GEMMA_INLINE void Session::append(std::span<const std::int32_t> tokens, const Progress& progress) {
  check_room(tokens.size());
  check_tokens(tokens);
  feed(tokens, progress);
}

GEMMA_INLINE void Session::feed(std::span<const std::int32_t> tokens, const Progress& progress) {
  const std::size_t most = workspace_.options().max_tokens;
  for (std::size_t done = 0; done < tokens.size();) {
    const auto part = tokens.subspan(done, std::min(most, tokens.size() - done));
    const bool last = done + part.size() == tokens.size();
    advance(part, last ? Logits::kLast : Logits::kNone);
    done += part.size();
    if (progress) progress(done, tokens.size());
  }
}

GEMMA_INLINE void Session::truncate(std::size_t n) {
  cache_.truncate(n);
  tokens_.resize(n);
  forget_logits();
}

GEMMA_INLINE TokenStream::TokenStream(Session& session, PickToken pick, const GenerateOptions& options)
    : session_(&session), pick_(std::move(pick)), generation_(session.model().tokenizer(), options) {}

GEMMA_INLINE bool TokenStream::end_with(StopReason reason) {
  generation_.end(reason);
  generation_.result().seconds = since_begin_.seconds();
  return !generation_.last().text.empty();
}

GEMMA_INLINE bool TokenStream::step() {
  if (generation_.done()) return false;
  Session& s = *session_;
  if (pending_) {
    const std::int32_t token = *std::exchange(pending_, std::nullopt);
    if (s.n_past() == s.n_ctx()) return end_with(StopReason::kContextFull);
    try {
      s.append({&token, 1});
    } catch (const Error& e) {
      if (e.code() != ErrorCode::kCancelled) throw;
      return end_with(StopReason::kCancelled);
    }
  }
  if (generation_.full()) return end_with(StopReason::kMaxTokens);
  const std::int32_t token = pick_(s.logits());
  GenerateResult& result = generation_.result();
  if (result.tokens.empty()) result.first_token_seconds = since_begin_.seconds();
  const double log_p = generation_.wants_log_probabilities() ? log_probability(s.logits(), token) : 0.0;
  const std::size_t before = result.tokens.size();
  if (generation_.take(token, log_p)) {
    pending_ = token;
    return true;
  }
  result.seconds = since_begin_.seconds();
  // ended by this token: still something to show, unless it only said that the turn is over
  return result.tokens.size() != before || !generation_.last().text.empty();
}

GEMMA_INLINE TokenStream Session::stream(PickToken pick, const GenerateOptions& options) {
  return detail::or_out_of_memory("no memory for a generation",
                                  [&] { return TokenStream(*this, std::move(pick), options); });
}
GEMMA_INLINE TokenStream Session::stream(Sampler& sampler, const GenerateOptions& options) {
  return stream([&sampler](std::span<const float> logits) { return sampler.sample(logits); }, options);
}

GEMMA_INLINE GenerateResult Session::generate(PickToken pick, const GenerateOptions& options) {
  TokenStream all = stream(std::move(pick), options);
  while (all.step()) {
  }
  return std::move(all.generation_.result());
}
GEMMA_INLINE GenerateResult Session::generate(Sampler& sampler, const GenerateOptions& options) {
  return generate([&sampler](std::span<const float> logits) { return sampler.sample(logits); }, options);
}

GEMMA_INLINE std::vector<double> Session::score(std::span<const std::int32_t> continuation) {
  check_room(continuation.size());
  std::span<const float> given = logits();  // [rows, vocab_size]
  check_tokens(continuation);
  const std::size_t vocab = model_->config().vocab_size;
  const std::size_t most = workspace_.options().max_logit_rows;
  std::vector<double> out;
  detail::or_out_of_memory("no memory for scores", [&] { out.reserve(continuation.size()); });
  for (std::size_t done = 0; done < continuation.size();) {
    if (done == 0) out.push_back(log_probability(given, continuation[0]));
    const auto part = continuation.subspan(done, std::min(most, continuation.size() - done));
    given = advance(part, Logits::kAll);
    done += part.size();
    for (std::size_t row = 0; row < part.size() && out.size() < continuation.size(); ++row) {
      out.push_back(log_probability(given.subspan(row * vocab, vocab), continuation[out.size()]));
    }
  }
  return out;
}

GEMMA_INLINE Snapshot Session::snapshot() const {
  return detail::or_out_of_memory("no memory for a snapshot", [&] {
    Snapshot s(model_->make_cache({cache_.n_ctx(), cache_.type(), cache_.max_chunk()}));
    s.cache_.copy_from(cache_);
    s.tokens_.assign(tokens_.begin(), tokens_.end());
    s.logits_.assign(logits_.begin(), logits_.end());
    s.hidden_.assign(hidden_.begin(), hidden_.end());
    return s;
  });
}

GEMMA_INLINE void Session::restore(const Snapshot& from) {
  const ModelConfig& c = model_->config();
  const bool same = from.cache_.max_chunk() == cache_.max_chunk() &&
                    (from.logits_.empty() || from.logits_.size() == c.vocab_size) &&
                    (from.hidden_.empty() || from.hidden_.size() == c.d_model);
  if (!same) throw Error(ErrorCode::kInvalidArgument, "a snapshot of another model or other options");
  cache_.copy_from(from.cache_);
  tokens_.assign(from.tokens_.begin(), from.tokens_.end());  // within the reserved n_ctx
  forget_logits();
  if (from.logits_.empty()) return;
  std::copy(from.logits_.begin(), from.logits_.end(), workspace_.logits.data());
  std::copy(from.hidden_.begin(), from.hidden_.end(), workspace_.h.data());
  logits_ = workspace_.logits.span().first(c.vocab_size);
  hidden_ = workspace_.h.span().first(c.d_model);
}

}  // namespace gemma
