// Definitions of automaton.hpp: the analyses of a grammar when it is compiled. Each takes time proportional
// to the number of states and edges, so that a hostile grammar costs no more than its size.
#pragma once

#include <algorithm>

#include "../../gguf/linkage.hpp"
#include "plain_chars.hpp"

namespace gemma::detail {

GEMMA_INLINE Automaton::Automaton(const Rules& rules, RuleId root) {
  AutomatonBuilder builder(rules, *this);
  builder.build(root);
  find_nullable();
  find_heights();
  if (heights_[starts_[0]] == kInfinite) {
    detail::refuse(ErrorCode::kUnsupported, "no text can satisfy the grammar");
  }
  find_ranks(builder.names());
  mark_tails();
  find_classes();
}

/// Lists of predecessors, indexed by state.
struct ReverseEdges {
  template <typename Each>
  ReverseEdges(std::size_t n_states, Each&& each) : begin(n_states + 2, 0) {
    each([this](std::uint32_t, std::uint32_t to, std::uint32_t) { ++begin[to + 2]; });
    for (std::size_t i = 2; i < begin.size(); ++i) begin[i] += begin[i - 1];
    from.resize(begin.back());
    extra.resize(begin.back());
    each([this](std::uint32_t s, std::uint32_t to, std::uint32_t data) {
      from[begin[to + 1]] = s;
      extra[begin[to + 1]++] = data;
    });
    begin.pop_back();
  }
  template <typename F>
  void each_of(std::uint32_t s, F&& f) const {
    for (std::uint32_t i = begin[s]; i < begin[s + 1]; ++i) f(from[i], extra[i]);
  }

