// Keys and values of one sequence: a list of pages for each group of layers.
// Invariant: positions [0, n_past) were computed from tokens in order; a group's pages hold all positions
// that a later token can see. A page that is shared with other caches is never written: it is copied first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "kv_pages.hpp"

namespace gemma {

/// Holds pages of a pool, either its own or one that several caches share. Move-only; not thread-safe; used
/// by one forward pass at a time.
class KvCache {
 public:
  /// A cache with a pool of its own. Throws Error{kInvalidArgument} for an empty context or chunk,
  /// {kOutOfMemory}.
  KvCache(const ModelConfig& config, const KvCacheOptions& options);
  /// A cache with its own pool in the caller's memory, which must be aligned to 64 bytes, have at least
  /// bytes_for() bytes and outlive the cache.
  KvCache(const ModelConfig& config, const KvCacheOptions& options, std::span<std::byte> memory);
  /// A cache that takes its pages from a pool.
  explicit KvCache(std::shared_ptr<KvPool> pool);
  KvCache(KvCache&& other) noexcept = default;
  KvCache& operator=(KvCache&& other) noexcept;
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;
  ~KvCache();

  /// Exact size in bytes of the pages of a cache with a pool of its own, without allocating them; the largest
  /// size_t when no memory could hold them. Throws Error{kInvalidArgument} as the constructor does.
  static std::size_t bytes_for(const ModelConfig& config, const KvCacheOptions& options) {
    return KvLayout(config, options).bytes(1);
  }

  /// Positions that hold keys and values.
  std::size_t n_past() const noexcept { return n_past_; }
  /// Maximum number of positions.
  std::size_t n_ctx() const noexcept { return layout().options.n_ctx; }
  /// Maximum number of tokens that one forward pass may add.
  std::size_t max_chunk() const noexcept { return layout().options.max_chunk; }
  /// How keys and values are stored.
  KvType type() const noexcept { return layout().options.type; }
  /// Bytes of all pages of its pool.
  std::size_t size_bytes() const noexcept { return pool_->size_bytes(); }
  /// Bytes of the pages that the cache holds, including shared ones.
  std::size_t held_bytes() const noexcept;
  /// Layout of keys and values in pages.
  const KvLayout& layout() const noexcept { return pool_->layout(); }
  /// The pool that its pages come from.
  const std::shared_ptr<KvPool>& pool() const noexcept { return pool_; }

  /// Whether a model of this configuration would make the same cache from the same options.
  bool fits(const ModelConfig& config) const { return layout().fits(config); }

  /// Whether the cache can be truncated to its first n positions: pages of a sliding window may have been
  /// released.
  bool can_truncate(std::size_t n) const noexcept;
  /// Drops all but the first n positions. Throws Error{kInvalidArgument} unless can_truncate(n).
  void truncate(std::size_t n);

  /// Throws Error{kContextFull} saying that n more tokens do not fit.
  [[noreturn]] void refuse_more(std::size_t n) const;

  /// Copies the content of `other`, which must be of the same model and options. Throws
  /// Error{kInvalidArgument} otherwise; {kOutOfMemory} if the pool has too few pages, and then this cache is
  /// empty.
  void copy_from(const KvCache& other);
  /// Makes this cache equal to the first n positions of `other`, of the same pool. They share the pages,
  /// except the last one if position n lies in it: that one is copied. Throws Error{kInvalidArgument} for
  /// another pool or unless other.can_truncate(n); {kOutOfMemory} if no page is free for the copy, and then
  /// this cache is empty.
  void share(const KvCache& other, std::size_t n);
  /// A copy with its own pool, which has exactly the pages that it needs.
  KvCache compact_copy() const;

  // ---- for the decoder ----
  /// Number of pages of one group that prepare(n) would take from the pool.
  std::size_t pages_needed(std::size_t group, std::size_t n) const noexcept;
  /// Takes unshared pages for the positions [n_past, n_past + n), which must fit into the context. Allocates
  /// nothing. Throws Error{kOutOfMemory} if the pool has too few; the content of the cache is then unchanged.
  void prepare(std::size_t n);
  /// How many tokens may be added before a page leaves a sliding window that still holds it when only the
  /// next token is added. 0 if the context is full.
  std::size_t room_in_pages() const noexcept;
  /// Takes the last n positions out of n_past() but keeps their pages and content: advance() brings them
  /// back, unless other tokens have been computed in their place. truncate(n_past()) releases the pages.
  void retreat(std::size_t n) noexcept { n_past_ -= n; }
  /// Declares n more positions as computed.
  void advance(std::size_t n) noexcept { n_past_ += n; }
  /// The pages of a layer that owns its keys and values, indexed by position / kKeyBlock.
  const std::byte* const* pages(std::size_t layer) const noexcept {
    return tables_[layout().layers[layer].group].pages.data();
  }
  /// Pointer to the keys of a head in the page that holds `position`; the position is slot position %
  /// kKeyBlock of them.
  std::byte* keys(std::size_t layer, std::size_t kv_head, std::size_t position) noexcept {
    return page_of(layer, position) + layout().key_offset(layer, kv_head);
  }
  /// Pointer to the values of a head in that page.
  std::byte* values(std::size_t layer, std::size_t kv_head, std::size_t position) noexcept {
    return page_of(layer, position) + layout().value_offset(layer, kv_head);
  }

  /// The blocks of a group whose pages the cache holds: [first, second).
  std::pair<std::size_t, std::size_t> blocks(std::size_t group) const noexcept {
    return {tables_[group].begin, tables_[group].end};
  }
  /// Calls f(group, block, page) for each page that the cache holds, by group and position.
  template <typename F>
  void for_each_page(F f) const {
    for (std::size_t g = 0; g < tables_.size(); ++g) {
      for (std::size_t b = tables_[g].begin; b < tables_[g].end; ++b) f(g, b, tables_[g].pages[b]);
    }
  }
  /// For restoring: gives an empty cache new pages for blocks [begin, end) of a group. Throws
  /// Error{kOutOfMemory}, {kInvalidArgument} for blocks outside the context.
  void adopt_blocks(std::size_t group, std::size_t begin, std::size_t end);
  /// For restoring: the page of a block, which the cache must hold.
  std::byte* page(std::size_t group, std::size_t block) noexcept { return tables_[group].pages[block]; }

 private:
  /// Pages of blocks [begin, end); the others are null.
  struct Table {
    std::vector<std::byte*> pages;  // [blocks of the context]
    std::size_t begin = 0, end = 0;
  };

  std::byte* page_of(std::size_t layer, std::size_t position) noexcept {
    return tables_[layout().layers[layer].group].pages[position / kernels::kKeyBlock];
  }
  void give_back(std::size_t group, std::size_t begin, std::size_t end) noexcept;
  void give_back_all() noexcept;
  std::byte* take(std::size_t group);

  std::shared_ptr<KvPool> pool_;
  std::vector<Table> tables_;  // by group
  std::size_t n_past_ = 0;
};

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "kv_cache.inl"
#endif
