// The form of a Jinja template: its text without differences that cannot change its output. Published
// templates are recognised by a fingerprint of their form, so that another layout of the same program is
// recognised too.
// Invariant: templates of one form give the same text for the same conversation. Nothing is executed; the
// time is proportional to the template's length.
//
// Layout is interpreted as by the transformers library (jinja2 with trim_blocks and lstrip_blocks, no
// trailing newline): comments, white space within tags, the kind of quotes, escapes, and white space that
// the "-" of a tag or these settings remove make no difference; neither does a.b in place of a['b'], nor
// plain text in place of a tag that prints a literal.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "../gguf/hashing.hpp"

namespace gemma::detail {

/// Reads a template once from its beginning to its end and hashes its form.
class TemplateForm {
 public:
  explicit TemplateForm(std::string_view source) : source_(source) {
    if (source_.ends_with('\n')) source_.remove_suffix(1);
  }

  std::uint64_t fingerprint() {
    while (at_ < source_.size()) {
      const std::size_t tag = next_tag();
      text(source_.substr(at_, tag - at_), tag);
      at_ = tag;
      if (at_ < source_.size()) read_tag();
    }
    flush_text();
    return hash_.value();
  }

 private:
  // marks in the hashed form; put() keeps them out of texts
  static constexpr char kPrint = '\x01', kStatement = '\x02', kEnd = '\x03', kString = '\x04',
                        kToken = '\x05', kEscape = '\x06';

  static constexpr bool is_space(char c) noexcept {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
  }
  static constexpr bool is_word(char c) noexcept {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  }

  /// Where the next "{{", "{%" or "{#" begins, or the end.
  std::size_t next_tag() const noexcept {
    for (std::size_t i = source_.find('{', at_); i != source_.npos; i = source_.find('{', i + 1)) {
      if (i + 1 < source_.size() && std::string_view("{%#").find(source_[i + 1]) != std::string_view::npos)
        return i;
    }
    return source_.size();
  }

  /// Plain text up to the tag at `tag`, without the white space that the tags at both ends remove.
  void text(std::string_view part, std::size_t tag) {
    bool line_start = at_ == 0;  // whether `part`, after stripping, is at the beginning of a line
    while (!part.empty() && (strip_ == Strip::kAll ? is_space(part.front())
                                                   : strip_ == Strip::kNewline && part.front() == '\n')) {
      line_start = part.front() == '\n';
      part.remove_prefix(1);
      if (strip_ == Strip::kNewline) break;
    }
    if (tag < source_.size()) {
      const char kind = source_[tag + 1];
      const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
      if (sign == '-') {
        while (!part.empty() && is_space(part.back())) part.remove_suffix(1);
      } else if (kind != '{' && sign != '+') {  // lstrip_blocks: blanks between a line's begin and the tag
        const std::size_t last = part.find_last_not_of(" \t");
        if (last == part.npos ? line_start : part[last] == '\n') part = part.substr(0, last + 1);
      }
    }
    for (const char c : part) put(pending_, c);
  }
  /// Appends a character of text; one that could be confused with a mark is written as two.
  static void put(std::string& out, char c) {
    if (c >= kPrint && c <= kEscape) {
      out += kEscape;
      c = static_cast<char>(c + '@');
    }
    out += c;
  }

  /// Reads the tag at at_ and advances at_ past it. An unfinished tag extends to the end of the text.
  void read_tag() {
    const char kind = source_[at_ + 1];
    at_ += 2;
    if (at_ < source_.size() && (source_[at_] == '-' || source_[at_] == '+')) ++at_;
    if (kind == '#') {
      const std::size_t end = std::min(source_.find("#}", at_), source_.size());
      const char sign = end > at_ ? source_[end - 1] : ' ';
      at_ = std::min(end + 2, source_.size());
      strip_ = sign == '-' ? Strip::kAll : sign == '+' ? Strip::kNone : Strip::kNewline;
      return;
    }
    const char close = kind == '{' ? '}' : '%';
    tokens_.clear();
    strip_ = kind == '{' ? Strip::kNone : Strip::kNewline;
    while (at_ < source_.size() && !at_close(close)) token();
    finish_tag(kind);
  }

  /// Whether the tag ends here; if so, advances at_ past it.
  bool at_close(char close) noexcept {
    const bool sign = source_[at_] == '-' || source_[at_] == '+';
    const std::size_t i = at_ + (sign ? 1 : 0);
    if (i + 1 >= source_.size() || source_[i] != close || source_[i + 1] != '}') return false;
    if (sign) strip_ = source_[at_] == '-' ? Strip::kAll : Strip::kNone;
    at_ = i + 2;
    return true;
  }

  /// One token of a tag, or white space between tokens.
  void token() {
    const char c = source_[at_];
    if (is_space(c)) {
      ++at_;
    } else if (c == '\'' || c == '"') {
      string();
    } else if (c == '.' && at_ + 1 < source_.size() && is_word(source_[at_ + 1]) &&
               !(source_[at_ + 1] >= '0' && source_[at_ + 1] <= '9')) {
      const std::size_t begin = ++at_;
      while (at_ < source_.size() && is_word(source_[at_])) ++at_;
      tokens_ += kToken;
      tokens_ += '[';
      tokens_ += kString;
      tokens_ += source_.substr(begin, at_ - begin);
      tokens_ += kToken;
      tokens_ += ']';
    } else {
      const std::size_t begin = at_;
      while (at_ < source_.size() && is_word(source_[at_])) ++at_;
      if (at_ == begin) ++at_;
      tokens_ += kToken;
      tokens_ += source_.substr(begin, at_ - begin);
    }
  }

  void string() {
    const char quote = source_[at_++];
    tokens_ += kString;
    for (; at_ < source_.size() && source_[at_] != quote; ++at_) {
      if (source_[at_] != '\\' || at_ + 1 == source_.size()) {
        put(tokens_, source_[at_]);
        continue;
      }
      const char c = source_[++at_];
      switch (c) {
        case 'n':
          tokens_ += '\n';
          break;
        case 't':
          tokens_ += '\t';
          break;
        case '\\':
        case '\'':
        case '"':
          tokens_ += c;
          break;
        default:  // other escapes are kept unchanged
          tokens_ += kEscape;
          put(tokens_, c);
      }
    }
    if (at_ < source_.size()) ++at_;
  }

  void finish_tag(char kind) {
    const bool literal = kind == '{' && tokens_.starts_with(kString) &&
                         tokens_.find(kToken) == tokens_.npos && tokens_.find(kString, 1) == tokens_.npos;
    if (literal) {
      pending_.append(tokens_, 1);
      return;
    }
    flush_text();
    hash_.add(kind == '{' ? kPrint : kStatement);
    hash_.add(tokens_);
    hash_.add(kEnd);
  }
  void flush_text() {
    if (pending_.empty()) return;
    hash_.add(kPrint);
    hash_.add(kString);
    hash_.add(pending_);
    hash_.add(kEnd);
    pending_.clear();
  }
  enum class Strip : std::uint8_t { kNone, kNewline, kAll };

  std::string_view source_;
  std::size_t at_ = 0;
  Strip strip_ = Strip::kNone;  // what the last tag removes from the text after it
  std::string tokens_;          // tokens of the current tag
  std::string pending_;         // text that is printed, not yet hashed
  Fnv1a hash_;
};

/// The fingerprint of a template's form.
inline std::uint64_t template_fingerprint(std::string_view source) {
  return TemplateForm(source).fingerprint();
}

}  // namespace gemma::detail
