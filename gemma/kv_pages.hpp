// Memory of keys and values, in reference-counted pages of kKeyBlock positions.
// Invariant: all pages are planned and their addresses reserved when the pool is made; taking or releasing
// a page allocates nothing, and the system provides a page's memory when it is first written.
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

/// Options of a sequence's cache.
struct KvCacheOptions {
  std::size_t n_ctx = 4096;          // positions the cache can hold
  KvType type = KvType::kF16;        // how keys and values are stored
  std::size_t max_chunk = 512;       // maximum number of tokens that one forward pass adds
  std::size_t layer_begin = 0;       // first layer whose keys and values are kept (for a part of the layers)
  std::size_t layer_end = SIZE_MAX;  // one past the last

  /// Whether the cache keeps keys and values of `layer`, if the layer has its own.
  bool keeps(std::size_t layer) const noexcept { return layer >= layer_begin && layer < layer_end; }

  bool operator==(const KvCacheOptions&) const = default;
};

/// Where keys and values are stored. Layers with the same window form a group; a page of a group holds
/// kKeyBlock positions of all its layers. Plain data, made from a configuration.
struct KvLayout {
  /// A group of layers whose keys and values are in the same pages.
  struct Group {
    std::size_t window = 0;      // positions that a token of these layers sees; 0: all
    std::size_t page_bytes = 0;  // a multiple of 64
    std::size_t most_pages = 0;  // maximum number of pages that one sequence holds at a time

    bool operator==(const Group&) const = default;
  };
  /// A layer's part of a page: for each head its keys, then its values, of kKeyBlock positions each, in the
  /// layout of kernels::AttentionArgs.
  struct Layer {
    std::size_t group = kNoGroup;  // index of its group
    std::size_t offset = 0;        // bytes from the start of a page
    std::size_t n_kv_heads = 0;    // of the layer
    std::size_t head_dim = 0;      // of the layer
    std::size_t window = 0;        // of the layer, even if its group keeps all pages

    bool operator==(const Layer&) const = default;
  };
  /// Group of a layer whose keys and values are those of another layer, or are not kept.
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
  /// Bytes from the start of a page to a head's keys. The layer must have a group.
  std::size_t key_offset(std::size_t layer, std::size_t kv_head) const noexcept {
    const Layer& l = layers[layer];
    return l.offset + 2 * kv_head * head_bytes(l.head_dim);
  }
  /// Bytes from the start of a page to a head's values.
  std::size_t value_offset(std::size_t layer, std::size_t kv_head) const noexcept {
    const Layer& l = layers[layer];
    return l.offset + (2 * kv_head + 1) * head_bytes(l.head_dim);
  }

  bool operator==(const KvLayout&) const = default;

  KvCacheOptions options;     // the options it was made from
  std::vector<Group> groups;  // one for each window of the layers that are kept
  std::vector<Layer> layers;  // [n_layers]
  bool one_layer = false;     // all layers use the same memory (ModelConfig::keeps_no_kv)
};

/// Owns the pages of some sequences. Neither copyable nor movable; not thread-safe: all sequences that share
/// a pool must be used by one thread at a time.
class KvPool {
 public:
  /// Reserves as many pages as n_sequences can hold at the same time. Throws Error{kOutOfMemory},
  /// {kInvalidArgument} as KvLayout.
  KvPool(const KvLayout& layout, std::size_t n_sequences);
  /// A pool in the caller's memory, which must be aligned to 64 bytes, have at least
  /// layout.bytes(n_sequences) bytes and outlive the pool.
  KvPool(const KvLayout& layout, std::size_t n_sequences, std::span<std::byte> memory);
  /// A pool of n_pages[group] pages of each group.
  KvPool(const KvLayout& layout, std::span<const std::size_t> n_pages);
  KvPool(const KvPool&) = delete;
  KvPool& operator=(const KvPool&) = delete;
  ~KvPool() = default;

  /// Layout of the keys and values inside a page.
  const KvLayout& layout() const noexcept { return layout_; }
  /// Bytes of all pages, whether used or not.
  std::size_t size_bytes() const noexcept { return memory_.size(); }
  /// Bytes of the pages that are held by sequences; a shared page counts once.
  std::size_t used_bytes() const noexcept;
  /// Number of free pages of a group.
  std::size_t n_free(std::size_t group) const noexcept { return groups_[group].free.size(); }
  /// Number of pages of a group that are held.
  std::size_t n_used(std::size_t group) const noexcept {
    return groups_[group].n_references.size() - groups_[group].free.size();
  }

  /// Takes a free page of a group and gives it one reference; nullptr if none is free.
  std::byte* take(std::size_t group) noexcept;
  /// Adds a reference to the page.
  void hold(std::size_t group, const std::byte* page) noexcept {
    ++groups_[group].n_references[number(group, page)];
  }
  /// Drops a reference; a page without references becomes free.
  void give_back(std::size_t group, const std::byte* page) noexcept;
  /// Number of references to the page.
  std::uint32_t n_references(std::size_t group, const std::byte* page) const noexcept {
    return groups_[group].n_references[number(group, page)];
  }

 private:
  struct Group {
    std::size_t offset = 0;                   // of the group's first page, in bytes
    std::vector<std::uint32_t> n_references;  // [pages]
    std::vector<std::uint32_t> free;          // indices of free pages; the last one is taken next
  };

  std::size_t number(std::size_t group, const std::byte* page) const noexcept {
    return (static_cast<std::size_t>(page - memory_.data()) - groups_[group].offset) /
           layout_.groups[group].page_bytes;
  }
  /// Fills groups_; returns the bytes of all pages.
  std::size_t lay_out(std::span<const std::size_t> n_pages);

  KvLayout layout_;
  std::vector<Group> groups_;
  AlignedBuffer<std::byte> owned_;  // empty if the memory is the caller's
  std::span<std::byte> memory_;
};

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "kv_pages.inl"
#endif
