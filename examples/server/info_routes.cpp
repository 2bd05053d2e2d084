// The routes that generate no text: models, embeddings, tokens, templates, and the state of the server.
#include <cmath>
#include <optional>
#include <utility>

#include "examples/server/api.hpp"
#include "examples/server/json.hpp"
#include "examples/server/page.hpp"
#include "examples/server/prompts.hpp"
#include "examples/server/request.hpp"
#include "examples/server/response.hpp"
#include "gemma/version.hpp"
#include "tokenizer/utf8.hpp"

namespace gemma::server {
namespace {

HttpReply reply_of(const Json& json) {
  HttpReply out;
  out.body = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  return out;
}

/// Cuts a vector to its first n elements and scales it to length 1.
void cut(std::vector<float>& v, std::size_t n) {
  v.resize(n);
  double squares = 0;
  for (const float x : v) squares += static_cast<double>(x) * x;
  const double scale = squares > 0 ? 1 / std::sqrt(squares) : 0;
  for (float& x : v) x = static_cast<float>(x * scale);
}

Json sampling_json(const SamplingDefaults& s) {
  return {{"temperature", s.temperature},
          {"top_k", s.top_k},
          {"top_p", s.top_p},
          {"min_p", s.min_p},
          {"repeat_penalty", s.repeat_penalty}};
}

}  // namespace

HttpReply Api::page(const Call&) {
  HttpReply out;
  out.type = "text/html; charset=utf-8";
  out.body = embedded::kPage;
  return out;
}

HttpReply Api::health(const Call&) {
  return reply_of({{"status", "ok"}});
}

HttpReply Api::models(const Call&) {
  std::vector<std::string> names;
  for (const ModelFile& f : pool_.files()) names.push_back(f.name);
  HttpReply out;
  out.body = model_list(names, created_);
  return out;
}

HttpReply Api::model(const Call& call) {
  const std::string name = call.request.path.substr(std::string_view("/v1/models/").size());
  HttpReply out;
  out.body = model_entry(pool_.files()[pool_.find(name)].name, created_);
  return out;
}

HttpReply Api::embeddings(const Call& call) {
  const EmbeddingRequest asked = read_embedding(call.request.body);
  ModelPool::Lease model = acquire(asked.model, call);
  const std::size_t width = model->embedding_width();
  if (asked.dimensions.value_or(width) > width) {
    throw wrong("dimensions", "is more than the " + std::to_string(width) + " numbers that this model gives");
  }
  std::vector<std::vector<std::int32_t>> texts;
  std::size_t n_tokens = 0;
  for (const Prompt& p : asked.inputs) {
    const auto* text = std::get_if<std::string>(&p);
    texts.push_back(text != nullptr ? model->encode_for_embedding(*text)
                                    : std::get<std::vector<std::int32_t>>(p));
    n_tokens += texts.back().size();
  }
  auto vectors = model->embed(texts, [&] { return cancelled() || call.request.client_left(); });
  for (auto& v : vectors) {
    if (asked.dimensions) cut(v, *asked.dimensions);
  }
  call.log->insert(call.log->end(),
                   {{"model", Log::text(model->name())}, {"prompt", std::to_string(n_tokens)}});
  HttpReply out;
  out.body = server::embeddings(model->name(), vectors, n_tokens, asked.base64);
  return out;
}

HttpReply Api::tokenize(const Call& call) {
  const TokenizeRequest asked = read_tokenize(call.request.body);
  ModelPool::Lease model = acquire(asked.model, call);
  const Tokenizer& tokenizer = model->model().tokenizer();
  const auto ids =
      tokenizer.encode(asked.content, {.parse_special = asked.parse_special,
                                       .add_bos = asked.add_special ? std::nullopt : std::optional(false),
                                       .literal = {}});
  Json tokens = Json::array();
  for (const std::int32_t id : ids) {
    if (!asked.with_pieces) {
      tokens.push_back(id);
      continue;
    }
    const std::string bytes = tokenizer.token_bytes(id);
    Json piece = bytes;
    if (utf8::replace_invalid(bytes) != bytes) {  // a part of a character: its bytes, as in llama-server
      piece = Json::array();
      for (const char c : bytes) piece.push_back(static_cast<unsigned char>(c));
    }
    tokens.push_back({{"id", id}, {"piece", piece}});
  }
  return reply_of({{"tokens", tokens}});
}

HttpReply Api::detokenize(const Call& call) {
  const DetokenizeRequest asked = read_detokenize(call.request.body);
  ModelPool::Lease model = acquire(asked.model, call);
  return reply_of({{"content", model->model().tokenizer().decode(asked.tokens, {.show_special = true})}});
}

HttpReply Api::apply_template(const Call& call) {
  const ChatRequest asked = read_chat(call.request.body);
  return reply_of({{"prompt", chat_text(*acquire(asked.model, call), asked)}});
}

HttpReply Api::count_tokens(const Call& call) {
  const ChatRequest asked = read_anthropic(call.request.body, false);
  return reply_of({{"input_tokens", chat_ids(*acquire(asked.model, call), asked).size()}});
}

HttpReply Api::props(const Call& call) {
  ModelPool::Lease lease = acquire(call.request.model, call);
  ServedModel& m = *lease;
  const Vocab& vocab = m.model().vocab();
  const auto piece = [&](const std::optional<TokenId>& id) {
    return id ? std::string(vocab.piece(*id)) : std::string();
  };
  return reply_of({{"model", m.name()},
                   {"model_path", m.model().file().path()},
                   {"architecture", vocab.architecture()},
                   {"version", GEMMA_VERSION_STRING},
                   {"isa", std::string(m.model().kernels().name)},
                   {"total_slots", m.scheduler_if_any() != nullptr ? pool_.parallel() : 0},
                   {"n_ctx", m.n_ctx()},
                   {"n_ctx_train", m.model().config().max_seq_len},
                   {"vocab_size", m.model().config().vocab_size},
                   {"embedding_width", m.embedding_width()},
                   {"kv", std::string(kernels::kv_type_info(m.kv_type()).name)},
                   {"memory_bytes", m.memory_bytes()},
                   {"generates", m.scheduler_if_any() != nullptr},
                   {"thinks", m.agent() != nullptr},
                   {"tools", m.agent() != nullptr && !m.agent()->call_open.empty()},
                   {"chat_template", std::string(m.chat().dialect().name)},
                   {"chat_template_note", m.chat().note()},
                   {"bos_token", piece(vocab.bos())},
                   {"eos_token", piece(vocab.eos())},
                   {"default_generation_settings", sampling_json(m.sampling())},
                   {"modalities", {{"vision", false}, {"audio", false}}}});
}

HttpReply Api::slots(const Call&) {
  const auto running = activity_.running();
  Json out = Json::array();
  const auto loaded = pool_.loaded();
  for (const auto& m : loaded) {
    if (!m || m->scheduler_if_any() == nullptr) continue;
    std::vector<const Running*> taken;
    for (const auto& r : running) {
      if (r->model == m->name() && r->has_slot.load()) taken.push_back(r.get());
    }
    for (std::size_t i = 0; i < m->scheduler_if_any()->max_sequences(); ++i) {
      const Running* r = i < taken.size() ? taken[i] : nullptr;
      out.push_back({{"id", i},
                     {"model", m->name()},
                     {"n_ctx", m->n_ctx()},
                     {"is_processing", r != nullptr},
                     {"request", r != nullptr ? Json(r->id) : Json()},
                     {"n_prompt", r != nullptr ? r->n_prompt : 0},
                     {"n_generated", r != nullptr ? r->n_generated.load() : 0}});
    }
  }
  return reply_of(out);
}

}  // namespace gemma::server
