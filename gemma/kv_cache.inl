// Definitions of kv_cache.hpp.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>

#include "../gguf/linkage.hpp"
#include "engine_error_code.hpp"

namespace gemma {

GEMMA_INLINE KvCache::KvCache(const ModelConfig& config, const KvCacheOptions& options)
    : KvCache(std::make_shared<KvPool>(KvLayout(config, options), 1)) {}

GEMMA_INLINE KvCache::KvCache(const ModelConfig& config, const KvCacheOptions& options,
                              std::span<std::byte> memory)
    : KvCache(std::make_shared<KvPool>(KvLayout(config, options), 1, memory)) {}

GEMMA_INLINE KvCache::KvCache(std::shared_ptr<KvPool> pool) : pool_(std::move(pool)) {
  tables_.resize(layout().groups.size());
  for (Table& t : tables_) t.pages.assign(KvLayout::pages_for(n_ctx()), nullptr);
}

GEMMA_INLINE KvCache& KvCache::operator=(KvCache&& other) noexcept {
  std::swap(pool_, other.pool_);
  std::swap(tables_, other.tables_);
  std::swap(n_past_, other.n_past_);
  return *this;
}

GEMMA_INLINE KvCache::~KvCache() {
  if (pool_ != nullptr) give_back_all();
}

GEMMA_INLINE std::size_t KvCache::held_bytes() const noexcept {
  std::size_t sum = 0;
  for (std::size_t g = 0; g < tables_.size(); ++g) {
    sum += (tables_[g].end - tables_[g].begin) * layout().groups[g].page_bytes;
  }
  return sum;
}

GEMMA_INLINE bool KvCache::can_truncate(std::size_t n) const noexcept {
  if (n > n_past_ || (layout().one_layer && n != 0 && n != n_past_)) return false;
  for (std::size_t g = 0; g < tables_.size(); ++g) {
    // the next token, at position n, sees positions from n - window + 1 on
    const std::size_t window = layout().groups[g].window;
    const std::size_t from = window == 0 || n < window ? 0 : n - window + 1;
    if (n != 0 && tables_[g].begin > from / kernels::kKeyBlock) return false;
  }
  return true;
}

GEMMA_INLINE void KvCache::truncate(std::size_t n) {
  if (!can_truncate(n)) {
    detail::refuse(ErrorCode::kInvalidArgument, [&] {
      return "cannot truncate " + std::to_string(n_past_) + " positions to " + std::to_string(n) +
             (n > n_past_          ? ""
              : layout().one_layer ? ": the cache keeps the keys and values of one layer only"
                                   : ": a sliding window has released positions that they need");
    });
  }
  n_past_ = n;
  if (n == 0) return give_back_all();
  for (std::size_t g = 0; g < tables_.size(); ++g) give_back(g, KvLayout::pages_for(n), tables_[g].end);
}

[[noreturn]] GEMMA_INLINE void KvCache::refuse_more(std::size_t n) const {
  detail::refuse(EngineErrorCode::kContextFull, [&] {
    return "the context of " + std::to_string(n_ctx()) + " tokens is full: " + std::to_string(n_past_) +
           " are used, " + std::to_string(n) + " more do not fit";
  });
}

GEMMA_INLINE void KvCache::copy_from(const KvCache& other) {
  if (this == &other) return;
  if (layout() != other.layout()) {
    detail::refuse(ErrorCode::kInvalidArgument, "caches of different shapes cannot be copied");
  }
  truncate(0);
  try {
    for (std::size_t g = 0; g < tables_.size(); ++g) {
      const Table& from = other.tables_[g];
      adopt_blocks(g, from.begin, from.end);
      for (std::size_t b = from.begin; b < from.end; ++b) {
        std::memcpy(page(g, b), from.pages[b], layout().groups[g].page_bytes);
      }
    }
  } catch (...) {
    truncate(0);
    throw;
  }
  n_past_ = other.n_past_;
}

GEMMA_INLINE void KvCache::share(const KvCache& other, std::size_t n) {
  if (pool_ != other.pool_ || this == &other || !other.can_truncate(n)) {
    detail::refuse(ErrorCode::kInvalidArgument, [&] {
      return "a cache cannot share the first " + std::to_string(n) + " positions of another";
    });
  }
  truncate(0);
  if (n == 0) return;
  const std::size_t end = KvLayout::pages_for(n);
  for (std::size_t g = 0; g < tables_.size(); ++g) {
    const std::size_t window = layout().groups[g].window;
    const std::size_t from = window == 0 || n < window ? 0 : (n - window + 1) / kernels::kKeyBlock;
    Table& t = tables_[g];
    t.begin = t.end = from;
    for (; t.end < end; ++t.end) {
      t.pages[t.end] = other.tables_[g].pages[t.end];
      pool_->hold(g, t.pages[t.end]);
    }
  }
  n_past_ = n;
  if (n % kernels::kKeyBlock == 0) return;
  try {
    prepare(1);  // copies the last page now, so that neither cache must copy it when it continues
  } catch (...) {
    truncate(0);
    throw;
  }
}

GEMMA_INLINE KvCache KvCache::compact_copy() const {
  std::vector<std::size_t> n_pages;
  for (const Table& t : tables_) n_pages.push_back(t.end - t.begin);
  KvCache out(std::make_shared<KvPool>(layout(), n_pages));
  out.copy_from(*this);
  return out;
}

GEMMA_INLINE std::size_t KvCache::pages_needed(std::size_t group, std::size_t n) const noexcept {
  const Table& t = tables_[group];
  std::size_t sum = 0;
  for (std::size_t b = n_past_ / kernels::kKeyBlock; b < KvLayout::pages_for(n_past_ + n); ++b) {
    const bool held = b >= t.begin && b < t.end;
    if (!held || pool_->n_references(group, t.pages[b]) != 1) ++sum;
  }
  return sum;
}

GEMMA_INLINE std::size_t KvCache::room_in_pages() const noexcept {
  std::size_t room = n_ctx() - n_past_;
  for (std::size_t g = 0; g < tables_.size() && room != 0; ++g) {
    const Table& t = tables_[g];
    const std::size_t begin = t.begin == t.end ? n_past_ / kernels::kKeyBlock : t.begin;
    const std::size_t left = (begin + layout().groups[g].most_pages) * kernels::kKeyBlock - n_past_;
    room = std::min(room, left == 0 ? kernels::kKeyBlock : left);
  }
  return room;
}

GEMMA_INLINE void KvCache::prepare(std::size_t n) {
  for (std::size_t g = 0; g < tables_.size(); ++g) {
    Table& t = tables_[g];
    const KvLayout::Group& group = layout().groups[g];
    for (std::size_t b = n_past_ / kernels::kKeyBlock; b < KvLayout::pages_for(n_past_ + n); ++b) {
      if (b >= t.end) {
        // a page outside the window is released only when a new page is needed, so that the cache can be
        // truncated until then
        if (t.end - t.begin == group.most_pages) give_back(g, t.begin, t.begin + 1);
        t.pages[b] = take(g);
        if (t.begin == t.end) t.begin = b;
        t.end = b + 1;
      } else if (pool_->n_references(g, t.pages[b]) != 1) {
        std::byte* const own = take(g);
        std::memcpy(own, t.pages[b], group.page_bytes);
        pool_->give_back(g, t.pages[b]);
        t.pages[b] = own;
      }
    }
  }
}

GEMMA_INLINE void KvCache::adopt_blocks(std::size_t group, std::size_t begin, std::size_t end) {
  Table& t = tables_[group];
  if (begin > end || end > t.pages.size() || t.begin != t.end) {
    detail::refuse(ErrorCode::kInvalidArgument, "pages outside the context");
  }
  t.begin = t.end = begin;
  for (; t.end < end; ++t.end) t.pages[t.end] = take(group);
}

GEMMA_INLINE std::byte* KvCache::take(std::size_t group) {
  std::byte* const page = pool_->take(group);
  if (page == nullptr) detail::refuse(ErrorCode::kOutOfMemory, "no page of the KV cache is free");
  return page;
}

GEMMA_INLINE void KvCache::give_back(std::size_t group, std::size_t begin, std::size_t end) noexcept {
  Table& t = tables_[group];
  begin = std::max(begin, t.begin);
  end = std::min(end, t.end);
  if (begin >= end) return;
  // from the last page to the first, so that they are reused in the order of positions
  for (std::size_t b = end; b-- > begin;) pool_->give_back(group, std::exchange(t.pages[b], nullptr));
  if (begin != t.begin) {
    t.end = begin;
  } else if (end != t.end) {
    t.begin = end;
  } else {
    t.begin = t.end = 0;  // no page is held: the next one may belong to any block
  }
}

GEMMA_INLINE void KvCache::give_back_all() noexcept {
  for (std::size_t g = 0; g < tables_.size(); ++g) {
    give_back(g, 0, tables_[g].end);
    tables_[g].begin = tables_[g].end = 0;
  }
}

}  // namespace gemma
