// Beginnings of sequences whose keys and values are kept for sequences to come. Invariant: an entry holds
// pages like any sequence, shared with those that began with it; when pages are needed, entries leave, those
// first that were not used for longest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kv_cache.hpp"
#include "sequence.hpp"

namespace gemma {

/// How many tokens two lists begin with in common.
std::size_t common_prefix(std::span<const std::int32_t> a, std::span<const std::int32_t> b) noexcept;

/// Of one pool; move-only; one thread at a time.
class PrefixCache {
 public:
  /// Room for max_entries; no memory is taken later. Throws std::bad_alloc.
  PrefixCache(const std::shared_ptr<KvPool>& pool, std::size_t max_entries);

  /// What can be taken from here for a sequence.
  struct Match {
    const KvCache* cache = nullptr;  // an entry's, valid until the next change; nullptr: nothing
    std::size_t n = 0;               // tokens of the sequence that it has
  };
  /// The entry with the longest beginning of `tokens` that can be reused: where a sliding window has given
  /// pages back, only its end is one. It counts as used now.
  Match find(std::span<const std::int32_t> tokens) noexcept;

  /// Keeps the first n tokens of a sequence that goes on, unless an entry has them. Where no page or entry is
  /// free, others leave.
  void keep(const Sequence& sequence, std::size_t n);
  /// Keeps what a sequence that leaves has computed; the sequence is empty afterwards. No page is copied.
  void keep_all(Sequence& sequence);

  /// The entry that was not used for longest leaves, except `used`. False: there is none.
  bool evict(const KvCache* used = nullptr) noexcept;
  /// Entries leave until so many pages of a group are free. False: they are not.
  bool make_room(std::size_t group, std::size_t n_pages, const KvCache* used = nullptr) noexcept;
  /// Removes all entries and releases their pages.
  void clear() noexcept;
  /// Number of entries.
  std::size_t size() const noexcept;

 private:
  struct Entry {
    explicit Entry(std::shared_ptr<KvPool> pool) : sequence(std::move(pool)) {}
    bool empty() const noexcept { return sequence.n_past() == 0; }
    Sequence sequence;
    std::uint64_t used = 0;
  };

  /// Whether an entry has the tokens already, or makes room by those that they replace. nullptr: it has.
  Entry* entry_for(std::span<const std::int32_t> tokens, const KvCache& cache) noexcept;

  std::shared_ptr<KvPool> pool_;
  std::vector<Entry> entries_;
  std::uint64_t clock_ = 0;
};

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "prefix_cache.inl"
#endif
