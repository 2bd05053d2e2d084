// Definitions of model.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "../gguf/linkage.hpp"
#include "../tokenizer/chat_template.hpp"
#include "checksum.hpp"
#include "decoder/dense.hpp"
#include "decoder/run.hpp"
#include "engine_error_code.hpp"
#include "families/registry.hpp"
#include "thread_team.hpp"

namespace gemma {

GEMMA_INLINE Model Model::load(std::string path, const ModelOptions& options) {
  return detail::or_out_of_memory("no memory for a model",
                                  [&] { return Model(gguf::File::open(std::move(path)), options); });
}

GEMMA_INLINE Model Model::from(gguf::File file, const ModelOptions& options) {
  return detail::or_out_of_memory("no memory for a model", [&] { return Model(std::move(file), options); });
}

GEMMA_INLINE const Tokenizer& Model::tokenizer() const {
  if (state_->tokenizer == nullptr) {
    detail::refuse(ErrorCode::kMissingKey, [&] {
      const bool there = file().find("tokenizer.ggml.model") != nullptr;
      return file().path() + (there ? ": the vocabulary was not read (ModelOptions::vocabulary)"
                                    : ": key 'tokenizer.ggml.model' is missing: no vocabulary");
    });
  }
  return *state_->tokenizer;
}

GEMMA_INLINE void Model::check_head() const {
  if (config().has_head) return;
  detail::refuse(ErrorCode::kUnsupported,
                 [&] { return file().path() + ": this model produces text embeddings, not logits"; });
}

GEMMA_INLINE const Vocab& Model::vocab() const {
  return tokenizer().vocab();
}

GEMMA_INLINE std::vector<std::string> Model::notes() const {
  return detail::or_out_of_memory("no memory for notes", [&] {
    std::vector<std::string> out = config().notes;
    if (has_tokenizer()) out.insert(out.end(), vocab().notes().begin(), vocab().notes().end());
    return out;
  });
}

GEMMA_INLINE std::uint64_t Model::fingerprint() const {
  constexpr std::size_t kPlaces = 64, kPiece = std::size_t{1} << 16;
  detail::Checksum sum;
  const auto add_part = [&](const gguf::File& part) {
    const std::span<const std::byte> bytes = part.map().bytes();
    sum.add(bytes.first(part.data_offset()));
    const std::span<const std::byte> data = bytes.subspan(part.data_offset());
    const std::uint64_t size = data.size();
    sum.add(std::as_bytes(std::span(&size, 1)));
    for (std::size_t i = 0; i < kPlaces; ++i) {
      const std::size_t at = data.size() / kPlaces * i;
      sum.add(data.subspan(at, std::min(kPiece, data.size() - at)));
    }
  };
  const auto add = [&](const gguf::File& whole) {
    whole.check_size();
    add_part(whole);
    for (const gguf::File& part : whole.other_parts()) add_part(part);
  };
  add(file());
  for (const auto& adapter : adapters()) {
    add(adapter->file());
    const float scale = adapter->scale();
    sum.add(std::as_bytes(std::span(&scale, 1)));
  }
  return sum.value();
}

GEMMA_INLINE std::size_t Model::file_bytes() const noexcept {
  std::size_t sum = file().size_bytes();
  for (const auto& adapter : adapters()) sum += adapter->file().size_bytes();
  for (const auto& floats : weights().decoded) sum += floats->size_bytes();
  return sum;
}

GEMMA_INLINE std::vector<std::int32_t> Model::encode_chat(std::span<const Message> messages,
                                                          const ChatOptions& options) const {
  return ChatTemplate::from(vocab()).encode(tokenizer(), messages, options);
}

GEMMA_INLINE KvCache Model::make_cache(const KvCacheOptions& options) const {
  return detail::or_out_of_memory("no memory for a cache", [&] { return KvCache(config(), options); });
}

GEMMA_INLINE Workspace Model::make_workspace(const WorkspaceOptions& options) const {
  return detail::or_out_of_memory("no memory for a workspace",
                                  [&] { return Workspace(config(), weights(), kernels(), options); });
}

GEMMA_INLINE std::span<const float> Model::forward(std::span<const Chunk> chunks, Workspace& ws,
                                                   const std::atomic<bool>* cancel,
                                                   detail::Trace* trace) const {
  return forward_layers(chunks, ws, {0, config().n_layers(), {}}, cancel, trace);
}

GEMMA_INLINE std::span<const float> Model::hidden_states(const Workspace& ws, std::size_t n_rows) const {
  if (n_rows > ws.options().most_rows()) {
    detail::refuse(ErrorCode::kInvalidArgument, [&] {
      return std::to_string(n_rows) + " hidden states requested; the workspace has " +
             std::to_string(ws.options().most_rows()) + " rows";
    });
  }
  return ws.h.span().first(n_rows * config().d_model);
}

GEMMA_INLINE Model::State::State(gguf::File f, const ModelOptions& o)
    : file(std::move(f)),
      config(families::read_config(file, {o.window, o.bf16_embedding_scale})),
      adapters(o.adapters),
      kernels(o.kernels != nullptr ? o.kernels : &kernels::best_table()),
      weights(Weights::from(file, config, *kernels, adapters)) {
  if (o.vocabulary && file.find("tokenizer.ggml.model") != nullptr)
    tokenizer = make_tokenizer(Vocab::from(file));
  if (tokenizer != nullptr && tokenizer->vocab().size() != config.vocab_size) {
    detail::refuse(EngineErrorCode::kBadShape, [&] {
      return file.path() + ": tensor 'token_embd.weight' has " + std::to_string(config.vocab_size) +
             " rows, but key 'tokenizer.ggml.tokens' has " + std::to_string(tokenizer->vocab().size()) +
             " pieces";
    });
  }
  for (const RopeConfig& r : config.ropes) frequencies.push_back(rope_frequencies(r));
}

GEMMA_INLINE AlignedBuffer<double> Model::State::rope_frequencies(const RopeConfig& rope) const {
  const std::size_t half = rope.head_dim / 2;
  AlignedBuffer<double> out(half, "rotary frequencies");
  for (std::size_t i = 0; i < half; ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(rope.head_dim);
    const double divisor = rope.divided ? static_cast<double>(weights.rope_divisors[i]) : 1.0;
    out[i] = static_cast<double>(rope.scale) * std::pow(static_cast<double>(rope.base), exponent) / divisor;
  }
  return out;
}

GEMMA_INLINE Model::Model(gguf::File file, const ModelOptions& options)
    : state_(std::make_shared<const State>(std::move(file), options)) {}

GEMMA_INLINE void Model::check_cache(const KvCache& cache) const {
  if (cache.fits(config())) return;
  detail::refuse(ErrorCode::kInvalidArgument, "the cache belongs to a model of another shape");
}

GEMMA_INLINE void Model::check_chunk(const Chunk& chunk) const {
  if (chunk.cache == nullptr) detail::refuse(ErrorCode::kInvalidArgument, "a chunk has no cache");
  if (chunk.tokens.empty()) detail::refuse(ErrorCode::kInvalidArgument, "a chunk has no tokens");
  const KvCache& cache = *chunk.cache;
  check_cache(cache);
  if (chunk.tokens.size() > cache.max_chunk()) {
    detail::refuse(ErrorCode::kInvalidArgument, [&] {
      return "a chunk of " + std::to_string(chunk.tokens.size()) + " tokens; the cache takes " +
             std::to_string(cache.max_chunk());
    });
  }
  if (chunk.tokens.size() > cache.n_ctx() - cache.n_past()) {
    cache.refuse_more(chunk.tokens.size());
  }
  if (cache.n_past() != 0 && config().looks_ahead()) {
    detail::refuse(ErrorCode::kInvalidArgument,
                   "a model with bidirectional attention needs each text in one chunk");
  }
}

GEMMA_INLINE void Model::check_token(std::int32_t token) const {
  if (token < 0 || static_cast<std::size_t>(token) >= config().vocab_size) {
    detail::refuse(ErrorCode::kInvalidArgument, [&] {
      return "token id " + std::to_string(token) + " is not in the vocabulary of " +
             std::to_string(config().vocab_size);
    });
  }
}

GEMMA_INLINE void Model::token_embedding(std::int32_t token, std::span<float> out) const {
  check_token(token);
  const ModelConfig& c = config();
  if (out.size() != c.d_model) {
    detail::refuse(ErrorCode::kInvalidArgument, [&] {
      return "the output has " + std::to_string(out.size()) + " elements; an embedding has " +
             std::to_string(c.d_model);
    });
  }
  detail::read_embedding(kernels(), weights().embedding, static_cast<std::size_t>(token), out.data());
  if (c.embedding_scale != 1.0f) kernels().vec.scale(c.embedding_scale, c.d_model, out.data());
}

GEMMA_INLINE std::size_t Model::check_chunks(std::span<const Chunk> chunks, std::size_t max_tokens,
                                             std::size_t max_rows) const {
  std::size_t n_rows = 0;
  std::size_t n_wanted = 0;
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    const Chunk& c = chunks[i];
    check_chunk(c);
    for (std::size_t j = 0; j < i; ++j) {
      if (chunks[j].cache == c.cache)
        detail::refuse(ErrorCode::kInvalidArgument, "two chunks share one cache");
    }
    n_rows += c.tokens.size();
    n_wanted += c.logits == Logits::kAll ? c.tokens.size() : c.logits == Logits::kLast ? 1 : 0;
  }
  if (n_rows == 0 || n_rows > max_tokens || n_wanted > max_rows) {
    detail::refuse(ErrorCode::kInvalidArgument, [&] {
      return "a forward pass of " + std::to_string(n_rows) + " tokens and " + std::to_string(n_wanted) +
             " rows of logits; the workspace takes " + std::to_string(max_tokens) + " and " +
             std::to_string(max_rows);
    });
  }
  return n_wanted;
}

