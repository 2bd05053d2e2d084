// A JSON schema taken apart: references and combinations resolved into alternatives, each a set of plain
// schemas that must all hold.
// Invariant: every keyword is honoured by the written rules, says nothing about values (an annotation), or is
// refused by name; none is dropped.
#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "../../tokenizer/value.hpp"
#include "schema_one_of.hpp"
#include "schema_words.hpp"

namespace gemma::detail {

/// One schema document. The values must not move while this object exists.
class SchemaParts : public SchemaWords {
 public:
  /// Maximum number of alternatives into which anyOf, oneOf and allOf may expand.
  static constexpr std::size_t kMaxAlternatives = 512;

  explicit SchemaParts(const Value& root) : root_(root) { number(root); }

  /// The alternatives of plain schemas after references, allOf, anyOf and oneOf are resolved. Empty: no value
  /// is accepted. Throws Error{kMalformed, kUnsupported} naming the keyword.
  std::vector<SchemaSet> alternatives(const SchemaSet& together) {
    std::vector<SchemaSet> out{{}};
    for (const Value* schema : together) out = both(out, expand(*schema));
    return out;
  }
  const Value& root() const noexcept { return root_; }

 private:
  static constexpr std::size_t kMaxDepth = 200;

  void number(const Value& v) {
    numbers_.emplace(&v, numbers_.size());
    for (const Value& item : v.items()) number(item);
  }
  std::vector<SchemaSet> both(const std::vector<SchemaSet>& a, const std::vector<SchemaSet>& b) {
    if (a.size() * b.size() > kMaxAlternatives) unsupported("'anyOf' and 'oneOf' make too many combinations");
    std::vector<SchemaSet> out;
    for (const SchemaSet& x : a) {
      for (const SchemaSet& y : b) {
        SchemaSet set;
        std::set_union(x.begin(), x.end(), y.begin(), y.end(), std::back_inserter(set),
                       [this](const Value* p, const Value* q) { return numbers_.at(p) < numbers_.at(q); });
        if (std::find(out.begin(), out.end(), set) == out.end()) out.push_back(std::move(set));
      }
    }
    return out;
  }

  std::vector<SchemaSet> expand(const Value& schema) {
    if (!is_schema(schema)) malformed("what should be a schema is neither an object nor true or false");
    if (is_false(schema)) return {};
    if (schema.is(Value::Kind::kBoolean)) return {{}};
    if (const auto it = expanded_.find(&schema); it != expanded_.end()) return it->second;
    if (open_.size() >= kMaxDepth) unsupported("schemas refer to each other too deep");
    if (!open_.insert(&schema).second)
      unsupported("a schema that refers to itself without a value in between");
    std::vector<SchemaSet> out{{}};
    if (check_keywords(schema)) out = {{&schema}};
    if (const Value* ref = member(schema, "$ref", Value::Kind::kText))
      out = both(out, expand(target(ref->text())));
    if (const Value* all = list_of(schema, "allOf")) {
      for (const Value& part : all->items()) out = both(out, expand(part));
    }
    for (const char* key : {"anyOf", "oneOf"}) {
      const Value* any = list_of(schema, key);
      if (any == nullptr) continue;
      std::vector<SchemaSet> ways;
      for (const Value& part : any->items()) {
        for (SchemaSet& way : expand(part)) {
          if (std::find(ways.begin(), ways.end(), way) == ways.end()) ways.push_back(std::move(way));
        }
        if (ways.size() > kMaxAlternatives) unsupported("'anyOf' and 'oneOf' make too many combinations");
      }
      if (key == std::string_view("oneOf")) check_one_of(*any);
      out = both(out, ways);
    }
    open_.erase(&schema);
    return expanded_[&schema] = std::move(out);
  }
  static const Value* list_of(const Value& schema, std::string_view key) {
    const Value* v = member(schema, key, Value::Kind::kList);
    if (v != nullptr && v->items().empty()) malformed("keyword " + gemma::quoted(key) + " is an empty list");
    return v;
  }

