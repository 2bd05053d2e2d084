// Keys and values of one sequence. Planned and allocated whole before the first token; layers with a sliding
// window get a ring of the window's size. Invariant: positions [0, n_past) were computed from tokens in
// order; position p of a layer lies in slot p % n_slots(layer), and whatever the window of a layer still
// needs has not been overwritten. Where a model's tokens see those after them, nothing is needed later, and
// one layer's place serves all.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../kernels/kernel_table.hpp"
#include "aligned_buffer.hpp"
#include "config.hpp"

namespace gemma {

using kernels::KvType;

/// What a cache is made of.
struct KvCacheOptions {
  std::size_t n_ctx = 4096;     // positions the cache can hold
  KvType type = KvType::kF16;   // how keys and values are stored
  std::size_t max_chunk = 512;  // the most tokens one forward adds (rings are window + max_chunk long)
};

/// Owns the memory. Move-only; copy_from() copies explicitly. Not thread-safe: one forward at a time.
class KvCache {
 public:
  /// Throws Error{kInvalidArgument} for an empty context or chunk, {kOutOfMemory}.
  KvCache(const ModelConfig& config, const KvCacheOptions& options);
  /// The same in memory of the caller's, aligned to 64 bytes, of at least bytes_for() bytes; it must outlive
  /// the cache.
  KvCache(const ModelConfig& config, const KvCacheOptions& options, std::span<std::byte> memory);

  /// Bytes that a cache of these options takes, to the byte, without allocating it; the largest size_t when
  /// no memory could hold them. Throws Error{kInvalidArgument} as the constructor does.
  static std::size_t bytes_for(const ModelConfig& config, const KvCacheOptions& options);

  /// Positions that hold keys and values.
  std::size_t n_past() const noexcept { return n_past_; }
  /// Positions it can hold.
  std::size_t n_ctx() const noexcept { return options_.n_ctx; }
  /// The most tokens one forward may add.
  std::size_t max_chunk() const noexcept { return options_.max_chunk; }
  /// How keys and values are stored.
  KvType type() const noexcept { return options_.type; }
  /// Bytes of all keys and values.
  std::size_t size_bytes() const noexcept { return memory_.size(); }
  /// Layers of the model it was made for.
  std::size_t n_layers() const noexcept { return layers_.size(); }
  /// Elements of a head of a layer.
  std::size_t head_dim(std::size_t layer) const noexcept { return layers_[layer].head_dim; }
  /// Key/value heads of a layer.
  std::size_t n_kv_heads(std::size_t layer) const noexcept { return layers_[layer].n_kv_heads; }

  /// Whether the cache is what a model of this configuration would make with the same options.
  bool fits(const ModelConfig& config) const noexcept;

  /// Whether the cache can go back to its first n positions: rings may have overwritten what they would need.
  bool can_truncate(std::size_t n) const noexcept;
  /// Forgets all but the first n positions. Throws Error{kInvalidArgument} unless can_truncate(n).
  void truncate(std::size_t n);

  /// Throws Error{kContextFull}: n more tokens do not fit.
  [[noreturn]] void refuse_more(std::size_t n) const;

  /// Makes this cache equal to `other`, of the same model and options. Throws Error{kInvalidArgument}
  /// otherwise.
  void copy_from(const KvCache& other);

  // ---- for the decoder ----
  /// Positions that a layer keeps: all, or its ring; 0 for one that reads another's.
  std::size_t n_slots(std::size_t layer) const noexcept { return layers_[layer].n_slots; }
  /// Keys of one head of one layer: [n_slots / 16, head_dim, 16].
  std::byte* keys(std::size_t layer, std::size_t kv_head) noexcept {
    return memory_.data() + layers_[layer].offset + kv_head * head_bytes(layer);
  }
  /// Values of one head of one layer: [n_slots, head_dim].
  std::byte* values(std::size_t layer, std::size_t kv_head) noexcept {
    return memory_.data() + layers_[layer].offset + (n_kv_heads(layer) + kv_head) * head_bytes(layer);
  }
  /// Where the key and the value of `position` are stored.
  std::byte* key_slot(std::size_t layer, std::size_t kv_head, std::size_t position) noexcept {
    const std::size_t slot = position % n_slots(layer);
    const std::size_t tile =
        slot / kernels::kKeyTile * head_dim(layer) * kernels::kKeyTile + slot % kernels::kKeyTile;
    return keys(layer, kv_head) + tile * element_bytes(options_.type);
  }
  /// Where the value of `position` is stored: [head_dim].
  std::byte* value_slot(std::size_t layer, std::size_t kv_head, std::size_t position) noexcept {
    return values(layer, kv_head) +
           position % n_slots(layer) * head_dim(layer) * element_bytes(options_.type);
  }
  /// Positions up to n_past + n are about to be written; they count only after advance().
  void will_write(std::size_t n) noexcept { written_ = std::max(written_, n_past_ + n); }
  /// n more positions hold what they should.
  void advance(std::size_t n) noexcept { n_past_ += n; }

  /// Bytes of an element.
  static constexpr std::size_t element_bytes(KvType type) noexcept { return type == KvType::kF16 ? 2 : 4; }

 private:
  struct Layer {
    std::size_t offset;   // bytes
    std::size_t n_slots;  // a multiple of kKeyBlock; 0 for a layer that reads another's keys and values
    std::size_t window;
    std::size_t n_kv_heads;
    std::size_t head_dim;
  };

  static std::size_t slots_for(const AttentionConfig& layer, const KvCacheOptions& o) noexcept;
  std::size_t head_bytes(std::size_t layer) const noexcept {
    return n_slots(layer) * head_dim(layer) * element_bytes(options_.type);
  }
  static std::size_t layer_bytes(const AttentionConfig& layer, std::size_t slots, KvType type) noexcept {
    return 2 * slots * layer.kv_width() * element_bytes(type);
  }
  void copy_layer(std::size_t i, const KvCache& other);

  KvCacheOptions options_;
  std::vector<Layer> layers_;
  bool one_layer_ = false;          // all layers lie in the same place (ModelConfig::keeps_no_kv)
  AlignedBuffer<std::byte> owned_;  // empty where the memory is the caller's
  std::span<std::byte> memory_;
  std::size_t n_past_ = 0;
  std::size_t written_ = 0;  // one past the highest position ever stored since the cache was empty
};

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "kv_cache.inl"
#endif
