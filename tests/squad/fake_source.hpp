// A model without a file: its answers are a function of the prompt, so that the results of runs are known.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "examples/squad/answer_source.hpp"
#include "examples/squad/random.hpp"
#include "gemma/engine_error_code.hpp"

namespace gemma::squad::test {

inline const std::atomic<bool> kNever{false};

/// Counts a token per byte; answers with words drawn from the prompt by a hash of model, prompt and seed.
class FakeSource : public AnswerSource {
 public:
  using Log = std::function<void(const std::string& model, const Prompt& prompt, bool share)>;

  FakeSource(std::string name, Log log) : name_(std::move(name)), log_(std::move(log)) {}

  ModelFacts facts() const override { return {"fake", 4096}; }
  std::size_t count_tokens(const Prompt& prompt) const override { return prompt.text.size(); }
  std::size_t most_at_once(std::size_t) const override { return 3; }
  void reserve(std::size_t n, std::size_t batch) override {
    window_ = n;
    batch_ = batch;
  }

  /// Of each `batch` queries the last one is done first.
  void ask(std::span<const Query> queries, bool share, const std::atomic<bool>& cancel,
           const std::function<void(std::size_t, Answer)>& done) override {
    for (std::size_t begin = 0; begin < queries.size(); begin += batch_) {
      for (std::size_t i = std::min(begin + batch_, queries.size()); i-- > begin;) {
        Answer answer = ask(queries[i].prompt, queries[i].sampling, share);
        if (cancel.load()) return;
        done(i, std::move(answer));
      }
    }
  }

  double log_likelihood(const Prompt& prompt, std::string_view continuation) override {
    SplitMix64 random(hash_of(prompt.text) ^ hash_of(continuation));
    return -10 * random.uniform();
  }

 private:
  Answer ask(const Prompt& prompt, const Sampling& sampling, bool share) {
    if (prompt.text.size() >= window_) throw Error(EngineErrorCode::kContextFull, "does not fit");
    if (log_) log_(name_, prompt, share);
    SplitMix64 random(hash_of(name_ + prompt.text) ^ sampling.seed);
    Answer answer;
    const std::size_t n_words = 1 + below(6, random);
    for (std::size_t i = 0; i < n_words; ++i) {
      const std::size_t at = below(prompt.text.size(), random);
      std::size_t end = prompt.text.find(' ', at);
      if (end == std::string::npos) end = prompt.text.size();
      if (i > 0) answer.text += ' ';
      answer.text.append(prompt.text, at, std::min<std::size_t>(end - at, 12));
    }
    answer.stop = "end_of_turn";
    answer.prompt_tokens = prompt.text.size();
    answer.tokens = n_words;
    answer.timing = {0.5 + random.uniform(), 0.4, 0.41, 0.1, share && !last_.empty() ? last_.size() / 2 : 0};
    answer.timing.batch = batch_;
    answer.timing.share_s = answer.timing.total_s / static_cast<double>(batch_);
    answer.timing.forwards = static_cast<double>(n_words) / static_cast<double>(batch_);
    last_ = prompt.text;
    return answer;
  }

  std::string name_, last_;
  Log log_;
  std::size_t window_ = 0, batch_ = 1;
};

inline SourceFactory fake_factory(FakeSource::Log log = {}) {
  return [log](const ModelSpec& model) { return std::make_unique<FakeSource>(model.name, log); };
}

}  // namespace gemma::squad::test