  /// Whether the schema restricts values by keywords other than references and combinations. Throws for a
  /// keyword that is not supported.
  static bool check_keywords(const Value& schema) {
    constexpr std::string_view kSays[] = {"type", "enum", "const", "uniqueItems"};
    constexpr std::string_view kSaysNothing[] = {
        "$schema",         "$id",           "id",           "$comment",    "$defs",
        "definitions",     "$anchor",       "title",        "default",     "examples",
        "deprecated",      "readOnly",      "writeOnly",    "description", "contentMediaType",
        "contentEncoding", "example",       "$ref",         "allOf",       "anyOf",
        "oneOf",           "discriminator", "externalDocs", "$vocabulary"};
    bool says = false;
    for (const std::string& name : schema.names()) {
      const auto is = [&](std::string_view known) { return known == name; };
      if (JsonTypes::of_keyword(name) != 0 || std::any_of(std::begin(kSays), std::end(kSays), is)) {
        says = true;
      } else if (std::none_of(std::begin(kSaysNothing), std::end(kSaysNothing), is) &&
                 !name.starts_with("x-")) {
        unsupported("keyword " + gemma::quoted(name) + " is not supported");
      }
    }
    if (const Value* unique = schema.find("uniqueItems"); unique != nullptr && unique->truthy()) {
      unsupported("keyword 'uniqueItems' is not supported");
    }
    return says;
  }

  /// The schema that "#/..." or "#anchor" refers to.
  const Value& target(const std::string& ref) {
    const Value* id = root_.find("$id");
    const bool own = id != nullptr && id->is(Value::Kind::kText) && !id->text().empty() && ref == id->text();
    if (ref == "#" || own) return root_;
    if (!ref.starts_with('#')) unsupported("reference " + gemma::quoted(ref) + " points outside the schema");
    if (!ref.starts_with("#/")) {
      if (const Value* found = anchor(root_, ref.substr(1), 0)) return *found;
      malformed("reference " + gemma::quoted(ref) + " does not resolve");
    }
    const Value* at = &root_;
    for (std::size_t begin = 2; at != nullptr && begin <= ref.size();) {
      const std::size_t end = std::min(ref.find('/', begin), ref.size());
      at = step(*at, unescaped(ref.substr(begin, end - begin)));
      begin = end + 1;
    }
    if (at == nullptr) malformed("reference " + gemma::quoted(ref) + " does not resolve");
    return *at;
  }
  static const Value* step(const Value& v, const std::string& name) {
    if (v.is(Value::Kind::kObject)) return v.find(name);
    if (!v.is(Value::Kind::kList) || name.empty() || name.size() > 6) return nullptr;
    std::size_t i = 0;
    for (const char c : name) {
      if (c < '0' || c > '9') return nullptr;
      i = i * 10 + static_cast<std::size_t>(c - '0');
    }
    return i < v.items().size() ? &v.items()[i] : nullptr;
  }
  /// Decodes a part of a pointer: "~1" is "/", "~0" is "~", "%HH" is a byte.
  static std::string unescaped(std::string_view text) {
    std::string out;
    constexpr std::string_view kDigits = "0123456789abcdef0123456789ABCDEF";
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '~' && i + 1 < text.size() && (text[i + 1] == '0' || text[i + 1] == '1')) {
        out += text[++i] == '0' ? '~' : '/';
      } else if (text[i] == '%' && i + 2 < text.size() && kDigits.find(text[i + 1]) != kDigits.npos &&
                 kDigits.find(text[i + 2]) != kDigits.npos) {
        out += static_cast<char>(kDigits.find(text[i + 1]) % 16 * 16 + kDigits.find(text[i + 2]) % 16);
        i += 2;
      } else {
        out += text[i];
      }
    }
    return out;
  }
  static const Value* anchor(const Value& v, std::string_view name, std::size_t depth) {
    const Value* own = v.is(Value::Kind::kObject) ? v.find("$anchor") : nullptr;
    if (own != nullptr && own->text() == name) return &v;
    for (const Value& item : v.items()) {
      if (const Value* found = depth < kMaxDepth ? anchor(item, name, depth + 1) : nullptr) return found;
    }
    return nullptr;
  }

  /// Throws unless the branches of "oneOf" are certainly disjoint (schema_one_of.hpp).
  void check_one_of(const Value& list) {
    std::vector<std::vector<SchemaSet>> branches;
    for (const Value& part : list.items()) branches.push_back(expand(part));
    std::size_t n = 0;
    for (std::size_t i = 0; i < branches.size(); ++i) {
      for (std::size_t k = i + 1; k < branches.size(); ++k) {
        for (const SchemaSet& a : branches[i]) {
          for (const SchemaSet& b : branches[k]) {
            if (++n > kMaxAlternatives * kMaxAlternatives || !OneOf::disjoint(a, b, 0)) {
              unsupported("branches " + std::to_string(i + 1) + " and " + std::to_string(k + 1) +
                          " of 'oneOf' may both hold for a value; use 'anyOf'");
            }
          }
        }
      }
    }
  }
  const Value& root_;
  std::unordered_map<const Value*, std::size_t> numbers_;  // positions in the document's order
  std::unordered_map<const Value*, std::vector<SchemaSet>> expanded_;
  std::set<const Value*> open_;  // being expanded
};

}  // namespace gemma::detail
