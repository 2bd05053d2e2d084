// The C interface over the C++ one.
// Invariant: every function that can throw does so inside guarded(), which turns it into a gemma_error.
#include "c_api.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "c_guard.hpp"
#include "c_objects.hpp"
#include "gemma.hpp"

namespace gemma {
namespace {

using namespace c_api;

static_assert(static_cast<int>(StopReason::kEndOfTurn) == GEMMA_STOP_END_OF_TURN &&
              static_cast<int>(StopReason::kStopString) == GEMMA_STOP_STRING &&
              static_cast<int>(StopReason::kMaxTokens) == GEMMA_STOP_MAX_TOKENS &&
              static_cast<int>(StopReason::kContextFull) == GEMMA_STOP_CONTEXT_FULL &&
              static_cast<int>(StopReason::kCallback) == GEMMA_STOP_CALLBACK &&
              static_cast<int>(StopReason::kCancelled) == GEMMA_STOP_CANCELLED);

SessionOptions session_options(const gemma_session_options* given) {
  const auto o = options_or(given, gemma_session_options GEMMA_SESSION_OPTIONS_INIT);
  SessionOptions out;
  out.n_ctx = o.n_ctx;
  if (o.chunk != 0) out.chunk = o.chunk;
  if (o.logit_rows != 0) out.logit_rows = o.logit_rows;
  out.max_memory = o.max_memory;
  out.n_threads = o.n_threads;
  out.kv_type = kv_type_of(o.kv_type, o.kv_float32);
  out.draft = draft_options(o.draft, o.draft_tokens, o.draft_model);
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
        detail::refuse(ErrorCode::kInvalidArgument, [&] {
          return "instruction set " + quoted(o.isa) +
                 " is not available: this build does not have it, or this CPU does not support it";
        });
      }
    }
    if (o.window >= 0) chosen.window = static_cast<std::size_t>(o.window);
    const auto adapters = list(o.adapters, o.n_adapters);
    for (std::size_t i = 0; i < adapters.size(); ++i) {
      require(adapters[i] != nullptr, "an adapter's path is NULL");
      const float scale = o.adapter_scales != nullptr ? o.adapter_scales[i] : 1.0f;
      chosen.adapters.push_back(std::make_shared<const Adapter>(Adapter::open(adapters[i], scale)));
    }
    Model model = Model::load(path, chosen);
    std::string name = model.config().name;
    return new gemma_model{std::move(model), std::move(name), {}, {}};
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
        .add_bos = (flags & GEMMA_ENCODE_BOS) != 0 ? std::nullopt : std::optional(false),
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
    const MemoryPlan p = plan_session(model->model, session_options(options));
    give(plan,
         {plan->size, p.file_bytes, p.kv_bytes, p.workspace_bytes, p.token_bytes, p.n_ctx, p.draft_bytes});
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

int gemma_session_set_tokens(gemma_session* session, const int32_t* ids, size_t n_ids, size_t* n_reused,
                             gemma_error** error) {
  return guarded(error, -1, [&] {
    require(session != nullptr, "the session is NULL");
    const PrefillResult result = session->session.set_tokens(list(ids, n_ids), session->run());
    if (n_reused != nullptr) *n_reused = result.n_reused;
    return 0;
  });
}
int gemma_session_prefill(gemma_session* session, const int32_t* ids, size_t n_ids, size_t* n_reused,
                          gemma_error** error) {
  return gemma_session_set_tokens(session, ids, n_ids, n_reused, error);
}
int gemma_session_append(gemma_session* session, const int32_t* ids, size_t n_ids, gemma_error** error) {
  return guarded(error, -1, [&] {
    require(session != nullptr, "the session is NULL");
    session->session.append(list(ids, n_ids), session->run());
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

int gemma_session_get_tokens(const gemma_session* session, int32_t* out, size_t capacity, size_t* n,
                             gemma_error** error) {
  return guarded(error, -1, [&] {
    require(session != nullptr, "the session is NULL");
    return give_list(session->session.tokens(), out, capacity, n);
  });
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
    const std::vector<double> all = session->session.score(list(ids, n_ids), session->run());
    std::copy(all.begin(), all.end(), out);
    return 0;
  });
}

void gemma_session_cancel(gemma_session* session) {
  if (session != nullptr) session->cancelled = true;
}
void gemma_session_clear_cancel(gemma_session* session) {
  if (session != nullptr) session->cancelled = false;
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
int gemma_snapshot_write(const gemma_snapshot* snapshot, const gemma_model* model, void* out, size_t capacity,
                         size_t* n, gemma_error** error) {
  return guarded(error, -1, [&] {
    require(snapshot != nullptr && model != nullptr, "the snapshot or the model is NULL");
    require(n != nullptr, "the pointer for the length is NULL");
    require(out != nullptr || capacity == 0, "the output is NULL");
    std::size_t size = 0;
    write_snapshot(snapshot->snapshot, model->model, [&](std::span<const std::byte> bytes) {
      const std::size_t room = capacity - std::min(capacity, size);
      std::copy_n(bytes.begin(), std::min(room, bytes.size()),
                  static_cast<std::byte*>(out) + std::min(capacity, size));
      size += bytes.size();
    });
    *n = size;
    return 0;
  });
}
gemma_snapshot* gemma_snapshot_read(const gemma_session* session, const void* bytes, size_t size,
                                    gemma_error** error) {
  return guarded<gemma_snapshot*>(error, nullptr, [&] {
    require(session != nullptr, "the session is NULL");
    const Session& s = session->session;
    return new gemma_snapshot{read_snapshot(list(static_cast<const std::byte*>(bytes), size), s.model(),
                                            s.kv_options(), "snapshot")};
  });
}
void gemma_snapshot_free(gemma_snapshot* snapshot) {
  delete snapshot;
}
