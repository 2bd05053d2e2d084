// Choosing tokens that a grammar allows.
// Invariant: an answer is always the beginning of a text of the grammar, and a complete one when the model
// ended it; a thought before the answer is not constrained.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "grammar.hpp"
#include "sampler.hpp"

namespace gemma {

/// A PickToken for one answer. Used by one thread at a time. The sampler must outlive it.
class ConstrainedPick {
 public:
  /// The tokens that begin and end a thought.
  struct ThoughtMarks {
    std::int32_t begin;  // begins a thought
    std::int32_t end;    // ends it
  };
  /// `thought`: the marks of thoughts, if the model was asked to think; otherwise nullopt.
  ConstrainedPick(Sampler& sampler, GrammarMask mask, std::optional<ThoughtMarks> thought)
      : sampler_(sampler), mask_(std::move(mask)), thought_(thought) {}

  /// Throws Error as GrammarMask and Sampler do.
  std::int32_t operator()(std::span<const float> logits) {
    if (in_thought_) {
      const std::int32_t token = sampler_.sample(logits);
      in_thought_ = token != thought_->end;
      return token;
    }
    row_.assign(logits.begin(), logits.end());
    mask_.apply(row_);
    if (thought_ && may_think_) {
      const auto begin = static_cast<std::size_t>(thought_->begin);
      row_[begin] = logits[begin];
    }
    std::int32_t token = sampler_.sample(row_);
    in_thought_ = thought_ && may_think_ && token == thought_->begin;
    may_think_ = false;
    if (in_thought_ || mask_.accept(token)) return token;
    // rounding can make a draw end on a token that is not allowed
    token = argmax(row_);
    mask_.accept(token);
    return token;
  }

 private:
  Sampler& sampler_;
  GrammarMask mask_;
  std::optional<ThoughtMarks> thought_;
  bool may_think_ = true;
  bool in_thought_ = false;
  std::vector<float> row_;  // [vocab_size]
};

}  // namespace gemma
