// The scheduler of the C interface: many sequences at once, for any number of threads.
#include <memory>
#include <string>
#include <utility>

#include "c_api.h"
#include "c_objects.hpp"
#include "scheduler.hpp"

struct gemma_scheduler {
  gemma::Scheduler scheduler;
};
struct gemma_answer {
  gemma::PendingAnswer answer;
  gemma::AnswerPiece piece;  // the piece that the last call of gemma_answer_next() returned
};

using namespace gemma;
using namespace gemma::c_api;

gemma_scheduler* gemma_scheduler_new(const gemma_model* model, const gemma_scheduler_options* options,
                                     gemma_error** error) {
  return guarded<gemma_scheduler*>(error, nullptr, [&] {
    require(model != nullptr, "the model is NULL");
    const auto o = options_or(options, gemma_scheduler_options GEMMA_SCHEDULER_OPTIONS_INIT);
    SchedulerOptions chosen;
    if (o.max_sequences != 0) chosen.engine.max_sequences = o.max_sequences;
    chosen.engine.n_ctx = o.n_ctx;
    if (o.chunk != 0) chosen.engine.chunk = o.chunk;
    chosen.engine.max_memory = o.max_memory;
    chosen.engine.n_threads = o.n_threads;
    chosen.engine.kv_type = kv_type_of(o.kv_type, 0);
    chosen.engine.draft = draft_options(o.draft, o.draft_tokens, o.draft_model);
    if (o.max_queue != 0) chosen.max_queue = o.max_queue;
    return new gemma_scheduler{Scheduler(model->model, chosen)};
  });
}
void gemma_scheduler_free(gemma_scheduler* scheduler) {
  delete scheduler;
}

gemma_answer* gemma_scheduler_submit(gemma_scheduler* scheduler, const int32_t* ids, size_t n_ids,
                                     const gemma_sampler_options* sampler,
                                     const gemma_generate_options* options, gemma_error** error) {
  return guarded<gemma_answer*>(error, nullptr, [&] {
    require(scheduler != nullptr, "the scheduler is NULL");
    const auto o = options_or(options, gemma_generate_options GEMMA_GENERATE_OPTIONS_INIT);
    check_grammar(o, scheduler->scheduler.model().config().vocab_size);
    const auto prompt = list(ids, n_ids);
    Request request;
    request.prompt.assign(prompt.begin(), prompt.end());
    request.sampler = sampler_options(options_or(sampler, gemma_sampler_options GEMMA_SAMPLER_OPTIONS_INIT));
    request.options = generate_options(o);
    if (o.pick != nullptr) {
      request.pick = [pick = o.pick, user = o.user](std::span<const float> logits) {
        return picked(pick(logits.data(), logits.size(), user));
      };
    }
    if (o.grammar != nullptr) {
      auto own = std::make_shared<ConstrainedSampler>(Sampler(request.sampler), *o.grammar);
      own->sampler.note(request.prompt);
      request.pick = [own](std::span<const float> logits) { return own->pick(logits); };
    }
    return new gemma_answer{scheduler->scheduler.submit(std::move(request)), {}};
  });
}

int gemma_answer_next(gemma_answer* answer, gemma_token* token, int64_t timeout_ms, gemma_error** error) {
  return guarded(error, -1, [&]() -> int {
    require(answer != nullptr && token != nullptr, "the answer or the token is NULL");
    const double seconds = timeout_ms < 0 ? PendingAnswer::kNoLimit : static_cast<double>(timeout_ms) * 1e-3;
    switch (answer->answer.next(answer->piece, seconds)) {
      case PendingAnswer::Wait::kPiece:
        *token = {answer->piece.id, answer->piece.text.c_str(), answer->piece.text.size(),
                  answer->piece.log_probability};
        return GEMMA_ANSWER_TOKEN;
      case PendingAnswer::Wait::kEnd:
        return GEMMA_ANSWER_END;
      case PendingAnswer::Wait::kTimeout:
        return GEMMA_ANSWER_TIMEOUT;
    }
    return -1;
  });
}

int gemma_answer_wait(gemma_answer* answer, gemma_generate_result* result, gemma_error** error) {
  return guarded(error, -1, [&] {
    require(answer != nullptr, "the answer is NULL");
    const GenerateResult r = answer->answer.wait();
    if (result != nullptr) give(result, result_of(r, result->size));
    return 0;
  });
}
void gemma_answer_cancel(gemma_answer* answer) {
  if (answer != nullptr) answer->answer.cancel();
}
void gemma_answer_free(gemma_answer* answer) {
  delete answer;
}
