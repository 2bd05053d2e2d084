// A compiled grammar: for each rule a nondeterministic automaton over bytes, whose edges read a byte, read
// nothing, or call a rule and continue after it.
// Invariant: no rule calls itself before it has read a byte (left recursion is refused), so the bytes that
// can be read next are found in finitely many steps; height() gives the depth of calls that is needed to
// reach the end, so a bound on the depth never leads to a dead end.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "rules.hpp"

namespace gemma::detail {

/// Immutable once built; safe to share between threads.
class Automaton {
 public:
  using State = std::uint32_t;
  static constexpr std::uint32_t kInfinite = 0xFFFFFFFF;
  /// Maximum number of states, of about 40 bytes each.
  static constexpr std::size_t kMaxStates = 1u << 19;
  /// Maximum number of edges that read a byte, of 20 bytes each.
  static constexpr std::size_t kMaxByteEdges = 1u << 21;

  struct ByteEdge {
    std::uint8_t first, last;
    State to;
  };
  struct CallEdge {
    std::uint32_t rule;
    State to;   // the state after the call
    bool tail;  // nothing but the end of the rule follows `to`
  };

  /// Compiles `root` and every rule that it needs. Throws Error{kUnsupported} for left recursion (naming the
  /// rule), for too many states, and for a root that matches no text at all.
  Automaton(const Rules& rules, RuleId root);

  /// Memory held by the automaton, in bytes.
  std::size_t memory_bytes() const noexcept {
    return n_states_ * 17 + byte_edges_.size() * sizeof(ByteEdge) + empty_edges_.size() * 4 +
           call_edges_.size() * sizeof(CallEdge) + n_rules() * 17;
  }
  std::size_t n_states() const noexcept { return n_states_; }
  std::size_t n_rules() const noexcept { return starts_.size(); }
  std::uint32_t root() const noexcept { return 0; }
  State start(std::uint32_t rule) const { return starts_[rule]; }
  bool nullable(std::uint32_t rule) const { return nullable_[rule] != 0; }
  /// The order of rules in which a caller comes before every rule that it can call without reading a byte.
  std::uint32_t rank(std::uint32_t rule) const { return ranks_[rule]; }
  std::uint32_t rule_of_rank(std::uint32_t rank) const { return by_rank_[rank]; }

  std::span<const ByteEdge> bytes(State s) const { return part(byte_edges_, byte_begin_, s); }
  std::span<const State> empties(State s) const { return part(empty_edges_, empty_begin_, s); }
  std::span<const CallEdge> calls(State s) const { return part(call_edges_, call_begin_, s); }
  /// Whether the rule ends here.
  bool is_end(State s) const { return end_[s] != 0; }
  /// The least depth of nested calls on a way to the rule's end; kInfinite: there is no way.
  std::uint32_t height(State s) const { return heights_[s]; }

  /// Classes of bytes: two bytes are in the same class if every edge reads both or neither.
  std::size_t n_classes() const noexcept { return n_classes_; }
  std::uint8_t class_of(std::uint8_t byte) const { return classes_[byte]; }
  /// One byte of a class.
  std::uint8_t byte_of_class(std::size_t c) const { return class_bytes_[c]; }

 private:
  friend class AutomatonBuilder;

  template <typename Edge>
  static std::span<const Edge> part(const std::vector<Edge>& edges, const std::vector<std::uint32_t>& begin,
                                    State s) {
    return std::span(edges).subspan(begin[s], begin[s + 1] - begin[s]);
  }
  void find_nullable();
  void find_heights();
  void find_ranks(const std::vector<std::string>& names);
  void mark_tails();
  void find_classes();

  std::size_t n_states_ = 0;
  std::vector<State> starts_;   // [n_rules]
  std::vector<State> ends_;     // [n_rules]
  std::vector<char> nullable_;  // [n_rules]
  std::vector<std::uint32_t> ranks_, by_rank_;
  std::vector<char> end_;               // [n_states]
  std::vector<std::uint32_t> heights_;  // [n_states]
  std::vector<ByteEdge> byte_edges_;
  std::vector<State> empty_edges_;
  std::vector<CallEdge> call_edges_;
  std::vector<std::uint32_t> byte_begin_, empty_begin_, call_begin_;  // [n_states + 1]
  std::array<std::uint8_t, 256> classes_{};
  std::array<std::uint8_t, 256> class_bytes_{};
  std::size_t n_classes_ = 0;
};

/// Turns expressions into states and edges, rule by rule.
class AutomatonBuilder {
 public:
  using State = Automaton::State;

  AutomatonBuilder(const Rules& rules, Automaton& out) : rules_(rules), out_(out) {}

