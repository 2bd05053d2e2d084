// Definitions of grammar.hpp.
#pragma once

#include <algorithm>
#include <utility>

#include "../gguf/linkage.hpp"
#include "grammar/automaton.hpp"
#include "grammar/gbnf.hpp"
#include "grammar/json_text.hpp"
#include "grammar/mask_engine.hpp"
#include "grammar/schema.hpp"
#include "grammar/state_table.hpp"

namespace gemma {

namespace detail {

inline void check_grammar_size(std::string_view text) {
  if (text.size() > Grammar::kMaxTextBytes) {
    detail::refuse(ErrorCode::kUnsupported, [&] {
      return "the grammar or schema has " + std::to_string(text.size()) + " bytes; at most " +
             std::to_string(Grammar::kMaxTextBytes) + " are accepted";
    });
  }
}

}  // namespace detail

GEMMA_INLINE Grammar Grammar::gbnf(std::string_view text) {
  return detail::or_out_of_memory("no memory for a grammar", [&] {
    detail::check_grammar_size(text);
    detail::Rules rules;
    const detail::RuleId root = detail::GbnfReader::root(text, rules);
    return Grammar(std::make_shared<const detail::Automaton>(rules, root));
  });
}

GEMMA_INLINE Grammar Grammar::json_schema(std::string_view text) {
  return detail::or_out_of_memory("no memory for a schema", [&] {
    detail::check_grammar_size(text);
    const Value document = detail::JsonText::read(text, "schema");
    detail::Rules rules;
    const detail::RuleId root = detail::Schema::root(document, rules);
    return Grammar(std::make_shared<const detail::Automaton>(rules, root));
  });
}

GEMMA_INLINE Grammar Grammar::json_object() {
  return detail::or_out_of_memory("no memory for a grammar", [&] {
    detail::Rules rules;
    const detail::JsonRules json(rules);
    return Grammar(std::make_shared<const detail::Automaton>(rules, json.id("object")));
  });
}

GEMMA_INLINE bool Grammar::matches(std::string_view text) const {
  return detail::or_out_of_memory("no memory for matching a text", [&] {
    constexpr std::size_t kPart = 256;
    std::vector<std::uint32_t> saved;
    std::size_t before = text.size() + 1;  // bytes left when the last table was created
    while (text.size() < before) {         // tables are bounded: each is used until it is full
      before = text.size();
      detail::StateTable table(*automaton_);
      try {
        std::uint32_t state = saved.empty() ? table.start() : table.load(saved);
        while (!text.empty() && state != detail::StateTable::kDead) {
          state = table.next(state, text.substr(0, kPart));
          text.remove_prefix(std::min(kPart, text.size()));
          table.save(state, saved);
        }
        return state != detail::StateTable::kDead && table.accepts(state);
      } catch (const detail::TableFull&) {
      }
    }
    detail::refuse(ErrorCode::kUnsupported, "the grammar is too ambiguous: too many ways to continue a text");
  });
}

GEMMA_INLINE std::size_t Grammar::memory_bytes() const noexcept {
  return automaton_->memory_bytes();
}

GEMMA_INLINE GrammarMask::GrammarMask(const Grammar& grammar, std::shared_ptr<const PieceTrie> pieces) {
  detail::or_out_of_memory("no memory for a grammar's mask", [&] {
    engine_ = std::make_shared<detail::MaskEngine>(grammar.automaton_, std::move(pieces));
    engine_->start(*this);
  });
}

GEMMA_INLINE void GrammarMask::apply(std::span<float> logits) {
  detail::or_out_of_memory("no memory for a grammar's mask", [&] { engine_->apply(*this, logits); });
}

GEMMA_INLINE std::vector<TokenId> GrammarMask::allowed() {
  return detail::or_out_of_memory("no memory for a grammar's mask", [&] { return engine_->allowed(*this); });
}

GEMMA_INLINE bool GrammarMask::accept(TokenId token) {
  return detail::or_out_of_memory("no memory for a grammar's mask",
                                  [&] { return engine_->accept(*this, token); });
}

}  // namespace gemma
