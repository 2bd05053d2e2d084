// Merging by rank, for both kinds of BPE: the table of merges and the loop over a heap of pairs.
// Invariant: the pair of neighbours with the lowest rank is merged, leftmost first, until no pair can be
// merged; O(n log n) for n symbols.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "../gguf/hashing.hpp"
#include "token_types.hpp"

namespace gemma::detail {

/// A flat hash table from (left id, right id) to (rank, id of the merged piece), at most two thirds full.
/// Every pair is within kLongestProbe slots of its hash: Llama 3's 280,147 pairs need 41; pairs that need
/// more slots were chosen to collide.
class MergeTable {
 public:
  static constexpr std::size_t kLongestProbe = 1024;

  struct Merge {
    std::int32_t rank = -1;  // -1: the pair is not merged
    TokenId merged = -1;
  };

  MergeTable() = default;
  explicit MergeTable(std::size_t count) : slots_(std::bit_ceil(count + count / 2 + 2)) {}

  /// Adds a merge; of equal pairs the first one stays. Returns false when too many pairs collide.
  bool add(TokenId left, TokenId right, Merge merge) {
    const std::size_t at = find_slot(key(left, right));
    if (at == kNoSlot) return false;
    if (slots_[at].merge.rank < 0) slots_[at] = {key(left, right), merge};
    return true;
  }
  Merge find(TokenId left, TokenId right) const noexcept {
    const std::size_t at = find_slot(key(left, right));
    return at == kNoSlot ? Merge{} : slots_[at].merge;
  }

 private:
  struct Slot {
    std::uint64_t key = 0;
    Merge merge;
  };
  static std::uint64_t key(TokenId left, TokenId right) noexcept {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
           static_cast<std::uint32_t>(right);
  }
  /// The slot that holds `wanted`, or the free slot where it belongs; kNoSlot if it is too far away.
  std::size_t find_slot(std::uint64_t wanted) const noexcept {
    const auto stops = [wanted](const Slot& s) { return s.merge.rank < 0 || s.key == wanted; };
    return probe(slots_, fibonacci_hash(wanted), stops, kLongestProbe);
  }

  std::vector<Slot> slots_;
};

/// A row of symbols to be merged, with the buffers for it; reused from one row to the next.
class MergeRow {
 public:
  void clear() noexcept { symbols_.clear(); }
  /// Appends a symbol; one with id < 0 is never merged. `tag` is passed on to for_each().
  void add(TokenId id, std::uint32_t tag = 0) {
    const auto n = static_cast<std::int32_t>(symbols_.size());
    if (n > 0) symbols_.back().next = n;
    symbols_.push_back({id, tag, n - 1, -1});
  }

  /// Merges neighbours until no merge applies. At most 2^31 - 1 symbols.
  void merge(const MergeTable& merges) {
    heap_.clear();
    const auto n = static_cast<std::int32_t>(symbols_.size());
    for (std::int32_t i = 0; i + 1 < n; ++i) consider(merges, i);
    std::make_heap(heap_.begin(), heap_.end());
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end());
      const Candidate best = heap_.back();
      heap_.pop_back();
      Symbol& left = at(best.left);
      if (left.id != best.left_id || left.next < 0 || at(left.next).id != best.right_id) continue;
      Symbol& right = at(left.next);
      left.id = best.merged;
      left.next = right.next;
      if (right.next >= 0) at(right.next).prev = best.left;
      right.id = kGone;
      push(merges, left.prev);
      push(merges, best.left);
    }
  }

  /// Calls `take(id, tag)` for each symbol that is left, in order.
  template <typename Take>
  void for_each(Take&& take) const {
    if (symbols_.empty()) return;
    for (std::int32_t i = 0; i >= 0; i = symbols_[static_cast<std::size_t>(i)].next) {
      const Symbol& s = symbols_[static_cast<std::size_t>(i)];
      take(s.id, s.tag);
    }
  }

 private:
  static constexpr TokenId kGone = -2;  // merged into the one before

  struct Symbol {
    TokenId id;
    std::uint32_t tag;
    std::int32_t prev;  // -1 at the ends
    std::int32_t next;
  };
  struct Candidate {
    std::int32_t rank;
    std::int32_t left;  // index of the left symbol
    TokenId left_id;    // the pair at creation; the candidate is stale if the symbols have changed since
    TokenId right_id;
    TokenId merged;
    /// Order for a heap, whose top is the greatest: lowest rank first, then leftmost.
    friend bool operator<(const Candidate& a, const Candidate& b) noexcept {
      return a.rank != b.rank ? a.rank > b.rank : a.left > b.left;
    }
  };

  Symbol& at(std::int32_t i) noexcept { return symbols_[static_cast<std::size_t>(i)]; }
  void consider(const MergeTable& merges, std::int32_t left) {
    if (left < 0 || at(left).next < 0) return;
    const TokenId left_id = at(left).id;
    const TokenId right_id = at(at(left).next).id;
    if (left_id < 0 || right_id < 0) return;
    const auto merge = merges.find(left_id, right_id);
    if (merge.rank >= 0) heap_.push_back({merge.rank, left, left_id, right_id, merge.merged});
  }
  void push(const MergeTable& merges, std::int32_t left) {
    const std::size_t before = heap_.size();
    consider(merges, left);
    if (heap_.size() > before) std::push_heap(heap_.begin(), heap_.end());
  }

  std::vector<Symbol> symbols_;
  std::vector<Candidate> heap_;
};

}  // namespace gemma::detail
