// The C interface over the C++ one. Invariant: every function that can throw does so inside guarded(), which
// turns it into a gemma_error.
#include "c_api.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "c_guard.hpp"
#include "gemma.hpp"

struct gemma_session {
  gemma::Session session;
};
struct gemma_sampler {
  gemma::Sampler sampler;
};
struct gemma_snapshot {
  gemma::Snapshot snapshot;
};

namespace gemma {
namespace {

using namespace c_api;

// the C numbers are part of the interface; these are the places where the two lists meet
static_assert(static_cast<int>(ErrorCode::kIo) + 1 == GEMMA_ERROR_IO);
static_assert(static_cast<int>(ErrorCode::kMissingKey) + 1 == GEMMA_ERROR_MISSING_KEY);
static_assert(static_cast<int>(ErrorCode::kInvalidArgument) + 1 == GEMMA_ERROR_INVALID_ARGUMENT);
static_assert(static_cast<int>(ErrorCode::kNotFinite) + 1 == GEMMA_ERROR_NOT_FINITE);
static_assert(static_cast<int>(StopReason::kEndOfTurn) == GEMMA_STOP_END_OF_TURN);
static_assert(static_cast<int>(StopReason::kContextFull) == GEMMA_STOP_CONTEXT_FULL);
static_assert(static_cast<int>(StopReason::kCancelled) == GEMMA_STOP_CANCELLED);

SessionOptions session_options(const gemma_session_options* given) {
  const auto o = options_or(given, gemma_session_options GEMMA_SESSION_OPTIONS_INIT);
  SessionOptions out;
  out.n_ctx = o.n_ctx;
  if (o.chunk != 0) out.chunk = o.chunk;
  if (o.logit_rows != 0) out.logit_rows = o.logit_rows;
  out.max_memory = o.max_memory;
  out.n_threads = o.n_threads;
  out.kv_type = o.kv_float32 != 0 ? KvType::kF32 : KvType::kF16;
  return out;
}

/// Ends a generation whose pick() callback said so.
std::int32_t picked(std::int32_t token) {
  require(token >= 0, "the callback chose no token");
  return token;
}

GenerateOptions generate_options(const gemma_generate_options& o) {
  GenerateOptions out;
  out.max_tokens = o.max_tokens;
  for (const char* stop : list(o.stop_strings, o.n_stop_strings)) {
    require(stop != nullptr, "a stop string is NULL");
    out.stop_strings.emplace_back(stop);
  }
  out.ignore_end = o.ignore_end != 0;
  out.log_probabilities = o.log_probabilities != 0;
  if (o.on_token != nullptr) {
    out.on_token = [on_token = o.on_token, user = o.user](const GeneratedToken& t) {
      const std::string text(t.text);  // with a NUL
      const gemma_token token{t.id, text.c_str(), text.size(), t.log_probability};
      return on_token(&token, user) != 0;
    };
  }
  return out;
}

}  // namespace
}  // namespace gemma

using namespace gemma;
using namespace gemma::c_api;

const char* gemma_version(void) {
  return GEMMA_VERSION_STRING;
}

int gemma_error_get_code(const gemma_error* error) {
  return error == nullptr ? 0 : error->code;
}
const char* gemma_error_get_message(const gemma_error* error) {
  return error == nullptr ? "" : error->message;
}
void gemma_error_free(gemma_error* error) {
  if (error == nullptr || !error->owned) return;
  delete[] error->message;
  delete error;
}

gemma_model* gemma_model_load(const char* path, const gemma_model_options* options, gemma_error** error) {
  return guarded<gemma_model*>(error, nullptr, [&] {
    require(path != nullptr, "the path is NULL");
    const auto o = options_or(options, gemma_model_options GEMMA_MODEL_OPTIONS_INIT);
    ModelOptions chosen;
    if (o.isa != nullptr) {
      chosen.kernels = kernels::find_table(o.isa);
      if (chosen.kernels == nullptr) {
        throw Error(ErrorCode::kInvalidArgument,
                    "kernels " + quoted(o.isa) + " are unknown, or this CPU cannot run them");
      }
    }
    if (o.window >= 0) chosen.window = static_cast<std::size_t>(o.window);
    Model model = Model::load(path, chosen);
    std::string name = model.config().name;
    return new gemma_model{std::move(model), std::move(name)};
  });
}
void gemma_model_free(gemma_model* model) {
  delete model;
}

