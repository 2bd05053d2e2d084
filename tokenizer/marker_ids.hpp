// Where the markers of all dialects stand in a vocabulary, found in one pass over its pieces.
// Invariant: of equal pieces the lowest id counts, as for every look-up of a piece.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>

#include "dialects/registry.hpp"

namespace gemma::detail {

/// Spelling to id, for the pieces that some dialect names. Views into the dialects' facts.
class MarkerIds {
 public:
  MarkerIds() = default;
  /// The pieces are looked at now and not kept.
  explicit MarkerIds(std::span<const std::string_view> pieces) {
    const auto want = [&](std::string_view piece) {
      if (!piece.empty()) ids_.try_emplace(piece, kAbsent);
    };
    want("<unk>");
    want(dialects::kPlainMarkers.bos);
    want(dialects::kPlainMarkers.eos);
    for (const Dialect* d : dialects::kAll) {
      const Markers& m = *d->markers;
      for (const auto& list : {m.told_by, m.control, m.stops, m.user_defined}) {
        for (const std::string_view piece : list) want(piece);
      }
      for (const std::string_view piece : {m.bos, m.eos, m.eot}) want(piece);
    }
    std::size_t longest = 0;
    for (const auto& entry : ids_) longest = std::max(longest, entry.first.size());
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const std::string_view p = pieces[i];
      if (p.empty() || p.size() > longest || (p[0] != '<' && p[0] != '[')) continue;
      const auto it = ids_.find(p);
      if (it != ids_.end() && it->second == kAbsent) it->second = static_cast<std::int32_t>(i);
    }
  }

  /// The id of a marker, or nothing.
  std::optional<std::int32_t> find(std::string_view piece) const {
    const auto it = ids_.find(piece);
    return it == ids_.end() || it->second == kAbsent ? std::nullopt : std::optional(it->second);
  }
  /// Whether all of these are pieces of the vocabulary, and there are any.
  bool has_all(std::span<const std::string_view> wanted) const {
    return !wanted.empty() && std::all_of(wanted.begin(), wanted.end(),
                                          [this](std::string_view p) { return find(p).has_value(); });
  }

 private:
  static constexpr std::int32_t kAbsent = -1;
  std::unordered_map<std::string_view, std::int32_t> ids_;
};

}  // namespace gemma::detail
