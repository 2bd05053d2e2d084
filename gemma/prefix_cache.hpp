// Keeps keys and values of prefixes of sequences, for later sequences.
// Invariant: an entry holds pages like any sequence, shared with the sequences that begin with its tokens;
// when pages are needed, the least recently used entries are removed first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kv_cache.hpp"
#include "sequence.hpp"

namespace gemma::detail {

/// Length of the common prefix of two lists of tokens.
std::size_t common_prefix(std::span<const std::int32_t> a, std::span<const std::int32_t> b) noexcept;

/// The kept prefixes of one pool. Move-only; used by one thread at a time.
class PrefixCache {
 public:
  /// Has room for max_entries; allocates nothing later. Throws std::bad_alloc.
  PrefixCache(const std::shared_ptr<KvPool>& pool, std::size_t max_entries);

  /// What an entry has in common with a sequence.
  struct Match {
    const KvCache* cache = nullptr;  // the entry's cache, valid until the next change; nullptr: no match
    std::size_t n = 0;               // number of tokens in common
  };
  /// The entry with the longest reusable prefix of `tokens` (if a sliding window has released pages, an entry
  /// is reusable only as a whole). Marks it as used.
  Match find(std::span<const std::int32_t> tokens) noexcept;

  /// Keeps the first n tokens of a sequence that continues, unless an entry holds them already. If no page or
  /// entry is free, other entries are removed.
  void keep(const Sequence& sequence, std::size_t n);
  /// Keeps the computed tokens of a sequence that ends; the sequence is empty afterwards. Copies no page.
  void keep_all(Sequence& sequence);

  /// Removes the least recently used entry, except `used`. Returns false if there is none.
  bool evict(const KvCache* used = nullptr) noexcept;
  /// Removes entries until n_pages of a group are free, but not `used`. Returns false if that is not enough.
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

  /// An empty entry for the tokens; removes entries that are prefixes of them, or else the least recently
  /// used one. nullptr: an entry has the tokens already, or there is no entry.
  Entry* entry_for(std::span<const std::int32_t> tokens, const KvCache& cache) noexcept;

  std::shared_ptr<KvPool> pool_;
  std::vector<Entry> entries_;
  std::uint64_t clock_ = 0;
};

}  // namespace gemma::detail

#if defined(GEMMA_HEADER_ONLY)
#include "prefix_cache.inl"
#endif
