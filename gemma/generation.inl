// Definitions of generation.hpp.
#pragma once

#include <algorithm>
#include <chrono>

#include "../gguf/linkage.hpp"

namespace gemma::detail {

GEMMA_INLINE std::int64_t Stopwatch::now() noexcept {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(since).count();
}

GEMMA_INLINE std::string StopFilter::push(std::string_view text) {
  if (stopped_) return {};
  held_ += text;
  std::size_t cut = std::string::npos;
  for (const std::string& s : stops_) {
    if (!s.empty()) cut = std::min(cut, held_.find(s));
  }
  if (cut != std::string::npos) {
    stopped_ = true;
    held_.resize(cut);
    return flush();
  }
  std::size_t keep = 0;  // length of the longest suffix of held_ that is a prefix of a stop string
  for (const std::string& s : stops_) {
    for (std::size_t n = std::min(held_.size(), s.empty() ? 0 : s.size() - 1); n > keep; --n) {
      if (held_.ends_with(std::string_view(s).substr(0, n))) keep = n;
    }
  }
  std::string out = held_.substr(0, held_.size() - keep);
  held_.erase(0, out.size());
  return out;
}

GEMMA_INLINE Generation::Generation(const Tokenizer& tokenizer, GenerateOptions options)
    : vocab_(&tokenizer.vocab()),
      options_(std::move(options)),
      decoder_(tokenizer),
      filter_(options_.stop_strings) {}

GEMMA_INLINE bool Generation::take(std::int32_t token, double log_probability) {
  if (would_end(token)) {
    end(StopReason::kEndOfTurn);
    return false;
  }
  join(token, log_probability);
  const bool wanted = tell({token, text_, log_probability});
  if (!wanted) muted_ = true;
  if (filter_.stopped() || !wanted) {
    const GeneratedToken told = last_;
    end(filter_.stopped() ? StopReason::kStopString : StopReason::kCallback);
    last_ = told;  // end() may replace it, but the last step reports its own token
    return false;
  }
  return true;
}

GEMMA_INLINE void Generation::abandon() noexcept {
  muted_ = true;
  try {
    end(StopReason::kCallback);
  } catch (const Error&) {
    // without memory, the text that was held back is lost; the rest of the result is kept
  }
  result_.reason = StopReason::kCallback;
}

GEMMA_INLINE void Generation::end(StopReason reason) {
  if (done_) return;
  done_ = true;
  result_.reason = reason;
  last_ = {};
  if (filter_.stopped()) return;
  or_out_of_memory("no memory for an answer", [&] {
    held_ = filter_.push(decoder_.flush());
    if (!filter_.stopped()) held_ += filter_.flush();
    result_.text += held_;
  });
  // a callback that returned false is not called again, but the result is complete
  if (!muted_ && !held_.empty()) tell({GeneratedToken::kNone, held_, 0});
}

GEMMA_INLINE void Generation::join(std::int32_t token, double log_probability) {
  vocab_->type(token);  // throws unless the id is in the vocabulary
  done_ = true;  // until the token has been added completely: if that fails halfway, the generation must
                 // not continue
  or_out_of_memory("no memory for an answer", [&] {
    text_ = filter_.push(decoder_.push(token));
    result_.tokens.push_back(token);
    if (options_.log_probabilities) result_.log_probabilities.push_back(log_probability);
    result_.text += text_;
  });
  done_ = false;
}

GEMMA_INLINE bool Generation::tell(const GeneratedToken& token) {
  last_ = token;
  const bool by_text = token.text.empty() || !options_.on_text || options_.on_text(token.text);
  const bool by_token = !options_.on_token || options_.on_token(token);
  return by_text && by_token;
}

}  // namespace gemma::detail
