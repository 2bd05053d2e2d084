#include "examples/squad/text.hpp"

#include <cstdint>

#include <unicode/bytestream.h>
#include <unicode/casemap.h>
#include <unicode/uniset.h>
#include <unicode/unistr.h>

#include "gguf/error.hpp"
#include "tokenizer/utf8.hpp"

namespace gemma::squad {
namespace {

void check(UErrorCode status) {
  if (U_FAILURE(status)) throw Error(ErrorCode::kUnsupported, std::string("ICU: ") + u_errorName(status));
}

/// A set of characters, in ICU's notation.
class Characters {
 public:
  explicit Characters(const char16_t* pattern) {
    UErrorCode status = U_ZERO_ERROR;
    set_.applyPattern(pattern, status);
    check(status);
    set_.freeze();
  }

  /// Calls visit(run, inside) for each maximal run of characters in the set and of others, in order.
  template <typename Visit>
  void for_each_run(std::string_view text, Visit visit) const {
    for (bool inside = false; !text.empty(); inside = !inside) {
      const std::size_t n = length(text, inside);
      if (n > 0) visit(text.substr(0, n), inside);
      text.remove_prefix(n);
    }
  }

  /// `text` with each maximal run of the characters replaced by `with(run)`.
  template <typename With>
  std::string replaced(std::string_view text, With with) const {
    std::string out;
    for_each_run(text, [&](std::string_view run, bool inside) { out += inside ? with(run) : run; });
    return out;
  }

  bool any_in(std::string_view text) const { return length(text, false) < text.size(); }

 private:
  /// Bytes of the beginning of `text` that has only characters inside the set, or only others.
  std::size_t length(std::string_view text, bool inside) const {
    return static_cast<std::size_t>(set_.spanUTF8(text.data(), static_cast<std::int32_t>(text.size()),
                                                  inside ? USET_SPAN_CONTAINED : USET_SPAN_NOT_CONTAINED));
  }

  icu::UnicodeSet set_;
};

std::string utf8_of(const icu::UnicodeString& text) {
  std::string out;
  return text.toUTF8String(out);
}

/// The first `first` and the last `last` code points of `text`, with an ellipsis between them.
std::string ends_of(const icu::UnicodeString& text, std::size_t first, std::size_t last) {
  constexpr const char* kEllipsis = "\xE2\x80\xA6";
  const std::int32_t end = text.moveIndex32(0, static_cast<std::int32_t>(first));
  const std::int32_t begin = text.moveIndex32(text.length(), -static_cast<std::int32_t>(last));
  return utf8_of(text.tempSubString(0, end)) + kEllipsis + utf8_of(text.tempSubString(begin));
}

}  // namespace

std::string lower(std::string_view text) {
  std::string out;
  icu::StringByteSink<std::string> sink(&out);
  UErrorCode status = U_ZERO_ERROR;
  icu::CaseMap::utf8ToLower("", 0, utf8::replace_invalid(text), sink, nullptr, status);
  check(status);
  return out;
}

std::vector<std::string> split_words(std::string_view text) {
  static const Characters spaces(uR"([\p{White_Space}\u001C-\u001F])");
  std::vector<std::string> words;
  spaces.for_each_run(text, [&](std::string_view run, bool is_space) {
    if (!is_space) words.emplace_back(run);
  });
  return words;
}

std::string without_punctuation(std::string_view text) {
  static const Characters marks(uR"([!-/\:-@\[-`\{-~])");
  return marks.replaced(text, [](std::string_view) { return ""; });
}

std::string without_articles(std::string_view text) {
  static const Characters of_words(uR"([\p{L}\p{N}_])");
  return of_words.replaced(
      text, [](std::string_view word) { return word == "a" || word == "an" || word == "the" ? " " : word; });
}

std::size_t article_word_count(std::string_view text) {
  static const Characters letters(u"[a-zA-Z']");
  std::size_t words = 0;
  letters.for_each_run(text, [&](std::string_view, bool is_word) { words += is_word; });
  return words;
}

std::size_t word_count(std::string_view text) {
  static const Characters solid(uR"([\p{L}\p{N}])");
  // with apostrophes and combining marks
  static const Characters of_words(uR"([\p{L}\p{N}'\u2019\u0300-\u036F])");
  std::size_t words = 0;
  of_words.for_each_run(text,
                        [&](std::string_view run, bool is_word) { words += is_word && solid.any_in(run); });
  return words;
}

std::string article_reduction(std::string_view text) {
  static const Characters others(u"[^a-zA-Z0-9']");
  return others.replaced(text, [](std::string_view) { return " "; });
}

std::size_t n_characters(std::string_view text) {
  return static_cast<std::size_t>(icu::UnicodeString::fromUTF8(text).countChar32());
}

std::string shortened(std::string_view text, std::size_t n) {
  if (n_characters(text) <= n) return std::string(text);
  return ends_of(icu::UnicodeString::fromUTF8(text), n > 0 ? n - 1 : 0, 0);
}

std::string shortened_middle(std::string_view text, std::size_t n) {
  if (n_characters(text) <= n || n == 0) return shortened(text, n);
  return ends_of(icu::UnicodeString::fromUTF8(text), n / 2, n - 1 - n / 2);
}

}  // namespace gemma::squad