int gemma_model_get_info(const gemma_model* model, gemma_model_info* info, gemma_error** error) {
  return guarded(error, -1, [&] {
    require(model != nullptr && info != nullptr, "the model or the information is NULL");
    const ModelConfig& c = model->model.config();
    gemma_model_info out GEMMA_MODEL_INFO_INIT;
    out.vocab_size = c.vocab_size;
    out.d_model = c.d_model;
    out.n_layers = c.n_layers();
    out.max_seq_len = c.max_seq_len;
    out.file_bytes = model->model.file().size_bytes();
    if (model->model.has_tokenizer()) {
      out.bos = model->model.vocab().bos().value_or(-1);
      out.eos = model->model.vocab().eos().value_or(-1);
    }
    out.embedding_width = c.embedding_width();
    out.has_head = c.has_head ? 1 : 0;
    give(info, out);
    return 0;
  });
}
const char* gemma_model_get_name(const gemma_model* model) {
  return model == nullptr ? "" : model->name.c_str();
}
int gemma_model_is_end(const gemma_model* model, int32_t token) {
  return model != nullptr && model->model.has_tokenizer() && model->model.vocab().is_stop(token) ? 1 : 0;
}

int gemma_encode(const gemma_model* model, const char* text, size_t length, int flags, int32_t* out,
                 size_t capacity, size_t* n, gemma_error** error) {
  return guarded(error, -1, [&] {
    require(model != nullptr, "the model is NULL");
    const auto bytes = list(text, length);
    const Tokenizer& tokenizer = model->model.tokenizer();
    const EncodeOptions options{
        .parse_special = (flags & GEMMA_ENCODE_SPECIAL) != 0,
        .add_bos = (flags & GEMMA_ENCODE_BOS) != 0 && tokenizer.vocab().add_bos(),
    };
    return give_list(tokenizer.encode({bytes.data(), bytes.size()}, options), out, capacity, n);
  });
}

int gemma_decode(const gemma_model* model, const int32_t* ids, size_t n_ids, char* out, size_t capacity,
                 size_t* n, gemma_error** error) {
  return guarded(error, -1, [&] {
    require(model != nullptr, "the model is NULL");
    return give_list(model->model.tokenizer().decode(list(ids, n_ids)), out, capacity, n);
  });
}

int gemma_encode_chat(const gemma_model* model, const gemma_message* messages, size_t n_messages,
                      int32_t* out, size_t capacity, size_t* n, gemma_error** error) {
  return guarded(error, -1, [&] {
    require(model != nullptr, "the model is NULL");
    std::vector<Message> turns;
    for (const gemma_message& m : list(messages, n_messages)) {
      require(m.role != nullptr && m.content != nullptr, "a message's role or content is NULL");
      turns.push_back({m.role, m.content});
    }
    return give_list(model->model.encode_chat(turns, {.merge_system = true}), out, capacity, n);
  });
}

int gemma_model_plan(const gemma_model* model, const gemma_session_options* options, gemma_memory_plan* plan,
                     gemma_error** error) {
  return guarded(error, -1, [&] {
    require(model != nullptr && plan != nullptr, "the model or the plan is NULL");
    const MemoryPlan p = model->model.plan(session_options(options));
    give(plan, {plan->size, p.file_bytes, p.kv_bytes, p.workspace_bytes, p.token_bytes, p.n_ctx});
    return 0;
  });
}

gemma_session* gemma_session_new(const gemma_model* model, const gemma_session_options* options,
                                 gemma_error** error) {
  return guarded<gemma_session*>(error, nullptr, [&] {
    require(model != nullptr, "the model is NULL");
    return new gemma_session{Session(model->model, session_options(options))};
  });
}
void gemma_session_free(gemma_session* session) {
  delete session;
}

