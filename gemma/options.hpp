// What models, sessions, batches and embedders are made of, and what running them takes. Plain data.
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

/// Choices that a file does not make.
struct ModelOptions {
  const kernels::KernelTable* kernels = nullptr;  // nullptr: the best for this CPU
  std::optional<std::size_t> window =
      std::nullopt;                   // sliding window in place of the file's (Mistral v0.1: 4096); 0: none
  bool bf16_embedding_scale = false;  // Gemma: round sqrt(d_model) to bfloat16 as the JAX reference does
  /// LoRA adapters, all of them at once (Adapter::open): what they change is added to each product, in this
  /// order; the weights stay as they are. A model that is loaded with others shares nothing but the file.
  std::vector<std::shared_ptr<const Adapter>> adapters = {};
  /// Whether the file's vocabulary is read. Without it a model runs on ids only, and takes less memory: a
  /// stage in the middle of a model needs none. Windows of a text (TextWindows, ImportanceMeter) then begin
  /// without BOS.
  bool vocabulary = true;
};

/// A context that any machine can hold; longer ones are asked for by name (a model may allow 131,072).
inline constexpr std::size_t kDefaultContext = 8192;

/// Where guesses of the next tokens come from.
enum class DraftSource : std::uint8_t {
  kNone,    // no guesses: one token a step
  kLookup,  // the sequence itself: what followed when its last tokens stood there before
  kModel,   // a smaller model of the same vocabulary
  kCustom   // the caller's
};

/// Tokens that are guessed and verified several at a time (draft.hpp). Answers are the same with and without.
struct DraftOptions {
  DraftSource source = DraftSource::kNone;       // of the guesses
  std::size_t max_tokens = 8;                    // guessed for one step of one sequence, 1 to 64
  std::shared_ptr<const Model> model = nullptr;  // of kModel
  std::shared_ptr<Drafter> custom = nullptr;     // of kCustom; for one session or batch at a time
};

/// What a Session, a Batch or a Scheduler is made of: all of it is planned and reserved when it is made.
struct EngineOptions {
  std::size_t max_sequences = 8;  // of a batch, at one time; a session has one
  std::size_t n_ctx = 0;  // tokens of a sequence; 0: the model's own context, at most kDefaultContext, and
                          // what max_memory allows
  KvType kv_type = KvType::kF16;  // how keys and values are stored
  std::size_t chunk = 512;        // tokens of one forward, all sequences together; does not change results
  unsigned n_threads = 0;         // 0: one for each physical core
  std::size_t logit_rows = 1;  // positions whose logits one forward gives: more make score() faster. A batch
                               // has one for each of its sequences at least
  std::size_t max_memory = 0;  // bytes that the model's file and all else may take together; 0: no limit
  /// Of a batch: beginnings of sequences that have left, kept for later ones that begin alike. They take
  /// pages that no running sequence needs.
  std::size_t max_prefixes = 16;
  /// Of a batch: tokens of prompts that a step computes while other sequences are generating, which wait for
  /// them; 0: as many as `chunk` has room for.
  std::size_t max_prompt_tokens = 0;
  /// Guesses of the tokens to come. A generation uses them unless GenerateOptions::draft is false.
  DraftOptions draft = {};
};
/// Options of a Session; other names for the same struct exist for Batch.
using SessionOptions = EngineOptions;
/// Options of a Batch.
using BatchOptions = EngineOptions;

/// What a call that computes may be given beside its tokens.
struct RunOptions {
  /// Called after each chunk of a prompt with the tokens done and in all.
  std::function<void(std::size_t done, std::size_t total)> progress = {};
  /// The caller's flag, which any thread or signal handler may set: the call stops within a layer and throws
  /// Error{kCancelled}; whole chunks that were done stay. nullptr: none.
  const std::atomic<bool>* cancel = nullptr;
};

/// Options of an Embedder.
struct EmbedderOptions {
  std::size_t n_ctx = 0;    // tokens of the longest text; 0: the model's context, at most kDefaultContext
  std::size_t chunk = 512;  // tokens of one forward, all texts together; does not change results
  unsigned n_threads = 0;   // 0: one for each physical core
  /// How keys and values are stored. nullopt: as a session's, or in 32 bits where they are one layer's at a
  /// time.
  std::optional<KvType> kv_type = std::nullopt;
  std::optional<Pooling> pooling = std::nullopt;  // nullopt: the model's
  std::size_t dims = 0;        // the first numbers of each embedding, of length 1 again; 0: all
  bool truncate = false;       // of a text that is too long only the first n_ctx tokens count
  std::size_t max_memory = 0;  // bytes that the model's file and the embedder may take together; 0: no limit
};

/// What is put before a text, for models that were trained with it (EmbeddingGemma).
enum class EmbedPrompt { kNone, kQuery, kDocument };

/// What running a model takes, to the byte, before anything is allocated.
struct MemoryPlan {
  std::size_t file_bytes = 0;  // mapped, shared between processes and sessions: weights, vocabulary, adapters
  std::size_t kv_bytes = 0;    // reserved for keys and values of all sequences
  std::size_t workspace_bytes = 0;  // one workspace
  std::size_t token_bytes = 0;      // the lists of tokens
  std::size_t draft_bytes = 0;      // what guesses are made with: tables, or another model and its caches
  std::size_t n_ctx = 0;            // the context of each sequence that this is the plan of

  /// All of it; what max_memory limits.
  std::size_t total_bytes() const noexcept {
    return file_bytes + kv_bytes + workspace_bytes + token_bytes + draft_bytes;
  }
};

}  // namespace gemma
