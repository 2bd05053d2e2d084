// The position of a text in a grammar, as a number: the automaton made deterministic while it is used. A
// state is a set of items, each a position in a rule and the positions to return to after it; those form sets
// as well (Tomita's graph-structured stack), so that ambiguous grammars cost no more than their size.
// Invariant: equal sets have one number; every item can be completed within kMaxDepth calls. A table is
// bounded by kMaxBytes: when it is full, a state continues in a new table by save() and load().
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "automaton.hpp"

namespace gemma::detail {

/// A set of 64-bit keys; clearing takes no longer than filling took.
class KeySet {
 public:
  KeySet() : slots_(64, kFree) {}
  /// Inserts a key; returns whether it was absent.
  bool insert(std::uint64_t key);
  void clear();

 private:
  static constexpr std::uint64_t kFree = ~std::uint64_t{0};  // no key
  std::vector<std::uint64_t> slots_;                         // the size is a power of two
  std::vector<std::uint32_t> used_;
};

/// Lists of pairs, numbered from 0; equal lists have one number.
class PairLists {
 public:
  struct Pair {
    std::uint32_t state;                            // of the automaton
    std::uint32_t node;                             // the places to return to after its rule
    auto operator<=>(const Pair&) const = default;  // NOLINT(modernize-use-nullptr): the compiler's own 0
  };

  /// The number of a list, which is added if it is new. `mark` is part of its identity.
  std::uint32_t number_of(std::span<const Pair> list, std::uint32_t mark);
  std::span<const Pair> operator[](std::uint32_t i) const {
    return std::span(pairs_).subspan(begin_[i], begin_[i + 1] - begin_[i]);
  }
  std::uint32_t mark(std::uint32_t i) const { return marks_[i]; }
  std::size_t size() const noexcept { return marks_.size(); }
  std::size_t memory_bytes() const noexcept {
    return pairs_.size() * sizeof(Pair) + marks_.size() * 12 + slots_.size() * 4;
  }

 private:
  void grow();
  std::uint64_t hash_of(std::uint32_t i) const { return hash_of((*this)[i], marks_[i]); }
  static std::uint64_t hash_of(std::span<const Pair> list, std::uint32_t mark);

  std::vector<Pair> pairs_;
  std::vector<std::uint32_t> begin_{0};
  std::vector<std::uint32_t> marks_;
  std::vector<std::uint32_t> slots_ = std::vector<std::uint32_t>(64, 0);  // number + 1; 0: free
};

/// Thrown when a table is full; never leaves the library.
struct TableFull {};

/// A table of states. Used by one thread at a time.
class StateTable {
 public:
  using State = std::uint32_t;
  using Pair = PairLists::Pair;
  /// The state of texts that no text of the grammar begins with.
  static constexpr State kDead = 0;
  /// Maximum depth of nested calls.
  static constexpr std::uint32_t kMaxDepth = 512;
  /// Maximum number of items that are visited for one byte.
  static constexpr std::size_t kMaxItems = 1u << 14;
  static constexpr std::size_t kMaxBytes = std::size_t{1} << 24;

  /// `automaton` must outlive it. Throws Error{kUnsupported} when calls must nest deeper than kMaxDepth.
  explicit StateTable(const Automaton& automaton);

  /// The state before the first byte.
  State start() const noexcept { return start_; }
  /// The state after one more byte. Throws Error{kUnsupported} if the grammar is too ambiguous, TableFull if
  /// the table is full.
  State next(State s, std::uint8_t byte) {
    const std::uint32_t known = rows_[s * n_classes_ + classes_[byte]];
    return known != kUnknown ? known : find_next(s, classes_[byte]);
  }
  /// The state after these bytes. Throws as the other overload does.
  State next(State s, std::string_view bytes) {
    for (std::size_t i = 0; i < bytes.size() && s != kDead; ++i)
      s = next(s, static_cast<std::uint8_t>(bytes[i]));
    return s;
  }
  /// Whether the text may end here.
  bool accepts(State s) const { return sets_.mark(s) != 0; }
  /// Whether no byte may follow the text.
  bool only_ends(State s) const { return sets_[s].empty(); }
  /// The state after one plain character, if all plain characters lead to the same state; kDead: they do not,
  /// or none is allowed.
  State behind_plain(State s);

  /// Appends to `out` a form of the state that every table of this automaton can load.
  void save(State s, std::vector<std::uint32_t>& out);
  /// The state that save() wrote. Throws TableFull.
  State load(std::span<const std::uint32_t> saved);

  std::size_t memory_bytes() const noexcept {
    return rows_.size() * 4 + plain_.size() * 4 + sets_.memory_bytes() + nodes_.memory_bytes();
  }

 private:
  static constexpr std::uint32_t kUnknown = 0xFFFFFFFF;
  static constexpr std::uint32_t kEnd = 0xFFFFFFFE;  // as a pair's state: the whole text ends here
  static constexpr std::uint32_t kBottom = 0;        // the node of the root: { {kEnd, kBottom} }

  State find_next(State s, std::uint8_t byte_class);
  State find_behind_plain(State s);
  void add(Pair item);
  void follow(Pair item);
  void call(const Automaton::CallEdge& edge, Pair from);
  /// The state of items_ and of everything that can be reached from them without a byte.
  State close();
  State number_of(std::span<const Pair> items, bool accepts);

  const Automaton& automaton_;
  std::size_t n_classes_;
  std::uint8_t classes_[256];
  PairLists sets_;                    // states; marked if the text may end there
  PairLists nodes_;                   // marked with their depth
  std::vector<std::uint32_t> rows_;   // [states, n_classes]
  std::vector<std::uint32_t> plain_;  // [states]: behind_plain(), or kUnknown
  State start_ = kDead;
  // scratch memory of close():
  KeySet seen_;
  std::vector<Pair> open_, kept_;
  std::vector<std::uint32_t> entered_;      // ranks of called rules, a heap
  std::vector<std::vector<Pair>> callers_;  // [rules]
  std::size_t n_items_ = 0;
  bool ends_ = false;
  std::vector<std::uint32_t> order_, local_;  // scratch memory of save()
};

}  // namespace gemma::detail

#if defined(GEMMA_HEADER_ONLY)
#include "state_table.inl"
#endif
