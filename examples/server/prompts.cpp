#include "examples/server/prompts.hpp"

#include <algorithm>
#include <utility>

#include "examples/random_seed.hpp"
#include "examples/server/tool_calls.hpp"
#include "gemma/constrained_pick.hpp"

namespace gemma::server {
namespace {

/// The messages for the model's template, and the beginning of the answer if the last message is one.
struct Conversation {
  std::vector<Message> messages;
  std::string begun;
};

Conversation conversation_of(const ServedModel& model, const ChatRequest& request) {
  Conversation out{request.messages, ""};
  for (Message& m : out.messages) {
    if (m.role == "developer" && model.agent() == nullptr) m.role = "system";
  }
  const Message& last = out.messages.back();
  if (out.messages.size() > 1 && last.role == "assistant" && last.tool_calls.empty() &&
      !last.content.empty()) {
    out.begun = last.content;
    out.messages.pop_back();
  }
  return out;
}

ChatOptions options_of(const ServedModel& model, const ChatRequest& request) {
  ChatOptions out;
  out.merge_system = true;
  out.thinking = request.thinking.value_or(false);
  const bool declares = !request.tools.empty() && request.tool_choice.kind != ToolChoice::Kind::kNone;
  if (declares && !may_call_tools(model, request)) {
    throw ApiError(400, "the model's chat template does not support tools", "tools");
  }
  if (declares) out.tools = request.tools;
  return out;
}

}  // namespace

bool may_call_tools(const ServedModel& model, const ChatRequest& request) {
  return !request.tools.empty() && request.tool_choice.kind != ToolChoice::Kind::kNone &&
         model.agent() != nullptr && !model.agent()->call_open.empty();
}

std::string chat_text(const ServedModel& model, const ChatRequest& request) {
  const Conversation c = conversation_of(model, request);
  return model.chat().render(c.messages, options_of(model, request)).text + c.begun;
}

std::vector<std::int32_t> chat_ids(const ServedModel& model, const ChatRequest& request) {
  const Conversation c = conversation_of(model, request);
  const Tokenizer& tokenizer = model.model().tokenizer();
  std::vector<std::int32_t> ids = model.chat().encode(tokenizer, c.messages, options_of(model, request));
  const std::vector<std::int32_t> begun = tokenizer.encode(c.begun, {.add_bos = false});
  ids.insert(ids.end(), begun.begin(), begun.end());
  return ids;
}

std::vector<std::int32_t> prompt_ids(const ServedModel& model, const Prompt& prompt) {
  if (const auto* ids = std::get_if<std::vector<std::int32_t>>(&prompt)) {
    for (const std::int32_t id : *ids) {
      if (static_cast<std::size_t>(id) >= model.model().config().vocab_size)
        throw wrong("prompt", "holds " + std::to_string(id) + ", which is not a token of this model");
    }
    if (ids->empty()) throw wrong("prompt", "must not be empty");
    return *ids;
  }
  const Tokenizer& tokenizer = model.model().tokenizer();
  std::vector<std::int32_t> ids = tokenizer.encode(std::get<std::string>(prompt), {.parse_special = true});
  if (ids.empty()) throw wrong("prompt", "must not be empty");
  return ids;
}

namespace {

/// The constraint of a conversation's answer: the requested one, or a tool call.
Constraint constraint_of(const ServedModel& model, const ChatRequest& asked) {
  const bool must_call = asked.tool_choice.kind == ToolChoice::Kind::kRequired ||
                         asked.tool_choice.kind == ToolChoice::Kind::kNamed;
  if (!must_call || !may_call_tools(model, asked)) return asked.constraint;
  return {Constraint::Kind::kGrammar, tool_call_grammar(*model.agent(), asked.tools, asked.tool_choice.name)};
}

/// A sampler with a grammar. One allocation, so that the parts can refer to each other.
struct HeldSampler {
  HeldSampler(const SamplerOptions& o, const GrammarMask& mask,
              std::optional<ConstrainedPick::ThoughtMarks> thought)
      : sampler(o), pick(sampler, mask, thought) {}
  Sampler sampler;
  ConstrainedPick pick;
};

}  // namespace

RequestMaker::RequestMaker(ServedModel& model, const Generation& asked)
    : RequestMaker(model, asked, asked.constraint, false) {}
RequestMaker::RequestMaker(ServedModel& model, const ChatRequest& asked)
    : RequestMaker(model, asked, constraint_of(model, asked), asked.thinking.value_or(false)) {}
RequestMaker::RequestMaker(ServedModel& model, const Generation& asked, Constraint constraint, bool thinks)
    : model_(model),
      asked_(asked),
      seed_(asked.sampling.seed ? *asked.sampling.seed : app::random_seed()),
      thinks_(thinks) {
  if (constraint.kind != Constraint::Kind::kNone) mask_ = model.mask(constraint);
  for (const auto& [id, bias] : asked.sampling.logit_bias) {
    if (static_cast<std::size_t>(id) >= model.model().config().vocab_size)
      throw wrong("logit_bias",
                  "has the key '" + std::to_string(id) + "', which is not a token of this model");
  }
}

SamplerOptions RequestMaker::sampler_options(std::size_t choice) const {
  const Sampling& s = asked_.sampling;
  const SamplingDefaults& d = model_.sampling();
  SamplerOptions out;
  out.temperature = s.temperature.value_or(d.temperature);
  out.top_k = s.top_k.value_or(d.top_k);
  out.top_p = s.top_p.value_or(d.top_p);
  out.min_p = s.min_p.value_or(d.min_p);
  out.repeat_penalty = s.repeat_penalty.value_or(d.repeat_penalty);
  out.seed = seed_ + choice;
  return out;
}

/// Applies biases, and penalties for tokens that the answer has already (as in OpenAI's: the answer's own
/// tokens, not the prompt's).
LogitsProcessor RequestMaker::processor(std::size_t n_prompt) const {
  const Sampling& s = asked_.sampling;
  if (s.logit_bias.empty() && s.presence_penalty == 0 && s.frequency_penalty == 0) return {};
  return [bias = s.logit_bias, presence = s.presence_penalty, frequency = s.frequency_penalty,
          counts = std::map<std::int32_t, std::size_t>(),
          n_counted = n_prompt](std::span<float> logits, std::span<const std::int32_t> tokens) mutable {
    for (; n_counted < tokens.size(); ++n_counted) ++counts[tokens[n_counted]];
    for (const auto& [id, b] : bias) logits[static_cast<std::size_t>(id)] += b;
    for (const auto& [id, n] : counts) {
      logits[static_cast<std::size_t>(id)] -= presence + frequency * static_cast<float>(n);
    }
  };
}

Request RequestMaker::make(std::vector<std::int32_t> prompt, std::size_t choice,
                           std::size_t default_max_tokens) const {
  Request out;
  out.sampler = sampler_options(choice);
  if (mask_) {
    std::optional<ConstrainedPick::ThoughtMarks> thought;
    if (const AgentTurns* agent = thinks_ ? model_.agent() : nullptr) {
      const auto begin = model_.model().vocab().find(agent->thought_begin);
      const auto end = model_.model().vocab().find(agent->thought_end);
      if (begin && end) thought = {*begin, *end};
    }
    auto held = std::make_shared<HeldSampler>(out.sampler, *mask_, thought);
    held->sampler.note(prompt);
    out.pick = [held = std::move(held)](std::span<const float> logits) { return held->pick(logits); };
  }
  out.options.max_tokens = asked_.max_tokens.value_or(default_max_tokens);
  out.options.stop_strings = asked_.stop;
  out.options.ignore_end = asked_.ignore_end;
  out.options.log_probabilities = asked_.logprobs;
  out.options.process = processor(prompt.size());
  out.n_top = asked_.logprobs ? asked_.top_logprobs : 0;
  out.prompt = std::move(prompt);
  return out;
}

}  // namespace gemma::server
