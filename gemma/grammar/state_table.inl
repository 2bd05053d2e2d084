// Definitions of state_table.hpp.
#pragma once

#include <algorithm>
#include <array>
#include <functional>

#include "../../gguf/hashing.hpp"
#include "../../gguf/linkage.hpp"
#include "plain_chars.hpp"

namespace gemma::detail {

GEMMA_INLINE bool KeySet::insert(std::uint64_t key) {
  if (used_.size() * 2 >= slots_.size()) {
    std::vector<std::uint64_t> old(slots_.size() * 2, kFree);
    old.swap(slots_);
    used_.clear();
    for (const std::uint64_t k : old) {
      if (k != kFree) insert(k);
    }
  }
  const auto stops = [key](std::uint64_t k) { return k == kFree || k == key; };
  const std::size_t at = probe(slots_, mixed_bits(key), stops);
  if (slots_[at] == key) return false;
  slots_[at] = key;
  used_.push_back(static_cast<std::uint32_t>(at));
  return true;
}

GEMMA_INLINE void KeySet::clear() {
  for (const std::uint32_t at : used_) slots_[at] = kFree;
  used_.clear();
}

GEMMA_INLINE std::uint64_t PairLists::hash_of(std::span<const Pair> list, std::uint32_t mark) {
  std::uint64_t h = mixed_bits(mark + 0x9E3779B97F4A7C15u);
  for (const Pair& p : list) h = mixed_bits(h ^ ((std::uint64_t{p.state} << 32) | p.node));
  return h;
}

GEMMA_INLINE void PairLists::grow() {
  slots_.assign(slots_.size() * 2, 0);
  for (std::uint32_t i = 0; i < size(); ++i) {
    slots_[probe(slots_, hash_of(i), [](std::uint32_t known) { return known == 0; })] = i + 1;
  }
}

GEMMA_INLINE std::uint32_t PairLists::number_of(std::span<const Pair> list, std::uint32_t mark) {
  const auto stops = [&](std::uint32_t known) {
    return known == 0 || (marks_[known - 1] == mark && std::ranges::equal((*this)[known - 1], list));
  };
  const std::size_t at = probe(slots_, hash_of(list, mark), stops);
  if (slots_[at] != 0) return slots_[at] - 1;
  const auto i = static_cast<std::uint32_t>(size());
  pairs_.insert(pairs_.end(), list.begin(), list.end());
  begin_.push_back(static_cast<std::uint32_t>(pairs_.size()));
  marks_.push_back(mark);
  slots_[at] = i + 1;
  if (size() * 2 >= slots_.size()) grow();
  return i;
}

GEMMA_INLINE StateTable::StateTable(const Automaton& automaton)
    : automaton_(automaton), n_classes_(automaton.n_classes()), callers_(automaton.n_rules()) {
  for (int b = 0; b < 256; ++b) classes_[b] = automaton.class_of(static_cast<std::uint8_t>(b));
  number_of({}, false);  // kDead
  std::fill(rows_.begin(), rows_.end(), kDead);
  const Pair end{kEnd, kBottom};
  nodes_.number_of({&end, 1}, 1);  // kBottom
  add({automaton.start(automaton.root()), kBottom});
  start_ = close();
  if (start_ == kDead) {
    refuse(ErrorCode::kUnsupported,
           [] { return "the grammar's rules must nest more than " + std::to_string(kMaxDepth) + " deep"; });
  }
}

GEMMA_INLINE StateTable::State StateTable::number_of(std::span<const Pair> items, bool accepts) {
  const std::size_t before = sets_.size();
  const State s = sets_.number_of(items, accepts ? 1 : 0);
  if (sets_.size() != before) {
    rows_.resize(rows_.size() + n_classes_, kUnknown);
    plain_.push_back(kUnknown);
    if (memory_bytes() > kMaxBytes) throw TableFull();
  }
  return s;
}

GEMMA_INLINE StateTable::State StateTable::find_next(State s, std::uint8_t byte_class) {
  const std::uint8_t byte = automaton_.byte_of_class(byte_class);
  for (const Pair& item : sets_[s]) {
    for (const Automaton::ByteEdge& e : automaton_.bytes(item.state)) {
      if (byte >= e.first && byte <= e.last) add({e.to, item.node});
    }
  }
  const State to = close();
  rows_[s * n_classes_ + byte_class] = to;
  return to;
}

/// Adds an item to visit, unless reaching its end needs more than kMaxDepth calls.
GEMMA_INLINE void StateTable::add(Pair item) {
  const std::uint32_t height = automaton_.height(item.state);
  if (height > kMaxDepth || nodes_.mark(item.node) + height > kMaxDepth) return;
  if (!seen_.insert((std::uint64_t{item.state} << 32) | item.node)) return;
  if (++n_items_ > kMaxItems) {
    n_items_ = 0;
    seen_.clear();
    open_.clear();
    kept_.clear();
    for (const std::uint32_t rank : entered_) callers_[automaton_.rule_of_rank(rank)].clear();
    entered_.clear();
    ends_ = false;
    detail::refuse(ErrorCode::kUnsupported,
                   "the grammar is too ambiguous: too many ways to parse a text at once");
  }
  open_.push_back(item);
}

GEMMA_INLINE void StateTable::call(const Automaton::CallEdge& edge, Pair from) {
  const std::uint32_t depth = nodes_.mark(from.node);
  const std::uint32_t inner = automaton_.height(automaton_.start(edge.rule));
  if (inner > kMaxDepth || automaton_.height(edge.to) > kMaxDepth) return;
  if (depth + (edge.tail ? inner : std::max(inner + 1, automaton_.height(edge.to))) > kMaxDepth) return;
  std::vector<Pair>& callers = callers_[edge.rule];
  if (callers.empty()) {
    entered_.push_back(automaton_.rank(edge.rule));
    std::push_heap(entered_.begin(), entered_.end(), std::greater<>());
  }
  if (edge.tail) {
    const auto pairs = nodes_[from.node];
    callers.insert(callers.end(), pairs.begin(), pairs.end());
    n_items_ += pairs.size();
  } else {
    callers.push_back({edge.to, from.node});
  }
  if (automaton_.nullable(edge.rule)) add({edge.to, from.node});
}

GEMMA_INLINE void StateTable::follow(Pair item) {
  if (!automaton_.bytes(item.state).empty()) kept_.push_back(item);
  for (const Automaton::State to : automaton_.empties(item.state)) add({to, item.node});
  for (const Automaton::CallEdge& e : automaton_.calls(item.state)) call(e, item);
  if (!automaton_.is_end(item.state)) return;
  // nodes are not added here, so the reference stays valid; add() may throw
  for (const Pair& back : nodes_[item.node]) {
    if (back.state == kEnd) {
      ends_ = true;
    } else {
      add(back);
    }
  }
}

/// Rules are entered in the order of their ranks: when a rule's turn comes, all its callers are known.
GEMMA_INLINE StateTable::State StateTable::close() {
  for (;;) {
    while (!open_.empty()) {
      const Pair item = open_.back();
      open_.pop_back();
      follow(item);
    }
    if (entered_.empty()) break;
    std::pop_heap(entered_.begin(), entered_.end(), std::greater<>());
    const std::uint32_t rule = automaton_.rule_of_rank(entered_.back());
    entered_.pop_back();
    std::vector<Pair>& callers = callers_[rule];
    std::sort(callers.begin(), callers.end());
    callers.erase(std::unique(callers.begin(), callers.end()), callers.end());
    std::uint32_t depth = 0;
    for (const Pair& p : callers) depth = std::max(depth, p.state == kEnd ? 0 : nodes_.mark(p.node));
    const std::uint32_t node = nodes_.number_of(callers, depth + 1);
    callers.clear();
    add({automaton_.start(rule), node});
  }
  std::sort(kept_.begin(), kept_.end());
  const State s = number_of(kept_, ends_);
  seen_.clear();
  kept_.clear();
  n_items_ = 0;
  ends_ = false;
  return s;
}

GEMMA_INLINE StateTable::State StateTable::behind_plain(State s) {
  if (plain_[s] == kUnknown) {
    const State to = find_behind_plain(s);
    plain_[s] = to;
  }
  return plain_[s];
}

/// Handles all plain characters at once by running the automaton of plain characters and the grammar's in
/// parallel.
GEMMA_INLINE StateTable::State StateTable::find_behind_plain(State s) {
  std::array<State, PlainChars::kStates> at;
  at.fill(kUnknown);
  at[0] = s;
  State behind = kUnknown;
  std::array<std::uint8_t, PlainChars::kStates> order{};  // states with a known grammar state
  std::size_t n_known = 1;
  for (std::size_t i = 0; i < n_known; ++i) {
    const std::uint8_t from = order[i];
    for (const PlainChars::Edge& e : PlainChars::kEdges) {
      if (e.from != from) continue;
      for (unsigned b = e.first; b <= e.last; ++b) {
        if (b != e.first && classes_[b] == classes_[b - 1]) continue;
        const State to = next(at[from], static_cast<std::uint8_t>(b));
        if (to == kDead) return kDead;
        State& expected = e.to == 0 ? behind : at[e.to];
        if (expected == kUnknown) {
          expected = to;
          if (e.to != 0) order[n_known++] = e.to;
        }
        if (expected != to) return kDead;
      }
    }
  }
  return behind;
}

GEMMA_INLINE void StateTable::save(State s, std::vector<std::uint32_t>& out) {
  out.clear();
  order_.clear();
  seen_.clear();
  // a node's successors have smaller numbers, since they are created first
  const auto need = [this](std::uint32_t node) {
    if (node != kBottom && seen_.insert(node)) order_.push_back(node);
  };
  for (const Pair& p : sets_[s]) need(p.node);
  for (std::size_t i = 0; i < order_.size(); ++i) {
    for (const Pair& p : nodes_[order_[i]]) need(p.node);
  }
  seen_.clear();
  std::sort(order_.begin(), order_.end());
  const auto put = [&](std::span<const Pair> list, std::uint32_t mark) {
    out.push_back(mark);
    out.push_back(static_cast<std::uint32_t>(list.size()));
    for (const Pair& p : list) {
      const auto local = std::lower_bound(order_.begin(), order_.end(), p.node);
      out.push_back(p.state);
      out.push_back(p.node == kBottom ? 0 : static_cast<std::uint32_t>(local - order_.begin()) + 1);
    }
  };
  out.push_back(static_cast<std::uint32_t>(order_.size()));
  for (const std::uint32_t node : order_) put(nodes_[node], nodes_.mark(node));
  put(sets_[s], sets_.mark(s));
}

GEMMA_INLINE StateTable::State StateTable::load(std::span<const std::uint32_t> saved) {
  std::size_t at = 1;
  local_.assign(1, kBottom);
  std::vector<Pair> list;
  const auto get = [&] {
    const std::uint32_t mark = saved[at];
    const std::uint32_t n = saved[at + 1];
    at += 2;
    list.clear();
    for (std::uint32_t i = 0; i < n; ++i, at += 2) list.push_back({saved[at], local_[saved[at + 1]]});
    std::sort(list.begin(), list.end());
    return mark;
  };
  for (std::uint32_t i = 0; i < saved[0]; ++i) {
    const std::uint32_t mark = get();
    local_.push_back(nodes_.number_of(list, mark));
  }
  const std::uint32_t mark = get();
  return number_of(list, mark != 0);
}

}  // namespace gemma::detail
