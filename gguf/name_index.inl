// Definitions of name_index.hpp.
#pragma once

#include "fnv.hpp"
#include "linkage.hpp"

namespace gemma::gguf::detail {

GEMMA_INLINE NameIndex::Added NameIndex::add(std::string_view name) {
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

GEMMA_INLINE std::optional<std::size_t> NameIndex::find(std::string_view name) const noexcept {
  if (slots_.empty()) return std::nullopt;
  const Slot* slot = probe(name, hash(name));
  if (slot == nullptr || slot->number == 0) return std::nullopt;
  return slot->number - 1;
}

GEMMA_INLINE std::uint32_t NameIndex::hash(std::string_view name) noexcept {
  gemma::detail::Fnv1a fnv;
  fnv.add(name);
  std::uint64_t h = fnv.value();
  h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdu;
  h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53u;
  return static_cast<std::uint32_t>(h >> 32);
}

GEMMA_INLINE NameIndex::Slot* NameIndex::probe(std::string_view name, std::uint32_t tag) noexcept {
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t i = 0; i < kLongestProbe; ++i) {
    Slot& slot = slots_[(tag + i) & mask];
    if (slot.number == 0 || (slot.tag == tag && names_[slot.number - 1] == name)) return &slot;
  }
  return nullptr;
}

GEMMA_INLINE bool NameIndex::grow() {
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

}  // namespace gemma::gguf::detail
