// A stage: a part of a model's layers, for processes that share a model. Each stage runs some of the layers,
// takes hidden rows from the preceding stage and passes rows to the next.
// Invariant: successive stages that are given the same chunks compute the logits of Model::forward() to the
// bit.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kv_cache.hpp"
#include "model.hpp"
#include "options.hpp"
#include "workspace.hpp"

namespace gemma {

/// Options of a Stage. All of its memory is planned and reserved when it is made.
struct StageOptions {
  std::size_t layer_begin = 0;          // first layer of the stage
  std::size_t layer_end = SIZE_MAX;     // one past the last; larger than n_layers: all
  std::size_t max_sequences = 1;        // number of sequences
  std::size_t n_ctx = kDefaultContext;  // tokens of each sequence
  KvType kv_type = KvType::kF16;        // how keys and values are stored
  std::size_t chunk = 512;              // tokens of one forward pass, all sequences together
  std::size_t logit_rows = 1;           // maximum number of positions whose logits one forward pass returns
  unsigned n_threads = 0;               // 0: physical_core_count()
};

/// Tokens that continue one of a stage's sequences, and which of their logits are wanted; the counterpart of
/// Chunk. Every stage is given the tokens: some models read them in every layer.
struct StageChunk {
  std::size_t sequence = 0;              // index of the sequence, below max_sequences
  std::span<const std::int32_t> tokens;  // at least one
  Logits logits = Logits::kLast;         // which logits are wanted
};

/// Layers [layer_begin, layer_end) of a model, with their caches for some sequences and a workspace. Only the
/// weights of these layers are read from the model's file; the first stage also reads rows of the embedding,
/// the last one the output matrix. Move-only; used by one thread at a time.
class Stage {
 public:
  /// Throws Error{kInvalidArgument} for layers that the model does not have, for impossible sizes, and (with
  /// the reason, see cut_problem()) for layers that cannot be a stage; {kOutOfMemory}; {kUnsupported} for a
  /// model that only embeds.
  Stage(Model model, const StageOptions& options);

  /// The model that the stage is part of.
  const Model& model() const noexcept { return model_; }
  /// The options as given, with layer_end and n_threads resolved.
  const StageOptions& options() const noexcept { return options_; }
  /// Whether this is the first stage, which reads the tokens' embeddings.
  bool is_first() const noexcept { return options_.layer_begin == 0; }
  /// Whether this is the last stage, whose results are logits.
  bool is_last() const noexcept { return options_.layer_end == model_.config().n_layers(); }

  /// Number of floats of forward()'s input for these chunks: 0 for the first stage, else
  /// ModelConfig::hidden_width() for each token.
  std::size_t input_size(std::span<const StageChunk> chunks) const noexcept;
  /// Number of floats that forward() returns: the input of the next stage, or vocab_size for each requested
  /// row of logits.
  std::size_t output_size(std::span<const StageChunk> chunks) const noexcept;

  /// Appends the chunks' tokens to their sequences. `input` is the result of the preceding stage for the same
  /// chunks, empty for the first stage. The result is valid until the next call. Throws as
  /// Model::forward_layers(), before anything changes: Error{kInvalidArgument}, {kContextFull}, {kIo}; and
  /// {kCancelled}.
  std::span<const float> forward(std::span<const StageChunk> chunks, std::span<const float> input,
                                 const std::atomic<bool>* cancel = nullptr);

  /// Number of tokens of a sequence. Throws Error{kInvalidArgument} for a sequence that does not exist.
  std::size_t n_past(std::size_t sequence) const;
  /// Removes all but the first n tokens of a sequence. Throws Error{kInvalidArgument} for a sequence that
  /// does not exist, or if its sliding windows do not allow n (KvCache::truncate()).
  void truncate(std::size_t sequence, std::size_t n);

  /// Asks the system to read the weights of its layers in the background, and to release this process's
  /// mapped pages of all other weights and of the metadata. A hint; never fails.
  void read_ahead() const noexcept;
  /// Releases the pages of the embedding rows that were read, unless this stage also uses them as output
  /// matrix: long prompts touch a large part of the table. A hint; never fails.
  void give_back_embeddings() const noexcept;

 private:
  void check_sequence(std::size_t sequence) const;

  Model model_;
  StageOptions options_;
  std::vector<KvCache> caches_;  // [max_sequences]
  Workspace workspace_;
  std::vector<Chunk> chunks_;  // capacity max_sequences
};

/// The memory plan of a stage: file_bytes are the weights of its layers and, for the last stage, the output
/// matrix; rows of embeddings are not counted. Throws Error as Stage does.
MemoryPlan plan_stage(const Model& model, const StageOptions& options);

/// The cost that is divided evenly between stages: multiplications for a token of a long prompt, or bytes
/// read for a generated token (which are also the memory of each stage).
enum class SplitBy { kPrefill, kDecode };

/// Divides a model's layers into n stages so that the largest share is as small as possible. Returns n + 1
/// numbers; stage i runs layers [result[i], result[i + 1]). Throws Error{kInvalidArgument}, with the reason,
/// if the model cannot be divided into n stages.
std::vector<std::size_t> split_layers(const Model& model, std::size_t n, SplitBy by);
/// Overload for given numbers of layers. Throws Error{kInvalidArgument} unless they add up to all layers.
std::vector<std::size_t> split_layers(const Model& model, std::span<const std::size_t> n_layers);

/// Why a stage cannot begin at `layer`, as text for the user; empty if it can. Layers that read the keys and
/// values of another layer must be on the same stage.
std::string cut_problem(const ModelConfig& config, std::size_t layer);

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "stage.inl"
#endif
