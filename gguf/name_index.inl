// Definitions of name_index.hpp.
#pragma once

#include "hashing.hpp"
#include "linkage.hpp"

namespace gemma::gguf::detail {

GEMMA_INLINE NameIndex::Added NameIndex::add(std::string_view name) {
  if (names_.size() >= kMostNames) return Added::kRefused;
  if ((names_.size() + 1) * 2 > slots_.size() && !grow()) return Added::kRefused;
  const std::uint32_t tag = hash(name);
  const std::size_t at = find_slot(name, tag);
  if (at == gemma::detail::kNoSlot) return Added::kRefused;
  if (slots_[at].number != 0) return Added::kTwice;
  names_.push_back(name);
  slots_[at] = {tag, static_cast<std::uint32_t>(names_.size())};
  return Added::kYes;
}

GEMMA_INLINE std::optional<std::size_t> NameIndex::find(std::string_view name) const noexcept {
  if (slots_.empty()) return std::nullopt;
  const std::size_t at = find_slot(name, hash(name));
  if (at == gemma::detail::kNoSlot || slots_[at].number == 0) return std::nullopt;
  return slots_[at].number - 1;
}

GEMMA_INLINE std::uint32_t NameIndex::hash(std::string_view name) noexcept {
  gemma::detail::Fnv1a fnv;
  fnv.add(name);
  return static_cast<std::uint32_t>(gemma::detail::mixed_bits(fnv.value()) >> 32);
}

GEMMA_INLINE std::size_t NameIndex::find_slot(std::string_view name, std::uint32_t tag) const noexcept {
  const auto stops = [&](const Slot& s) {
    return s.number == 0 || (s.tag == tag && names_[s.number - 1] == name);
  };
  return gemma::detail::probe(slots_, tag, stops, kLongestProbe);
}

GEMMA_INLINE bool NameIndex::grow() {
  std::vector<Slot> old(slots_.empty() ? 16 : slots_.size() * 2);
  old.swap(slots_);
  for (const Slot& s : old) {
    if (s.number == 0) continue;
    const std::size_t at = find_slot(names_[s.number - 1], s.tag);
    if (at == gemma::detail::kNoSlot) return false;
    slots_[at] = s;
  }
  return true;
}

}  // namespace gemma::gguf::detail