  std::vector<std::uint32_t> begin, from, extra;
};

GEMMA_INLINE void Automaton::find_nullable() {
  const ReverseEdges by_empty(n_states_, [this](auto&& add) {
    for (State s = 0; s < n_states_; ++s) {
      for (const State to : empties(s)) add(s, to, 0);
    }
  });
  const ReverseEdges by_call(n_states_, [this](auto&& add) {
    for (State s = 0; s < n_states_; ++s) {
      for (const CallEdge& e : calls(s)) add(s, e.to, e.rule);
    }
  });
  const ReverseEdges callers(n_rules(), [this](auto&& add) {  // of each rule, and the states after the calls
    for (State s = 0; s < n_states_; ++s) {
      for (const CallEdge& e : calls(s)) add(s, e.rule, e.to);
    }
  });
  std::vector<std::uint32_t> rule_of_start(n_states_, kInfinite);
  for (std::uint32_t r = 0; r < n_rules(); ++r) rule_of_start[starts_[r]] = r;
  nullable_.assign(n_rules(), 0);
  std::vector<char> known(n_states_, 0);  // whether the rule's end is reached without reading a byte
  std::vector<State> queue;
  const auto learn = [&](State s) {
    if (known[s] == 0) queue.push_back(s);
    known[s] = 1;
  };
  for (const State s : ends_) learn(s);
  while (!queue.empty()) {
    const State s = queue.back();
    queue.pop_back();
    by_empty.each_of(s, [&](State from, std::uint32_t) { learn(from); });
    by_call.each_of(s, [&](State from, std::uint32_t rule) {
      if (nullable_[rule] != 0) learn(from);
    });
    const std::uint32_t rule = rule_of_start[s];
    if (rule == kInfinite) continue;
    nullable_[rule] = 1;
    callers.each_of(rule, [&](State from, std::uint32_t to) {
      if (known[to] != 0) learn(from);
    });
  }
}

/// Finds height() of every state: the minimum over all ways to the end of the deepest nesting on the way
/// (Knuth's generalisation of Dijkstra's algorithm). Values are small integers, visited in ascending order.
GEMMA_INLINE void Automaton::find_heights() {
  const ReverseEdges by_edge(n_states_, [this](auto&& add) {
    for (State s = 0; s < n_states_; ++s) {
      for (const ByteEdge& e : bytes(s)) add(s, e.to, 0);
      for (const State to : empties(s)) add(s, to, 0);
    }
  });
  const ReverseEdges by_call(n_states_, [this](auto&& add) {
    for (State s = 0; s < n_states_; ++s) {
      for (const CallEdge& e : calls(s)) add(s, e.to, e.rule);
    }
  });
  const ReverseEdges callers(n_rules(), [this](auto&& add) {
    for (State s = 0; s < n_states_; ++s) {
      for (const CallEdge& e : calls(s)) add(s, e.rule, e.to);
    }
  });
  std::vector<std::uint32_t> rule_of_start(n_states_, kInfinite);
  for (std::uint32_t r = 0; r < n_rules(); ++r) rule_of_start[starts_[r]] = r;
  heights_.assign(n_states_, kInfinite);
  std::vector<State> now(ends_), later;  // states with the current value, and with the next one
  for (std::uint32_t value = 0; !now.empty(); ++value, now.swap(later), later.clear()) {
    while (!now.empty()) {
      const State s = now.back();
      now.pop_back();
      if (heights_[s] != kInfinite) continue;
      heights_[s] = value;
      by_edge.each_of(s, [&](State from, std::uint32_t) { now.push_back(from); });
      by_call.each_of(s, [&](State from, std::uint32_t rule) {
        const std::uint32_t inner = heights_[starts_[rule]];
        if (inner == kInfinite) return;  // visited again once the called rule's height is known
        (inner < value ? now : later).push_back(from);
      });
      const std::uint32_t rule = rule_of_start[s];
      if (rule == kInfinite) continue;
      callers.each_of(rule, [&](State from, std::uint32_t to) {
        if (heights_[to] != kInfinite) later.push_back(from);
      });
    }
  }
}

/// Orders rules so that a rule precedes every rule that it may call before it has read a byte.
GEMMA_INLINE void Automaton::find_ranks(const std::vector<std::string>& names) {
  std::vector<std::vector<std::uint32_t>> first(n_rules());
  std::vector<std::uint32_t> seen(n_states_, kInfinite);  // the last rule that visited the state
  std::vector<State> queue;
  for (std::uint32_t r = 0; r < n_rules(); ++r) {
    const auto visit = [&](State s) {
      if (seen[s] == r) return;
      seen[s] = r;
      queue.push_back(s);
    };
    visit(starts_[r]);
    while (!queue.empty()) {
      const State s = queue.back();
      queue.pop_back();
      for (const State to : empties(s)) visit(to);
      for (const CallEdge& e : calls(s)) {
        first[r].push_back(e.rule);
        if (nullable(e.rule)) visit(e.to);
      }
    }
    std::sort(first[r].begin(), first[r].end());
    first[r].erase(std::unique(first[r].begin(), first[r].end()), first[r].end());
  }
  // depth first with an explicit stack; ranks are assigned from the last to the first
  ranks_.assign(n_rules(), kInfinite);
  by_rank_.assign(n_rules(), 0);
  std::vector<char> open(n_rules(), 0);
  std::vector<std::pair<std::uint32_t, std::size_t>> path;
  auto next_rank = static_cast<std::uint32_t>(n_rules());
  for (std::uint32_t r = 0; r < n_rules(); ++r) {
    if (ranks_[r] != kInfinite) continue;
    path.emplace_back(r, 0);
    open[r] = 1;
    while (!path.empty()) {
      const std::uint32_t at = path.back().first;
      if (path.back().second == first[at].size()) {
        open[at] = 0;
        ranks_[at] = --next_rank;
        by_rank_[next_rank] = at;
        path.pop_back();
        continue;
      }
      const std::uint32_t to = first[at][path.back().second++];
      if (open[to] != 0) {
        refuse(ErrorCode::kUnsupported, [&] {
          return "grammar rule " + gemma::quoted(names[to]) +
                 " begins with itself (left recursion), which is not supported";
        });
      }
      if (ranks_[to] != kInfinite) continue;
      open[to] = 1;
      path.emplace_back(to, 0);
    }
  }
}

/// Marks tail calls: a call that is followed only by the rule's end needs no return position, so lists
/// written as right recursion need no depth.
GEMMA_INLINE void Automaton::mark_tails() {
  constexpr int kFar = 64;
  for (CallEdge& e : call_edges_) {
    State s = e.to;
    for (int i = 0; i < kFar && end_[s] == 0; ++i) {
      if (bytes(s).size() + calls(s).size() != 0 || empties(s).size() != 1) break;
      s = empties(s)[0];
    }
    e.tail = end_[s] != 0 && bytes(s).size() + calls(s).size() + empties(s).size() == 0;
  }
}

GEMMA_INLINE void Automaton::find_classes() {
  std::array<bool, 257> begins{};
  begins[0] = true;
  for (const ByteEdge& e : byte_edges_) begins[e.first] = begins[std::size_t{e.last} + 1] = true;
  for (const PlainChars::Edge& e : PlainChars::kEdges)
    begins[e.first] = begins[std::size_t{e.last} + 1] = true;
  for (std::size_t b = 0; b < 256; ++b) {
    if (begins[b]) class_bytes_[n_classes_++] = static_cast<std::uint8_t>(b);
    classes_[b] = static_cast<std::uint8_t>(n_classes_ - 1);
  }
}

}  // namespace gemma::detail