GEMMA_INLINE void Model::check_range(const LayerRange& range, std::size_t n_rows,
                                     std::span<const Chunk> chunks) const {
  if (range.begin >= range.end || range.end > config().n_layers()) {
    detail::refuse(ErrorCode::kInvalidArgument, "the range of layers is empty or leaves the model");
  }
  for (std::size_t i = range.begin; i < range.end; ++i) {
    if (config().layers[i].attention.kv_layer < range.begin) {
      detail::refuse(ErrorCode::kInvalidArgument,
                     "a layer of the range reads the keys and values of a layer before the range");
    }
  }
  for (const Chunk& chunk : chunks) {
    const KvCacheOptions& kept = chunk.cache->layout().options;
    if (range.begin < kept.layer_begin || range.end > std::min(kept.layer_end, config().n_layers())) {
      detail::refuse(ErrorCode::kInvalidArgument,
                     "the cache does not keep the keys and values of these layers");
    }
  }
  const std::size_t wanted = range.begin == 0 ? 0 : n_rows * config().hidden_width();
  if (range.input.size() != wanted) {
    detail::refuse(ErrorCode::kInvalidArgument, [&] {
      return "hidden rows of " + std::to_string(range.input.size()) + " numbers where " +
             std::to_string(wanted) + " are needed";
    });
  }
}

