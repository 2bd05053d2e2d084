// Definitions of kv_pages.hpp.
#pragma once

#include <algorithm>
#include <limits>
#include <string>

#include "../gguf/linkage.hpp"
#include "check_number.hpp"

namespace gemma {

namespace detail {

/// Maximum number of pages that one sequence holds at a time for layers with this window.
inline std::size_t most_pages(std::size_t window, const KvCacheOptions& o) noexcept {
  const std::size_t all = KvLayout::pages_for(o.n_ctx);
  if (window == 0 || window >= o.n_ctx) return all;
  // A chunk is stored before its first token reads the window before it, so both are held. A run of n
  // positions touches at most one page more than n - 1 positions fill.
  const std::size_t run = window - 1 + std::min(o.max_chunk, o.n_ctx);
  return std::min(all, KvLayout::pages_for(run - 1) + 1);
}

}  // namespace detail

GEMMA_INLINE KvLayout::KvLayout(const ModelConfig& config, const KvCacheOptions& o)
    : options(o), one_layer(config.keeps_no_kv()) {
  detail::check_number("n_ctx", o.n_ctx, 1, ModelConfig::kMostPositions);
  detail::check_number("max_chunk", o.max_chunk, 1);
  layers.reserve(config.n_layers());
  for (std::size_t i = 0; i < config.n_layers(); ++i) {
    const AttentionConfig& a = config.layers[i].attention;
    Layer layer{kNoGroup, 0, a.n_kv_heads, a.head_dim, a.window};
    if (config.owns_kv(i) && o.keeps(i)) {
      const std::size_t window = one_layer ? 0 : a.window;
      const auto same = [&](const Group& g) { return g.window == window; };
      auto group = std::find_if(groups.begin(), groups.end(), same);
      if (group == groups.end()) {
        group = groups.insert(groups.end(), {window, 0, detail::most_pages(window, o)});
      }
      layer.group = static_cast<std::size_t>(group - groups.begin());
      // 64 layers of 2 x 64 x 2^24 numbers of 4 bytes (6 where heads have one number): below 2^42
      const std::size_t bytes = 2 * a.n_kv_heads * head_bytes(a.head_dim);
      if (one_layer) {
        group->page_bytes = std::max(group->page_bytes, bytes);
      } else {
        layer.offset = group->page_bytes;
        group->page_bytes += bytes;
      }
    }
    layers.push_back(layer);
  }
}

GEMMA_INLINE bool KvLayout::fits(const ModelConfig& config) const {
  if (config.n_layers() != layers.size() || config.keeps_no_kv() != one_layer) return false;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const AttentionConfig& a = config.layers[i].attention;
    const Layer& l = layers[i];
    if (l.window != a.window || l.n_kv_heads != a.n_kv_heads || l.head_dim != a.head_dim ||
        (l.group != kNoGroup) != (config.owns_kv(i) && options.keeps(i))) {
      return false;
    }
  }
  return true;
}

GEMMA_INLINE std::size_t KvLayout::bytes(std::size_t n_sequences) const noexcept {
  constexpr std::size_t kMost = std::numeric_limits<std::size_t>::max();
  std::size_t sum = 0;
  for (const Group& g : groups) {
    const std::size_t pages = g.most_pages > kMost / n_sequences ? kMost : g.most_pages * n_sequences;
    if (g.page_bytes != 0 && pages > (kMost - sum) / g.page_bytes) return kMost;
    sum += pages * g.page_bytes;
  }
  return sum;
}

namespace detail {

/// Maximum number of pages of each group that n sequences hold, [groups].
inline std::vector<std::size_t> pages_of(const KvLayout& layout, std::size_t n_sequences) {
  if (layout.bytes(n_sequences) == std::numeric_limits<std::size_t>::max()) {
    detail::refuse(ErrorCode::kOutOfMemory, "the KV cache is larger than the address space");
  }
  std::vector<std::size_t> out;
  for (const KvLayout::Group& g : layout.groups) out.push_back(g.most_pages * n_sequences);
  return out;
}

}  // namespace detail

GEMMA_INLINE KvPool::KvPool(const KvLayout& layout, std::size_t n_sequences)
    : KvPool(layout, detail::pages_of(layout, n_sequences)) {}

GEMMA_INLINE KvPool::KvPool(const KvLayout& layout, std::span<const std::size_t> n_pages) : layout_(layout) {
  owned_ = AlignedBuffer<std::byte>(lay_out(n_pages), "KV cache");
  memory_ = {owned_.data(), owned_.size()};
}

GEMMA_INLINE KvPool::KvPool(const KvLayout& layout, std::size_t n_sequences, std::span<std::byte> memory)
    : layout_(layout) {
  memory_ = memory.first(lay_out(detail::pages_of(layout, n_sequences)));
}

GEMMA_INLINE std::size_t KvPool::lay_out(std::span<const std::size_t> n_pages) {
  std::size_t bytes = 0;
  groups_.reserve(n_pages.size());
  for (std::size_t g = 0; g < n_pages.size(); ++g) {
    if (n_pages[g] > std::numeric_limits<std::uint32_t>::max()) {
      detail::refuse(ErrorCode::kOutOfMemory, [&] {
        return "the KV cache needs " + std::to_string(n_pages[g]) +
               " pages of one window; at most 4294967295 are possible";
      });
    }
    Group group{bytes, std::vector<std::uint32_t>(n_pages[g], 0), std::vector<std::uint32_t>(n_pages[g])};
    for (std::size_t i = 0; i < n_pages[g]; ++i) {
      group.free[i] = static_cast<std::uint32_t>(n_pages[g] - 1 - i);
    }
    bytes += n_pages[g] * layout_.groups[g].page_bytes;
    groups_.push_back(std::move(group));
  }
  return bytes;
}

GEMMA_INLINE std::size_t KvPool::used_bytes() const noexcept {
  std::size_t sum = 0;
  for (std::size_t g = 0; g < groups_.size(); ++g) sum += n_used(g) * layout_.groups[g].page_bytes;
  return sum;
}

GEMMA_INLINE std::byte* KvPool::take(std::size_t group) noexcept {
  Group& g = groups_[group];
  if (g.free.empty()) return nullptr;
  const std::uint32_t page = g.free.back();
  g.free.pop_back();
  g.n_references[page] = 1;
  return memory_.data() + g.offset + page * layout_.groups[group].page_bytes;
}

GEMMA_INLINE void KvPool::give_back(std::size_t group, const std::byte* page) noexcept {
  Group& g = groups_[group];
  const std::size_t i = number(group, page);
  if (--g.n_references[i] == 0) g.free.push_back(static_cast<std::uint32_t>(i));  // within its first capacity
}

}  // namespace gemma
