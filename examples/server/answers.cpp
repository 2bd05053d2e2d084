#include "examples/server/answers.hpp"

#include <algorithm>
#include <random>
#include <utility>

namespace gemma::server {

std::string random_id(std::string_view prefix) {
  constexpr std::string_view kSigns = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  thread_local std::mt19937_64 random = [] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device()};
    return std::mt19937_64(seed);
  }();
  std::uniform_int_distribution<std::size_t> sign(0, kSigns.size() - 1);
  std::string out(prefix);
  for (int i = 0; i < 24; ++i) out += kSigns[sign(random)];
  return out;
}

/// One choice.
struct Answers::Part {
  Part(PendingAnswer a, const AgentTurns* agent, bool tools)
      : answer(std::move(a)), thoughts(agent), calls(tools ? agent : nullptr) {}

  PendingAnswer answer;
  std::shared_ptr<Running> running;
  ThoughtSplitter thoughts;
  ToolCallReader calls;
  std::size_t index = 0;
  bool counts_prompt = false;  // the first choice of its prompt
  bool in_thought = false;
  bool done = false;
  std::size_t n_tools = 0;
  std::size_t n_characters = 0;  // characters of the tokens sent with their probabilities
  Usage usage;
  std::vector<std::int32_t> tokens;
};

Answers::Answers(ServedModel& model, Activity& activity, std::string id, const AnswersOptions& options,
                 std::vector<std::vector<std::int32_t>> prompts, const RequestMaker& maker,
                 std::size_t default_max_tokens)
    : model_(model),
      activity_(activity),
      options_(options),
      agent_(options.is_chat ? model.agent() : nullptr) {
  if (agent_ != nullptr) {
    thought_begin_ = model.model().vocab().find(agent_->thought_begin).value_or(-1);
    thought_end_ = model.model().vocab().find(agent_->thought_end).value_or(-1);
  }
  for (const std::vector<std::int32_t>& prompt : prompts) {
    const std::size_t n_tokens = prompt.size();
    n_prompt_ += n_tokens;
    for (std::size_t i = 0; i < options.n; ++i) {
      PendingAnswer answer = model.scheduler().submit(maker.make(prompt, i, default_max_tokens));
      auto part = std::make_unique<Part>(std::move(answer), agent_, options.calls_tools);
      part->index = parts_.size();
      part->counts_prompt = i == 0;
      part->usage.prompt = n_tokens;
      part->running = activity.begin(id, model.name(), n_tokens);
      parts_.push_back(std::move(part));
    }
  }
}

Answers::~Answers() {
  for (const auto& p : parts_) {
    if (!p->done) p->answer.cancel();
  }
  took_.usage = usage();
  activity_.ended(took_);
}

TokenLogprob logprob_of(const Tokenizer& tokenizer, std::int32_t id, double log_probability,
                        std::span<const TokenProbability> top) {
  TokenLogprob out;
  out.token = tokenizer.token_bytes(id);
  out.logprob = log_probability;
  for (const TokenProbability& t : top) {
    out.top.emplace_back(tokenizer.token_bytes(t.id), t.log_probability);
  }
  return out;
}

void Answers::add_piece(Part& p, const AnswerPiece& piece, Choice& out) {
  if (piece.id != GeneratedToken::kNone) {
    ++p.usage.completion;
    p.running->n_generated = p.usage.completion;
    p.running->has_slot = true;
    if (!options_.stop.empty()) p.tokens.push_back(piece.id);
    if (options_.logprobs) {
      out.logprobs.push_back(
          logprob_of(model_.model().tokenizer(), piece.id, piece.log_probability, piece.top));
    }
  }
  if (agent_ == nullptr) {
    out.text += piece.text;
    return;
  }
  const Thoughts t = p.thoughts.push(piece.text);
  if (piece.id == thought_begin_) p.in_thought = true;
  if (piece.id != GeneratedToken::kNone && (p.in_thought || !t.thought.empty())) ++p.usage.reasoning;
  if (piece.id == thought_end_) p.in_thought = false;
  out.reasoning += t.thought;
  out.text += p.calls.push(t.answer, out.tools);
}

