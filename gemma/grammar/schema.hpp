// Turns a JSON schema into rules.
// Invariant: every text of the rules is a value that the schema accepts. The opposite need not hold: members
// come in the order of "properties"; additional ones follow them, and only if the schema says so or names no
// properties; white space and the spelling of texts and numbers are bounded (json_rules.hpp).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "decimal_range.hpp"
#include "json_rules.hpp"
#include "other_name.hpp"
#include "pattern.hpp"
#include "schema_bounds.hpp"
#include "schema_parts.hpp"

namespace gemma::detail {

/// Makes the rules of one schema document.
class Schema {
 public:
  /// The rule of the document's values. Throws Error{kMalformed, kUnsupported}.
  static RuleId root(const Value& document, Rules& rules) {
    Schema schema(document, rules);
    const RuleId id = rules.add_rule("root");
    rules.define(id, schema.value({&document}));
    while (!schema.waiting_.empty()) {  // waiting_ grows as new schemas are found
      const auto [set, rule] = std::move(schema.waiting_.back());
      schema.waiting_.pop_back();
      rules.define(rule, schema.plain(set));
    }
    return id;
  }

 private:
  Schema(const Value& document, Rules& rules) : parts_(document), rules_(rules), json_(rules) {}

  [[noreturn]] static void unsupported(const std::string& what) { SchemaParts::unsupported(what); }

  /// The expression of the values that all of these schemas accept.
  ExprId value(const SchemaSet& together) {
    std::vector<ExprId> ways;
    for (SchemaSet& set : parts_.alternatives(together)) {
      if (set.empty()) {
        ways.push_back(json_["value"]);
        continue;
      }
      const auto [it, added] = known_.try_emplace(set, RuleId{});
      if (added) {
        it->second = rules_.add_rule("schema");
        waiting_.emplace_back(std::move(set), it->second);
      }
      ways.push_back(rules_.rule(it->second));
    }
    return rules_.choice(ways);
  }

  /// The types that values of these schemas have.
  static unsigned types_of(const SchemaSet& set) {
    unsigned out = JsonTypes::kAll;
    for (const Value* s : set) out &= SchemaParts::written_types(*s);
    return out;
  }

  ExprId plain(const SchemaSet& set) {
    if (const auto only = listed(set)) return rules_.choice(*only);
    const unsigned types = types_of(set);
    std::vector<ExprId> ways;
    if ((types & JsonTypes::kNull) != 0) ways.push_back(rules_.text("null"));
    if ((types & JsonTypes::kBoolean) != 0)
      ways.push_back(rules_.choice({rules_.text("true"), rules_.text("false")}));
    if ((types & JsonTypes::kNumber) != 0) ways.push_back(number(set, (types & JsonTypes::kFraction) == 0));
    if ((types & JsonTypes::kString) != 0) ways.push_back(string(set));
    if ((types & JsonTypes::kArray) != 0) ways.push_back(array(set));
    if ((types & JsonTypes::kObject) != 0) ways.push_back(object(set));
    return rules_.choice(ways);
  }

  /// The values of "enum" and "const" that all of the schemas allow; nullopt if none has either keyword.
  std::optional<std::vector<ExprId>> listed(const SchemaSet& set) {
    std::optional<std::vector<const Value*>> values;
    unsigned types = JsonTypes::kAll;
    for (const Value* s : set) {
      types &= SchemaParts::types(*s);
      auto own = SchemaParts::listed(*s);
      if (!own) continue;
      if (values) {
        std::erase_if(*own, [&](const Value* v) {
          return std::none_of(values->begin(), values->end(),
                              [&](const Value* w) { return SchemaParts::equal(*v, *w); });
        });
      }
      values = std::move(own);
    }
    if (!values) return std::nullopt;
    for (const Value* s : set) {
      for (const std::string& key : s->names()) {
        if (JsonTypes::of_keyword(key) != 0)
          unsupported("'enum' or 'const' together with " + gemma::quoted(key));
      }
    }
    std::vector<ExprId> out;
    for (const Value* v : *values) {
      if ((JsonTypes::of(*v) & types) != 0) out.push_back(json_.literal(*v));
    }
    return out;
  }
  // ---- numbers ----

  ExprId number(const SchemaSet& set, bool whole) {
    std::optional<Bound> low, high;
    for (const Value* s : set) {
      if (const auto b = bound_of(*s, "minimum", false)) raise(low, *b, 1);
      if (const auto b = bound_of(*s, "exclusiveMinimum", true)) raise(low, *b, 1);
      if (const auto b = bound_of(*s, "maximum", false)) raise(high, *b, -1);
      if (const auto b = bound_of(*s, "exclusiveMaximum", true)) raise(high, *b, -1);
      if (const Value* format = s->find("format")) {
        if (format->text() == "int32") {
          raise(low, {*Decimal::from("-2147483648"), false}, 1);
          raise(high, {*Decimal::from("2147483647"), false}, -1);
        }
        whole = whole || format->text() == "int32" || format->text() == "int64";
      }
      if (const auto step = bound_of(*s, "multipleOf", false)) {
        if (compare(step->at, *Decimal::from("1")) != 0) unsupported("'multipleOf' other than 1");
        whole = true;
      }
    }
    if (!low && !high) return json_[whole ? "integer" : "number"];
    return DecimalRange::between(rules_, low, high, whole);
  }

