// The routes that generate: /v1/chat/completions, /v1/completions, and Anthropic's /v1/messages.
#include <functional>
#include <map>
#include <memory>
#include <utility>

#include "examples/server/answers.hpp"
#include "examples/server/api.hpp"
#include "examples/server/echo.hpp"
#include "examples/server/prompts.hpp"
#include "examples/server/response.hpp"

namespace gemma::server {
namespace {

std::vector<std::vector<std::int32_t>> prompts_of(const ServedModel& model, const ChatRequest& asked) {
  return {chat_ids(model, asked)};
}
std::vector<std::vector<std::int32_t>> prompts_of(const ServedModel& model, const CompletionRequest& asked) {
  if (asked.prompts.size() * asked.n > RequestLimits::kInputs) {
    throw wrong("n", "asks for more than " + std::to_string(RequestLimits::kInputs) + " answers");
  }
  std::vector<std::vector<std::int32_t>> out;
  for (const Prompt& p : asked.prompts) out.push_back(prompt_ids(model, p));
  return out;
}
AnswersOptions answers_options(const ServedModel& model, const ChatRequest& asked) {
  return {asked.n, true, may_call_tools(model, asked), asked.logprobs, asked.stop};
}
AnswersOptions answers_options(const ServedModel&, const CompletionRequest& asked) {
  return {asked.n, false, false, asked.logprobs, asked.stop};
}
/// The default of max_tokens, which is OpenAI's.
std::size_t default_max_tokens(const ChatRequest&) {
  return RequestLimits::kMaxTokens;
}
std::size_t default_max_tokens(const CompletionRequest&) {
  return 16;
}

/// A submitted request, and everything that it needs until it has been answered.
template <typename Asked>
struct Work {
  Work(Api& a, Asked q, ModelPool::Lease m, const Api::Call& call, std::string_view prefix)
      : api(a),
        asked(std::move(q)),
        model(std::move(m)),
        maker(*model, asked),
        head{random_id(prefix), unix_time(), model->name()},
        answers(*model, a.activity(), head.id, answers_options(*model, asked), prompts_of(*model, asked),
                maker, default_max_tokens(asked)),
        gone(call.request.client_left),
        log(call.log) {}

  /// Reads the answers. Throws ApiError{503} if the server ends before them.
  Answers::Ended read(const std::function<bool(Choice&)>& take) {
    const auto ended = answers.read(take, gone, [this] { return api.cancelled(); });
    if (ended == Answers::Ended::kShutDown) throw ApiError(503, "the server is shutting down");
    if (ended != Answers::Ended::kWhole) api.activity().client_left();
    return ended;
  }
  /// Sets the fields of its log line. `finish`: the finish reason of the first answer.
  void note(const std::string& finish) {
    const Usage u = answers.usage();
    log->insert(log->end(), {{"model", Log::text(head.model)},
                             {"prompt", std::to_string(answers.n_prompt())},
                             {"cached", std::to_string(u.cached)},
                             {"generated", std::to_string(u.completion)},
                             {"finish", Log::text(finish)}});
  }

