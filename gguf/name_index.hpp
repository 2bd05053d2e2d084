// A hash table from names to their order of arrival: metadata keys and tensor names.
// Invariant: names are unique, and every one lies within kLongestProbe slots of its own.
//
// std::unordered_map would do, but for files of strangers: its hash is public and its chains have no limit,
// so names chosen to collide make opening a file take quadratic time. Here such names are refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace gemma::gguf {

/// Insert-only, open addressing with linear probing. Does not own the names' bytes. Safe to search from many
/// threads.
class NameIndex {
 public:
  /// What add() found.
  enum class Added : std::uint8_t { kYes, kTwice, kRefused };

  /// At half load the longest probe of n honest names is about ln(n) / 0.19 (Knuth, TAOCP 3, 6.4): 83 for ten
  /// million. An honest set that reaches 256 has odds below 1e-13.
  static constexpr std::size_t kLongestProbe = 256;
  static constexpr std::size_t kMostNames = std::size_t{1} << 31;  // numbers and hashes have 32 bits

  /// Names.
  std::size_t size() const noexcept { return names_.size(); }

  /// Gives `name` the index size(). kTwice: it has one already. kRefused: too many names collide (or there
  /// are 2^31); the index is of no use from then on.
  Added add(std::string_view name) {
    if (names_.size() >= kMostNames) return Added::kRefused;
    if ((names_.size() + 1) * 2 > slots_.size() && !grow()) return Added::kRefused;
    const std::uint32_t tag = hash(name);
    Slot* slot = probe(name, tag);
    if (slot == nullptr) return Added::kRefused;
    if (slot->number != 0) return Added::kTwice;
    names_.push_back(name);
    *slot = {tag, static_cast<std::uint32_t>(names_.size())};
    return Added::kYes;
  }

  /// The index of `name`, or nothing.
  std::optional<std::size_t> find(std::string_view name) const noexcept {
    if (slots_.empty()) return std::nullopt;
    const Slot* slot = probe(name, hash(name));
    if (slot == nullptr || slot->number == 0) return std::nullopt;
    return slot->number - 1;
  }

  /// FNV-1a with the 64-bit finaliser of MurmurHash3, cut to 32 bits. Public for tests that need collisions.
  static std::uint32_t hash(std::string_view name) noexcept {
    std::uint64_t h = 0xcbf29ce484222325u;
    for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdu;
    h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53u;
    return static_cast<std::uint32_t>(h >> 32);
  }

 private:
  struct Slot {
    std::uint32_t tag = 0;     // the name's hash
    std::uint32_t number = 0;  // index + 1; 0: free
  };

  /// The slot that holds `name`, or the free one where it belongs, or nullptr when neither is near.
  Slot* probe(std::string_view name, std::uint32_t tag) noexcept {
    const std::size_t mask = slots_.size() - 1;
    for (std::size_t i = 0; i < kLongestProbe; ++i) {
      Slot& slot = slots_[(tag + i) & mask];
      if (slot.number == 0 || (slot.tag == tag && names_[slot.number - 1] == name)) return &slot;
    }
    return nullptr;
  }
  const Slot* probe(std::string_view name, std::uint32_t tag) const noexcept {
    return const_cast<NameIndex*>(this)->probe(name, tag);
  }

  bool grow() {
    std::vector<Slot> old(slots_.empty() ? 16 : slots_.size() * 2);
    old.swap(slots_);
    for (const Slot& s : old) {
      if (s.number == 0) continue;
      Slot* slot = probe(names_[s.number - 1], s.tag);
      if (slot == nullptr) return false;
      *slot = s;
    }
    return true;
  }

  std::vector<std::string_view> names_;
  std::vector<Slot> slots_;  // a power of two, at least twice the names
};

}  // namespace gemma::gguf
