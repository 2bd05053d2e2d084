// Definitions of embedder.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "../gguf/finite.hpp"
#include "../gguf/linkage.hpp"
#include "check_number.hpp"
#include "engine_error_code.hpp"

namespace gemma {

namespace detail {

/// The sizes of an embedder for texts of n_ctx tokens.
struct EmbedderSizes {
  EmbedderSizes(const ModelConfig& c, const EmbedderOptions& o, std::size_t n_ctx) {
    kv_type = o.kv_type.value_or(c.keeps_no_kv() ? KvType::kF32 : KvType::kF16);
    const std::size_t wanted = std::max<std::size_t>(o.chunk, 1);
    chunk = c.looks_ahead() ? std::max(wanted, n_ctx) : wanted;
    workspace = {
        .max_tokens = chunk, .max_logit_rows = 0, .n_threads = o.n_threads, .max_hidden_rows = chunk};
    // room for one text of the longest length, or for several short ones, each in whole blocks of kKeyBlock
    // positions
    const std::size_t together = c.keeps_no_kv() ? 4 * chunk : chunk;
    cache_bytes = std::max(KvCache::bytes_for(c, {n_ctx, kv_type, std::min(chunk, n_ctx)}),
                           KvCache::bytes_for(c, {together, kv_type, together}));
  }
  KvType kv_type;
  std::size_t chunk;  // tokens of one forward pass
  std::size_t cache_bytes;
  WorkspaceOptions workspace;
};

/// A copy of the first n elements of u, scaled to length 1.
inline std::vector<float> unit_vector(std::span<const float> u, std::size_t n) {
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if (!is_finite(u[i]))
      detail::refuse(EngineErrorCode::kNotFinite, "the embedding contains a number that is not finite");
    sum += static_cast<double>(u[i]) * static_cast<double>(u[i]);
  }
  const double length = std::sqrt(sum);
  std::vector<float> out(u.begin(), u.begin() + static_cast<std::ptrdiff_t>(n));
  if (length == 0) return out;
  for (float& x : out) x = static_cast<float>(static_cast<double>(x) / length);
  return out;
}

}  // namespace detail

GEMMA_INLINE MemoryPlan plan_embedder(const Model& model, const EmbedderOptions& options) {
  EmbedderOptions o = options;
  detail::check_number("n_ctx", o.n_ctx, 0, ModelConfig::kMostPositions);
  detail::check_number("chunk", o.chunk, 0, 1u << 24);
  if (o.n_threads == 0) o.n_threads = physical_core_count();
  return detail::or_out_of_memory("no memory for a plan", [&] {
    return detail::fit_context(model, o.n_ctx, o.max_memory, [&](std::size_t n_ctx) {
      const detail::EmbedderSizes s(model.config(), o, n_ctx);
      MemoryPlan p;
      p.file_bytes = model.file_bytes();
      p.kv_bytes = s.cache_bytes;
      p.workspace_bytes =
          detail::WorkspaceSizes(model.config(), model.weights(), model.kernels(), s.workspace).bytes();
      p.n_ctx = n_ctx;
      return p;
    });
  });
}

GEMMA_INLINE std::vector<std::vector<float>> Model::embed(std::span<const std::string> texts,
                                                          EmbedPrompt prompt,
                                                          const EmbedderOptions& options) const {
  EmbedderOptions o = options;
  const bool any_context = o.n_ctx == 0;
  if (any_context) o.n_ctx = std::min(config().max_seq_len, kDefaultContext);
  std::vector<std::vector<std::int32_t>> ids;
  std::size_t longest = 1, total = 1;
  for (const std::string& text : texts) {
    ids.push_back(Embedder::encode(*this, text, prompt, o.n_ctx, o.truncate));
    longest = std::max(longest, ids.back().size());
    total += ids.back().size();
  }
  if (any_context) o.n_ctx = longest;
  o.chunk = std::min(o.chunk, total);
  return Embedder(*this, o).embed_ids(ids);
}

GEMMA_INLINE std::vector<float> Model::embed(std::string_view text, EmbedPrompt prompt,
                                             const EmbedderOptions& options) const {
  const std::string one(text);
  return std::move(embed(std::span(&one, 1), prompt, options).front());
}

GEMMA_INLINE Embedder::Embedder(Model model, const EmbedderOptions& options)
    : Embedder(model, options, gemma::plan_embedder(model, options)) {}

