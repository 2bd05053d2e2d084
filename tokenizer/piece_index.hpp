// A flat hash table from a piece's bytes to its id, over strings that it does not own.
// Invariant: at most half the slots are used, and every piece is within kLongestProbe slots of its hash, so
// that every look-up is short whatever pieces a file has; of equal pieces, the first one is found.
//
// A slot has a piece's first 8 bytes and its length, so that most pieces, which are short, are found with one
// memory access; with another access to the piece's bytes, building Llama 3's 280,147 merges took one and a
// half times as long.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "../gguf/hashing.hpp"

namespace gemma::detail {

/// Does not own the pieces: the span given to the constructor must outlive it, unchanged. Safe to read from
/// many threads.
class PieceIndex {
 public:
  PieceIndex() = default;
  /// Makes room for every element of `pieces`, fewer than 2^31; add() inserts them.
  explicit PieceIndex(std::span<const std::string_view> pieces)
      : pieces_(pieces), slots_(std::bit_ceil(2 * pieces.size() + 2)) {}

  /// At half load the longest probe of n pieces is about ln(n) / 0.19: 66 for 256,000. The vocabularies of
  /// Gemma, Llama 3 and Mistral need at most 33; pieces that need more than this limit were chosen to
  /// collide.
  static constexpr std::size_t kLongestProbe = 1024;

  /// Inserts pieces[id]; of equal pieces the first stays. Returns false when too many pieces collide.
  bool add(std::int32_t id) {
    const std::string_view piece = pieces_[static_cast<std::size_t>(id)];
    const std::uint64_t head = head_of(piece);
    const std::size_t at = find_slot(piece, head);
    if (at == kNoSlot) return false;
    if (slots_[at].id < 0) slots_[at] = {head, static_cast<std::uint32_t>(piece.size()), id};
    return true;
  }

  /// Id of `piece`; -1 when the vocabulary does not have it.
  std::int32_t find(std::string_view piece) const noexcept {
    if (slots_.empty()) return -1;
    const std::size_t at = find_slot(piece, head_of(piece));
    return at == kNoSlot ? -1 : slots_[at].id;
  }

 private:
  struct Slot {
    std::uint64_t head = 0;    // the piece's first 8 bytes, followed by zeros if it is shorter
    std::uint32_t length = 0;  // low 32 bits of its length
    std::int32_t id = -1;      // -1: free
  };

  static std::uint64_t head_of(std::string_view piece) noexcept {
    std::uint64_t head = 0;
    if (!piece.empty()) std::memcpy(&head, piece.data(), std::min<std::size_t>(piece.size(), 8));
    return head;
  }
  bool holds(const Slot& slot, std::string_view piece, std::uint64_t head) const noexcept {
    return slot.head == head && slot.length == static_cast<std::uint32_t>(piece.size()) &&
           (piece.size() <= 8 || pieces_[static_cast<std::size_t>(slot.id)] == piece);
  }
  static std::uint64_t hash_of(std::string_view piece, std::uint64_t head) noexcept {
    const std::uint64_t key = piece.size() <= 8 ? head + piece.size() : std::hash<std::string_view>{}(piece);
    return fibonacci_hash(key ^ key >> 32);
  }
  /// The slot that holds `piece`, or the free slot where it belongs; kNoSlot if it is too far away.
  std::size_t find_slot(std::string_view piece, std::uint64_t head) const noexcept {
    const auto stops = [&](const Slot& s) { return s.id < 0 || holds(s, piece, head); };
    return probe(slots_, hash_of(piece, head), stops, kLongestProbe);
  }

  std::span<const std::string_view> pieces_;
  std::vector<Slot> slots_;
};

}  // namespace gemma::detail
