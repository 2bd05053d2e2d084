// A hash table from names to their order of arrival: metadata keys and tensor names.
// Invariant: names are unique, and each is stored within kLongestProbe slots of the slot that its hash
// selects.
//
// std::unordered_map is unsuitable for untrusted files: its hash is public and its chains have no limit, so
// names chosen to collide would make opening a file take quadratic time. This table refuses such names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace gemma::gguf::detail {

/// Insert-only, open addressing with linear probing. Does not own the names' bytes. Safe to search from many
/// threads.
class NameIndex {
 public:
  /// Outcome of add().
  enum class Added : std::uint8_t { kYes, kTwice, kRefused };

  /// At half load the longest probe of n names with random hashes is about ln(n) / 0.19 (Knuth, TAOCP
  /// 3, 6.4): 83 for ten million. The probability that such a set reaches 256 is below 1e-13.
  static constexpr std::size_t kLongestProbe = 256;
  static constexpr std::size_t kMostNames = std::size_t{1} << 31;  // numbers and hashes have 32 bits

  /// Number of names in the index.
  std::size_t size() const noexcept { return names_.size(); }

  /// Gives `name` the index size(). kTwice: it has an index already. kRefused: too many names collide (or
  /// there are 2^31); the table must not be used any more.
  Added add(std::string_view name);

  /// The index of `name`, or nothing.
  std::optional<std::size_t> find(std::string_view name) const noexcept;

  /// FNV-1a, mixed, cut to 32 bits. Public for tests that need collisions.
  static std::uint32_t hash(std::string_view name) noexcept;

 private:
  struct Slot {
    std::uint32_t tag = 0;     // the name's hash
    std::uint32_t number = 0;  // index + 1; 0: free
  };

  /// The slot that holds `name`, or the free slot where it belongs; kNoSlot if it is too far away.
  std::size_t find_slot(std::string_view name, std::uint32_t tag) const noexcept;
  bool grow();

  std::vector<std::string_view> names_;
  std::vector<Slot> slots_;  // a power of two, at least twice the names
};

}  // namespace gemma::gguf::detail

#if defined(GEMMA_HEADER_ONLY)
#include "name_index.inl"
#endif
