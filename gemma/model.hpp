// A loaded model: the mapped file, its configuration and weights, and the forward pass.
// Invariant: immutable after load, so any number of threads may use one Model, each with its own cache and
// workspace. A Model is a handle: copies share what was loaded, which lives as long as any of them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../gguf/file.hpp"
#include "../kernels/kernel_table.hpp"
#include "../tokenizer/chat_template.hpp"
#include "../tokenizer/tokenizer.hpp"
#include "chunk.hpp"
#include "config.hpp"
#include "kv_cache.hpp"
#include "options.hpp"
#include "weights.hpp"
#include "workspace.hpp"

namespace gemma {

/// A range of a model's layers, and its input rows.
struct LayerRange {
  std::size_t begin = 0;  // the first layer
  std::size_t end = 0;    // one past the last
  /// Hidden rows [n_rows, d_model], or [n_streams, n_rows, d_model] of a model with several residual streams;
  /// empty if begin is 0, where the input is the tokens' embeddings.
  std::span<const float> input = {};
};

/// A handle of a loaded model, cheap to copy. All const functions may be called by many threads at once.
class Model {
 public:
  /// Maps and checks the file; reads no weights. Throws Error (see gguf::File::open, families::read_config,
  /// Weights::from, Vocab::from; of options.adapters too), {kBadShape} when the vocabulary and the embedding
  /// differ in size.
  static Model load(std::string path, const ModelOptions& options = {});
  /// Overload for a file that is already open, or in memory (gguf::File::from_memory).
  static Model from(gguf::File file, const ModelOptions& options = {});

  /// The model's configuration.
  const ModelConfig& config() const noexcept { return state_->config; }
  /// The model's matrices, which point into the mapped file.
  const Weights& weights() const noexcept { return state_->weights; }
  /// The file, with all its metadata.
  const gguf::File& file() const noexcept { return state_->file; }
  /// Notes for the user, one line each, usually none: what is missing or wrong in the file, and the value
  /// used instead.
  std::vector<std::string> notes() const;
  /// The adapters of ModelOptions::adapters, which are added to the model's products.
  std::span<const std::shared_ptr<const Adapter>> adapters() const noexcept { return state_->adapters; }
  /// Bytes of the file and of its adapters' files, and of the decoded copies of adapters' matrices.
  std::size_t file_bytes() const noexcept;
  /// A 64-bit number that differs between models, also of the same shape, and between adapters or scales: a
  /// checksum of everything in the file before the weights, of the size of the weights, and of 64 KiB at each
  /// of 64 places in them; likewise for each adapter. Computed at each call.
  std::uint64_t fingerprint() const;
  /// The kernels that compute the model.
  const kernels::KernelTable& kernels() const noexcept { return *state_->kernels; }
  /// Whether a vocabulary was read from the file. Without one a model works on ids only.
  bool has_tokenizer() const noexcept { return state_->tokenizer != nullptr; }
  /// Text <-> ids; tables that only encoding needs are built at its first call. Thread-safe. Throws
  /// Error{kMissingKey} if the file has no vocabulary or ModelOptions::vocabulary is false.
  const Tokenizer& tokenizer() const;
  /// The vocabulary: pieces, special ids, end-of-turn tokens. Throws as tokenizer().
  const Vocab& vocab() const;

  /// The ids of a conversation in the model's chat format, for Session::set_tokens(). Throws
  /// Error{kUnsupported} if the model has no known template, {kInvalidArgument} if the template refuses the
  /// messages (roles out of turn), and as tokenizer().
  std::vector<std::int32_t> encode_chat(std::span<const Message> messages,
                                        const ChatOptions& options = {}) const;

  /// Makes the cache of one sequence. Throws Error{kInvalidArgument} for sizes of zero, {kOutOfMemory}.
  KvCache make_cache(const KvCacheOptions& options) const;
  /// Makes the buffers for forward(). Throws as make_cache().
  Workspace make_workspace(const WorkspaceOptions& options) const;

  /// One vector of length 1 for each text, of ModelConfig::embedding_width() elements or options.dims; an
  /// Embedder is faster for many calls. If options.n_ctx is 0, the context is the longest text's. Throws
  /// Error as Embedder::Embedder() and Embedder::embed().
  std::vector<std::vector<float>> embed(std::span<const std::string> texts,
                                        EmbedPrompt prompt = EmbedPrompt::kNone,
                                        const EmbedderOptions& options = {}) const;
  /// Overload for a single text.
  std::vector<float> embed(std::string_view text, EmbedPrompt prompt = EmbedPrompt::kNone,
                           const EmbedderOptions& options = {}) const;

  /// Throws Error{kUnsupported} for a model that produces text embeddings, not logits.
  void check_head() const;
  /// Throws Error{kInvalidArgument} naming a token id that is not in the vocabulary.
  void check_token(std::int32_t token) const;

  /// The input of the first layer for a token: its row of the embedding, times the model's scale. out is
  /// [d_model]. Throws Error{kInvalidArgument} for another size or an id outside the vocabulary.
  void token_embedding(std::int32_t token, std::span<float> out) const;