  // ---- texts ----

  ExprId string(const SchemaSet& set) {
    const Lengths lengths = lengths_of(set, "minLength", "maxLength");
    std::set<std::string> patterns;
    for (const Value* s : set) {
      if (const Value* p = SchemaParts::member(*s, "pattern", Value::Kind::kText)) patterns.insert(p->text());
      const Value* format = SchemaParts::member(*s, "format", Value::Kind::kText);
      if (format == nullptr || is_number_format(format->text())) continue;
      const std::string_view pattern = pattern_of_format(format->text());
      if (pattern.empty()) unsupported("format " + gemma::quoted(format->text()) + " is not supported");
      patterns.emplace(pattern);
    }
    if (patterns.empty()) return json_.string(static_cast<std::uint32_t>(lengths.min), most_of(lengths));
    if (patterns.size() > 1) unsupported("more than one 'pattern' or 'format' for one text");
    const ExprId quote = rules_.text("\"");
    return rules_.sequence({quote, Pattern::read(*patterns.begin(), json_, lengths), quote});
  }

  // ---- arrays ----

  /// The schemas of the items before the last rule for items; draft 7 puts them into "items".
  static const Value* prefix_of(const Value& schema) {
    const Value* v = SchemaParts::member(schema, "prefixItems", Value::Kind::kList);
    const Value* items = schema.find("items");
    return v == nullptr && items != nullptr && items->is(Value::Kind::kList) ? items : v;
  }
  static const Value* rest_of(const Value& schema) {
    const Value* items = schema.find("items");
    return items != nullptr && items->is(Value::Kind::kList) ? schema.find("additionalItems") : items;
  }
  /// The schemas that item i must satisfy.
  static SchemaSet item_of(const SchemaSet& set, std::size_t i) {
    SchemaSet out;
    for (const Value* s : set) {
      const Value* prefix = prefix_of(*s);
      const Value* rest = rest_of(*s);
      if (prefix != nullptr && i < prefix->items().size()) {
        out.push_back(&prefix->items()[i]);
      } else if (rest != nullptr) {
        out.push_back(rest);
      }
    }
    return out;
  }
  ExprId array(const SchemaSet& set) {
    const Lengths lengths = lengths_of(set, "minItems", "maxItems");
    std::size_t n_prefix = 0;
    bool has_rest = false;
    for (const Value* s : set) {
      const Value* prefix = prefix_of(*s);
      if (prefix != nullptr) n_prefix = std::max(n_prefix, prefix->items().size());
      has_rest = has_rest || rest_of(*s) != nullptr;
    }
    if (lengths.max < lengths.min) return rules_.nothing();
    const ExprId ws = json_["ws"];
    const ExprId comma = rules_.sequence({rules_.text(","), ws});
    const std::size_t fixed = static_cast<std::size_t>(std::min<std::uint64_t>(n_prefix, lengths.max));
    std::vector<ExprId> items;
    for (std::size_t i = 0; i < fixed; ++i) {
      if (i != 0) items.push_back(comma);
      items.push_back(value(item_of(set, i)));
    }
    const std::uint64_t least = lengths.min > fixed ? lengths.min - fixed : 0;
    const bool goes_on = lengths.max > fixed && (least != 0 || has_rest || n_prefix == 0);
    bool may_be_empty = fixed == 0 && least == 0;
    if (goes_on) {
      const ExprId item = rules_.as_rule("item", value(item_of(set, n_prefix)));
      const ExprId more = rules_.as_rule("item", rules_.sequence({comma, item}));
      Lengths rest{least, lengths.max == kNoLength ? kNoLength : lengths.max - fixed};
      if (fixed == 0) {
        items.push_back(item);
        rest = {rest.min == 0 ? 0 : rest.min - 1, rest.max == kNoLength ? kNoLength : rest.max - 1};
      }
      items.push_back(rules_.repeat(more, static_cast<std::uint32_t>(rest.min), most_of(rest)));
    }
    items.push_back(ws);
    const ExprId all = rules_.sequence(items);
    return rules_.sequence(
        {rules_.text("["), ws, may_be_empty ? rules_.optional(all) : all, rules_.text("]")});
  }

  // ---- objects ----

