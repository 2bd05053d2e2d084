// The vocabulary of JSON schemas: types, listed values, and the types that each keyword restricts.
// Invariant: a keyword whose value has the wrong form is refused by name wherever it is read.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../../gguf/error.hpp"
#include "../../tokenizer/value.hpp"
#include "decimal_range.hpp"

namespace gemma::detail {

/// Types of JSON values, as bits.
struct JsonTypes {
  enum : unsigned {
    kNull = 1,
    kBoolean = 2,
    kObject = 4,
    kArray = 8,
    kString = 16,
    kInteger = 32,
    kFraction = 64,  // a number that is not an integer
    kNumber = kInteger | kFraction,
    kAll = 127
  };
  /// The bits of a type's name, or 0 for one that is not known.
  static unsigned of(std::string_view name) {
    constexpr std::pair<std::string_view, unsigned> kNames[] = {
        {"null", kNull},     {"boolean", kBoolean}, {"object", kObject}, {"array", kArray},
        {"string", kString}, {"integer", kInteger}, {"number", kNumber}};
    for (const auto& [known, bits] : kNames) {
      if (known == name) return bits;
    }
    return 0;
  }
  /// The types that a keyword restricts, or 0.
  static unsigned of_keyword(std::string_view key) {
    constexpr std::pair<std::string_view, unsigned> kOf[] = {{"properties", kObject},
                                                             {"required", kObject},
                                                             {"minProperties", kObject},
                                                             {"maxProperties", kObject},
                                                             {"additionalProperties", kObject},
                                                             {"unevaluatedProperties", kObject},
                                                             {"items", kArray},
                                                             {"prefixItems", kArray},
                                                             {"minItems", kArray},
                                                             {"maxItems", kArray},
                                                             {"additionalItems", kArray},
                                                             {"minLength", kString},
                                                             {"maxLength", kString},
                                                             {"pattern", kString},
                                                             {"format", kString},
                                                             {"minimum", kNumber},
                                                             {"maximum", kNumber},
                                                             {"exclusiveMinimum", kNumber},
                                                             {"exclusiveMaximum", kNumber},
                                                             {"multipleOf", kNumber}};
    for (const auto& [known, bits] : kOf) {
      if (known == key) return bits;
    }
    return 0;
  }
  /// The type of a value.
  static unsigned of(const Value& v) {
    switch (v.kind()) {
      case Value::Kind::kNull:
        return kNull;
      case Value::Kind::kBoolean:
        return kBoolean;
      case Value::Kind::kText:
        return kString;
      case Value::Kind::kList:
        return kArray;
      case Value::Kind::kObject:
        return kObject;
      case Value::Kind::kNumber:
        break;
    }
    const auto number = Decimal::from(v.text());
    return number && number->fraction.empty() ? kInteger : kFraction;
  }
};

/// Reads keywords of a single schema.
class SchemaWords {
 public:
  [[noreturn]] static void malformed(const std::string& what) {
    detail::refuse(ErrorCode::kMalformed, [&] { return "schema: " + what; });
  }
  [[noreturn]] static void unsupported(const std::string& what) {
    detail::refuse(ErrorCode::kUnsupported, [&] { return "schema: " + what; });
  }
  /// A keyword's value, which must be of this kind; nullptr if it is absent.
  static const Value* member(const Value& schema, std::string_view key, Value::Kind kind) {
    const Value* v = schema.find(key);
    if (v != nullptr && !v->is(kind))
      malformed("keyword " + gemma::quoted(key) + " has a value of the wrong type");
    return v;
  }
  static bool is_schema(const Value& v) { return v.is(Value::Kind::kObject) || v.is(Value::Kind::kBoolean); }
  static bool is_false(const Value& v) { return v.is(Value::Kind::kBoolean) && !v.truthy(); }
  /// Whether two values are equal as JSON.
  static bool equal(const Value& a, const Value& b) {
    if (a.kind() != b.kind() || a.items().size() != b.items().size()) return false;
    if (a.is(Value::Kind::kNumber)) {
      const auto x = Decimal::from(a.text());
      const auto y = Decimal::from(b.text());
      return x && y ? compare(*x, *y) == 0 : a.text() == b.text();
    }
    if (a.text() != b.text()) return false;
    for (std::size_t i = 0; i < a.items().size(); ++i) {
      const Value* other = a.is(Value::Kind::kObject) ? b.find(a.names()[i]) : &b.items()[i];
      if (other == nullptr || !equal(a.items()[i], *other)) return false;
    }
    return true;
  }
  /// The values of "enum" or "const"; nullopt if there is neither.
  static std::optional<std::vector<const Value*>> listed(const Value& schema) {
    std::optional<std::vector<const Value*>> out;
    if (const Value* list = member(schema, "enum", Value::Kind::kList)) {
      out.emplace();
      for (const Value& v : list->items()) out->push_back(&v);
    }
    if (const Value* only = schema.find("const")) {
      if (out && std::none_of(out->begin(), out->end(), [&](const Value* v) { return equal(*v, *only); })) {
        return std::vector<const Value*>();
      }
      out.emplace(1, only);
    }
    return out;
  }
  /// The types that "type" allows; all if it is absent.
  static unsigned types(const Value& schema) {
    const Value* v = schema.find("type");
    if (v == nullptr) return JsonTypes::kAll;
    unsigned bits = 0;
    const auto add = [&](const Value& name) {
      const unsigned bit = name.is(Value::Kind::kText) ? JsonTypes::of(name.text()) : 0;
      if (bit == 0) malformed("keyword 'type' names an unknown type: " + gemma::quoted(name.text()));
      bits |= bit;
    };
    if (!v->is(Value::Kind::kList)) {
      add(*v);
    } else {
      for (const Value& name : v->items()) add(name);
    }
    return bits;
  }
  /// The types of the values that the rules write: those that "type" names; without "type", those that the
  /// other keywords restrict.
  static unsigned written_types(const Value& schema) {
    unsigned bits = 0;
    if (schema.find("type") == nullptr) {
      for (const std::string& key : schema.names()) bits |= JsonTypes::of_keyword(key);
    }
    return bits != 0 ? bits : types(schema);
  }
};

}  // namespace gemma::detail
