// Memory of keys and values, in pages of kKeyBlock positions with a count of those who hold them. Invariant:
// all pages are planned and their addresses reserved when the pool is made; taking or giving back a page
// allocates nothing, and the system gives a page memory when it is first written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "../kernels/kernel_table.hpp"
#include "aligned_buffer.hpp"
#include "config.hpp"

namespace gemma {

using kernels::KvType;

/// What the cache of a sequence is made of.
struct KvCacheOptions {
  std::size_t n_ctx = 4096;          // positions the cache can hold
  KvType type = KvType::kF16;        // how keys and values are stored
  std::size_t max_chunk = 512;       // the most tokens one forward adds
  std::size_t layer_begin = 0;       // the first layer whose keys and values are kept: whoever runs no others
  std::size_t layer_end = SIZE_MAX;  // one past the last

  /// Whether keys and values of `layer` are kept, where it has its own.
  bool keeps(std::size_t layer) const noexcept { return layer >= layer_begin && layer < layer_end; }

  bool operator==(const KvCacheOptions&) const = default;
};

/// Where keys and values lie. Layers whose tokens see equally far back form a group; a page of a group holds
/// kKeyBlock positions of all its layers. Plain data; made from a configuration.
struct KvLayout {
  /// Group of layers whose keys and values lie in the same pages.
  struct Group {
    std::size_t window = 0;      // positions that a token of these layers sees; 0: all
    std::size_t page_bytes = 0;  // a multiple of 64
    std::size_t most_pages = 0;  // that one sequence holds at a time

    bool operator==(const Group&) const = default;
  };
  /// A layer's part of a page: for each head its keys, then its values, of kKeyBlock positions each, as
  /// kernels::AttentionArgs says.
  struct Layer {
    std::size_t group = kNoGroup;  // whose pages hold it
    std::size_t offset = 0;        // bytes from the begin of a page
    std::size_t n_kv_heads = 0;    // of the layer
    std::size_t head_dim = 0;      // of the layer
    std::size_t window = 0;        // of the layer, whether or not its group gives pages back

    bool operator==(const Layer&) const = default;
  };
  /// A layer that reads another's keys and values, or whose own are not kept.
  static constexpr std::size_t kNoGroup = SIZE_MAX;

  /// Throws Error{kInvalidArgument} for an empty context or chunk.
  KvLayout(const ModelConfig& config, const KvCacheOptions& options);

  /// Whether a model of this configuration has the same layout.
  bool fits(const ModelConfig& config) const;
  /// Number of pages needed for n positions.
  static std::size_t pages_for(std::size_t n) noexcept {
    return (n + kernels::kKeyBlock - 1) / kernels::kKeyBlock;
  }
  /// Bytes of the pages of n sequences; the largest size_t when no memory could hold them.
  std::size_t bytes(std::size_t n_sequences) const noexcept;

  /// Bytes of the keys, or values, of one head in a page.
  std::size_t head_bytes(std::size_t head_dim) const noexcept {
    return kernels::kKeyBlock * kernels::kv_type_info(options.type).vector_bytes(head_dim);
  }
  /// Bytes from a page's begin to a head's keys. The layer has a group.
  std::size_t key_offset(std::size_t layer, std::size_t kv_head) const noexcept {
    const Layer& l = layers[layer];
    return l.offset + 2 * kv_head * head_bytes(l.head_dim);
  }
  /// Bytes from a page's begin to a head's values.
  std::size_t value_offset(std::size_t layer, std::size_t kv_head) const noexcept {
    const Layer& l = layers[layer];
    return l.offset + (2 * kv_head + 1) * head_bytes(l.head_dim);
  }

  bool operator==(const KvLayout&) const = default;

  KvCacheOptions options;     // that it was made with
  std::vector<Group> groups;  // one for each window of layers that are kept
  std::vector<Layer> layers;  // [n_layers]
  bool one_layer = false;     // all layers lie in the same place (ModelConfig::keeps_no_kv)
};

/// Owns the pages of some sequences. Neither copied nor moved; not thread-safe: sequences that share a pool
/// belong to one thread at a time.
class KvPool {
 public:
  /// Reserves as many pages as n_sequences can hold at one time. Throws Error{kOutOfMemory},
  /// {kInvalidArgument} as KvLayout.
  KvPool(const KvLayout& layout, std::size_t n_sequences);
  /// The same in memory of the caller's, aligned to 64 bytes, of at least layout.bytes(n_sequences) bytes; it
  /// must outlive the pool.
  KvPool(const KvLayout& layout, std::size_t n_sequences, std::span<std::byte> memory);
  /// A pool of exactly so many pages of each group.
  KvPool(const KvLayout& layout, std::span<const std::size_t> n_pages);
  KvPool(const KvPool&) = delete;
  KvPool& operator=(const KvPool&) = delete;
  ~KvPool() = default;

  /// Layout of the keys and values inside a page.
  const KvLayout& layout() const noexcept { return layout_; }
  /// Bytes of all pages, whether used or not.
  std::size_t size_bytes() const noexcept { return memory_.size(); }
  /// Bytes of the pages that somebody holds; a page that several hold counts once.
  std::size_t used_bytes() const noexcept;
  /// Pages of a group that nobody holds.
  std::size_t n_free(std::size_t group) const noexcept { return groups_[group].free.size(); }
  /// Pages of a group that somebody holds.
  std::size_t n_used(std::size_t group) const noexcept {
    return groups_[group].holders.size() - groups_[group].free.size();
  }

  /// A page of a group, held once, or nullptr when none is free.
  std::byte* take(std::size_t group) noexcept;
  /// Adds a reference to the page.
  void hold(std::size_t group, const std::byte* page) noexcept {
    ++groups_[group].holders[number(group, page)];
  }
  /// Drops a reference; a page without references is free.
  void give_back(std::size_t group, const std::byte* page) noexcept;
  /// Number of references to the page.
  std::uint32_t holders(std::size_t group, const std::byte* page) const noexcept {
    return groups_[group].holders[number(group, page)];
  }

 private:
  struct Group {
    std::size_t offset = 0;              // of its first page, in bytes
    std::vector<std::uint32_t> holders;  // [pages]
    std::vector<std::uint32_t> free;     // numbers of pages, the next to take last
  };

  std::size_t number(std::size_t group, const std::byte* page) const noexcept {
    return (static_cast<std::size_t>(page - memory_.data()) - groups_[group].offset) /
           layout_.groups[group].page_bytes;
  }
  /// Fills groups_; returns the bytes of all pages.
  std::size_t lay_out(std::span<const std::size_t> n_pages);

  KvLayout layout_;
  std::vector<Group> groups_;
  AlignedBuffer<std::byte> owned_;  // empty where the memory is the caller's
  std::span<std::byte> memory_;
};

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "kv_pages.inl"
#endif