  struct Member {
    std::string name;
    bool required;
  };
  static std::vector<Member> members_of(const SchemaSet& set) {
    std::vector<Member> out;
    std::map<std::string, std::size_t, std::less<>> index;
    const auto add = [&](const std::string& name) -> Member& {
      const auto [it, added] = index.try_emplace(name, out.size());
      if (added) out.push_back({name, false});
      return out[it->second];
    };
    for (const Value* s : set) {
      if (const Value* p = SchemaParts::member(*s, "properties", Value::Kind::kObject)) {
        for (const std::string& name : p->names()) add(name);
      }
    }
    for (const Value* s : set) {
      const Value* required = SchemaParts::member(*s, "required", Value::Kind::kList);
      if (required == nullptr) continue;
      for (const Value& name : required->items()) {
        if (!name.is(Value::Kind::kText))
          SchemaParts::malformed("keyword 'required' holds something other than names");
        add(name.text()).required = true;
      }
    }
    return out;
  }
  /// The schemas that a member must satisfy; nullptr stands for a member that no schema names.
  static SchemaSet member_schemas(const SchemaSet& set, const std::string* name) {
    SchemaSet out;
    for (const Value* s : set) {
      const Value* properties = s->find("properties");
      const Value* own = properties != nullptr && name != nullptr ? properties->find(*name) : nullptr;
      const Value* more = s->find("additionalProperties");
      if (own == nullptr) own = more;
      if (own != nullptr) out.push_back(own);
    }
    return out;
  }
  /// Whether members that no schema names are allowed.
  static bool takes_more(const SchemaSet& set) {
    bool said = false;
    bool named = false;
    for (const Value* s : set) {
      const Value* more = s->find("additionalProperties");
      const Value* rest = s->find("unevaluatedProperties");
      if (rest != nullptr && !SchemaParts::is_false(*rest))
        unsupported("'unevaluatedProperties' other than false");
      if ((more != nullptr && SchemaParts::is_false(*more)) || (rest != nullptr && more == nullptr))
        return false;
      said = said || more != nullptr;
      named = named || s->find("properties") != nullptr;
    }
    return said || !named;
  }
  static std::vector<std::string> names_of(const std::vector<Member>& members) {
    std::vector<std::string> out;
    for (const Member& m : members) out.push_back(m.name);
    return out;
  }
  /// Refuses bounds on the number of members that the written members could violate.
  static void check_counts(const SchemaSet& set, const std::vector<Member>& members, bool more) {
    const Lengths counts = lengths_of(set, "minProperties", "maxProperties");
    const auto is_required = [](const Member& m) { return m.required; };
    const auto n = static_cast<std::uint64_t>(std::count_if(members.begin(), members.end(), is_required));
    if (counts.min > n) unsupported("keyword 'minProperties' is above the number of required members");
    if (counts.max != kNoLength && (more || counts.max < members.size())) {
      unsupported("keyword 'maxProperties' is below the number of members that are allowed");
    }
  }
  ExprId object(const SchemaSet& set) {
    const ExprId ws = json_["ws"];
    const ExprId comma = rules_.sequence({rules_.text(","), ws});
    const std::vector<Member> members = members_of(set);
    ExprId more = rules_.empty();  // additional members after other members
    ExprId only = rules_.empty();  // additional members if no named member precedes
    check_counts(set, members, takes_more(set));
    if (takes_more(set)) {
      const ExprId member =
          rules_.as_rule("member", rules_.sequence({other_name(json_, names_of(members)), rules_.text(":"),
                                                    json_["sp"], value(member_schemas(set, nullptr))}));
      more = rules_.repeat(rules_.as_rule("member", rules_.sequence({comma, member})), 0, Rules::kNoEnd);
      only = rules_.optional(rules_.sequence({member, more, ws}));
    }
    // from the last member to the first: what may follow after a member, and at the beginning
    ExprId behind = rules_.as_rule("members", rules_.sequence({more, ws}));
    ExprId first = rules_.as_rule("members", only);
    for (std::size_t i = members.size(); i-- > 0;) {
      const Member& m = members[i];
      const ExprId member = rules_.as_rule(
          "member", rules_.sequence({json_.name(m.name), value(member_schemas(set, &m.name))}));
      std::vector<ExprId> here{rules_.sequence({member, behind})};
      std::vector<ExprId> later{rules_.sequence({comma, member, behind})};
      if (!m.required) {
        here.push_back(first);
        later.push_back(behind);
      }
      first = rules_.as_rule("members", rules_.choice(here));
      behind = rules_.as_rule("members", rules_.choice(later));
    }
    return rules_.sequence({rules_.text("{"), ws, first, rules_.text("}")});
  }

  SchemaParts parts_;
  Rules& rules_;
  JsonRules json_;
  std::map<SchemaSet, RuleId> known_;
  std::vector<std::pair<SchemaSet, RuleId>> waiting_;
};

}  // namespace gemma::detail
