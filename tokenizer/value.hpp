// A JSON value: declarations of tools, arguments of calls, answers of tools.
// Invariant: members keep the order in which they were added; numbers are stored as text, in the spelling
// that templates write.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gemma {

/// Null, a boolean, a number, a text, a list or an object. Plain data; copies are deep.
class Value {
 public:
  /// Type of a JSON value.
  enum class Kind : std::uint8_t { kNull, kBoolean, kNumber, kText, kList, kObject };

  /// The value null.
  Value() = default;
  /// true or false.
  static Value boolean(bool value) {
    Value v(Kind::kBoolean);
    v.text_ = value ? "true" : "false";
    return v;
  }
  /// A number; `spelling` is its JSON text, e.g. "1.5".
  static Value number(std::string spelling) {
    Value v(Kind::kNumber);
    v.text_ = std::move(spelling);
    return v;
  }
  /// A string, UTF-8.
  static Value text(std::string value) {
    Value v(Kind::kText);
    v.text_ = std::move(value);
    return v;
  }
  /// An array of these values.
  static Value list(std::vector<Value> items) {
    Value v(Kind::kList);
    v.items_ = std::move(items);
    return v;
  }
  /// An empty object.
  static Value object() { return Value(Kind::kObject); }

  /// Type of this value.
  Kind kind() const noexcept { return kind_; }
  /// Whether this value has that type.
  bool is(Kind kind) const noexcept { return kind_ == kind; }
  /// The spelling of a boolean, a number or a text; "" for others.
  const std::string& text() const noexcept { return text_; }
  /// The elements of a list, or the values of an object's members.
  const std::vector<Value>& items() const noexcept { return items_; }
  /// Names of the members; their values are items(), in the same order.
  const std::vector<std::string>& names() const noexcept { return names_; }

  /// Appends a member to an object.
  void add(std::string name, Value value) {
    names_.push_back(std::move(name));
    items_.push_back(std::move(value));
  }
  /// The member of that name, or nullptr.
  const Value* find(std::string_view name) const noexcept {
    for (std::size_t i = 0; i < names_.size(); ++i) {
      if (names_[i] == name) return &items_[i];
    }
    return nullptr;
  }
  /// Whether a template's "if" holds: the value is not null, false, 0, "", or empty.
  bool truthy() const noexcept {
    switch (kind_) {
      case Kind::kNull:
        return false;
      case Kind::kBoolean:
        return text_ == "true";
      case Kind::kNumber:
        return text_.find_first_of("123456789") < text_.find_first_of("eE");
      case Kind::kText:
        return !text_.empty();
      case Kind::kList:
      case Kind::kObject:
        break;
    }
    return !items_.empty();
  }

 private:
  explicit Value(Kind kind) : kind_(kind) {}

  Kind kind_ = Kind::kNull;
  std::string text_;
  std::vector<Value> items_;
  std::vector<std::string> names_;  // as many as items of an object, else none
};

}  // namespace gemma