GEMMA_INLINE Embedder::Embedder(Model model, const EmbedderOptions& options, const MemoryPlan& plan)
    : model_(model),
      n_ctx_(plan.n_ctx),
      chunk_(detail::EmbedderSizes(model.config(), options, plan.n_ctx).chunk),
      dims_(options.dims),
      pooling_(options.pooling.value_or(model.config().embedding.pooling)),
      kv_type_(detail::EmbedderSizes(model.config(), options, plan.n_ctx).kv_type),
      truncate_(options.truncate),
      workspace_(model.make_workspace(detail::EmbedderSizes(model.config(), options, plan.n_ctx).workspace)),
      memory_(plan.kv_bytes, "caches of an embedder") {
  const ModelConfig& c = model.config();
  if (pooling_ == Pooling::kFirst && !c.looks_ahead()) {
    detail::refuse(ErrorCode::kInvalidArgument,
                   "the first token of a model with causal attention does not depend on the text: use mean "
                   "or last pooling");
  }
  const std::size_t width = pooling_ == Pooling::kNone ? c.d_model : c.embedding_width();
  if (dims_ > width || (dims_ != 0 && pooling_ == Pooling::kNone)) {
    detail::refuse(ErrorCode::kInvalidArgument, [&] {
      return pooling_ == Pooling::kNone ? "dims cannot be combined with Pooling::kNone"
                                        : "embeddings of " + std::to_string(dims_) +
                                              " numbers; the model has " + std::to_string(width);
    });
  }
  if (dims_ == 0) dims_ = width;
}

GEMMA_INLINE std::vector<std::int32_t> Embedder::encode(std::string_view text, EmbedPrompt prompt) const {
  return encode(model_, text, prompt, n_ctx_, truncate_);
}

GEMMA_INLINE std::vector<std::int32_t> Embedder::encode(const Model& model, std::string_view text,
                                                        EmbedPrompt prompt, std::size_t n_ctx,
                                                        bool truncate) {
  const EmbeddingConfig& e = model.config().embedding;
  const Vocab& vocab = model.vocab();
  if (prompt != EmbedPrompt::kNone && e.query_prompt.empty()) {
    detail::refuse(ErrorCode::kInvalidArgument, [&] {
      return model.file().path() +
             ": no prompts for queries and documents are known for this model; put what it "
             "was trained with into the text";
    });
  }
  const std::string& before = prompt == EmbedPrompt::kQuery ? e.query_prompt : e.document_prompt;
  std::vector<std::int32_t> ids = detail::or_out_of_memory("no memory for a text", [&] {
    const std::string whole = prompt == EmbedPrompt::kNone ? std::string(text) : before + std::string(text);
    return model.tokenizer().encode(whole);
  });
  const bool ends = vocab.add_eos().value_or(e.adds_eos) && vocab.eos().has_value();
  const std::size_t n = ids.size() + (ends ? 1 : 0);
  if (n == 0) detail::refuse(ErrorCode::kInvalidArgument, "the text has no tokens");
  if (n > n_ctx && !truncate) {
    detail::refuse(EngineErrorCode::kContextFull, [&] {
      return "a text of " + std::to_string(n) + " tokens; the context holds " + std::to_string(n_ctx);
    });
  }
  ids.resize(std::min(ids.size(), n_ctx - (ends ? 1 : 0)));
  if (ends) ids.push_back(*vocab.eos());
  return ids;
}

GEMMA_INLINE std::vector<std::vector<float>> Embedder::embed(std::span<const std::string> texts,
                                                             EmbedPrompt prompt,
                                                             const std::atomic<bool>* cancel) {
  std::vector<std::vector<std::int32_t>> ids;
  for (const std::string& text : texts) ids.push_back(encode(text, prompt));
  return embed_ids(ids, cancel);
}

GEMMA_INLINE void Embedder::check_ids(std::span<const std::int32_t> ids) const {
  if (ids.empty()) detail::refuse(ErrorCode::kInvalidArgument, "a text without tokens");
  if (ids.size() > n_ctx_) {
    detail::refuse(EngineErrorCode::kContextFull, [&] {
      return "a text of " + std::to_string(ids.size()) + " tokens; the context holds " +
             std::to_string(n_ctx_);
    });
  }
  for (const std::int32_t id : ids) model_.check_token(id);
}

GEMMA_INLINE std::vector<std::vector<float>> Embedder::embed_ids(
    std::span<const std::vector<std::int32_t>> texts, const std::atomic<bool>* cancel, detail::Trace* trace) {
  for (const auto& ids : texts) check_ids(ids);
  return detail::or_out_of_memory("no memory for embeddings", [&] {
    std::vector<std::vector<float>> out(texts.size());
    for (std::size_t done = 0; done < texts.size();) {
      std::vector<Text> together = collect(texts, done, out);
      compute(together, cancel, trace);
      done += together.size();
    }
    if (pooling_ == Pooling::kNone) return out;
    for (std::size_t done = 0; done < out.size(); done += detail::kPooledRows) {
      finish(std::span(out).subspan(done, std::min(detail::kPooledRows, out.size() - done)), trace);
    }
    return out;
  });
}

