// The answers to one client's request while they are generated: several choices of several prompts, each
// split into text, thoughts and tool calls.
// Invariant: destroying the object ends the generation of all its answers.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "examples/server/activity.hpp"
#include "examples/server/prompts.hpp"
#include "examples/server/request.hpp"
#include "examples/server/response.hpp"
#include "examples/server/served_model.hpp"
#include "examples/server/tool_calls.hpp"
#include "tokenizer/thoughts.hpp"

namespace gemma::server {

/// "PREFIX" and 24 random letters and digits.
std::string random_id(std::string_view prefix);

/// A token in the form in which clients get it.
TokenLogprob logprob_of(const Tokenizer& tokenizer, std::int32_t id, double log_probability,
                        std::span<const TokenProbability> top);

/// Options of the answers to one request.
struct AnswersOptions {
  std::size_t n = 1;         // choices of each prompt
  bool is_chat = false;      // separate thoughts and calls from text
  bool calls_tools = false;  // look for tool calls
  bool logprobs = false;
  std::vector<std::string> stop;  // stop strings, to find which one ended an answer
};

/// The answers. Used by one thread.
class Answers {
 public:
  /// How reading the answers ended.
  enum class Ended { kWhole, kClientLeft, kShutDown, kSinkFailed };

  /// Submits a request for each choice of each prompt. Throws ApiError, Error as Scheduler::submit().
  Answers(ServedModel& model, Activity& activity, std::string id, const AnswersOptions& options,
          std::vector<std::vector<std::int32_t>> prompts, const RequestMaker& maker,
          std::size_t default_max_tokens);
  ~Answers();

  /// Reads all answers: calls `take` with the new output of one choice; false stops. While nothing arrives,
  /// `gone` and `shut_down` are polled. Throws the error that ended a choice.
  Ended read(const std::function<bool(Choice&)>& take, const std::function<bool()>& gone,
             const std::function<bool()>& shut_down);

  std::size_t size() const noexcept { return parts_.size(); }
  /// Token counts of the answers so far.
  Usage usage() const;
  /// Number of tokens of all prompts.
  std::size_t n_prompt() const noexcept { return n_prompt_; }
  /// The stop string that ended the first answer; "": none.
  const std::string& stop_sequence() const noexcept { return stop_sequence_; }
  /// Token counts and times of the answers, for the log.
  const Activity::Ended& took() const noexcept { return took_; }

 private:
  struct Part;
  bool advance(Part& p, double seconds, const std::function<bool(Choice&)>& take, bool& wanted);
  void add_piece(Part& p, const AnswerPiece& piece, Choice& out);
  void end(Part& p, Choice& out);
  std::string matched_stop(std::span<const std::int32_t> tokens) const;

  ServedModel& model_;
  Activity& activity_;
  AnswersOptions options_;
  const AgentTurns* agent_;  // nullptr: answers are not split
  std::int32_t thought_begin_ = -1, thought_end_ = -1;
  std::vector<std::unique_ptr<Part>> parts_;
  std::size_t n_prompt_ = 0;
  Usage usage_;
  std::string stop_sequence_;
  Activity::Ended took_;
};

}  // namespace gemma::server
