// The only unit that includes PCRE2's header.
// Invariant: no type or error of PCRE2 leaves this unit. Each call allocates its own match data, and the
// compiled pattern is only read, so threads may share it.
#include "pretokenize.hpp"

#include <cstdint>
#include <limits>
#include <string>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "../gguf/error.hpp"

namespace gemma::detail {

namespace {

constexpr std::string_view kSpace =
    R"(\t-\r\x20\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";
// Letters and, below, numbers. Those of Unicode 15 and 16 are listed: the reference tokenizers recognise
// them, but PCRE2 10.42 has tables of Unicode 14, and ids should not depend on the installed release.
constexpr std::string_view kLetter =
    R"(\p{L})"
    R"(\x{1C89}\x{1C8A}\x{A7CB}-\x{A7CD}\x{A7DA}-\x{A7DC}\x{105C0}-\x{105F3}\x{10D4A}-\x{10D65})"
    R"(\x{10D6F}-\x{10D85}\x{10EC2}-\x{10EC4}\x{1123F}\x{11240}\x{11380}-\x{11389}\x{1138B}\x{1138E})"
    R"(\x{11390}-\x{113B5}\x{113B7}\x{113D1}\x{113D3}\x{11BC0}-\x{11BE0}\x{11F02}\x{11F04}-\x{11F10})"
    R"(\x{11F12}-\x{11F33}\x{1342F}\x{13441}-\x{13446}\x{13460}-\x{143FA}\x{16100}-\x{1611D})"
    R"(\x{16D40}-\x{16D6C}\x{18CFF}\x{1B132}\x{1B155}\x{1DF25}-\x{1DF2A}\x{1E030}-\x{1E06D})"
    R"(\x{1E4D0}-\x{1E4EB}\x{1E5D0}-\x{1E5ED}\x{1E5F0}\x{2B739}\x{2EBF0}-\x{2EE5D}\x{31350}-\x{323AF})";
constexpr std::string_view kNumber =
    R"(\p{N})"
    R"(\x{10D40}-\x{10D49}\x{116D0}-\x{116E3}\x{11BF0}-\x{11BF9}\x{11F50}-\x{11F59}\x{16130}-\x{16139})"
    R"(\x{16D70}-\x{16D79}\x{1CCF0}-\x{1CCF9}\x{1D2C0}-\x{1D2D3}\x{1E4F0}-\x{1E4F9}\x{1E5F1}-\x{1E5FA})";

// Llama 3's published pattern:
//   (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+
//   |\s+(?!\S)|\s+
// with two changes that alter no match. \s is written out, since PCRE2's includes U+180E and the reference's
// does not. Repetitions are possessive where backtracking cannot succeed: nothing that follows in the
// alternative can match the characters that were consumed. Qwen 2's pattern has \p{N} in place of
// \p{N}{1,3}.
std::string llama3_pattern(const char* digits = "{1,3}+") {
  const std::string space(kSpace);
  const std::string letter(kLetter);
  const std::string number(kNumber);
  std::string p = R"((?i:'s|'t|'re|'ve|'m|'ll|'d))";
  p += R"(|[^\r\n)" + letter + number + "]?+[" + letter + "]++";
  p += "|[" + number + "]" + digits;
  p += R"(|\x20?+[^)" + space + letter + number + R"(]++[\r\n]*+)";
  p += "|[" + space + R"(]*[\r\n]++)";
  p += "|[" + space + "]+(?![^" + space + "])";
  p += "|[" + space + "]++";
  return p;
}

// SmolLM2 makes every digit a pre-token and splits the text between digits by GPT-2's published pattern:
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// Here it is one pattern: a digit ends a run of spaces as the end of the text does.
std::string smollm_pattern() {
  const std::string space(kSpace);
  const std::string letter(kLetter);
  const std::string number(kNumber);
  std::string p = "[" + number + "]";
  p += R"(|'(?:s|t|re|ve|m|ll|d))";
  p += R"(|\x20?+[)" + letter + "]++";
  p += R"(|\x20?+[^)" + space + letter + number + "]++";
  p += "|[" + space + "]+(?![^" + space + number + "])";
  p += "|[" + space + "]++";
  return p;
}

std::string pattern_of(PrePattern pattern) {
  switch (pattern) {
    case PrePattern::kSmolLm:
      return smollm_pattern();
    case PrePattern::kQwen2:
      return llama3_pattern("");
    case PrePattern::kLlama3:
      break;
  }
  return llama3_pattern();
}

template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T* thing) const {
    Free(thing);
  }
};
using Code = std::unique_ptr<pcre2_code, Freer<pcre2_code_free>>;
using MatchData = std::unique_ptr<pcre2_match_data, Freer<pcre2_match_data_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Freer<pcre2_match_context_free>>;

[[noreturn]] void fail(const std::string& what, int code) {
  PCRE2_UCHAR message[128] = {};
  pcre2_get_error_message(code, message, sizeof message);
  detail::refuse(ErrorCode::kOutOfMemory, [&] {
    return "the pre-tokenizer cannot " + what + ": " + reinterpret_cast<const char*>(message);
  });
}

}  // namespace

struct Pretokenizer::Pattern {
  Code code;
  MatchContext context;
};

Pretokenizer::Pretokenizer(PrePattern pattern) {
  auto compiled = std::make_unique<Pattern>();
  const std::string text = pattern_of(pattern);
  int error = 0;
  PCRE2_SIZE at = 0;
  // anchored: a pre-token starts where the one before it ended
  compiled->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                                     PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED, &error, &at, nullptr));
  if (!compiled->code) fail("compile its pattern", error);
  // without a JIT (or memory for it), the interpreter gives the same matches more slowly
  pcre2_jit_compile(compiled->code.get(), PCRE2_JIT_COMPLETE);
  compiled->context.reset(pcre2_match_context_create(nullptr));
  if (!compiled->context) fail("allocate memory for matching", PCRE2_ERROR_NOMEMORY);
  // a match visits each character at most a few times, so the length of the text bounds the work; PCRE2's
  // default limits would only refuse long runs of spaces
  pcre2_set_match_limit(compiled->context.get(), std::numeric_limits<std::uint32_t>::max());
  pcre2_set_depth_limit(compiled->context.get(), std::numeric_limits<std::uint32_t>::max());
  pcre2_set_heap_limit(compiled->context.get(), std::numeric_limits<std::uint32_t>::max());
  pattern_ = std::move(compiled);
}

Pretokenizer::~Pretokenizer() = default;

void Pretokenizer::split(std::string_view text, std::vector<std::size_t>& ends) const {
  ends.clear();
  const pcre2_code* code = pattern_->code.get();
  const MatchData match(pcre2_match_data_create_from_pattern(code, nullptr));
  if (!match) fail("allocate memory for matching", PCRE2_ERROR_NOMEMORY);
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  for (std::size_t at = 0; at < text.size();) {
    const auto run = [&](std::uint32_t options) {
      return pcre2_match(code, subject, text.size(), at, PCRE2_NO_UTF_CHECK | options, match.get(),
                         pattern_->context.get());
    };
    int rc = run(0);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) rc = run(PCRE2_NO_JIT);
    if (rc < 0) fail("split a text", rc);
    // every character is matched by one of the alternatives, so the match ends after `at`
    at = pcre2_get_ovector_pointer(match.get())[1];
    ends.push_back(at);
  }
}

}  // namespace gemma::detail