  Api& api;
  Asked asked;
  ModelPool::Lease model;
  RequestMaker maker;
  ResponseHead head;
  Answers answers;
  std::function<bool()> gone;
  std::shared_ptr<LogFields> log;
};

/// All choices, complete.
template <typename AnyWork>
std::vector<Choice> whole(AnyWork& work) {
  std::vector<Choice> out;
  for (std::size_t i = 0; i < work.answers.size(); ++i) out.push_back(work.begun(i));
  const auto ended = work.read([&](Choice& more) {
    work.amend(more);
    Choice& c = out[more.index];
    c.text += more.text;
    c.reasoning += more.reasoning;
    std::move(more.tools.begin(), more.tools.end(), std::back_inserter(c.tools));
    std::move(more.logprobs.begin(), more.logprobs.end(), std::back_inserter(c.logprobs));
    c.finish_reason = more.finish_reason;
    return true;
  });
  work.note(ended == Answers::Ended::kWhole ? out[0].finish_reason : "client left");
  return out;
}

/// A reply that streams the events that `write` makes; a failure on the way becomes an error event.
template <typename AnyWork>
HttpReply stream_of(std::shared_ptr<AnyWork> work, std::string (*error_event)(const ApiError&),
                    Answers::Ended (*write)(AnyWork&, HttpSink&, std::string& finish)) {
  HttpReply out;
  out.type = "text/event-stream";
  out.stream = [work, error_event, write](HttpSink& sink) {
    std::string finish;
    try {
      const auto ended = write(*work, sink, finish);
      work->note(ended == Answers::Ended::kWhole ? finish : "client left");
      return ended == Answers::Ended::kWhole;
    } catch (...) {
      const ApiError e = api_error_of(std::current_exception());
      work->log->emplace_back("error", Log::text(e.message()));
      return sink.write(error_event(e));
    }
  };
  return out;
}

std::string openai_error_event(const ApiError& e) {
  return sse(error_body(e));
}
std::string anthropic_error_event(const ApiError& e) {
  return sse(anthropic_error_body(e), "error");
}
bool says_something(const Choice& c) {
  return !c.text.empty() || !c.reasoning.empty() || !c.tools.empty() || !c.logprobs.empty();
}

struct ChatWork : Work<ChatRequest> {
  using Work::Work;
  static Choice begun(std::size_t index) {
    Choice out;
    out.index = index;
    return out;
  }
  static void amend(const Choice&) {}
};

/// Answers that begin with their prompts, if requested.
struct CompletionWork : Work<CompletionRequest> {
  using Work::Work;
  /// The beginning of an answer: nothing, or the prompt.
  Choice begun(std::size_t index) const {
    Choice out;
    out.index = index;
    if (const EchoedPrompt* echo = echo_at(index)) {
      out.text = echo->text;
      out.logprobs = echo->logprobs;
    }
    return out;
  }
  /// Adjusts new output of an answer to the text that begins with its prompt.
  void amend(Choice& more) {
    const EchoedPrompt* echo = echo_at(more.index);
    if (echo == nullptr) return;
    for (const TokenLogprob& t : echo->logprobs) more.offset += n_characters(t);
    n_told[more.index] += more.logprobs.size();
    const bool ended_at_once = more.finish_reason == "stop" && n_told[more.index] == 0 && asked.stop.empty();
    if (ended_at_once && echo->end) more.logprobs.push_back(*echo->end);
  }

  std::vector<EchoedPrompt> echoes;           // of the prompts, if requested
  std::map<std::size_t, std::size_t> n_told;  // number of tokens of each answer sent with probabilities

 private:
  const EchoedPrompt* echo_at(std::size_t index) const {
    return asked.echo ? &echoes.at(index / asked.n) : nullptr;
  }
};

Answers::Ended write_chat(ChatWork& work, HttpSink& sink, std::string& finish) {
  const ChatRequest& asked = work.asked;
  const auto event = [&](const Choice& c, bool first) {
    return sink.write(sse(chat_chunk(work.head, c, first, asked.logprobs, asked.include_usage)));
  };
  for (std::size_t i = 0; i < work.answers.size(); ++i) {
    Choice begun;
    begun.index = i;
    if (!event(begun, true)) return Answers::Ended::kSinkFailed;
  }
  const auto ended = work.read([&](Choice& more) {
    const std::string reason = std::exchange(more.finish_reason, "");
    if (says_something(more) && !event(more, false)) return false;
    if (reason.empty()) return true;
    Choice end;
    end.index = more.index;
    end.finish_reason = reason;
    if (more.index == 0) finish = reason;
    return event(end, false);
  });
  if (ended != Answers::Ended::kWhole) return ended;
  std::string last;
  if (asked.include_usage) last = sse(chat_usage_chunk(work.head, work.answers.usage()));
  return sink.write(last.append(kSseDone)) ? ended : Answers::Ended::kSinkFailed;
}

Answers::Ended write_completion(CompletionWork& work, HttpSink& sink, std::string& finish) {
  const CompletionRequest& asked = work.asked;
  const auto event = [&](const Choice& c) {
    return sink.write(sse(completion_chunk(work.head, c, asked.logprobs, asked.include_usage)));
  };
  for (std::size_t i = 0; asked.echo && i < work.answers.size(); ++i) {
    if (!event(work.begun(i))) return Answers::Ended::kSinkFailed;
  }
  const auto ended = work.read([&](Choice& more) {
    work.amend(more);
    if (more.index == 0 && !more.finish_reason.empty()) finish = more.finish_reason;
    return (!says_something(more) && more.finish_reason.empty()) || event(more);
  });
  if (ended != Answers::Ended::kWhole) return ended;
  std::string last;
  if (asked.include_usage) last = sse(completion_usage_chunk(work.head, work.answers.usage()));
  return sink.write(last.append(kSseDone)) ? ended : Answers::Ended::kSinkFailed;
}

/// The blocks of a streamed message.
class AnthropicBlocks {
 public:
  explicit AnthropicBlocks(HttpSink& sink) : sink_(sink) {}

