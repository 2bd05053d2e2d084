// The ids of all dialects' markers in a vocabulary, found in one pass over its pieces.
// Invariant: of equal pieces, the one with the lowest id is found, as in every look-up of a piece.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "dialects/registry.hpp"

namespace gemma::detail {

/// Map from spelling to id, for the pieces that any dialect names. Refers to the dialects' strings.
class MarkerIds {
 public:
  MarkerIds() = default;
  /// Searches `pieces` once; they need not outlive the constructor.
  explicit MarkerIds(std::span<const std::string_view> pieces) {
    const auto want = [&](std::string_view piece) {
      if (!piece.empty()) ids_.push_back({piece, kAbsent});
    };
    want("<unk>");
    want(dialects::kPlainMarkers.bos);
    want(dialects::kPlainMarkers.eos);
    for (const Dialect* d : dialects::kAll) {
      const Markers& m = *d->markers;
      for (const auto& list : {m.recognised_by, m.control, m.stops, m.user_defined}) {
        for (const std::string_view piece : list) want(piece);
      }
      for (const std::string_view piece : {m.bos, m.eos, m.eot}) want(piece);
    }
    std::sort(ids_.begin(), ids_.end(), [](const Entry& a, const Entry& b) { return a.piece < b.piece; });
    ids_.erase(std::unique(ids_.begin(), ids_.end(),
                           [](const Entry& a, const Entry& b) { return a.piece == b.piece; }),
               ids_.end());
    std::size_t longest = 0;
    for (const Entry& entry : ids_) longest = std::max(longest, entry.piece.size());
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const std::string_view p = pieces[i];
      if (p.empty() || p.size() > longest || (p[0] != '<' && p[0] != '[')) continue;
      const std::size_t at = place(p);
      if (at < ids_.size() && ids_[at].id == kAbsent) ids_[at].id = static_cast<std::int32_t>(i);
    }
  }

  /// Id of a marker; nullopt when the vocabulary does not have it.
  std::optional<std::int32_t> find(std::string_view piece) const {
    const std::size_t at = place(piece);
    return at == ids_.size() || ids_[at].id == kAbsent ? std::nullopt : std::optional(ids_[at].id);
  }
  /// Whether `wanted` is not empty and the vocabulary has all of its pieces.
  bool has_all(std::span<const std::string_view> wanted) const {
    return !wanted.empty() && std::all_of(wanted.begin(), wanted.end(),
                                          [this](std::string_view p) { return find(p).has_value(); });
  }

 private:
  static constexpr std::int32_t kAbsent = -1;
  struct Entry {
    std::string_view piece;
    std::int32_t id;
  };
  /// Index of a marker; size() when there is none.
  std::size_t place(std::string_view piece) const {
    const auto it = std::lower_bound(ids_.begin(), ids_.end(), piece,
                                     [](const Entry& entry, std::string_view p) { return entry.piece < p; });
    return it != ids_.end() && it->piece == piece ? static_cast<std::size_t>(it - ids_.begin()) : ids_.size();
  }

  std::vector<Entry> ids_;  // by spelling, each once
};

}  // namespace gemma::detail