GEMMA_INLINE std::vector<Embedder::Text> Embedder::collect(std::span<const std::vector<std::int32_t>> texts,
                                                           std::size_t first,
                                                           std::vector<std::vector<float>>& out) {
  const ModelConfig& c = model_.config();
  std::vector<Text> together;
  std::size_t rows = 0, used = 0;
  for (std::size_t i = first; i < texts.size(); ++i) {
    const std::size_t n = texts[i].size();
    const KvCacheOptions options{n, kv_type_, std::min(chunk_, n)};
    const std::size_t bytes = (KvCache::bytes_for(c, options) + 63) / 64 * 64;
    if (!together.empty() && (rows + n > chunk_ || used + bytes > memory_.size())) break;
    const std::span<std::byte> memory(memory_.data() + used, memory_.size() - used);
    together.push_back({texts[i], KvCache(c, options, memory), {}, &out[i]});
    if (pooling_ == Pooling::kMean) together.back().sum.assign(c.d_model, 0.0);
    rows += n;
    used += bytes;
  }
  return together;
}

GEMMA_INLINE void Embedder::compute(std::vector<Text>& texts, const std::atomic<bool>* cancel,
                                    detail::Trace* trace) {
  const std::size_t d = model_.config().d_model;
  std::vector<Chunk> chunks;
  // a text that is longer than one forward pass is never combined with others
  for (std::size_t done = 0; done < texts.front().ids.size(); done += chunk_) {
    chunks.clear();
    for (Text& t : texts) {
      const auto part = t.ids.subspan(done, std::min(chunk_, t.ids.size() - done));
      const bool is_last = done + part.size() == t.ids.size();
      const Logits which = pooling_ != Pooling::kLast ? Logits::kAll
                           : is_last                  ? Logits::kLast
                                                      : Logits::kNone;
      chunks.push_back({part, &t.cache, which});
    }
    std::span<const float> rows =
        model_.run_layers(chunks, workspace_, {0, model_.config().n_layers(), {}}, cancel, trace, false);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const Chunk& c = chunks[i];
      const std::size_t n = c.logits == Logits::kAll ? c.tokens.size() : c.logits == Logits::kLast ? 1 : 0;
      pool(texts[i], rows.first(n * d), done + c.tokens.size() == texts[i].ids.size());
      rows = rows.subspan(n * d);
    }
  }
}

GEMMA_INLINE void Embedder::pool(Text& text, std::span<const float> rows, bool is_last) const {
  const std::size_t d = model_.config().d_model;
  switch (pooling_) {
    case Pooling::kNone:
      text.out->insert(text.out->end(), rows.begin(), rows.end());
      return;
    case Pooling::kFirst:
      if (text.out->empty()) text.out->assign(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(d));
      return;
    case Pooling::kLast:
      text.out->assign(rows.begin(), rows.end());
      return;
    case Pooling::kMean:
      // in double and in the order of the tokens, so that the result does not depend on chunks
      for (std::size_t i = 0; i < rows.size(); ++i) text.sum[i % d] += static_cast<double>(rows[i]);
      if (!is_last) return;
      for (const double sum : text.sum) {
        text.out->push_back(static_cast<float>(sum / static_cast<double>(text.ids.size())));
      }
      return;
  }
}

GEMMA_INLINE void Embedder::project(std::span<std::vector<float>> pooled, detail::Trace* trace) {
  const std::size_t d = model_.config().d_model, width = model_.config().embedding_width();
  for (std::size_t i = 0; i < pooled.size(); ++i) {
    std::copy(pooled[i].begin(), pooled[i].end(), workspace_.pooled.data() + i * d);
  }
  const std::span<const float> all = model_.run_dense(workspace_, pooled.size(), trace);
  for (std::size_t i = 0; i < pooled.size(); ++i) {
    const auto row = all.subspan(i * width, width);
    pooled[i].assign(row.begin(), row.end());
  }
}

GEMMA_INLINE void Embedder::finish(std::span<std::vector<float>> pooled, detail::Trace* trace) {
  if (trace != nullptr) {
    for (const auto& u : pooled) trace->value("pooled", 0, u.data(), 1, u.size());
  }
  if (!model_.weights().dense.empty()) project(pooled, trace);
  for (auto& u : pooled) u = detail::unit_vector(u, dims_);
}

}  // namespace gemma