  bool add(const Choice& more) {
    bool ok = delta("thinking", more.reasoning) && delta("text", more.text);
    for (const CalledTool& tool : more.tools) {
      ok = ok && close() && event("content_block_start", anthropic_block_start(index_, "tool_use", tool));
      open_ = "tool_use";
      ok = ok && delta("tool_use", tool.arguments) && close();
    }
    return ok;
  }
  /// Ends the message, which must have at least one block.
  bool end() { return (index_ != 0 || !open_.empty() || open("text")) && close(); }
  bool event(std::string_view name, const std::string& data) { return sink_.write(sse(data, name)); }

 private:
  bool open(const std::string& type) {
    if (!close()) return false;
    open_ = type;
    return event("content_block_start", anthropic_block_start(index_, type));
  }
  bool close() {
    if (open_.empty()) return true;
    open_.clear();
    return event("content_block_stop", anthropic_block_stop(index_++));
  }
  bool delta(const std::string& type, const std::string& text) {
    if (text.empty()) return true;
    if (open_ != type && !open(type)) return false;
    return event("content_block_delta", anthropic_delta(index_, type, text));
  }

  HttpSink& sink_;
  std::size_t index_ = 0;
  std::string open_;  // type of the open block; "": none
};

Answers::Ended write_messages(ChatWork& work, HttpSink& sink, std::string& finish) {
  AnthropicBlocks blocks(sink);
  Usage begun;
  begun.prompt = work.answers.n_prompt();
  if (!blocks.event("message_start", anthropic_start(work.head, begun))) return Answers::Ended::kSinkFailed;
  const auto ended = work.read([&](Choice& more) {
    if (!more.finish_reason.empty()) finish = more.finish_reason;
    return blocks.add(more);
  });
  if (ended != Answers::Ended::kWhole) return ended;
  const bool ok = blocks.end() &&
                  blocks.event("message_delta",
                               anthropic_end(finish, work.answers.stop_sequence(), work.answers.usage())) &&
                  blocks.event("message_stop", anthropic_stop());
  return ok ? ended : Answers::Ended::kSinkFailed;
}

}  // namespace

HttpReply Api::chat(const Call& call) {
  ChatRequest asked = read_chat(call.request.body);
  ModelPool::Lease model = acquire(asked.model, call);
  auto work = std::make_shared<ChatWork>(*this, std::move(asked), std::move(model), call, "chatcmpl-");
  if (work->asked.stream) return stream_of(work, openai_error_event, write_chat);
  const std::vector<Choice> choices = whole(*work);
  HttpReply out;
  out.body = chat_completion(work->head, choices, work->answers.usage(), work->asked.logprobs);
  return out;
}

HttpReply Api::completions(const Call& call) {
  CompletionRequest asked = read_completion(call.request.body);
  ModelPool::Lease model = acquire(asked.model, call);
  auto work = std::make_shared<CompletionWork>(*this, std::move(asked), std::move(model), call, "cmpl-");
  if (work->asked.echo) {
    const CompletionRequest& a = work->asked;
    if (a.logprobs && work->answers.n_prompt() * a.n * (a.top_logprobs + 1) > RequestLimits::kEchoed) {
      throw wrong("n", "asks for too many probabilities of prompts");
    }
    work->echoes =
        echo_of(*work->model, work->asked, [&] { return cancelled() || call.request.client_left(); });
  }
  if (work->asked.stream) return stream_of(work, openai_error_event, write_completion);
  const std::vector<Choice> choices = whole(*work);
  HttpReply out;
  out.body = completion(work->head, choices, work->answers.usage(), work->asked.logprobs);
  return out;
}

HttpReply Api::messages(const Call& call) {
  ChatRequest asked = read_anthropic(call.request.body);
  ModelPool::Lease model = acquire(asked.model, call);
  auto work = std::make_shared<ChatWork>(*this, std::move(asked), std::move(model), call, "msg_");
  if (work->asked.stream) return stream_of(work, anthropic_error_event, write_messages);
  const std::vector<Choice> choices = whole(*work);
  HttpReply out;
  out.body = anthropic_message(work->head, choices[0], work->answers.usage(), work->answers.stop_sequence());
  return out;
}

}  // namespace gemma::server
