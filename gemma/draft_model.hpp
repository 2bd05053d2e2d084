// Guesses by a smaller model of the same vocabulary. Invariant: the cache of a slot holds a beginning of the
// slot's sequence and, behind it, guesses that may have been wrong; what differs is forgotten at the next
// one.
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

/// Takes the model's likeliest token again and again, of all sequences in one forward, until it is unsure.
class DraftModel final : public Drafter {
 public:
  /// A token below this probability is not guessed, nor any behind it.
  static constexpr double kLeastProbability = 0.4;

  /// For `o.max_sequences` sequences of n_ctx tokens each. `cost`: see Drafter::cost(). Throws
  /// Error{kOutOfMemory}, {kInvalidArgument} for sizes that are not possible, {kUnsupported} for a model that
  /// only embeds.
  DraftModel(Model model, const EngineOptions& o, std::size_t n_ctx, double cost);
  /// Bytes that one holds beside the model's file. Throws as the constructor does for sizes.
  static std::size_t size_bytes_for(const Model& model, const EngineOptions& o, std::size_t n_ctx);

  /// Throws Error{kCancelled}, {kIo} when the file was cut short since it was mapped.
  void guess(std::span<DraftQuery> queries, const std::atomic<bool>* cancel) override;
  void begin(std::size_t slot, std::span<const std::int32_t> tokens) noexcept override;
  double cost() const noexcept override { return cost_; }
  std::size_t size_bytes() const noexcept override;

 private:
  struct Slot {
    explicit Slot(std::shared_ptr<KvPool> pool) : cache(std::move(pool)) {}
    KvCache cache;
    std::vector<std::int32_t> tokens;  // of the cache
    std::size_t n_same = 0;            // of them, those that are known to be the sequence's
  };
  /// Goes back to what the slot has of the sequence. False: the sequence has tokens that the model lacks.
  bool follow(Slot& s, std::span<const std::int32_t> tokens);
  /// Reads what the slots lack of their sequences, as much as one forward takes; those that have all get a
  /// first guess. False: there was nothing to read.
  bool read(std::span<DraftQuery> queries, const std::atomic<bool>* cancel);
  /// A further guess for those that want one. False: none does.
  bool extend(std::span<DraftQuery> queries, const std::atomic<bool>* cancel);
  /// One forward of chunks_.
  void run(const std::atomic<bool>* cancel);
  void take(DraftQuery& q, std::span<const float> logits);

  Model model_;
  Workspace workspace_;
  std::shared_ptr<KvPool> pool_;
  std::vector<Slot> slots_;
  std::vector<Chunk> chunks_;          // of the next forward
  std::vector<DraftQuery*> of_chunk_;  // whose they are
  double cost_;
};

namespace detail {

/// Throws Error{kInvalidArgument} naming the first token that is another in the draft's vocabulary, or the
/// sizes where these differ by more than padding.
void check_vocabularies(const Model& model, const Model& draft);

}  // namespace detail
}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "draft.inl"
#include "draft_model.inl"
#endif
