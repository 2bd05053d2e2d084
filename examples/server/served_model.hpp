// A model as the server runs it: its file, its scheduler, its template, and an embedder once vectors are
// requested.
// Invariant: it takes at most the allowed memory.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "examples/engine_flags.hpp"
#include "examples/server/request.hpp"
#include "gemma/embedder.hpp"
#include "gemma/gemma.hpp"
#include "tokenizer/dialects/dialect.hpp"

namespace gemma::server {

/// Options for all models.
struct ServingOptions {
  app::EngineFlags engine;    // all flags but the file
  std::size_t parallel = 8;   // sequences at the same time
  std::string chat_template;  // name of a template; "": each file's own
};

/// The probability of each token of a prompt, given those before it.
struct ScoredPrompt {
  struct Token {
    std::int32_t id = 0;
    double log_probability = 0;
    std::vector<TokenProbability> top;  // the likeliest tokens in its place
  };
  std::vector<Token> tokens;  // from the second token on
  std::optional<Token> end;   // the likeliest end token after the last token
};

/// A served model. Thread-safe.
class ServedModel {
 public:
  /// Loads the model with the context that the memory limit of `options` allows. `room`: bytes that are free
  /// for it; 0: no limit. Throws Error as Model::load() and Scheduler, {kOutOfMemory} if it does not fit.
  ServedModel(std::string name, const std::string& path, const ServingOptions& options, std::size_t room);

  const std::string& name() const noexcept { return name_; }
  const Model& model() const noexcept { return model_; }
  /// The scheduler. Throws ApiError{400} for a model that only embeds.
  Scheduler& scheduler();
  const Scheduler* scheduler_if_any() const noexcept { return scheduler_ ? &*scheduler_ : nullptr; }
  /// The model's chat template.
  const ChatTemplate& chat() const noexcept { return *chat_; }
  /// How thoughts and tool calls are written; nullptr: the model has neither.
  const AgentTurns* agent() const noexcept { return chat_->dialect().turns.agent; }
  const SamplingDefaults& sampling() const noexcept { return sampling_; }
  /// The mask for the beginning of an answer with this constraint. Masks of the last few constraints are
  /// kept, so that later answers reuse what is known about a grammar. Throws ApiError{400}, Error as
  /// GrammarMask.
  GrammarMask mask(const Constraint& constraint);
  std::size_t n_ctx() const noexcept { return n_ctx_; }
  KvType kv_type() const noexcept { return options_.engine.kv; }
  /// Bytes of the file and all memory for running it.
  std::size_t memory_bytes() const noexcept { return memory_bytes_.load(); }

  /// The vectors of texts, of length 1, computed pass by pass; `give_up` is polled in between. Throws Error
  /// as Embedder, {kCancelled} if it returned true.
  std::vector<std::vector<float>> embed(std::span<const std::vector<std::int32_t>> texts,
                                        const std::function<bool()>& give_up);
  /// The probabilities of a prompt's tokens, computed in a temporary session; `give_up` is polled from time
  /// to time. Throws Error as Session, {kCancelled} if it returned true.
  ScoredPrompt score(std::span<const std::int32_t> prompt, std::size_t n_top,
                     const std::function<bool()>& give_up);
  /// The ids of a text for embedding. Throws Error as Embedder::encode().
  std::vector<std::int32_t> encode_for_embedding(const std::string& text);
  /// Number of elements of a vector.
  std::size_t embedding_width() const { return model_.config().embedding_width(); }

 private:
  /// The embedder, made at the first call; the caller must hold embedding_.
  Embedder& embedder();

  std::string name_;
  ServingOptions options_;
  std::size_t room_;
  Model model_;
  std::optional<ChatTemplate> chat_;
  SamplingDefaults sampling_;
  std::optional<Scheduler> scheduler_;
  std::size_t n_ctx_ = 0;
  std::atomic<std::size_t> memory_bytes_{0};
  std::mutex embedding_;  // guards the embedder; also held while scores are computed, one at a time
  std::optional<Embedder> embedder_;
  struct KeptMask {
    Constraint constraint;
    GrammarMask mask;
  };
  std::mutex masks_mutex_;  // guards the members below
  std::shared_ptr<const PieceTrie> pieces_;
  std::vector<KeptMask> masks_;  // most recent last
};

}  // namespace gemma::server
