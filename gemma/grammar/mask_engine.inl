// Definitions of mask_engine.hpp.
#pragma once

#include <algorithm>
#include <bit>
#include <limits>

#include "../../gguf/linkage.hpp"
#include "plain_chars.hpp"

namespace gemma::detail {

template <typename F>
decltype(auto) MaskEngine::in_table(GrammarMask& mask, F&& f) {
  for (bool again = false;; again = true) {
    try {
      if (mask.table_ != n_tables_) {
        mask.state_ = table_->load(mask.saved_);
        mask.table_ = n_tables_;
      }
      return f(mask.state_);
    } catch (const TableFull&) {
      found_.clear();
      found_bytes_ = 0;
      ++n_tables_;
      table_.emplace(*automaton_);
      if (again)
        detail::refuse(ErrorCode::kUnsupported,
                       "the grammar is too ambiguous: too many ways to continue by one token");
    }
  }
}

GEMMA_INLINE void MaskEngine::enter(GrammarMask& mask, State state) {
  table_->save(state, saved_);
  mask.saved_.swap(saved_);  // after save(), so that nothing changes if memory runs out
  mask.state_ = state;
  mask.table_ = n_tables_;
  mask.can_end_ = table_->accepts(state);
  mask.must_end_ = table_->only_ends(state);
}

GEMMA_INLINE void MaskEngine::start(GrammarMask& mask) {
  const std::lock_guard lock(mutex_);
  enter(mask, table_->start());
}

GEMMA_INLINE bool MaskEngine::accept(GrammarMask& mask, TokenId token) {
  if (token < 0 || static_cast<std::size_t>(token) >= pieces_->vocab_size()) return false;
  const auto ends = pieces_->ends();
  if (std::binary_search(ends.begin(), ends.end(), token)) {
    if (mask.can_end_) mask.finished_ = mask.must_end_ = true;
    return mask.can_end_;
  }
  std::string_view text = pieces_->bytes(token);
  if (text.empty() || mask.finished_) return false;
  if (mask.at_start_ && pieces_->drops_space() && text[0] == ' ' && !pieces_->is_byte(token)) {
    text.remove_prefix(1);
    if (text.empty()) return false;
  }
  const std::lock_guard lock(mutex_);
  return in_table(mask, [&](State from) {
    const State to = table_->next(from, text);
    if (to == StateTable::kDead) return false;
    enter(mask, to);
    mask.at_start_ = false;
    return true;
  });
}

GEMMA_INLINE bool MaskEngine::takes_no_plain(State state) {
  for (const PlainChars::Edge& e : PlainChars::kEdges) {
    for (unsigned b = e.first; e.from == 0 && b <= e.last; ++b) {
      if (table_->next(state, static_cast<std::uint8_t>(b)) != StateTable::kDead) return false;
    }
  }
  return true;
}

GEMMA_INLINE std::optional<std::size_t> MaskEngine::plain_run(State state) {
  for (std::size_t n = 0; n < PieceTrie::kMaxPlain; ++n) {
    const State behind = table_->behind_plain(state);
    if (behind == state) return PieceTrie::kMaxPlain;
    if (behind == StateTable::kDead) return takes_no_plain(state) ? std::optional(n) : std::nullopt;
    state = behind;
  }
  return PieceTrie::kMaxPlain;
}

/// Sets the bits of all ids in these nodes that `state` accepts; `depth` is the depth of the parent node.
GEMMA_INLINE void MaskEngine::walk(const PieceTrie::Tree& tree, std::size_t begin, std::size_t end,
                                   std::size_t depth, State state) {
  State* const path = path_.data();
  path[0] = state;
  const PieceTrie::Node* const nodes = tree.nodes.data();
  StateTable& table = *table_;
  for (std::size_t i = begin; i < end;) {
    const PieceTrie::Node& node = nodes[i];
    const std::size_t at = node.depth - depth;
    const State to = table.next(path[at - 1], node.byte);
    if (to == StateTable::kDead) {
      i = node.behind;
      continue;
    }
    path[at] = to;
    ++i;
    for (std::uint32_t t = node.tokens; t < nodes[i].tokens; ++t) {
      const auto id = static_cast<std::size_t>(tree.ids[t]);
      bits_[id / 64] |= std::uint64_t{1} << (id % 64);
    }
  }
}

GEMMA_INLINE void MaskEngine::find_allowed(State state) {
  const auto run = plain_run(state);
  if (run) {
    const auto plain = pieces_->plain(*run);
    bits_.assign(plain.begin(), plain.end());
  } else {
    bits_.assign(pieces_->words(), 0);
  }
  const PieceTrie::Tree& tree = run ? pieces_->odd() : pieces_->all();
  walk(tree, 0, tree.nodes.size() - 1, 0, state);
}

/// Finds the allowed ids at the start of a text whose first space is dropped: a piece that begins with a
/// space writes only the rest.
GEMMA_INLINE void MaskEngine::find_allowed_at_start(State state) {
  bits_.assign(pieces_->words(), 0);
  const PieceTrie::Tree& tree = pieces_->all();
  const std::size_t end = tree.nodes.size() - 1;
  std::size_t space = 0;
  while (space < end && tree.nodes[space].byte < ' ') space = tree.nodes[space].behind;
  if (space == end || tree.nodes[space].byte != ' ') return walk(tree, 0, end, 0, state);
  walk(tree, 0, space, 0, state);
  walk(tree, tree.nodes[space].behind, end, 0, state);
  walk(tree, space + 1, tree.nodes[space].behind, 1, state);
  if (table_->next(state, ' ') == StateTable::kDead) return;
  for (std::uint32_t t = tree.nodes[space].tokens; t < tree.nodes[space + 1].tokens; ++t) {
    const auto id = static_cast<std::size_t>(tree.ids[t]);
    if (pieces_->is_byte(tree.ids[t])) bits_[id / 64] |= std::uint64_t{1} << (id % 64);
  }
}

GEMMA_INLINE const MaskEngine::Allowed& MaskEngine::allowed_at(State state, bool at_start) {
  const bool first = at_start && pieces_->drops_space();
  if (!first) {
    if (const auto it = found_.find(state); it != found_.end()) return it->second;
  }
  first ? find_allowed_at_start(state) : find_allowed(state);
  std::size_t n = 0;
  for (const std::uint64_t word : bits_) n += static_cast<std::size_t>(std::popcount(word));
  Allowed found;
  if (n > kFew) {
    found.bits = bits_;
  } else {
    found.ids.reserve(n);
    for (std::size_t w = 0; w < bits_.size(); ++w) {
      for (std::uint64_t word = bits_[w]; word != 0; word &= word - 1) {
        found.ids.push_back(static_cast<TokenId>(w * 64 + static_cast<std::size_t>(std::countr_zero(word))));
      }
    }
  }
  if (first) return first_ = std::move(found);
  if (found_bytes_ + found.memory_bytes() > kMaxMaskBytes) {
    found_.clear();
    found_bytes_ = 0;
  }
  found_bytes_ += found.memory_bytes();
  return found_[state] = std::move(found);
}

GEMMA_INLINE bool MaskEngine::nothing_follows(const GrammarMask& mask, const Allowed& found) const {
  return found.ids.empty() && found.bits.empty() && !(mask.can_end_ && !pieces_->ends().empty());
}

GEMMA_INLINE void MaskEngine::apply(GrammarMask& mask, std::span<float> logits) {
  constexpr float kForbidden = -std::numeric_limits<float>::infinity();
  if (logits.size() < pieces_->vocab_size()) {
    detail::refuse(ErrorCode::kInvalidArgument, "fewer logits than the vocabulary has pieces");
  }
  const std::lock_guard lock(mutex_);
  const Allowed& found = mask.finished_ ? none_ : in_table(mask, [&](State s) -> const Allowed& {
    return allowed_at(s, mask.at_start_);
  });
  if (nothing_follows(mask, found)) {
    detail::refuse(ErrorCode::kUnsupported,
                   "no token of the vocabulary continues the text as the grammar requires");
  }
  const auto end_ids = mask.can_end_ ? pieces_->ends() : std::span<const TokenId>();
  kept_.clear();
  for (const TokenId id : end_ids) kept_.push_back(logits[static_cast<std::size_t>(id)]);
  if (found.bits.empty()) {
    for (const TokenId id : found.ids) kept_.push_back(logits[static_cast<std::size_t>(id)]);
    std::fill(logits.begin(), logits.end(), kForbidden);
    for (std::size_t i = 0; i < found.ids.size(); ++i) {
      logits[static_cast<std::size_t>(found.ids[i])] = kept_[end_ids.size() + i];
    }
  } else {
    const std::size_t n = pieces_->vocab_size();
    for (std::size_t w = 0; w < found.bits.size(); ++w) {
      for (std::uint64_t out = ~found.bits[w]; out != 0; out &= out - 1) {
        const std::size_t id = w * 64 + static_cast<std::size_t>(std::countr_zero(out));
        if (id >= n) break;
        logits[id] = kForbidden;
      }
    }
    std::fill(logits.begin() + static_cast<std::ptrdiff_t>(n), logits.end(), kForbidden);
  }
  for (std::size_t i = 0; i < end_ids.size(); ++i) logits[static_cast<std::size_t>(end_ids[i])] = kept_[i];
}

GEMMA_INLINE std::vector<TokenId> MaskEngine::allowed(GrammarMask& mask) {
  std::vector<float> logits(pieces_->vocab_size(), 0.0F);
  apply(mask, logits);
  std::vector<TokenId> ids;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] == 0.0F) ids.push_back(static_cast<TokenId>(i));
  }
  return ids;
}

}  // namespace gemma::detail
