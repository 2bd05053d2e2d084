#include "examples/pipeline/answers.hpp"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "tokenizer/thoughts.hpp"

namespace gemma::app {
namespace {

using Clock = std::chrono::steady_clock;

/// One sequence: its prompt while that is computed, then its generated tokens.
class Sequence {
 public:
  Sequence(const Model& model, const PipelineFlags& flags, const AgentTurns* agent,
           std::span<const std::int32_t> prompt, std::size_t n_ctx,
           std::function<void(std::string_view)> on_text)
      : prompt_(prompt), n_ctx_(n_ctx), splitter_(agent), on_text_(std::move(on_text)) {
    GenerateOptions options;
    options.max_tokens = flags.answer.limit();
    options.stop_strings = flags.answer.stop_strings;
    options.on_text = [this](std::string_view text) {
      show(splitter_.push(text));
      return true;
    };
    generation_ = std::make_unique<detail::Generation>(model.tokenizer(), std::move(options));
    answer_.n_prompt = prompt.size();
    if (generation_->full()) end(StopReason::kMaxTokens);
  }
  Sequence(const Sequence&) = delete;  // its callback refers to this object
  Sequence& operator=(const Sequence&) = delete;

  bool done() const { return done_; }
  /// Whether tokens of the prompt must still be computed.
  bool reads() const { return !done_ && n_read_ < prompt_.size(); }
  /// The next tokens of the prompt, `most` at most.
  std::span<const std::int32_t> read(std::size_t most) {
    const auto part = prompt_.subspan(n_read_, std::min(most, prompt_.size() - n_read_));
    n_read_ += part.size();
    return part;
  }
  /// The token that was chosen last: the next one to compute.
  const std::int32_t& chosen() const { return chosen_; }

  void take(std::int32_t token) {
    if (done_) return;
    if (n_taken_++ == 0) answer_.first_token_seconds = seconds();
    chosen_ = token;
    if (!generation_->take(token, 0.0)) return finish();
    // as in detail::Generating::join: a token is added before it is known whether more may follow
    if (prompt_.size() + n_taken_ - 1 == n_ctx_) return end(StopReason::kContextFull);
    if (generation_->full()) end(StopReason::kMaxTokens);
  }
  PipelineAnswer take_answer() { return std::move(answer_); }

 private:
  double seconds() const { return std::chrono::duration<double>(Clock::now() - begin_).count(); }
  void show(const Thoughts& part) {
    answer_.text += part.answer;
    answer_.thinking += part.thought;
    if (on_text_ && !part.answer.empty()) on_text_(part.answer);
  }
  void end(StopReason reason) {
    generation_->end(reason);
    finish();
  }
  void finish() {
    show(splitter_.flush());
    answer_.tokens = generation_->result().tokens;
    answer_.reason = generation_->result().reason;
    answer_.total_seconds = seconds();
    done_ = true;
  }

  std::span<const std::int32_t> prompt_;
  std::size_t n_ctx_, n_read_ = 0, n_taken_ = 0;
  std::int32_t chosen_ = 0;
  bool done_ = false;
  ThoughtSplitter splitter_;
  std::function<void(std::string_view)> on_text_;
  std::unique_ptr<detail::Generation> generation_;
  PipelineAnswer answer_;
  Clock::time_point begin_ = Clock::now();
};

/// Computes all prompts, then continues the sequences in as many groups as there are ranks: while one rank
/// computes a group's tokens, the others compute other groups'.
class Answering final : public Results {
 public:
  Answering(Driver& driver, std::vector<std::unique_ptr<Sequence>>& sequences, std::size_t chunk,
            std::size_t n_ranks)
      : driver_(driver),
        sequences_(sequences),
        chunk_(chunk),
        n_groups_(std::min(n_ranks, sequences.size())),
        busy_(n_groups_, false) {}

  void run() {
    read_prompts();
    driver_.finish(*this);
    for (bool any = true; any;) {
      any = false;
      for (std::size_t g = 0; g < n_groups_; ++g) {
        if (busy_[g]) {
          any = true;
        } else if (Step step = next_of(g); !step.parts.empty()) {
          busy_[g] = any = true;
          driver_.issue(std::move(step), *this);
        }
      }
      if (any) driver_.take(*this);
    }
  }

  void row(const Step&, std::span<const std::byte>) override {}
  void result(const Step& step, std::span<const std::int32_t> tokens) override {
    std::size_t next = 0;
    for (const Step::Part& part : step.parts) {
      if (part.logits == Logits::kLast) sequences_[part.sequence]->take(tokens[next++]);
    }
    busy_[step.parts.front().sequence % n_groups_] = false;
  }

 private:
  void read_prompts() {
    Step step;
    for (std::size_t i = 0; i < sequences_.size(); ++i) {
      while (sequences_[i]->reads()) {
        if (step.tokens.size() == chunk_) driver_.issue(std::exchange(step, {}), *this);
        const auto part = sequences_[i]->read(chunk_ - step.tokens.size());
        step.add(i, part, sequences_[i]->reads() ? Logits::kNone : Logits::kLast);
      }
    }
    if (!step.parts.empty()) driver_.issue(std::move(step), *this);
  }
  Step next_of(std::size_t group) const {
    Step step;
    for (std::size_t i = group; i < sequences_.size(); i += n_groups_) {
      if (!sequences_[i]->done()) step.add(i, {&sequences_[i]->chosen(), 1}, Logits::kLast);
    }
    return step;
  }

  Driver& driver_;
  std::vector<std::unique_ptr<Sequence>>& sequences_;
  std::size_t chunk_, n_groups_;
  std::vector<bool> busy_;  // [groups] whether a step of the group is running
};

}  // namespace

std::vector<std::int32_t> prompt_ids(const Tokenizer& tokenizer, const PipelineFlags& flags,
                                     const std::string& prompt) {
  if (flags.raw) {
    return tokenizer.encode(prompt, {.parse_special = true});
  }
  std::vector<gemma::Message> messages;
  if (!flags.system.empty()) messages.push_back({"system", flags.system, {}});
  messages.push_back({"user", prompt, {}});
  return ChatTemplate::from(tokenizer.vocab(), flags.chat_template)
      .encode(tokenizer, messages,
              {.add_generation_prompt = true, .merge_system = true, .thinking = false, .tools = {}});
}

std::vector<PipelineAnswer> answer_all(Driver& driver, const Model& model, const PipelineFlags& flags,
                                       std::span<const std::vector<std::int32_t>> prompts, std::size_t n_ctx,
                                       std::size_t n_ranks,
                                       const std::function<void(std::string_view)>& on_text) {
  std::optional<ChatTemplate> turns;
  if (!flags.raw) turns = ChatTemplate::from(model.vocab(), flags.chat_template);
  const AgentTurns* agent = turns ? turns->dialect().turns.agent : nullptr;
  std::vector<std::unique_ptr<Sequence>> sequences;
  for (const auto& ids : prompts) {
    sequences.push_back(
        std::make_unique<Sequence>(model, flags, agent, ids, n_ctx, sequences.empty() ? on_text : nullptr));
  }
  Answering(driver, sequences, flags.chunk, n_ranks).run();
  std::vector<PipelineAnswer> answers;
  answers.reserve(sequences.size());
  for (const auto& s : sequences) answers.push_back(s->take_answer());
  return answers;
}

}  // namespace gemma::app
