// Guesses by a smaller model with the same vocabulary.
// Invariant: the cache of a slot holds a prefix of the slot's sequence, followed by guesses that may have
// been wrong; those that differ are dropped by the next query.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "draft.hpp"
#include "kv_cache.hpp"
#include "model.hpp"

namespace gemma {

/// Takes the model's likeliest token repeatedly, for all sequences in one forward pass, until the model is
/// unsure.
class DraftModel final : public Drafter {
 public:
  /// A token of lower probability is not guessed, and no token after it.
  static constexpr double kLeastProbability = 0.4;

  /// For `o.max_sequences` sequences of n_ctx tokens each. `cost`: see Drafter::cost(). Throws
  /// Error{kOutOfMemory}, {kInvalidArgument} for sizes that are not possible, {kUnsupported} for a model that
  /// only embeds.
  DraftModel(Model model, const EngineOptions& o, std::size_t n_ctx, double cost);
  /// Bytes that a DraftModel allocates, without the model's file. Throws as the constructor does for sizes.
  static std::size_t size_bytes_for(const Model& model, const EngineOptions& o, std::size_t n_ctx);

  /// See Drafter::guess(). Throws Error{kCancelled}, and {kIo} if the file was truncated since it was mapped.
  void guess(std::span<DraftQuery> queries, const std::atomic<bool>* cancel) override;
  void begin(std::size_t slot, std::span<const std::int32_t> tokens) noexcept override;
  double cost() const noexcept override { return cost_; }
  std::size_t size_bytes() const noexcept override;

 private:
  struct Slot {
    explicit Slot(std::shared_ptr<KvPool> pool) : cache(std::move(pool)) {}
    KvCache cache;
    std::vector<std::int32_t> tokens;  // tokens in the cache
    std::size_t n_same = 0;            // how many of them are known to equal the sequence's
  };
  /// Truncates the slot to the tokens that it shares with the sequence. Returns false if the sequence has
  /// tokens that the draft model's vocabulary lacks.
  bool follow(Slot& s, std::span<const std::int32_t> tokens);
  /// Computes tokens of the sequences that are not in the slots' caches yet, as many as fit into one forward
  /// pass; slots that have all get a first guess. Returns false if there was nothing to compute.
  bool read(std::span<DraftQuery> queries, const std::atomic<bool>* cancel);
  /// Makes one more guess for each query that wants one. Returns false if none does.
  bool extend(std::span<DraftQuery> queries, const std::atomic<bool>* cancel);
  /// Runs one forward pass of chunks_.
  void run(const std::atomic<bool>* cancel);
  void take(DraftQuery& q, std::span<const float> logits);

  Model model_;
  Workspace workspace_;
  std::shared_ptr<KvPool> pool_;
  std::vector<Slot> slots_;
  std::vector<Chunk> chunks_;          // chunks of the next forward pass
  std::vector<DraftQuery*> of_chunk_;  // [chunks_.size()] the query of each chunk
  double cost_;
};

namespace detail {

/// Throws Error{kInvalidArgument} naming the first token that differs in the draft's vocabulary, or the sizes
/// if these differ by more than padding.
void check_vocabularies(const Model& model, const Model& draft);

}  // namespace detail
}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "draft.inl"
#include "draft_model.inl"
#endif
