// "oneOf" requires that no two of its branches hold for a value: decides whether that is certain.
// Invariant: two schemas are called disjoint only if no value that is written for the one
// (SchemaWords::written_types) is accepted by the other; in doubt they are not.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../../tokenizer/value.hpp"
#include "schema_words.hpp"

namespace gemma::detail {

/// Schemas that must all hold: in the document's order, each once. Empty: any value.
using SchemaSet = std::vector<const Value*>;

/// Decides whether the branches of "oneOf" are disjoint: they must differ in their types, in their listed
/// values, or in a member that tells them apart.
class OneOf : private SchemaWords {
 public:
  static bool disjoint(const SchemaSet& a, const SchemaSet& b, std::size_t depth) {
    return std::any_of(a.begin(), a.end(), [&](const Value* x) {
      return std::any_of(b.begin(), b.end(), [&](const Value* y) { return disjoint(*x, *y, depth); });
    });
  }

 private:
  static bool disjoint(const Value& a, const Value& b, std::size_t depth) {
    if (is_false(a) || is_false(b)) return true;
    if (!a.is(Value::Kind::kObject) || !b.is(Value::Kind::kObject) || depth > 4) return false;
    const unsigned both_types = (written_types(a) & types(b)) | (types(a) & written_types(b));
    if (both_types == 0) return true;
    const auto x = listed(a);
    const auto y = listed(b);
    if (x && y) {
      return std::none_of(x->begin(), x->end(), [&](const Value* v) {
        return std::any_of(y->begin(), y->end(), [&](const Value* w) { return equal(*v, *w); });
      });
    }
    const auto lists_no = [](const auto& values, unsigned bits) {
      return std::none_of(values->begin(), values->end(),
                          [&](const Value* v) { return (JsonTypes::of(*v) & bits) != 0; });
    };
    if (x) return lists_no(x, types(b));
    if (y) return lists_no(y, types(a));
    if (both_types != JsonTypes::kObject) return false;
    return wants_what_is_not(a, b) || wants_what_is_not(b, a) || members_differ(a, b, depth);
  }
  static bool is_required(const Value& schema, std::string_view name) {
    const Value* list = schema.find("required");
    return list != nullptr && std::any_of(list->items().begin(), list->items().end(),
                                          [&](const Value& v) { return v.text() == name; });
  }
  /// Whether `a` requires a member that `b` does not allow.
  static bool wants_what_is_not(const Value& a, const Value& b) {
    const Value* more = b.find("additionalProperties");
    const Value* own = b.find("properties");
    if (more == nullptr || !is_false(*more)) return false;
    const Value* required = a.find("required");
    return required != nullptr &&
           std::any_of(required->items().begin(), required->items().end(),
                       [&](const Value& v) { return own == nullptr || own->find(v.text()) == nullptr; });
  }
  static bool members_differ(const Value& a, const Value& b, std::size_t depth) {
    const Value* x = a.find("properties");
    const Value* y = b.find("properties");
    if (x == nullptr || y == nullptr) return false;
    for (std::size_t i = 0; i < x->names().size(); ++i) {
      const std::string& name = x->names()[i];
      const Value* other = y->find(name);
      // the schemas of a member tell the two apart if either requires it
      if (other != nullptr && (is_required(a, name) || is_required(b, name)) &&
          disjoint(x->items()[i], *other, depth + 1)) {
        return true;
      }
    }
    return false;
  }
};

}  // namespace gemma::detail
