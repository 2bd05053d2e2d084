// A part of a model's layers, for processes that share a model: each runs some of the layers, takes hidden
// rows from the one before it and gives rows to the one behind it. Invariant: stages that follow one another
// and are given the same chunks compute the logits of Model::forward() to the bit.
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

/// What a Stage is made of: all of it is planned and reserved when it is made.
struct StageOptions {
  std::size_t layer_begin = 0;          // the first layer that it runs
  std::size_t layer_end = SIZE_MAX;     // one past the last; more than the model has: all from layer_begin on
  std::size_t max_sequences = 1;        // sequences whose keys and values it keeps
  std::size_t n_ctx = kDefaultContext;  // tokens of a sequence
  KvType kv_type = KvType::kF16;        // how keys and values are stored
  std::size_t chunk = 512;              // tokens of one forward, all sequences together
  std::size_t logit_rows = 1;           // positions whose logits one forward gives
  unsigned n_threads = 0;               // 0: physical_core_count()
};

/// Tokens that continue one of a stage's sequences, and which of their logits are wanted: what Chunk is to a
/// whole model. Every stage is given the tokens: some models read them in every layer.
struct StageChunk {
  std::size_t sequence = 0;              // 0 .. max_sequences - 1
  std::span<const std::int32_t> tokens;  // at least one
  Logits logits = Logits::kLast;         // whose are wanted
};

/// Layers [layer_begin, layer_end) of a model: their caches, for some sequences, and a workspace. Of the
/// model's file only the weights of these layers are read; the first stage also reads rows of the embedding,
/// the last one the output matrix. Move-only; one thread at a time.
class Stage {
 public:
  /// Throws Error{kInvalidArgument} for layers that the model does not have, sizes that are not possible,
  /// and, with the reason, for layers that cannot be a stage (cut_problem()); {kOutOfMemory}; {kUnsupported}
  /// for a model that only embeds.
  Stage(Model model, const StageOptions& options);

  /// The model that the stage is part of.
  const Model& model() const noexcept { return model_; }
  /// As given, with layer_end and n_threads settled.
  const StageOptions& options() const noexcept { return options_; }
  /// Whether it begins with the tokens' embeddings.
  bool is_first() const noexcept { return options_.layer_begin == 0; }
  /// Whether this is the last stage, whose results are logits.
  bool is_last() const noexcept { return options_.layer_end == model_.config().n_layers(); }

  /// Floats that forward() takes for these chunks: 0 of the first stage, else a hidden row, of
  /// ModelConfig::hidden_width() floats, for each token.
  std::size_t input_size(std::span<const StageChunk> chunks) const noexcept;
  /// Floats that forward() gives: those that the next stage takes, or a row of logits, of vocab_size floats,
  /// for each that is wanted.
  std::size_t output_size(std::span<const StageChunk> chunks) const noexcept;

  /// Appends the chunks' tokens to their sequences. `input` is what the stage before gave for the same
  /// chunks, empty for the first. The result is valid until the next call. Throws as
  /// Model::forward_layers(), before anything changes: Error{kInvalidArgument}, {kContextFull}, {kIo}; and
  /// {kCancelled}.
  std::span<const float> forward(std::span<const StageChunk> chunks, std::span<const float> input,
                                 const std::atomic<bool>* cancel = nullptr);

  /// Tokens of a sequence. Throws Error{kInvalidArgument} for a sequence that it does not have.
  std::size_t n_past(std::size_t sequence) const;
  /// Removes all but the first n tokens of a sequence. Throws Error{kInvalidArgument} for a sequence that it
  /// does not have, or n that its windows do not allow (KvCache::truncate()).
  void truncate(std::size_t sequence, std::size_t n);

  /// Has the weights of its layers read ahead in the background, and gives back what this process has mapped
  /// of the others, and of the metadata. A hint; never fails.
  void read_ahead() const noexcept;
  /// Gives back the pages of the embeddings' rows that were read, unless they are the output matrix of this
  /// stage too: long prompts touch a good part of a large table. A hint; never fails.
  void give_back_embeddings() const noexcept;

 private:
  void check_sequence(std::size_t sequence) const;

  Model model_;
  StageOptions options_;
  std::vector<KvCache> caches_;  // [max_sequences]
  Workspace workspace_;
  std::vector<Chunk> chunks_;  // capacity: max_sequences
};

/// What a stage takes: file_bytes are the weights of its layers, and of the last stage the output matrix;
/// rows of embeddings are not counted. Throws Error as Stage does.
MemoryPlan plan_stage(const Model& model, const StageOptions& options);

/// What layers are shared out by: the work of a token of a long prompt (multiplications), or of one that is
/// generated (bytes that are read, which is also what each stage holds).
enum class SplitBy { kPrefill, kDecode };

/// Shares a model's layers out to n stages so that the largest share is as small as possible: n + 1 numbers,
/// stage i runs layers [result[i], result[i + 1]). Throws Error{kInvalidArgument}, with the reason, when the
/// model cannot be cut into so many.
std::vector<std::size_t> split_layers(const Model& model, std::size_t n, SplitBy by);
/// The same for shares of so many layers each. Throws Error{kInvalidArgument} unless they are all layers.
std::vector<std::size_t> split_layers(const Model& model, std::span<const std::size_t> n_layers);

/// Why a model cannot be cut before `layer`, for people; empty: it can. Layers that read the keys and values
/// of another must be on its stage.
std::string cut_problem(const ModelConfig& config, std::size_t layer);

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "stage.inl"
#endif
