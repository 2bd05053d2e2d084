// Samplers, grammars and generations of the C interface: an answer of one session, whole or one step at a
// time.
#include <algorithm>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "c_api.h"
#include "c_guard.hpp"
#include "c_objects.hpp"
#include "log_probability.hpp"

struct gemma_stream {
  gemma::TokenStream stream;
  std::string text;  // the text that the last call of gemma_stream_next() returned
};

namespace gemma {
namespace {

using namespace c_api;

/// How the next token of a session that holds `tokens` is chosen.
PickToken pick_of(const gemma_generate_options& o, gemma_sampler* sampler,
                  std::span<const std::int32_t> tokens) {
  if (o.pick != nullptr) {
    return [pick = o.pick, user = o.user](std::span<const float> logits) {
      return picked(pick(logits.data(), logits.size(), user));
    };
  }
  if (sampler != nullptr) sampler->sampler.note(tokens);
  if (o.grammar != nullptr) {
    // the caller's sampler is used, not a copy, so that its state continues after this answer
    if (sampler != nullptr) {
      GrammarMask mask(o.grammar->grammar, o.grammar->pieces);
      return ConstrainedPick(sampler->sampler, std::move(mask), std::nullopt);
    }
    auto own = std::make_shared<ConstrainedSampler>(Sampler(), *o.grammar);
    return [own](std::span<const float> logits) { return own->pick(logits); };
  }
  if (sampler != nullptr) {
    return [sampler](std::span<const float> logits) { return sampler->sampler.sample(logits); };
  }
  return argmax;
}

void give_result(gemma_generate_result* out, const GenerateResult& r) {
  if (out != nullptr) give(out, result_of(r, out->size));
}

/// The options of a session's generation, checked.
gemma_generate_options session_generation(gemma_session* session, const gemma_generate_options* options) {
  require(session != nullptr, "the session is NULL");
  const auto o = options_or(options, gemma_generate_options GEMMA_GENERATE_OPTIONS_INIT);
  check_grammar(o, session->session.model().config().vocab_size);
  return o;
}

Grammar grammar_of(int kind, std::string_view text) {
  switch (kind) {
    case GEMMA_GRAMMAR_GBNF:
      return Grammar::gbnf(text);
    case GEMMA_GRAMMAR_JSON_SCHEMA:
      return Grammar::json_schema(text);
    case GEMMA_GRAMMAR_JSON_OBJECT:
      return Grammar::json_object();
    default:
      detail::refuse(ErrorCode::kInvalidArgument, "unknown kind of grammar");
  }
}

std::shared_ptr<const PieceTrie> pieces_of(const gemma_model& model) {
  const std::lock_guard lock(model.mutex);
  if (model.pieces == nullptr) model.pieces = PieceTrie::from(model.model.tokenizer());
  return model.pieces;
}

std::string_view text_of(const char* text, std::size_t length) {
  const auto bytes = list(text, length);
  return {bytes.data(), bytes.size()};
}

}  // namespace
}  // namespace gemma

using namespace gemma;
using namespace gemma::c_api;

gemma_sampler* gemma_sampler_new(const gemma_sampler_options* options, gemma_error** error) {
  return guarded<gemma_sampler*>(error, nullptr, [&] {
    const auto o = options_or(options, gemma_sampler_options GEMMA_SAMPLER_OPTIONS_INIT);
    return new gemma_sampler{Sampler(sampler_options(o))};
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
int gemma_sampler_note(gemma_sampler* sampler, int32_t token, gemma_error** error) {
  return guarded(error, -1, [&] {
    require(sampler != nullptr, "the sampler is NULL");
    sampler->sampler.note(token);
    return 0;
  });
}

int gemma_top_log_probabilities(const float* logits, size_t n, gemma_token_probability* out, size_t capacity,
                                size_t* n_top, gemma_error** error) {
  return guarded(error, -1, [&] {
    require(n_top != nullptr, "the pointer for the length is NULL");
    require(out != nullptr || capacity == 0, "the output is NULL");
    const std::vector<TokenProbability> top = top_log_probabilities(list(logits, n), capacity);
    std::transform(top.begin(), top.end(), out, [](const TokenProbability& t) {
      return gemma_token_probability{t.id, t.log_probability};
    });
    *n_top = top.size();
    return 0;
  });
}

gemma_grammar* gemma_grammar_new(const gemma_model* model, int kind, const char* text, size_t length,
                                 gemma_error** error) {
  return guarded<gemma_grammar*>(error, nullptr, [&] {
    require(model != nullptr, "the model is NULL");
    Grammar grammar = grammar_of(kind, text_of(text, length));
    return new gemma_grammar{std::move(grammar), pieces_of(*model)};
  });
}
void gemma_grammar_free(gemma_grammar* grammar) {
  delete grammar;
}
int gemma_grammar_matches(const gemma_grammar* grammar, const char* text, size_t length,
                          gemma_error** error) {
  return guarded(error, -1, [&] {
    require(grammar != nullptr, "the grammar is NULL");
    return grammar->grammar.matches(text_of(text, length)) ? 1 : 0;
  });
}

int gemma_session_generate(gemma_session* session, gemma_sampler* sampler,
                           const gemma_generate_options* options, gemma_generate_result* result,
                           gemma_error** error) {
  return guarded(error, -1, [&] {
    const gemma_generate_options o = session_generation(session, options);
    GenerateOptions chosen = generate_options(o);
    chosen.cancel = &session->cancelled;
    give_result(result, session->session.generate(pick_of(o, sampler, session->session.tokens()), chosen));
    return 0;
  });
}

gemma_stream* gemma_session_stream(gemma_session* session, gemma_sampler* sampler,
                                   const gemma_generate_options* options, gemma_error** error) {
  return guarded<gemma_stream*>(error, nullptr, [&] {
    const gemma_generate_options o = session_generation(session, options);
    GenerateOptions chosen = generate_options(o);
    chosen.cancel = &session->cancelled;
    return new gemma_stream{session->session.stream(pick_of(o, sampler, session->session.tokens()), chosen),
                            {}};
  });
}
int gemma_stream_next(gemma_stream* stream, gemma_token* token, gemma_error** error) {
  return guarded(error, -1, [&]() -> int {
    require(stream != nullptr && token != nullptr, "the stream or the token is NULL");
    const GeneratedToken* next = stream->stream.next();
    if (next == nullptr) return GEMMA_ANSWER_END;
    stream->text = next->text;
    *token = {next->id, stream->text.c_str(), stream->text.size(), next->log_probability};
    return GEMMA_ANSWER_TOKEN;
  });
}
int gemma_stream_get_result(const gemma_stream* stream, gemma_generate_result* result, gemma_error** error) {
  return guarded(error, -1, [&] {
    require(stream != nullptr && result != nullptr, "the stream or the result is NULL");
    give_result(result, stream->stream.result());
    return 0;
  });
}
void gemma_stream_free(gemma_stream* stream) {
  delete stream;
}
