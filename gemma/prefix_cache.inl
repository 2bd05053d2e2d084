// Definitions of prefix_cache.hpp.
#pragma once

#include <algorithm>

#include "../gguf/linkage.hpp"

namespace gemma::detail {

GEMMA_INLINE std::size_t common_prefix(std::span<const std::int32_t> a,
                                       std::span<const std::int32_t> b) noexcept {
  const auto end = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first;
  return static_cast<std::size_t>(end - a.begin());
}

GEMMA_INLINE PrefixCache::PrefixCache(const std::shared_ptr<KvPool>& pool, std::size_t max_entries)
    : pool_(pool) {
  entries_.reserve(max_entries);
  for (std::size_t i = 0; i < max_entries; ++i) entries_.emplace_back(pool);
}

GEMMA_INLINE PrefixCache::Match PrefixCache::find(std::span<const std::int32_t> tokens) noexcept {
  Match best;
  Entry* found = nullptr;
  for (Entry& e : entries_) {
    const std::size_t n = common_prefix(tokens, e.sequence.tokens());
    if (n <= best.n || !e.sequence.can_truncate(n)) continue;
    best = {&e.sequence.cache(), n};
    found = &e;
  }
  if (found != nullptr) found->used = ++clock_;
  return best;
}

GEMMA_INLINE PrefixCache::Entry* PrefixCache::entry_for(std::span<const std::int32_t> tokens,
                                                        const KvCache& cache) noexcept {
  for (Entry& e : entries_) {
    const std::size_t n = common_prefix(tokens, e.sequence.tokens());
    if (n == tokens.size() && e.sequence.can_truncate(n)) {
      e.used = ++clock_;
      return nullptr;
    }
    // the new entry replaces this one
    if (n != 0 && n == e.sequence.n_past() && cache.can_truncate(n)) e.sequence.truncate(0);
  }
  const auto older = [](const Entry& a, const Entry& b) {
    return a.empty() != b.empty() ? a.empty() : a.used < b.used;
  };
  const auto entry = std::min_element(entries_.begin(), entries_.end(), older);
  if (entry == entries_.end()) return nullptr;
  entry->sequence.truncate(0);
  entry->used = ++clock_;
  return &*entry;
}

GEMMA_INLINE void PrefixCache::keep(const Sequence& sequence, std::size_t n) {
  const std::span<const std::int32_t> tokens = sequence.tokens().first(n);
  if (n == 0 || !sequence.cache().can_truncate(n)) return;
  Entry* const entry = entry_for(tokens, sequence.cache());
  if (entry == nullptr) return;
  if (n % kernels::kKeyBlock != 0) {
    for (std::size_t g = 0; g < pool_->layout().groups.size(); ++g) {
      if (!make_room(g, 1)) return;  // one page, for the copy of the last one
    }
  }
  entry->sequence.share(sequence.cache(), n);
  entry->sequence.add(tokens);
}

GEMMA_INLINE void PrefixCache::keep_all(Sequence& sequence) {
  const std::size_t n = sequence.cache().n_past();
  if (n == 0) return sequence.truncate(0);
  const std::span<const std::int32_t> tokens = sequence.tokens().first(n);
  Entry* const entry = entry_for(tokens, sequence.cache());
  if (entry == nullptr) return sequence.truncate(0);
  entry->sequence.add(tokens);
  std::swap(entry->sequence.cache(), sequence.cache());
  sequence.truncate(0);
}

GEMMA_INLINE bool PrefixCache::evict(const KvCache* used) noexcept {
  Entry* oldest = nullptr;
  for (Entry& e : entries_) {
    if (e.empty() || &e.sequence.cache() == used) continue;
    if (oldest == nullptr || e.used < oldest->used) oldest = &e;
  }
  if (oldest == nullptr) return false;
  oldest->sequence.truncate(0);
  return true;
}

GEMMA_INLINE bool PrefixCache::make_room(std::size_t group, std::size_t n_pages,
                                         const KvCache* used) noexcept {
  while (pool_->n_free(group) < n_pages) {
    if (!evict(used)) return false;
  }
  return true;
}

GEMMA_INLINE void PrefixCache::clear() noexcept {
  while (evict()) {
  }
}

GEMMA_INLINE std::size_t PrefixCache::size() const noexcept {
  return static_cast<std::size_t>(
      std::count_if(entries_.begin(), entries_.end(), [](const Entry& e) { return !e.empty(); }));
}

}  // namespace gemma::detail
