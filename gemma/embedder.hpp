// Embeddings of texts: many texts in one forward pass, pooled, projected if the model has linear layers for
// that, cut to options.dims, and scaled to length 1. Invariant (law 1): the bits of a text's embedding depend
// on its tokens only, never on the other texts, the chunk or the number of threads; all memory but that of
// results is allocated when the embedder is made.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "aligned_buffer.hpp"
#include "kv_cache.hpp"
#include "model.hpp"
#include "plan.hpp"
#include "workspace.hpp"

namespace gemma {

/// Computes embeddings. Move-only; used by one thread at a time. Shares the model.
class Embedder {
 public:
  /// Allocates the memory that plan_embedder(model, options) reports. Throws Error{kInvalidArgument} for
  /// options out of range: dims above the width, dims together with Pooling::kNone, or kFirst for a model
  /// with causal attention; {kOutOfMemory} also if max_memory does not allow it.
  explicit Embedder(Model model, const EmbedderOptions& options = {});

  /// The model that the embedder runs.
  const Model& model() const noexcept { return model_; }
  /// Maximum number of tokens in a text.
  std::size_t n_ctx() const noexcept { return n_ctx_; }
  /// Pooling that turns hidden states into one vector.
  Pooling pooling() const noexcept { return pooling_; }
  /// Number of elements of an embedding, or of each token's vector without pooling.
  std::size_t dims() const noexcept { return dims_; }
  /// Bytes of the caches and the workspace, as planned.
  std::size_t memory_bytes() const noexcept { return memory_.size() + workspace_.size_bytes(); }

  /// The ids of prompt and text: BOS if the vocabulary adds one, the text, in which control tokens are
  /// treated as plain text, and EOS if the file or the family adds one. With options.truncate a text that is
  /// too long is cut, and EOS is kept at its end. Without it, throws Error{kContextFull} for a text that is
  /// too long; {kInvalidArgument} for a text without tokens and for a prompt that the model does not have,
  /// {kMissingKey} without a vocabulary.
  std::vector<std::int32_t> encode(std::string_view text, EmbedPrompt prompt = EmbedPrompt::kNone) const;

  /// One vector of dims() elements and length 1 for each text (Pooling::kNone: [n_tokens, dims()], the hidden
  /// states themselves). A vector of zeros stays zero. Throws Error as encode() and Model::forward() do;
  /// {kCancelled} when the caller's flag `cancel` is set, which any thread may do; {kNotFinite}.
  std::vector<std::vector<float>> embed(std::span<const std::string> texts,
                                        EmbedPrompt prompt = EmbedPrompt::kNone,
                                        const std::atomic<bool>* cancel = nullptr);
  /// Overload for token ids, to which nothing is added.
  std::vector<std::vector<float>> embed_ids(std::span<const std::vector<std::int32_t>> texts,
                                            const std::atomic<bool>* cancel = nullptr,
                                            detail::Trace* trace = nullptr);

 private:
  /// A text that is being computed.
  struct Text {
    std::span<const std::int32_t> ids;
    KvCache cache;
    std::vector<double> sum;  // [d_model] sum of the hidden states so far, for Pooling::kMean
    std::vector<float>* out;
  };

  Embedder(Model model, const EmbedderOptions& options, const MemoryPlan& plan);

  friend class Model;  // encodes texts before the length of the longest one is known
  static std::vector<std::int32_t> encode(const Model& model, std::string_view text, EmbedPrompt prompt,
                                          std::size_t n_ctx, bool truncate);
  void check_ids(std::span<const std::int32_t> ids) const;
  /// The texts from `first` on that fit into one forward pass; their caches are in memory_.
  std::vector<Text> collect(std::span<const std::vector<std::int32_t>> texts, std::size_t first,
                            std::vector<std::vector<float>>& out);
  /// Computes one text, which may be longer than a forward pass, or several that fit into one.
  void compute(std::vector<Text>& texts, const std::atomic<bool>* cancel, detail::Trace* trace);
  /// Adds the hidden states of a chunk to the pooling of its text.
  void pool(Text& text, std::span<const float> rows, bool is_last) const;
  /// Turns pooled vectors, [d_model] each, into embeddings.
  void finish(std::span<std::vector<float>> pooled, detail::Trace* trace);
  void project(std::span<std::vector<float>> pooled, detail::Trace* trace);

  Model model_;
  std::size_t n_ctx_;
  std::size_t chunk_;
  std::size_t dims_;
  Pooling pooling_;
  KvType kv_type_;
  bool truncate_;
  Workspace workspace_;
  AlignedBuffer<std::byte> memory_;  // the caches of one forward pass
};

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "embedder.inl"
#endif
