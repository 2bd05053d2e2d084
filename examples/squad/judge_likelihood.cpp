// The judge that is a local model.
#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "examples/squad/fail.hpp"
#include "examples/squad/judge.hpp"

namespace gemma::squad {
namespace {

class LikelihoodJudge : public Judge {
 public:
  LikelihoodJudge(std::unique_ptr<AnswerSource> source, std::string label, std::string sha256,
                  std::size_t positions)
      : source_(std::move(source)),
        label_(std::move(label)),
        sha256_(std::move(sha256)),
        limit_(source_->facts().context_limit),
        window_(std::min(positions, limit_)) {
    source_->reserve(window_, 1);
  }

  nlohmann::ordered_json identity() const override {
    return {{"judge", "gguf"}, {"model", label_}, {"sha256", sha256_}};
  }
  bool sees_order() const override { return true; }

  Verdict judge(const JudgeTask& task, std::span<const std::size_t> order,
                const std::atomic<bool>& cancel) override {
    const Prompt prompt{ranking_prompt(JudgePrompt::kFull, task, order), true};
    const std::size_t needed = source_->count_tokens(prompt) + kTokensPerId * order.size();
    Verdict verdict;
    if (needed > limit_) {
      verdict.trouble =
          fmt::format("the answers make a prompt of {} tokens; {} was made for {}", needed, label_, limit_);
      return verdict;
    }
    if (needed > window_) {  // long answers of many models need more than most questions do
      window_ = std::min(limit_, std::max(needed, 2 * window_));
      source_->reserve(window_, 1);
    }
    const std::vector<std::vector<std::size_t>> rankings = orders_for(OrderPolicy::kAll, 0, order.size());
    std::vector<double> likelihoods;
    for (const std::vector<std::size_t>& ranking : rankings) {
      if (cancel.load()) fail(EngineErrorCode::kCancelled, "stopped");
      std::string reply;
      for (const std::size_t position : ranking)
        reply += fmt::format("{}{}", reply.empty() ? "" : ", ", position + 1);
      likelihoods.push_back(source_->log_likelihood(prompt, reply));
    }
    const auto best = std::ranges::max_element(likelihoods) - likelihoods.begin();
    const std::vector<std::size_t>& likeliest = rankings[static_cast<std::size_t>(best)];
    verdict.ranks.resize(order.size());
    for (std::size_t i = 0; i < order.size(); ++i) {
      verdict.ranks[order[likeliest[i]]] = static_cast<double>(i + 1);
    }
    verdict.prompt_tokens = source_->count_tokens(prompt);
    return verdict;
  }

 private:
  static constexpr std::size_t kTokensPerId = 4;  // at worst one per byte of " 3, "

  std::unique_ptr<AnswerSource> source_;
  std::string label_, sha256_;
  std::size_t limit_, window_;
};

}  // namespace

std::unique_ptr<Judge> make_likelihood_judge(std::unique_ptr<AnswerSource> source, std::string label,
                                             std::string sha256, std::size_t positions) {
  return std::make_unique<LikelihoodJudge>(std::move(source), std::move(label), std::move(sha256), positions);
}

}  // namespace gemma::squad
