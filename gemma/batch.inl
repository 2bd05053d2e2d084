// Definitions of batch.hpp.
#pragma once

#include <algorithm>
#include <exception>
#include <string>

#include "../gguf/linkage.hpp"
#include "log_probability.hpp"

namespace gemma {

GEMMA_INLINE Batch::Batch(const Model& model, const BatchOptions& options)
    : Batch(model, options, model.plan_batch(options)) {}

GEMMA_INLINE Batch::Batch(const Model& model, const BatchOptions& options, const MemoryPlan& plan)
    : model_(&model),
      n_ctx_(plan.n_ctx),
      workspace_(model.make_workspace(
          {std::min(std::max(options.chunk, options.max_sequences), options.max_sequences * plan.n_ctx),
           options.max_sequences, options.n_threads})) {
  detail::or_out_of_memory("no memory for a batch", [&] {
    const KvCacheOptions cache{n_ctx_, options.kv_type, std::max(options.chunk, options.max_sequences)};
    places_.reserve(options.max_sequences);
    for (std::size_t i = 0; i < options.max_sequences; ++i) {
      places_.emplace_back(model.make_cache(cache)).tokens.reserve(n_ctx_);
    }
    chunks_.reserve(options.max_sequences);
    chunk_place_.reserve(options.max_sequences);
    cancelled_ = std::make_unique<std::atomic<bool>>(false);
  });
}

GEMMA_INLINE std::size_t Batch::n_sequences() const noexcept {
  return static_cast<std::size_t>(
      std::count_if(places_.begin(), places_.end(), [](const Place& p) { return p.taken(); }));
}
GEMMA_INLINE std::size_t Batch::n_running() const noexcept {
  return static_cast<std::size_t>(
      std::count_if(places_.begin(), places_.end(), [](const Place& p) { return p.running(); }));
}
GEMMA_INLINE std::size_t Batch::memory_bytes() const noexcept {
  std::size_t sum = workspace_.size_bytes();
  for (const Place& p : places_) sum += p.cache.size_bytes();
  return sum;
}

GEMMA_INLINE Batch::Id Batch::add(std::span<const std::int32_t> prompt, PickToken pick,
                                  const GenerateOptions& options) {
  if (prompt.empty()) throw Error(ErrorCode::kInvalidArgument, "a prompt without tokens");
  if (prompt.size() > n_ctx_) {
    detail::refuse(ErrorCode::kContextFull, [&] {
      return "a prompt of " + std::to_string(prompt.size()) + " tokens; the context holds " +
             std::to_string(n_ctx_);
    });
  }
  for (const std::int32_t token : prompt) model_->check_token(token);
  const auto free = std::find_if(places_.begin(), places_.end(), [](const Place& p) { return !p.taken(); });
  if (free == places_.end()) {
    detail::refuse(ErrorCode::kInvalidArgument, [&] {
      return "all " + std::to_string(places_.size()) + " places of the batch are taken";
    });
  }
  Place& p = *free;
  detail::or_out_of_memory("no memory for a generation",
                           [&] { p.generation.emplace(model_->tokenizer(), options); });
  p.cache.truncate(0);
  p.tokens.assign(prompt.begin(), prompt.end());
  p.n_prompt = prompt.size();
  p.pick = std::move(pick);
  p.id = next_id_++;
  p.since_begin = {};
  if (p.generation->full()) end(p, StopReason::kMaxTokens);  // max_tokens = 0
  return p.id;
}

GEMMA_INLINE Batch::Id Batch::add(std::span<const std::int32_t> prompt, Sampler sampler,
                                  const GenerateOptions& options) {
  auto pick = [s = std::move(sampler)](std::span<const float> logits) mutable { return s.sample(logits); };
  return add(prompt,
             detail::or_out_of_memory("no memory for a sampler", [&] { return PickToken(std::move(pick)); }),
             options);
}

GEMMA_INLINE const Batch::Place& Batch::place(Id id) const {
  for (const Place& p : places_) {
    if (p.taken() && p.id == id) return p;
  }
  detail::refuse(ErrorCode::kInvalidArgument,
                 [&] { return "there is no sequence " + std::to_string(id) + " in the batch"; });
}

GEMMA_INLINE GenerateResult Batch::take(Id id) {
  Place& p = place(id);
  if (p.running()) end(p, StopReason::kCancelled);
  GenerateResult out = std::move(p.generation->result());
  p.generation.reset();
  p.pick = nullptr;
  return out;
}

GEMMA_INLINE void Batch::end(Place& p, StopReason reason) {
  p.generation->end(reason);
  p.generation->result().seconds = p.since_begin.seconds();
}

/// Fills chunks_: first one token of each sequence that is past its prompt, then prompts, oldest first.
GEMMA_INLINE void Batch::collect() {
  chunks_.clear();
  chunk_place_.clear();
  std::size_t room = workspace_.options().max_tokens;
  const auto add_chunk = [&](Place& p, std::size_t n) {
    const bool complete = n == p.waiting().size();
    chunks_.push_back({p.waiting().first(n), &p.cache, complete ? Logits::kLast : Logits::kNone});
    chunk_place_.push_back(&p);
    room -= n;
  };
  for (Place& p : places_) {
    if (p.running() && p.cache.n_past() >= p.n_prompt) add_chunk(p, 1);
  }
  for (Id after = 0; room != 0;) {
    Place* oldest = nullptr;
    for (Place& p : places_) {
      const bool reads = p.running() && p.cache.n_past() < p.n_prompt && p.id > after;
      if (reads && (oldest == nullptr || p.id < oldest->id)) oldest = &p;
    }
    if (oldest == nullptr) break;
    add_chunk(*oldest, std::min(room, oldest->waiting().size()));
    after = oldest->id;
  }
}

GEMMA_INLINE void Batch::choose(Place& p, std::span<const float> logits) {
  detail::Generation& g = *p.generation;
  const std::int32_t token = p.pick(logits);
  if (g.result().tokens.empty()) {
    g.result().first_token_seconds = p.since_begin.seconds();
  }
  const double log_p = g.wants_log_probabilities() ? log_probability(logits, token) : 0.0;
  if (!g.take(token, log_p)) {
    end(p, g.result().reason);  // for its time
  } else if (p.tokens.size() == n_ctx_) {
    end(p, StopReason::kContextFull);
  } else if (g.full()) {
    end(p, StopReason::kMaxTokens);
  } else {
    p.tokens.push_back(token);  // within the reserved n_ctx
  }
}

GEMMA_INLINE bool Batch::step() {
  collect();
  if (chunks_.empty()) return false;
  const auto rows = model_->run(chunks_, workspace_, cancelled_.get());
  const std::size_t vocab = model_->config().vocab_size;
  std::exception_ptr first;
  std::size_t row = 0;
  for (std::size_t i = 0; i < chunks_.size(); ++i) {
    if (chunks_[i].logits == Logits::kNone) continue;
    Place& p = *chunk_place_[i];
    try {
      choose(p, rows.subspan(row * vocab, vocab));
    } catch (...) {
      if (first == nullptr) first = std::current_exception();
      p.generation->abandon();
      end(p, StopReason::kCallback);
    }
    ++row;
  }
  if (first != nullptr) std::rethrow_exception(first);
  return n_running() != 0;
}

}  // namespace gemma