GEMMA_INLINE std::size_t Model::list_rows(std::span<const Chunk> chunks, Workspace& ws,
                                          bool only_wanted) const {
  std::size_t row = 0;
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    const Chunk& c = chunks[i];
    const std::size_t last = c.tokens.size() - 1;
    for (std::size_t t = 0; t < c.tokens.size(); ++t) {
      const bool wanted = c.logits == Logits::kAll || (c.logits == Logits::kLast && t == last);
      if (only_wanted && !wanted) continue;
      ws.row_token[row] = static_cast<std::uint32_t>(c.tokens[t]);
      ws.row_position[row] = static_cast<std::uint32_t>(c.cache->n_past() + t);
      ws.row_chunk[row] = static_cast<std::uint32_t>(i);
      ws.row_origin[row] = static_cast<std::uint32_t>(row);
      ++row;
    }
  }
  return row;
}

GEMMA_INLINE std::span<const float> Model::forward_layers(std::span<const Chunk> chunks, Workspace& ws,
                                                          const LayerRange& range,
                                                          const std::atomic<bool>* cancel,
                                                          detail::Trace* trace) const {
  for (const Chunk& chunk : chunks) {
    for (const std::int32_t token : chunk.tokens) check_token(token);
  }
  if (range.end == config().n_layers()) check_head();
  return run_layers(chunks, ws, range, cancel, trace);
}

