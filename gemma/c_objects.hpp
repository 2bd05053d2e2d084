// Conversions of the C interface's structures that several units need. Private to them.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "c_guard.hpp"
#include "constrained_pick.hpp"
#include "generation.hpp"
#include "options.hpp"
#include "sampler.hpp"
#include "session.hpp"

/// A session and the flag that ends its calls.
struct gemma_session {
  mutable gemma::Session session;      // mutable: asking for logits may compute a waiting token
  std::atomic<bool> cancelled{false};  // set until gemma_session_clear_cancel()

  /// The options of calls on the session.
  gemma::RunOptions run() const noexcept { return {.progress = {}, .cancel = &cancelled}; }
};
/// A snapshot.
struct gemma_snapshot {
  gemma::Snapshot snapshot;  // the C++ object
};

/// A sampler.
struct gemma_sampler {
  gemma::Sampler sampler;  // the C++ object
};
/// A grammar for a vocabulary.
struct gemma_grammar {
  gemma::Grammar grammar;                          // the C++ object
  std::shared_ptr<const gemma::PieceTrie> pieces;  // of the model that the grammar was made for
};

namespace gemma::c_api {

/// The C++ type of a GEMMA_KV_... number. Throws Error{kInvalidArgument} for an unknown one.
inline KvType kv_type_of(int kv_type, int kv_float32) {
  switch (kv_type) {
    case GEMMA_KV_DEFAULT:
      return kv_float32 != 0 ? KvType::kF32 : KvType::kF16;
    case GEMMA_KV_F16:
      return KvType::kF16;
    case GEMMA_KV_F32:
      return KvType::kF32;
    case GEMMA_KV_Q8:
      return KvType::kQ8;
    default:
      detail::refuse(ErrorCode::kInvalidArgument, "unknown type of keys and values");
  }
}

/// The C++ form of draft options. Throws Error{kInvalidArgument} for an unknown GEMMA_DRAFT_... number, or a
/// missing model.
inline DraftOptions draft_options(int draft, std::size_t n_tokens, const gemma_model* model) {
  DraftOptions out;
  if (n_tokens != 0) out.max_tokens = n_tokens;
  switch (draft) {
    case GEMMA_DRAFT_OFF:
      return out;
    case GEMMA_DRAFT_LOOKUP:
      out.source = DraftSource::kLookup;
      return out;
    case GEMMA_DRAFT_MODEL:
      require(model != nullptr, "draft_model is NULL");
      out.source = DraftSource::kModel;
      out.model = std::make_shared<const Model>(model->model);
      return out;
    default:
      detail::refuse(ErrorCode::kInvalidArgument, "unknown draft source");
  }
}

/// The C form of a result; `size` is that of the caller's structure.
inline gemma_generate_result result_of(const GenerateResult& r, std::size_t size) {
  return {size,        r.tokens.size(),       static_cast<int>(r.reason),
          r.seconds,   r.first_token_seconds, r.n_steps,
          r.n_drafted, r.n_accepted};
}

/// The C++ form of sampler options.
inline SamplerOptions sampler_options(const gemma_sampler_options& o) {
  return {o.temperature, o.top_k, o.top_p, o.min_p, o.repeat_penalty, o.repeat_last, o.seed};
}

/// The C++ form of generation options, except for `pick`.
inline GenerateOptions generate_options(const gemma_generate_options& o) {
  GenerateOptions out;
  out.max_tokens = o.max_tokens;
  for (const char* stop : list(o.stop_strings, o.n_stop_strings)) {
    require(stop != nullptr, "a stop string is NULL");
    out.stop_strings.emplace_back(stop);
  }
  out.ignore_end = o.ignore_end != 0;
  out.log_probabilities = o.log_probabilities != 0;
  out.draft = o.no_draft == 0;
  if (o.on_token != nullptr) {
    out.on_token = [on_token = o.on_token, user = o.user](const GeneratedToken& t) {
      const std::string text(t.text);  // a copy that ends with NUL
      const gemma_token token{t.id, text.c_str(), text.size(), t.log_probability};
      return on_token(&token, user) != 0;
    };
  }
  if (o.process != nullptr) {
    out.process = [process = o.process, user = o.user](std::span<float> logits,
                                                       std::span<const std::int32_t> tokens) {
      process(logits.data(), logits.size(), tokens.data(), tokens.size(), user);
    };
  }
  return out;
}

/// A copy of a sampler, and a picker that uses it to choose among the tokens that a grammar allows.
struct ConstrainedSampler {
  Sampler sampler;       // the copy
  ConstrainedPick pick;  // uses `sampler`

  /// Starts at the beginning of a text.
  ConstrainedSampler(const Sampler& from, const gemma_grammar& grammar)
      : sampler(from), pick(sampler, GrammarMask(grammar.grammar, grammar.pieces), std::nullopt) {}
};

/// Throws Error{kInvalidArgument} if the grammar was made for another vocabulary, or if the options have
/// both a grammar and a picker.
inline void check_grammar(const gemma_generate_options& o, std::size_t vocab_size) {
  if (o.grammar == nullptr) return;
  require(o.pick == nullptr, "a grammar cannot be combined with a callback that picks tokens");
  require(o.grammar->pieces->vocab_size() <= vocab_size, "the grammar was made for another model");
}

/// Throws if the pick() callback returned a negative number, which ends the generation.
inline std::int32_t picked(std::int32_t token) {
  require(token >= 0, "the pick callback returned a negative id");
  return token;
}

}  // namespace gemma::c_api