  /// Runs all chunks in one pass and appends their tokens to their caches. Returns the requested logits,
  /// [n_logit_rows, vocab_size] in the order of chunks and tokens, valid until the next pass on the
  /// workspace. The bits of a row do not depend on chunk sizes, the batch, or the number of threads.
  /// `cancel`, if set by any thread, stops the pass within a layer: throws Error{kCancelled}, and the caches
  /// are as before the call. Other errors, all thrown before anything changes: kInvalidArgument (an empty or
  /// too large batch, a token id outside the vocabulary, one cache in two chunks, a cache of another model),
  /// kContextFull, kIo (the file was truncated since it was mapped), kUnsupported (a model that only
  /// embeds).
  std::span<const float> forward(std::span<const Chunk> chunks, Workspace& ws,
                                 const std::atomic<bool>* cancel = nullptr,
                                 detail::Trace* trace = nullptr) const;

  /// forward() for a part of the layers, so that several processes can share a model: its result is the
  /// `input` of the part that follows, and the logits when the part ends with the last layer. The caches get
  /// keys and values of these layers only. Rows whose logits are not requested are dropped after
  /// ModelConfig::last_kv_layer(): up to there a part takes and returns a row for each token, [n_tokens,
  /// d_model], after it one for each requested row of logits; at most WorkspaceOptions::most_rows() if the
  /// part ends before the last layer. Models with several residual streams return [n_streams, n_rows,
  /// d_model]. Valid until the workspace's next forward. Throws as forward(), and Error{kInvalidArgument} for
  /// an empty range, an input of another size, layers that read keys and values of a layer outside the range,
  /// or a cache that does not keep those of the range (KvCacheOptions::layer_begin). Stage does all this for
  /// one part.
  std::span<const float> forward_layers(std::span<const Chunk> chunks, Workspace& ws, const LayerRange& range,
                                        const std::atomic<bool>* cancel = nullptr,
                                        detail::Trace* trace = nullptr) const;

  /// forward() without the product with the vocabulary: returns the final hidden states, after the output
  /// norm, of the rows that Chunk::logits requests, [n_rows, d_model]; at most WorkspaceOptions::most_rows()
  /// of them. For a model with bidirectional attention a whole text must be one chunk, with an empty cache.
  /// Valid as the result of forward(). Throws as forward(), but accepts models that only embed.
  std::span<const float> forward_hidden(std::span<const Chunk> chunks, Workspace& ws,
                                        const std::atomic<bool>* cancel = nullptr,
                                        detail::Trace* trace = nullptr) const;

  /// The final hidden states from which the logits of the last forward() on `ws` were computed: [n_rows,
  /// d_model], after the output norm, in the order of those logits. n_rows is the number of requested logit
  /// rows. Valid as long as those logits. Throws Error{kInvalidArgument} for more rows than the workspace
  /// has.
  std::span<const float> hidden_states(const Workspace& ws, std::size_t n_rows) const;

 private:
  friend class Session;  // these check a prompt before they change anything, then call run()
  friend class Batch;
  friend class Embedder;

  struct State {
    State(gguf::File f, const ModelOptions& o);
    /// Radians per position of each pair: scale * base^(-2i / head_dim) / divisor_i (Su et al. 2021, eq. 15).
    AlignedBuffer<double> rope_frequencies(const RopeConfig& rope) const;

    gguf::File file;
    ModelConfig config;
    std::vector<std::shared_ptr<const Adapter>> adapters;
    const kernels::KernelTable* kernels;
    Weights weights;
    std::unique_ptr<const Tokenizer> tokenizer;      // nullptr if no vocabulary was read
    std::vector<AlignedBuffer<double>> frequencies;  // [n_ropes][head_dim / 2]
  };

  Model(gguf::File file, const ModelOptions& options);

  /// forward_layers() for tokens that have been checked.
  std::span<const float> run_layers(std::span<const Chunk> chunks, Workspace& ws, const LayerRange& range,
                                    const std::atomic<bool>* cancel, detail::Trace* trace,
                                    bool wants_logits = true) const;
  /// Applies the linear layers after pooling to the first n rows of Workspace::pooled: [n, embedding_width],
  /// valid until the workspace's next use.
  std::span<const float> run_dense(Workspace& ws, std::size_t n, detail::Trace* trace) const;
  /// forward() for tokens that have been checked.
  std::span<const float> run(std::span<const Chunk> chunks, Workspace& ws,
                             const std::atomic<bool>* cancel) const {
    return run_layers(chunks, ws, {0, config().n_layers(), {}}, cancel, nullptr);
  }
  void check_chunk(const Chunk& chunk) const;
  /// Checks all chunks; returns the number of rows whose logits are requested.
  std::size_t check_chunks(std::span<const Chunk> chunks, std::size_t max_tokens, std::size_t max_rows) const;
  void check_range(const LayerRange& range, std::size_t n_rows, std::span<const Chunk> chunks) const;
  /// Fills the workspace's lists of rows; returns how many there are.
  std::size_t list_rows(std::span<const Chunk> chunks, Workspace& ws, bool only_wanted) const;
  void check_cache(const KvCache& cache) const;
  std::shared_ptr<const State> state_;
};

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "model.inl"
// Model::embed() is defined there
#include "embedder.hpp"
#endif