std::string Answers::matched_stop(std::span<const std::int32_t> tokens) const {
  const std::string text = model_.model().tokenizer().decode(tokens);
  std::size_t at = std::string::npos;
  std::string out;
  for (const std::string& s : options_.stop) {
    const std::size_t found = text.find(s);
    if (found < at) out = s;
    at = std::min(at, found);
  }
  return out;
}

void Answers::end(Part& p, Choice& out) {
  p.done = true;
  const GenerateResult result = p.answer.wait();
  const RequestTimes times = p.answer.times();
  p.usage.cached = std::min(times.n_reused, p.usage.prompt);
  took_.queued_seconds = std::max(took_.queued_seconds, times.queued_seconds);
  took_.first_token_seconds = std::max(took_.first_token_seconds, times.first_token_seconds);
  took_.seconds = std::max(took_.seconds, times.seconds);
  if (agent_ != nullptr) {
    const Thoughts t = p.thoughts.flush();
    out.reasoning += t.thought;
    out.text += p.calls.push(t.answer, out.tools) + p.calls.flush();
  }
  if (result.reason == StopReason::kStopString && p.index == 0) stop_sequence_ = matched_stop(p.tokens);
  const bool full = result.reason == StopReason::kMaxTokens || result.reason == StopReason::kContextFull;
  out.finish_reason = p.n_tools + out.tools.size() != 0 ? "tool_calls" : full ? "length" : "stop";
}

/// Waits at most `seconds` for more output of a choice and passes it to `take`; returns whether there was
/// any.
bool Answers::advance(Part& p, double seconds, const std::function<bool(Choice&)>& take, bool& wanted) {
  AnswerPiece piece;
  const PendingAnswer::Wait wait = p.answer.next(piece, seconds);
  if (wait == PendingAnswer::Wait::kTimeout) return false;
  Choice out;
  out.index = p.index;
  out.offset = p.n_characters;
  out.first_tool = p.n_tools;
  if (wait == PendingAnswer::Wait::kPiece) {
    add_piece(p, piece, out);
  } else {
    end(p, out);
  }
  for (CalledTool& call : out.tools) call.id = random_id("call_");
  p.n_tools += out.tools.size();
  for (const TokenLogprob& t : out.logprobs) p.n_characters += n_characters(t);
  wanted = take(out);
  return true;
}

Answers::Ended Answers::read(const std::function<bool(Choice&)>& take, const std::function<bool()>& gone,
                             const std::function<bool()>& shut_down) {
  constexpr double kPatience = 0.1;  // seconds between two checks whether the client is still there
  const auto open = [](const auto& p) { return !p->done; };
  while (std::any_of(parts_.begin(), parts_.end(), open)) {
    bool came = false, wanted = true;
    const double each = parts_.size() == 1 ? kPatience : 0;
    for (const auto& p : parts_) {
      if (p->done) continue;
      came = advance(*p, each, take, wanted) || came;
      if (!wanted) return Ended::kSinkFailed;
    }
    if (!came && each == 0) {
      const auto& first = *std::find_if(parts_.begin(), parts_.end(), open);
      came = advance(*first, 0.005, take, wanted);
      if (!wanted) return Ended::kSinkFailed;
    }
    if (shut_down()) return Ended::kShutDown;
    if (gone()) return Ended::kClientLeft;
  }
  return Ended::kWhole;
}

Usage Answers::usage() const {
  Usage out;
  for (const auto& p : parts_) {
    if (p->counts_prompt) {
      out.prompt += p->usage.prompt;
      out.cached += p->usage.cached;
    }
    out.completion += p->usage.completion;
    out.reasoning += p->usage.reasoning;
  }
  return out;
}

}  // namespace gemma::server