  /// Compiles `root` and everything that it calls, and fills the automaton's lists of edges.
  void build(RuleId root) {
    number_of(root);
    for (std::size_t i = 0; i < bodies_.size(); ++i) {  // bodies_ grows as new rules are found
      current_ = static_cast<std::uint32_t>(i);
      const Body body = bodies_[i];
      if (body.is_chars) {
        multibyte(body.expr, out_.starts_[i], out_.ends_[i]);
      } else {
        put(body.expr, out_.starts_[i], out_.ends_[i]);
      }
    }
    sort_edges();
  }
  /// Names of rules for messages, indexed by the automaton's numbers.
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const Body& body : bodies_) out.push_back(rules_.name(body.named));
    return out;
  }

 private:
  struct Body {
    ExprId expr;
    RuleId named;   // the rule it belongs to
    bool is_chars;  // true: a separate rule for the characters of `expr`
  };
  template <typename Edge>
  struct From {
    State from;
    Edge edge;
  };

  State state() {
    if (out_.n_states_ >= Automaton::kMaxStates) {
      detail::refuse(ErrorCode::kUnsupported,
                     "the grammar needs too many states: use fewer or smaller repetitions");
    }
    return static_cast<State>(out_.n_states_++);
  }
  std::uint32_t new_rule(const Body& body) {
    if (bodies_.size() >= Automaton::kMaxStates) {
      detail::refuse(ErrorCode::kUnsupported, "the grammar has too many rules or parts");
    }
    bodies_.push_back(body);
    out_.starts_.push_back(state());
    out_.ends_.push_back(state());
    return static_cast<std::uint32_t>(bodies_.size() - 1);
  }
  std::uint32_t number_of(RuleId id) {
    const auto [it, added] = numbers_.try_emplace(id, 0u);
    if (added) it->second = new_rule({rules_.body(id), id, false});
    return it->second;
  }

  void byte(State from, std::uint32_t first, std::uint32_t last, State to) {
    if (bytes_.size() >= Automaton::kMaxByteEdges) {
      detail::refuse(ErrorCode::kUnsupported, "the grammar repeats large character classes too often");
    }
    bytes_.push_back({from, {static_cast<std::uint8_t>(first), static_cast<std::uint8_t>(last), to}});
  }
  void empty(State from, State to) { empties_.push_back({from, to}); }
  void call(State from, std::uint32_t rule, State to) { calls_.push_back({from, {rule, to, false}}); }

  /// Adds the states and edges of an expression between two states.
  void put(ExprId id, State from, State to) {
    const Rules::Expr e = rules_[id];
    switch (e.kind) {
      case Rules::Kind::kNothing:
        return;
      case Rules::Kind::kText:
        return put_text(rules_.text_of(e), from, to);
      case Rules::Kind::kChars:
        return put_chars(id, from, to);
      case Rules::Kind::kSequence: {
        const auto parts = rules_.children_of(e);
        for (std::size_t i = 0; i < parts.size(); ++i) {
          const State next = i + 1 == parts.size() ? to : state();
          put(parts[i], from, next);
          from = next;
        }
        if (parts.empty()) empty(from, to);
        return;
      }
      case Rules::Kind::kChoice:
        for (const ExprId part : rules_.children_of(e)) put(part, from, to);
        return;
      case Rules::Kind::kRepeat:
        return put_repeat(e, from, to);
      case Rules::Kind::kRule:
        return call(from, number_of(static_cast<RuleId>(e.a)), to);
    }
  }

  void put_text(std::string_view text, State from, State to) {
    if (text.empty()) return empty(from, to);
    for (std::size_t i = 0; i < text.size(); ++i) {
      const State next = i + 1 == text.size() ? to : state();
      const auto b = static_cast<std::uint8_t>(text[i]);
      byte(from, b, b, next);
      from = next;
    }
  }

  /// Adds a set of characters. Characters beyond ASCII need states: they become separate rules, shared by
  /// equal sets.
  void put_chars(ExprId id, State from, State to) {
    const auto ranges = rules_.ranges_of(rules_[id]);
    if (ranges.empty() || ranges.back().last < 0x80) {
      for (const CharRange& r : ranges) byte(from, r.first, r.last, to);
      return;
    }
    std::vector<std::pair<std::uint32_t, std::uint32_t>> key;
    for (const CharRange& r : ranges) key.emplace_back(r.first, r.last);
    const auto [it, added] = char_rules_.try_emplace(std::move(key), 0u);
    if (added) it->second = new_rule({id, bodies_[current_].named, true});
    call(from, it->second, to);
  }
  void multibyte(ExprId id, State from, State to) {
    for (const CharRange& r : rules_.ranges_of(rules_[id])) put_utf8(r.first, r.last, from, to);
  }
  /// Adds a range of characters as UTF-8, split until the first and the last character of each part differ
  /// only in whole ranges of trailing bytes.
  void put_utf8(std::uint32_t first, std::uint32_t last, State from, State to) {
    for (const std::uint32_t most : {0x7Fu, 0x7FFu, 0xFFFFu}) {
      if (first <= most && most < last) {
        put_utf8(first, most, from, to);
        return put_utf8(most + 1, last, from, to);
      }
    }
    const int trailing = last < 0x80 ? 0 : last < 0x800 ? 1 : last < 0x10000 ? 2 : 3;
    for (int i = 1; i <= trailing; ++i) {
      const std::uint32_t low = (1u << (6 * i)) - 1;
      if ((first & ~low) == (last & ~low)) continue;
      if ((first & low) != 0) {
        put_utf8(first, first | low, from, to);
        return put_utf8((first | low) + 1, last, from, to);
      }
      if ((last & low) != low) {
        put_utf8(first, (last & ~low) - 1, from, to);
        return put_utf8(last & ~low, last, from, to);
      }
    }
    constexpr std::uint32_t kLead[] = {0, 0xC0, 0xE0, 0xF0};
    for (int i = trailing; i >= 0; --i) {
      const State next = i == 0 ? to : state();
      const std::uint32_t lead = i == trailing ? kLead[trailing] : 0x80;
      const std::uint32_t mask = i == trailing ? 0xFF : 0x3F;
      byte(from, lead | ((first >> (6 * i)) & mask), lead | ((last >> (6 * i)) & mask), next);
      from = next;
    }
  }

  /// Whether an expression may be copied many times without growing the automaton much.
  bool is_small(ExprId id) const {
    const Rules::Expr& e = rules_[id];
    return e.kind == Rules::Kind::kChars || e.kind == Rules::Kind::kRule || e.kind == Rules::Kind::kNothing ||
           (e.kind == Rules::Kind::kText && e.b - e.a <= 2);
  }
  void put_repeat(const Rules::Expr& e, State from, State to) {
    const auto part = static_cast<ExprId>(e.a);
    const std::uint32_t min = e.b;
    const std::uint32_t max = e.c;
    if (max != Rules::kNoEnd && max < min) return;  // nothing
    const bool once = max == Rules::kNoEnd ? min <= 1 : max <= 1;
    std::uint32_t shared = Automaton::kInfinite;
    if (!once && !is_small(part)) shared = new_rule({part, bodies_[current_].named, false});
    const auto copy = [&](State a, State b) {
      if (shared == Automaton::kInfinite) return put(part, a, b);
      call(a, shared, b);
    };
    const std::uint32_t fixed = max == Rules::kNoEnd && min > 0 ? min - 1 : min;
    for (std::uint32_t i = 0; i < fixed; ++i) {
      const State next = state();
      copy(from, next);
      from = next;
    }
    if (max == Rules::kNoEnd) {  // a loop, entered before or after the part
      const State before = state();
      const State behind = min == 0 ? before : state();
      empty(from, before);
      copy(before, behind);
      if (behind != before) empty(behind, before);
      return empty(behind, to);
    }
    for (std::uint32_t i = min; i < max; ++i) {
      empty(from, to);
      const State next = state();
      copy(from, next);
      from = next;
    }
    empty(from, to);
  }

  /// Sorts edges into lists by the state that they leave.
  template <typename Edge>
  void sort_into(const std::vector<From<Edge>>& from, std::vector<Edge>& edges,
                 std::vector<std::uint32_t>& begin) {
    begin.assign(out_.n_states_ + 2, 0);
    for (const auto& f : from) ++begin[f.from + 2];
    for (std::size_t i = 2; i < begin.size(); ++i) begin[i] += begin[i - 1];
    edges.resize(from.size());
    for (const auto& f : from) edges[begin[f.from + 1]++] = f.edge;
    begin.pop_back();
  }
  void sort_edges() {
    sort_into(bytes_, out_.byte_edges_, out_.byte_begin_);
    sort_into(empties_, out_.empty_edges_, out_.empty_begin_);
    sort_into(calls_, out_.call_edges_, out_.call_begin_);
    out_.end_.assign(out_.n_states_, 0);
    for (const State s : out_.ends_) out_.end_[s] = 1;
  }

  const Rules& rules_;
  Automaton& out_;
  std::uint32_t current_ = 0;
  std::vector<Body> bodies_;  // [n_rules]
  std::map<RuleId, std::uint32_t> numbers_;
  std::map<std::vector<std::pair<std::uint32_t, std::uint32_t>>, std::uint32_t> char_rules_;
  std::vector<From<Automaton::ByteEdge>> bytes_;
  std::vector<From<State>> empties_;
  std::vector<From<Automaton::CallEdge>> calls_;
};

}  // namespace gemma::detail

#if defined(GEMMA_HEADER_ONLY)
#include "automaton.inl"
#endif
