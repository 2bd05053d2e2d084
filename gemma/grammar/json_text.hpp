// Parses JSON text into values, for schemas.
// Invariant: strict RFC 8259 in UTF-8; nesting is bounded, and a name that occurs twice in an object is
// refused.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "../../gguf/error.hpp"
#include "../../tokenizer/utf8.hpp"
#include "../../tokenizer/value.hpp"

namespace gemma::detail {

/// Parser of one text.
class JsonText {
 public:
  static constexpr std::size_t kMaxDepth = 128;

  /// Parses the whole text. Throws Error{kMalformed} with "WHAT, byte N: ...".
  static Value read(std::string_view text, std::string_view what) {
    JsonText reader(text, what);
    Value value = reader.value(0);
    reader.skip();
    if (reader.at_ != text.size()) reader.fail("more text after the value");
    return value;
  }

  /// `text` in quotes, escaped only where JSON requires it.
  static std::string quote(std::string_view text) {
    constexpr char kHex[] = "0123456789abcdef";
    std::string out = "\"";
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      constexpr std::string_view kShort = "\b\f\n\r\t\"\\";
      if (const std::size_t i = kShort.find(c); i != std::string_view::npos) {
        out += '\\';
        out += "bfnrt\"\\"[i];
      } else if (byte < 0x20) {
        out += "\\u00";
        out += kHex[byte >> 4];
        out += kHex[byte & 15];
      } else {
        out += c;
      }
    }
    return out + '"';
  }

 private:
  JsonText(std::string_view text, std::string_view what) : text_(text), what_(what) {
    at_ = utf8::valid_prefix(text);
    if (at_ != text.size()) fail("not UTF-8");
    at_ = 0;
  }

  [[noreturn]] void fail(std::string_view why) const {
    refuse(ErrorCode::kMalformed, [&] {
      return std::string(what_) + ", byte " + std::to_string(at_) + ": not JSON: " + std::string(why);
    });
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool take(std::string_view what) {
    if (!text_.substr(at_).starts_with(what)) return false;
    at_ += what.size();
    return true;
  }
  void skip() { at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size()); }

  Value value(std::size_t depth) {
    if (depth > kMaxDepth) fail("nested too deep");
    skip();
    if (peek() == '{') return object(depth);
    if (peek() == '[') return array(depth);
    if (peek() == '"') return Value::text(string());
    if (take("true")) return Value::boolean(true);
    if (take("false")) return Value::boolean(false);
    if (take("null")) return {};
    return number();
  }
  Value object(std::size_t depth) {
    ++at_;
    Value out = Value::object();
    std::unordered_set<std::string> names;
    skip();
    if (take("}")) return out;
    for (;;) {
      skip();
      if (peek() != '"') fail("expected the name of a member");
      std::string name = string();
      if (!names.insert(name).second) fail("a duplicate member name");
      skip();
      if (!take(":")) fail("expected ':'");
      Value member = value(depth + 1);
      out.add(std::move(name), std::move(member));
      skip();
      if (take("}")) return out;
      if (!take(",")) fail("expected ',' or '}'");
    }
  }
  Value array(std::size_t depth) {
    ++at_;
    std::vector<Value> items;
    skip();
    if (take("]")) return Value::list({});
    for (;;) {
      items.push_back(value(depth + 1));
      skip();
      if (take("]")) return Value::list(std::move(items));
      if (!take(",")) fail("expected ',' or ']'");
    }
  }
  std::size_t digits() {
    const std::size_t begin = at_;
    while (peek() >= '0' && peek() <= '9') ++at_;
    return at_ - begin;
  }
  Value number() {
    const std::size_t begin = at_;
    static_cast<void>(take("-"));
    if (peek() == '0') {
      ++at_;
    } else if (digits() == 0) {
      fail("expected a value");
    }
    if (take(".") && digits() == 0) fail("expected a digit");
    if (take("e") || take("E")) {
      if (!take("+")) static_cast<void>(take("-"));
      if (digits() == 0) fail("expected a digit");
    }
    return Value::number(std::string(text_.substr(begin, at_ - begin)));
  }
  std::uint32_t hex4() {
    std::uint32_t value = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      constexpr std::string_view kDigits = "0123456789abcdef0123456789ABCDEF";
      const std::size_t d = at_ < text_.size() ? kDigits.find(text_[at_]) : std::string_view::npos;
      if (d == std::string_view::npos) fail("expected a hexadecimal digit");
      value = value << 4 | static_cast<std::uint32_t>(d % 16);
    }
    return value;
  }
  void escape(std::string& out) {
    constexpr std::string_view kFrom = "\"\\/bfnrt";
    constexpr std::string_view kTo = "\"\\/\b\f\n\r\t";
    const char c = peek();
    if (at_ < text_.size()) ++at_;
    if (const std::size_t i = kFrom.find(c); i != std::string_view::npos) {
      out += kTo[i];
      return;
    }
    if (c != 'u') fail("an unknown escape");
    std::uint32_t point = hex4();
    if (point >= 0xD800 && point < 0xDC00 && take("\\u")) {
      const std::uint32_t low = hex4();
      if (low < 0xDC00 || low > 0xDFFF) fail("half of a surrogate pair");
      point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
    } else if (point >= 0xD800 && point <= 0xDFFF) {
      fail("half of a surrogate pair");
    }
    utf8::append(point, out);
  }
  std::string string() {
    ++at_;
    std::string out;
    for (;;) {
      const std::size_t end = std::min(text_.find_first_of("\"\\", at_), text_.size());
      for (std::size_t i = at_; i < end; ++i) {
        if (static_cast<unsigned char>(text_[i]) < 0x20) {
          at_ = i;
          fail("an unescaped control character in a string");
        }
      }
      out += text_.substr(at_, end - at_);
      at_ = end;
      if (at_ == text_.size()) fail("unterminated string");
      if (text_[at_++] == '"') return out;
      escape(out);
    }
  }

  std::string_view text_;
  std::string_view what_;
  std::size_t at_ = 0;
};

}  // namespace gemma::detail
