#include "examples/squad/judge.hpp"

#include <algorithm>
#include <array>
#include <numeric>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "examples/squad/fail.hpp"
#include "examples/squad/metrics.hpp"
#include "examples/squad/stats/ranks.hpp"
#include "examples/squad/text.hpp"
#include "tokenizer/utf8.hpp"

namespace gemma::squad {
namespace {

constexpr std::size_t kMostForAllOrders = 5;
constexpr std::pair<OrderPolicy, std::string_view> kOrders[] = {
    {OrderPolicy::kFixed, "fixed"}, {OrderPolicy::kRotate, "rotate"}, {OrderPolicy::kAll, "all"}};

class F1Judge : public Judge {
 public:
  nlohmann::ordered_json identity() const override { return {{"judge", "f1"}}; }
  bool sees_order() const override { return false; }
  Verdict judge(const JudgeTask& task, std::span<const std::size_t>, const std::atomic<bool>&) override {
    std::vector<double> badness;
    for (const std::string& answer : task.answers) {
      badness.push_back(-score_answer(as_prediction(answer, task.is_v2), task.truths, task.is_v2).f1);
    }
    Verdict verdict;
    verdict.ranks = stats::rank(badness).ranks;
    return verdict;
  }
};

std::string number_word(std::size_t n) {
  static constexpr std::array<std::string_view, 11> kWords = {
      "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"};
  return n < kWords.size() ? std::string(kWords[n]) : std::to_string(n);
}

/// The text on one line, so that an answer cannot look like the beginning of another.
std::string one_line(std::string_view text) {
  return fmt::format("{}", fmt::join(split_words(utf8::replace_invalid(text)), " "));
}

}  // namespace

std::unique_ptr<Judge> make_f1_judge() {
  return std::make_unique<F1Judge>();
}

OrderPolicy parse_order_policy(std::string_view text) {
  for (const auto& [policy, name] : kOrders) {
    if (text == name) return policy;
  }
  refuse("an order is fixed, rotate or all, not {}", quoted(text));
}

std::string_view to_string(OrderPolicy policy) noexcept {
  const auto* const found = std::ranges::find(kOrders, policy, [](const auto& order) { return order.first; });
  return found != std::end(kOrders) ? found->second : "unknown";
}

std::vector<std::size_t> permutation(std::size_t index, std::size_t k) {
  std::vector<std::size_t> left(k), out;
  std::iota(left.begin(), left.end(), std::size_t{0});
  std::vector<std::size_t> digits(k);  // factorial number system, least significant last
  for (std::size_t base = 1; base <= k; ++base) {
    digits[k - base] = index % base;
    index /= base;
  }
  for (const std::size_t digit : digits) {
    out.push_back(left[digit]);
    left.erase(left.begin() + static_cast<std::ptrdiff_t>(digit));
  }
  return out;
}

std::vector<std::vector<std::size_t>> orders_for(OrderPolicy policy, std::size_t index, std::size_t k) {
  if (policy != OrderPolicy::kAll) return {permutation(policy == OrderPolicy::kRotate ? index : 0, k)};
  if (k > kMostForAllOrders) refuse("all orders of {} answers are too many: use --judge-order rotate", k);
  std::vector<std::vector<std::size_t>> all;
  std::vector<std::size_t> order = permutation(0, k);
  do {
    all.push_back(order);
  } while (std::next_permutation(order.begin(), order.end()));
  return all;
}

std::string ranking_prompt(JudgePrompt kind, const JudgeTask& task, std::span<const std::size_t> order) {
  const std::string count = number_word(order.size());
  if (kind == JudgePrompt::kArticle) {
    std::string prompt = fmt::format(
        "Based on the correct answer: {}, rank the IDs of the following {} answers from the most to the "
        "least correct one:",
        task.truths.empty() ? "unanswerable" : task.truths.front().text, count);
    for (std::size_t i = 0; i < order.size(); ++i) {
      prompt += fmt::format("\n        {} {}", i + 1, article_reduction(task.answers[order[i]]));
    }
    return prompt;
  }
  std::string truths;
  for (const Truth& truth : task.truths) {
    if (truths.find(truth.text) == std::string::npos) truths += (truths.empty() ? "" : "; or: ") + truth.text;
  }
  std::string prompt = fmt::format(
      "Question: {}\nCorrect answer: {}\nRank the IDs of the following {} answers to the question from the "
      "most to the least correct one. Reply with the IDs alone, separated by commas.",
      one_line(task.question), truths.empty() ? "the question cannot be answered" : truths, count);
  for (std::size_t i = 0; i < order.size(); ++i) {
    prompt += fmt::format("\n{}: {}", i + 1, one_line(task.answers[order[i]]));
  }
  return prompt;
}

}  // namespace gemma::squad
