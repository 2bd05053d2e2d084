// RAQ, relative answer quality: a judge ranks the models' answers to one question, given the true one.
// Invariant: ranks are by model, 1 the best; ties share the mid-rank, so k ranks sum to k (k + 1) / 2.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "examples/squad/squad.hpp"

namespace gemma::squad {

/// One question with the answers of all models.
struct JudgeTask {
  std::string id;
  std::string question;
  std::vector<Truth> truths;
  bool is_v2 = false;
  std::vector<std::string> answers;  // [k models]
};

struct Verdict {
  std::vector<double> ranks;                             // [k models], 1 the best; empty: there is none
  std::string trouble;                                   // why there is none
  bool is_endpoint_down = false;                         // none, and the next question may fare no better
  std::size_t prompt_tokens = 0, completion_tokens = 0;  // what was paid for, failed attempts included
  std::size_t attempts = 1;
};

/// One thread at a time.
class Judge {
 public:
  virtual ~Judge() = default;

  /// What decides its verdicts, for the file that stores them: verdicts of different judges are never mixed.
  virtual nlohmann::ordered_json identity() const = 0;
  /// Whether the order in which the answers are shown can change the verdict.
  virtual bool sees_order() const = 0;
  /// Ranks the answers, shown in `order` (a permutation of the models). A question that yields no ranking is
  /// a verdict without ranks. Throws gemma::Error when no question can have one, kCancelled once `cancel` is
  /// set.
  virtual Verdict judge(const JudgeTask& task, std::span<const std::size_t> order,
                        const std::atomic<bool>& cancel) = 0;
};

/// Ranks by token F1 against the truth, the official metric; equal scores share the mid-rank. Needs nothing.
std::unique_ptr<Judge> make_f1_judge();

/// In which orders a judge that sees them is shown the answers of a question.
enum class OrderPolicy {
  kFixed,   // always the models' own order, as the article did
  kRotate,  // one order per question, going through all permutations from question to question
  kAll      // every permutation for every question; ranks are averaged
};

/// "fixed", "rotate", "all". Throws gemma::Error (invalid_argument) for another word.
OrderPolicy parse_order_policy(std::string_view text);
std::string_view to_string(OrderPolicy policy) noexcept;

/// The orders for the question of number `index` among k models. kAll throws gemma::Error (invalid_argument)
/// for more than 5 models (120 orders).
std::vector<std::vector<std::size_t>> orders_for(OrderPolicy policy, std::size_t index, std::size_t k);

/// Permutation of number `index` modulo k!, in lexicographic order.
std::vector<std::size_t> permutation(std::size_t index, std::size_t k);

/// The words with which answers are put before a judge that reads.
enum class JudgePrompt {
  kArticle,  // the article's: the true answer and the answers, reduced to letters, digits and apostrophes
  kFull      // with the question, all true answers, and the answers as they are
};

/// The request to rank the answers of `task` shown in `order`, IDs counted from 1.
std::string ranking_prompt(JudgePrompt kind, const JudgeTask& task, std::span<const std::size_t> order);

/// Reads "2,1,3", "213", "2 > 1 > 3" and the like: IDs from best to worst. Returns ranks by position shown
/// (ranks[id - 1]), or nothing unless each ID from 1 to k stands once and nothing else does.
std::vector<double> parse_ranking(std::string_view text, std::size_t k);

}  // namespace gemma::squad
