// The state shared by all masks of one grammar and one vocabulary: the table of states, and the computed sets
// of allowed tokens.
// Invariant: both are bounded (StateTable::kMaxBytes, kMaxMaskBytes): a full table is replaced by a new one,
// which masks enter at their next use, and a full store of sets is emptied.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "../grammar.hpp"
#include "automaton.hpp"
#include "state_table.hpp"

namespace gemma::detail {

/// Computes masks. Safe to use from many threads; a mutex guards its state.
class MaskEngine {
 public:
  static constexpr std::size_t kMaxMaskBytes = std::size_t{1} << 24;

  MaskEngine(std::shared_ptr<const Automaton> automaton, std::shared_ptr<const PieceTrie> pieces)
      : automaton_(std::move(automaton)), pieces_(std::move(pieces)) {
    table_.emplace(*automaton_);
    path_.resize(PieceTrie::kMaxBytes + 1);
  }

  MaskEngine(const MaskEngine&) = delete;
  MaskEngine& operator=(const MaskEngine&) = delete;

  void start(GrammarMask& mask);
  void apply(GrammarMask& mask, std::span<float> logits);
  std::vector<TokenId> allowed(GrammarMask& mask);
  bool accept(GrammarMask& mask, TokenId token);

 private:
  using State = StateTable::State;
  /// Ids that may come next, without end tokens: a list if they are few, else bits.
  struct Allowed {
    std::vector<TokenId> ids;
    std::vector<std::uint64_t> bits;
    std::size_t memory_bytes() const noexcept { return ids.size() * sizeof(TokenId) + bits.size() * 8 + 64; }
  };
  static constexpr std::size_t kFew = 2048;

  /// Calls f(state) with the mask's state in the current table; if the table becomes full, calls it again
  /// with a new one.
  template <typename F>
  decltype(auto) in_table(GrammarMask& mask, F&& f);
  void enter(GrammarMask& mask, State state);
  const Allowed& allowed_at(State state, bool at_start);
  void find_allowed(State state);
  void find_allowed_at_start(State state);
  void walk(const PieceTrie::Tree& tree, std::size_t begin, std::size_t end, std::size_t depth, State state);
  /// The number of successive plain characters that are allowed, whichever they are, up to
  /// PieceTrie::kMaxPlain; nullopt if some plain characters are allowed and others are not.
  std::optional<std::size_t> plain_run(State state);
  bool takes_no_plain(State state);
  bool nothing_follows(const GrammarMask& mask, const Allowed& found) const;

  const std::shared_ptr<const Automaton> automaton_;
  const std::shared_ptr<const PieceTrie> pieces_;
  const Allowed none_;
  std::mutex mutex_;  // guards all members below
  std::optional<StateTable> table_;
  std::uint64_t n_tables_ = 1;
  std::unordered_map<State, Allowed> found_;
  std::size_t found_bytes_ = 0;
  Allowed first_;                     // at the start of a text whose first space is dropped
  std::vector<State> path_;           // [depth of a piece]
  std::vector<std::uint64_t> bits_;   // [words], used while a set is computed
  std::vector<float> kept_;           // logits of a short list
  std::vector<std::uint32_t> saved_;  // the saved form of a state that is entered
};

}  // namespace gemma::detail

#if defined(GEMMA_HEADER_ONLY)
#include "../grammar.inl"
#include "mask_engine.inl"
#endif
