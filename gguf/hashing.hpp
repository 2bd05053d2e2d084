// Hash functions, and the search in a hash table: what the library's tables have in common.
// Invariant: hashes are the same on every machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace gemma::detail {

/// FNV-1a, 64 bits (Fowler, Noll, Vo): a byte at a time, without a seed. Unsuitable for keys that an attacker
/// may choose to collide, unless the table bounds its probes.
class Fnv1a {
 public:
  /// Appends a byte.
  constexpr void add(char c) noexcept { hash_ = (hash_ ^ static_cast<unsigned char>(c)) * 0x100000001B3u; }
  /// Appends the bytes of `text`.
  constexpr void add(std::string_view text) noexcept {
    for (const char c : text) add(c);
  }
  /// The hash of all bytes so far.
  constexpr std::uint64_t value() const noexcept { return hash_; }

 private:
  std::uint64_t hash_ = 0xCBF29CE484222325u;
};

// published test vectors: "" and "foobar"
static_assert(Fnv1a().value() == 0xCBF29CE484222325u);
static_assert([] {
  Fnv1a hash;
  hash.add("foobar");
  return hash.value();
}() == 0x85944171F73967E8u);

/// The finaliser of SplitMix64 (Steele et al. 2014): every bit of the result depends on every bit of `z`.
constexpr std::uint64_t mixed_bits(std::uint64_t z) noexcept {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

/// Fibonacci hashing (Knuth, TAOCP 3, 6.4): the upper half of one product. Cheaper than mixed_bits(); the
/// upper half of `key` counts less.
constexpr std::uint64_t fibonacci_hash(std::uint64_t key) noexcept {
  return key * 0x9E3779B97F4A7C15u >> 32;
}

/// What probe() returns if it finds no slot.
inline constexpr std::size_t kNoSlot = ~std::size_t{0};

/// Open addressing with linear probing: the index of the first slot, from that of `hash` on and around the
/// end, for which `stops(slot)` returns true since it is free or holds the wanted key. kNoSlot if none of the
/// first `longest` slots is: a limit bounds the time for keys that were chosen to collide. The number of
/// slots is a power of two; without a limit, one must be free.
template <typename Slot, typename Stops>
constexpr std::size_t probe(const std::vector<Slot>& slots, std::uint64_t hash, Stops&& stops,
                            std::size_t longest = kNoSlot) noexcept {
  const std::size_t mask = slots.size() - 1;
  auto at = static_cast<std::size_t>(hash) & mask;
  for (std::size_t i = 0; i < longest; ++i, at = (at + 1) & mask) {
    if (stops(slots[at])) return at;
  }
  return kNoSlot;
}

}  // namespace gemma::detail
