// Options of models, sessions, batches and embedders, and the plan of their memory. Plain data.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "config.hpp"
#include "kv_pages.hpp"

namespace gemma {

class Adapter;
class Drafter;
class Model;

/// Options of a model, which the file does not contain.
struct ModelOptions {
  const kernels::KernelTable* kernels = nullptr;  // nullptr: the fastest for this CPU
  std::optional<std::size_t> window =
      std::nullopt;                   // sliding window that replaces the file's (Mistral v0.1: 4096); 0: none
  bool bf16_embedding_scale = false;  // Gemma: round sqrt(d_model) to bfloat16 as the JAX reference does
  /// LoRA adapters (Adapter::open), all applied at once: their changes are added to each product, in this
  /// order, and the weights stay unchanged. Models with different adapters share only the file.
  std::vector<std::shared_ptr<const Adapter>> adapters = {};
  /// Whether to read the file's vocabulary. Without it a model works on ids only and takes less memory, for
  /// example as a stage in the middle of a model. Windows of a text (TextWindows, ImportanceMeter) then begin
  /// without BOS.
  bool vocabulary = true;
};

/// The largest context that is used by default: small enough for the memory of any machine. Longer ones must
/// be set explicitly (a model may allow 131,072).
inline constexpr std::size_t kDefaultContext = 8192;

/// Where guesses of the next tokens come from.
enum class DraftSource : std::uint8_t {
  kNone,    // no guesses: one token per step
  kLookup,  // the sequence itself: what followed an earlier occurrence of its last tokens
  kModel,   // a smaller model of the same vocabulary
  kCustom   // the caller's own Drafter
};

/// Tokens that are guessed and verified several at a time (draft.hpp). Answers are the same with and without.
struct DraftOptions {
  DraftSource source = DraftSource::kNone;  // source of the guesses
  std::size_t max_tokens = 8;               // maximum number of guesses for a step of a sequence, 1 to 64
  std::shared_ptr<const Model> model = nullptr;  // for kModel
  std::shared_ptr<Drafter> custom = nullptr;     // for kCustom; used by one session or batch at a time
};

/// Options of a Session, a Batch or a Scheduler. All of its memory is planned and reserved when it is made.
struct EngineOptions {
  std::size_t max_sequences = 8;  // concurrent sequences of a batch; a session has one
  std::size_t n_ctx = 0;  // tokens of a sequence; 0: the model's own context, at most kDefaultContext, and
                          // what max_memory allows
  KvType kv_type = KvType::kF16;  // how keys and values are stored
  std::size_t chunk = 512;     // tokens of one forward pass, all sequences together; does not change results
  unsigned n_threads = 0;      // 0: physical_core_count()
  std::size_t logit_rows = 1;  // positions whose logits one forward pass returns: more make score() faster.
                               // A batch has at least one for each of its sequences
  std::size_t max_memory = 0;  // limit of the model's file and all memory together, in bytes; 0: none
  /// For a batch: number of prefixes of finished sequences that are kept for later sequences with the same
  /// prefix. They use pages that no running sequence needs.
  std::size_t max_prefixes = 16;
  /// For a batch: maximum number of prompt tokens that a step computes while other sequences are generating
  /// and wait for that step; 0: as many as fit into `chunk`.
  std::size_t max_prompt_tokens = 0;
  /// Guesses of the next tokens. A generation uses them unless GenerateOptions::draft is false.
  DraftOptions draft = {};
};
/// Options of a Session; a Batch and a Scheduler take the same struct.
using SessionOptions = EngineOptions;
/// Options of a Batch.
using BatchOptions = EngineOptions;

/// Options of a call that computes tokens.
struct RunOptions {
  /// Called after each chunk of a prompt with the number of tokens done and the total.
  std::function<void(std::size_t done, std::size_t total)> progress = {};
  /// The caller's flag, which any thread or signal handler may set: the call then stops within a layer and
  /// throws Error{kCancelled}; completed chunks are kept. nullptr: none.
  const std::atomic<bool>* cancel = nullptr;
};

/// Options of an Embedder.
struct EmbedderOptions {
  std::size_t n_ctx = 0;    // tokens of the longest text; 0: the model's context, at most kDefaultContext
  std::size_t chunk = 512;  // tokens of one forward pass, all texts together; does not change results
  unsigned n_threads = 0;   // 0: physical_core_count()
  /// How keys and values are stored. nullopt: as in a session, or in 32 bits if those of only one layer are
  /// kept at a time.
  std::optional<KvType> kv_type = std::nullopt;
  std::optional<Pooling> pooling = std::nullopt;  // nullopt: the model's
  std::size_t dims = 0;        // elements of each embedding that are kept, scaled to length 1; 0: all
  bool truncate = false;       // use only the first n_ctx tokens of a longer text
  std::size_t max_memory = 0;  // limit of the model's file and the embedder together, in bytes; 0: none
};

/// The prompt that is put before a text, for models that were trained with one (EmbeddingGemma).
enum class EmbedPrompt { kNone, kQuery, kDocument };

/// The memory that running a model takes, to the byte, known before anything is allocated.
struct MemoryPlan {
  std::size_t file_bytes = 0;       // mapped files, shared: weights, vocabulary, adapters
  std::size_t kv_bytes = 0;         // reserved for keys and values of all sequences
  std::size_t workspace_bytes = 0;  // one workspace
  std::size_t token_bytes = 0;      // the lists of tokens
  std::size_t draft_bytes = 0;      // for guesses: tables, or another model and its caches
  std::size_t n_ctx = 0;            // context of each sequence

  /// The sum, which max_memory limits.
  std::size_t total_bytes() const noexcept {
    return file_bytes + kv_bytes + workspace_bytes + token_bytes + draft_bytes;
  }
};

}  // namespace gemma
