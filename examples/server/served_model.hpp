// A model as the server runs it: its file, its scheduler, its turns, and an embedder once somebody asks for
// vectors. Invariant: what is loaded takes at most the memory that was allowed.
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

/// How all models are run.
struct ServingOptions {
  app::EngineFlags engine;    // without the file
  std::size_t parallel = 8;   // sequences at one time
  std::string chat_template;  // name; "": each file's own
};

/// What a model says of each token of a prompt, given those before it.
struct ScoredPrompt {
  struct Token {
    std::int32_t id = 0;
    double log_probability = 0;
    std::vector<TokenProbability> top;  // the likeliest in its place
  };
  std::vector<Token> tokens;  // from the second on
  std::optional<Token> end;   // the likeliest of those that would end the text, behind the last
};

/// Thread-safe.
class ServedModel {
 public:
  /// Loads it with the context that the memory limit of `options` allows. `room`: bytes that there are for it
  /// now; 0: no limit. Throws Error as Model::load() and Scheduler, {kOutOfMemory} where it does not fit.
  ServedModel(std::string name, const std::string& path, const ServingOptions& options, std::size_t room);

  const std::string& name() const noexcept { return name_; }
  const Model& model() const noexcept { return model_; }
  /// Throws ApiError{400} for a model that only embeds.
  Scheduler& scheduler();
  const Scheduler* scheduler_if_any() const noexcept { return scheduler_ ? &*scheduler_ : nullptr; }
  /// The model's turns. Throws Error as ChatTemplate::from().
  const ChatTemplate& chat() const noexcept { return *chat_; }
  /// How thoughts and tools are written; nullptr: they are not.
  const AgentTurns* agent() const noexcept { return chat_->dialect().turns.agent; }
  const SamplingDefaults& sampling() const noexcept { return sampling_; }
  /// The mask of an answer that must be this, at its beginning. Those of the last few constraints are kept:
  /// what one answer finds out about a grammar, the next need not. Throws ApiError{400}, Error as
  /// GrammarMask.
  GrammarMask mask(const Constraint& constraint);
  std::size_t n_ctx() const noexcept { return n_ctx_; }
  KvType kv_type() const noexcept { return options_.engine.kv; }
  /// Bytes of the file and all that runs it.
  std::size_t memory_bytes() const noexcept { return memory_bytes_.load(); }

  /// The vectors of texts, of length 1, in one pass after the other; `give_up` is asked between them.
  /// Throws Error as Embedder, {kCancelled} when it was told to give up.
  std::vector<std::vector<float>> embed(std::span<const std::vector<std::int32_t>> texts,
                                        const std::function<bool()>& give_up);
  /// The probabilities of a prompt's tokens, by a session that lasts as long as the call; `give_up` is asked
  /// now and then. Throws Error as Session, {kCancelled} when it was told to give up.
  ScoredPrompt score(std::span<const std::int32_t> prompt, std::size_t n_top,
                     const std::function<bool()>& give_up);
  /// The ids of a text to be embedded. Throws Error as Embedder::encode().
  std::vector<std::int32_t> encode_for_embedding(const std::string& text);
  /// Numbers of a vector.
  std::size_t embedding_width() const { return model_.config().embedding_width(); }

 private:
  /// Makes the embedder at the first call; the caller holds embedding_.
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
  std::mutex embedding_;  // guards the embedder; scores are computed one at a time under it, too
  std::optional<Embedder> embedder_;
  struct KeptMask {
    Constraint constraint;
    GrammarMask mask;
  };
  std::mutex masks_mutex_;  // guards what follows
  std::shared_ptr<const PieceTrie> pieces_;
  std::vector<KeptMask> masks_;  // the latest last
};

}  // namespace gemma::server
