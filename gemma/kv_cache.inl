// Definitions of kv_cache.hpp.
#pragma once

#include <algorithm>
#include <limits>
#include <string>

#include "../gguf/linkage.hpp"

namespace gemma {

GEMMA_INLINE KvCache::KvCache(const ModelConfig& config, const KvCacheOptions& options)
    : KvCache(config, options, {}) {
  owned_ = AlignedBuffer<std::byte>(memory_.size(), "KV cache");
  memory_ = {owned_.data(), owned_.size()};
}

GEMMA_INLINE KvCache::KvCache(const ModelConfig& config, const KvCacheOptions& options,
                              std::span<std::byte> memory)
    : options_(options), one_layer_(config.keeps_no_kv()) {
  const std::size_t bytes = bytes_for(config, options);  // checks the options
  layers_.reserve(config.n_layers());
  std::size_t offset = 0;
  for (std::size_t i = 0; i < config.n_layers(); ++i) {
    const AttentionConfig& a = config.layers[i].attention;
    const std::size_t slots = config.owns_kv(i) ? slots_for(a, options) : 0;
    layers_.push_back({offset, slots, a.window, a.n_kv_heads, a.head_dim});
    if (!one_layer_) offset += layer_bytes(a, slots, options.type);
  }
  memory_ = {memory.data(), bytes};
}

GEMMA_INLINE std::size_t KvCache::bytes_for(const ModelConfig& config, const KvCacheOptions& options) {
  if (options.n_ctx == 0 || options.max_chunk == 0 || options.n_ctx > ModelConfig::kMostPositions) {
    detail::refuse(ErrorCode::kInvalidArgument, [&] {
      return "a cache of " + std::to_string(options.n_ctx) + " positions and chunks of " +
             std::to_string(options.max_chunk) + " is not possible";
    });
  }
  constexpr std::size_t kMost = std::numeric_limits<std::size_t>::max();
  std::size_t sum = 0;
  for (std::size_t i = 0; i < config.n_layers(); ++i) {
    if (!config.owns_kv(i)) continue;
    const AttentionConfig& a = config.layers[i].attention;
    // 2 x 4 bytes x 2^31 slots x 2^24 wide: a layer's product stays below 2^60, their sum may not
    const std::size_t bytes = layer_bytes(a, slots_for(a, options), options.type);
    if (config.keeps_no_kv()) {
      sum = std::max(sum, bytes);
    } else {
      sum = bytes > kMost - sum ? kMost : sum + bytes;
    }
  }
  return sum;
}

GEMMA_INLINE bool KvCache::fits(const ModelConfig& config) const noexcept {
  if (config.n_layers() != layers_.size() || config.keeps_no_kv() != one_layer_) return false;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const AttentionConfig& a = config.layers[i].attention;
    const Layer& l = layers_[i];
    if (l.window != a.window || l.n_kv_heads != a.n_kv_heads || l.head_dim != a.head_dim ||
        (l.n_slots != 0) != config.owns_kv(i)) {
      return false;
    }
  }
  return true;
}

GEMMA_INLINE bool KvCache::can_truncate(std::size_t n) const noexcept {
  if (n > n_past_ || (one_layer_ && n != 0 && n != n_past_)) return false;
  return std::all_of(layers_.begin(), layers_.end(), [&](const Layer& l) {
    // the next token, at position n, sees from n - window + 1; slots up to written_ were last used by
    // positions >= written_ - n_slots
    return l.n_slots == 0 || l.window == 0 || n == 0 || written_ <= l.n_slots ||
           n + 1 + l.n_slots >= written_ + std::min(l.window, n + 1);
  });
}

GEMMA_INLINE void KvCache::truncate(std::size_t n) {
  if (!can_truncate(n)) {
    detail::refuse(ErrorCode::kInvalidArgument, [&] {
      return "a cache of " + std::to_string(n_past_) + " positions cannot go back to " + std::to_string(n);
    });
  }
  n_past_ = n;
  if (n == 0) written_ = 0;
}

[[noreturn]] GEMMA_INLINE void KvCache::refuse_more(std::size_t n) const {
  detail::refuse(ErrorCode::kContextFull, [&] {
    return "the context of " + std::to_string(n_ctx()) + " tokens is full: " + std::to_string(n_past_) +
           " are used, " + std::to_string(n) + " more do not fit";
  });
}

GEMMA_INLINE void KvCache::copy_from(const KvCache& other) {
  if (memory_.size() != other.memory_.size() || layers_.size() != other.layers_.size() ||
      options_.type != other.options_.type || options_.n_ctx != other.options_.n_ctx) {
    throw Error(ErrorCode::kInvalidArgument, "caches of different shapes cannot be copied");
  }
  for (std::size_t i = 0; i < layers_.size(); ++i) copy_layer(i, other);
  n_past_ = other.n_past_;
  written_ = other.written_;
}

GEMMA_INLINE std::size_t KvCache::slots_for(const AttentionConfig& layer, const KvCacheOptions& o) noexcept {
  // a chunk writes before it reads: its first token still needs the window before it
  const std::size_t chunk = std::min(o.max_chunk, o.n_ctx);
  const std::size_t needed =
      layer.window == 0 || layer.window >= o.n_ctx ? o.n_ctx : std::min(o.n_ctx, layer.window + chunk);
  return (needed + kernels::kKeyBlock - 1) / kernels::kKeyBlock * kernels::kKeyBlock;
}

GEMMA_INLINE void KvCache::copy_layer(std::size_t i, const KvCache& other) {
  // only slots in use: a large cache that holds little is copied in little time
  const std::size_t tiles =
      (std::min(other.written_, n_slots(i)) + kernels::kKeyTile - 1) / kernels::kKeyTile;
  const std::size_t bytes = tiles * kernels::kKeyTile * head_dim(i) * element_bytes(options_.type);
  for (std::size_t h = 0; h < 2 * n_kv_heads(i); ++h) {
    const std::size_t at = layers_[i].offset + h * head_bytes(i);
    std::copy_n(other.memory_.data() + at, bytes, memory_.data() + at);
  }
}

}  // namespace gemma
