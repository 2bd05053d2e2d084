// A checksum of bytes.
// Invariant: it does not depend on how the bytes are cut into parts, nor on the machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

namespace gemma::detail {

/// A 64-bit checksum that detects damage, not attacks.
class Checksum {
 public:
  /// Appends bytes.
  void add(std::span<const std::byte> bytes) noexcept {
    std::size_t i = 0;
    for (; i < bytes.size() && n_ % 8 != 0; ++i) add_byte(bytes[i]);
    for (; i + 8 <= bytes.size(); i += 8, n_ += 8) {
      std::uint64_t word;
      std::memcpy(&word, bytes.data() + i, 8);
      mix(word);
    }
    for (; i < bytes.size(); ++i) add_byte(bytes[i]);
  }
  /// The checksum of all bytes added so far.
  std::uint64_t value() const noexcept {
    Checksum end = *this;
    end.mix(held_);
    end.mix(n_);
    return end.state_ ^ (end.state_ >> 32);
  }

 private:
  void add_byte(std::byte byte) noexcept {
    held_ |= static_cast<std::uint64_t>(byte) << (8 * (n_ % 8));
    if (++n_ % 8 == 0) mix(std::exchange(held_, 0));
  }
  void mix(std::uint64_t word) noexcept {
    state_ = (state_ ^ word) * 0x9E3779B97F4A7C15u;
    state_ ^= state_ >> 29;
  }
  std::uint64_t state_ = 0xCBF29CE484222325u;  // FNV-1a's offset basis (gguf/hashing.hpp); any start would do
  std::uint64_t held_ = 0;                     // bytes that do not fill a word yet
  std::uint64_t n_ = 0;                        // number of bytes added
};

}  // namespace gemma::detail