int gemma_session_prefill(gemma_session* session, const int32_t* ids, size_t n_ids, size_t* n_reused,
                          gemma_error** error) {
  return guarded(error, -1, [&] {
    require(session != nullptr, "the session is NULL");
    const PrefillResult result = session->session.prefill(list(ids, n_ids));
    if (n_reused != nullptr) *n_reused = result.n_reused;
    return 0;
  });
}
int gemma_session_append(gemma_session* session, const int32_t* ids, size_t n_ids, gemma_error** error) {
  return guarded(error, -1, [&] {
    require(session != nullptr, "the session is NULL");
    session->session.append(list(ids, n_ids));
    return 0;
  });
}
int gemma_session_truncate(gemma_session* session, size_t n, gemma_error** error) {
  return guarded(error, -1, [&] {
    require(session != nullptr, "the session is NULL");
    session->session.truncate(n);
    return 0;
  });
}
size_t gemma_session_n_past(const gemma_session* session) {
  return session == nullptr ? 0 : session->session.n_past();
}
size_t gemma_session_n_ctx(const gemma_session* session) {
  return session == nullptr ? 0 : session->session.n_ctx();
}

const float* gemma_session_logits(const gemma_session* session, gemma_error** error) {
  return guarded<const float*>(error, nullptr, [&] {
    require(session != nullptr, "the session is NULL");
    return session->session.logits().data();
  });
}
const float* gemma_session_hidden_state(const gemma_session* session, gemma_error** error) {
  return guarded<const float*>(error, nullptr, [&] {
    require(session != nullptr, "the session is NULL");
    return session->session.hidden_state().data();
  });
}
int gemma_session_score(gemma_session* session, const int32_t* ids, size_t n_ids, double* out,
                        gemma_error** error) {
  return guarded(error, -1, [&] {
    require(session != nullptr, "the session is NULL");
    require(out != nullptr || n_ids == 0, "the output is NULL");
    const std::vector<double> all = session->session.score(list(ids, n_ids));
    std::copy(all.begin(), all.end(), out);
    return 0;
  });
}

void gemma_session_cancel(gemma_session* session) {
  if (session != nullptr) session->session.cancel();
}
void gemma_session_clear_cancel(gemma_session* session) {
  if (session != nullptr) session->session.clear_cancel();
}

gemma_snapshot* gemma_session_snapshot(const gemma_session* session, gemma_error** error) {
  return guarded<gemma_snapshot*>(error, nullptr, [&] {
    require(session != nullptr, "the session is NULL");
    return new gemma_snapshot{session->session.snapshot()};
  });
}
int gemma_session_restore(gemma_session* session, const gemma_snapshot* snapshot, gemma_error** error) {
  return guarded(error, -1, [&] {
    require(session != nullptr && snapshot != nullptr, "the session or the snapshot is NULL");
    session->session.restore(snapshot->snapshot);
    return 0;
  });
}
void gemma_snapshot_free(gemma_snapshot* snapshot) {
  delete snapshot;
}

gemma_sampler* gemma_sampler_new(const gemma_sampler_options* options, gemma_error** error) {
  return guarded<gemma_sampler*>(error, nullptr, [&] {
    const auto o = options_or(options, gemma_sampler_options GEMMA_SAMPLER_OPTIONS_INIT);
    return new gemma_sampler{
        Sampler({o.temperature, o.top_k, o.top_p, o.min_p, o.repeat_penalty, o.repeat_last, o.seed})};
  });
}
void gemma_sampler_free(gemma_sampler* sampler) {
  delete sampler;
}
int32_t gemma_sampler_sample(gemma_sampler* sampler, const float* logits, size_t n, gemma_error** error) {
  return guarded(error, int32_t{-1}, [&] {
    require(sampler != nullptr, "the sampler is NULL");
    return sampler->sampler.sample(list(logits, n));
  });
}

int gemma_session_generate(gemma_session* session, gemma_sampler* sampler,
                           const gemma_generate_options* options, gemma_generate_result* result,
                           gemma_error** error) {
  return guarded(error, -1, [&] {
    require(session != nullptr, "the session is NULL");
    const auto o = options_or(options, gemma_generate_options GEMMA_GENERATE_OPTIONS_INIT);
    PickToken pick = argmax;
    if (o.pick != nullptr) {
      pick = [&o](std::span<const float> logits) {
        return picked(o.pick(logits.data(), logits.size(), o.user));
      };
    } else if (sampler != nullptr) {
      pick = [sampler](std::span<const float> logits) { return sampler->sampler.sample(logits); };
    }
    const GenerateResult r = session->session.generate(std::move(pick), generate_options(o));
    if (result != nullptr) {
      give(result,
           {result->size, r.tokens.size(), static_cast<int>(r.reason), r.seconds, r.first_token_seconds});
    }
    return 0;
  });
}
