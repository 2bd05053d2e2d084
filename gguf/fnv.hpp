// FNV-1a, the hash by which names and templates are found. Invariant: it is the same on every machine.
#pragma once

#include <cstdint>
#include <string_view>

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

}  // namespace gemma::detail
