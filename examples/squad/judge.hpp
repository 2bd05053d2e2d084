// RAQ, relative answer quality: a judge ranks the models' answers to one question, given the true answer.
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

#include "examples/squad/answer_source.hpp"
#include "examples/squad/squad.hpp"

namespace gemma::squad {

struct JudgeTask {
  std::string id;
  std::string question;
  std::vector<Truth> truths;
  bool is_v2 = false;
  std::vector<std::string> answers;  // [k models]
};

struct Verdict {
  std::vector<double> ranks;                             // [k models], 1 the best; empty: no ranking
  std::string trouble;                                   // why there is no ranking
  bool is_endpoint_down = false;                         // no ranking because the endpoint does not answer
  std::size_t prompt_tokens = 0, completion_tokens = 0;  // billed tokens, including failed attempts
  std::size_t attempts = 1;
};

/// A judge. Used by one thread at a time.
class Judge {
 public:
  virtual ~Judge() = default;

  /// Everything that determines its verdicts, stored with them: verdicts of different judges are never mixed.
  virtual nlohmann::ordered_json identity() const = 0;
  /// Whether the order of the answers can change the verdict.
  virtual bool sees_order() const = 0;
  /// Ranks the answers, shown in `order` (a permutation of the models). A question that yields no ranking
  /// gives a verdict without ranks. Throws gemma::Error if no question can be ranked, kCancelled once
  /// `cancel` is set.
  virtual Verdict judge(const JudgeTask& task, std::span<const std::size_t> order,
                        const std::atomic<bool>& cancel) = 0;
};

/// A judge that ranks by token F1 against the true answer, the official metric; equal scores share the
/// mid-rank. Needs no model or network.
std::unique_ptr<Judge> make_f1_judge();

/// A judge that is a local model: its verdict is the most likely of all rankings as the reply to the request;
/// nothing is sampled and nothing parsed. `label` and `sha256` identify the model. At most 5 answers (120
/// rankings): judge() throws gemma::Error (invalid_argument) for more, and what the source throws.
/// `positions`: initial size of the context in tokens; it is enlarged when a prompt needs it, up to the
/// model's own context (else context_full).
std::unique_ptr<Judge> make_likelihood_judge(std::unique_ptr<AnswerSource> source, std::string label,
                                             std::string sha256, std::size_t positions = 4096);

/// The orders in which answers are shown to a judge that depends on the order.
enum class OrderPolicy {
  kFixed,   // always the order of the models, as in the article
  kRotate,  // one order per question, the next permutation for each question
  kAll      // every permutation for every question; ranks are averaged
};

/// Parses "fixed", "rotate" or "all". Throws gemma::Error (invalid_argument) for another word.
OrderPolicy parse_order_policy(std::string_view text);
std::string_view to_string(OrderPolicy policy) noexcept;

/// The orders for question `index` with k models. kAll throws gemma::Error (invalid_argument) for more than 5
/// models (120 orders).
std::vector<std::vector<std::size_t>> orders_for(OrderPolicy policy, std::size_t index, std::size_t k);

/// Permutation number `index` modulo k!, in lexicographic order.
std::vector<std::size_t> permutation(std::size_t index, std::size_t k);

/// The wording of the request to a judge that is a language model.
enum class JudgePrompt {
  kArticle,  // the article's: the true answer and the answers, reduced to letters, digits and apostrophes
  kFull      // with the question, all true answers, and the unchanged answers
};

/// The request to rank the answers of `task`, shown in `order` with IDs from 1.
std::string ranking_prompt(JudgePrompt kind, const JudgeTask& task, std::span<const std::size_t> order);

}  // namespace gemma::squad