GEMMA_INLINE std::span<const float> Model::forward_hidden(std::span<const Chunk> chunks, Workspace& ws,
                                                          const std::atomic<bool>* cancel,
                                                          detail::Trace* trace) const {
  for (const Chunk& chunk : chunks) {
    for (const std::int32_t token : chunk.tokens) check_token(token);
  }
  return run_layers(chunks, ws, {0, config().n_layers(), {}}, cancel, trace, false);
}

GEMMA_INLINE std::span<const float> Model::run_dense(Workspace& ws, std::size_t n,
                                                     detail::Trace* trace) const {
  for (auto& taken : ws.taken) taken.store(0, std::memory_order_relaxed);
  const detail::Pass pass{.config = config(),
                          .weights = weights(),
                          .kernels = kernels(),
                          .frequencies = state_->frequencies,
                          .chunks = {},
                          .ws = ws,
                          .hidden = {},
                          .trace = trace,
                          .n_rows = n};
  detail::run_team(ws.options().n_threads, ws.shared->barrier,
                   [&pass](const detail::Worker& w) noexcept { detail::project_pooled(pass, w); });
  return {detail::project_pooled_result(pass), n * config().embedding_width()};
}

GEMMA_INLINE std::span<const float> Model::run_layers(std::span<const Chunk> chunks, Workspace& ws,
                                                      const LayerRange& range,
                                                      const std::atomic<bool>* cancel, detail::Trace* trace,
                                                      bool wants_logits) const {
  if (!ws.fits(config(), weights(), kernels())) {
    detail::refuse(ErrorCode::kInvalidArgument, "the workspace belongs to a model of another shape");
  }
  file().check_size();  // one system call; reading past the end of a truncated file would raise SIGBUS
  for (const auto& adapter : adapters()) adapter->file().check_size();
  const WorkspaceOptions& room = ws.options();
  const bool ends = range.end == config().n_layers();
  const std::size_t n_wanted =
      check_chunks(chunks, room.max_tokens, wants_logits && ends ? room.max_logit_rows : room.most_rows());
  const std::size_t last_kv_layer = config().last_kv_layer();
  const bool only_wanted = range.begin > last_kv_layer;
  const std::size_t n_rows = list_rows(chunks, ws, only_wanted);
  check_range(range, n_rows, chunks);
  for (const Chunk& c : chunks) c.cache->prepare(c.tokens.size());
  for (auto& taken : ws.taken) taken.store(0, std::memory_order_relaxed);
  ws.shared->stop.store(false, std::memory_order_relaxed);

  const detail::Pass pass{.config = config(),
                          .weights = weights(),
                          .kernels = kernels(),
                          .frequencies = state_->frequencies,
                          .chunks = chunks,
                          .ws = ws,
                          .layer_begin = range.begin,
                          .layer_end = range.end,
                          .hidden = range.input,
                          .last_kv_layer = last_kv_layer,
                          .n_wanted = n_wanted,
                          .wants_logits = wants_logits,
                          .cancel = cancel,
                          .trace = trace,
                          .n_rows = n_rows,
                          .only_wanted = only_wanted};
  if (n_rows != 0) {
    detail::run_team(ws.options().n_threads, ws.shared->barrier,
                     [&pass](const detail::Worker& w) noexcept { detail::run(pass, w); });
  }
  if (ws.shared->stop.load(std::memory_order_relaxed))
    detail::refuse(EngineErrorCode::kCancelled, "cancelled");
  for (const Chunk& c : chunks) c.cache->advance(c.tokens.size());
  if (!wants_logits) return ws.h.span().first(n_wanted * config().d_model);
  if (ends) return ws.logits.span().first(n_wanted * config().vocab_size);
  const std::size_t n_left = range.end > last_kv_layer ? n_wanted : n_rows;
  if (config().streams.count != 0) return detail::packed_streams(pass, n_left);
  return ws.x.span().first(n_left * config().d_model);
}

}  // namespace gemma
