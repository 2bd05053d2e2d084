// Any grammar or schema, and one of its texts, made of tokens that the input chooses.
// Input: a byte (0: GBNF, 1: a schema), the text up to 0xFE, then a byte for each choice.
#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gemma/grammar.hpp"
#include "gguf/file.hpp"
#include "tests/fuzz/targets.hpp"
#include "tests/tokenizer/small_vocabulary.hpp"
#include "tokenizer/tokenizer.hpp"

namespace gemma::fuzz {
namespace grammar_target {  // named, since these files are compiled as one unit

std::shared_ptr<const PieceTrie> pieces() {
  static const std::shared_ptr<const PieceTrie> trie = [] {
    test::SmallVocabulary v = test::small_gemma();
    for (const char* piece : {"{\"", "\":", "\",", "\"}", "],", "\xc3", "\xe2\x82", "true", "12"})
      v.add(piece, test::kNormal);
    const Input bytes = v.bytes();
    const auto file = gguf::File::from_memory(bytes, "grammar");
    return PieceTrie::from(*make_tokenizer(Vocab::from(file)));
  }();
  return trie;
}

void walk(const Grammar& grammar, Fields& fields) {
  GrammarMask mask(grammar, pieces());
  std::string text;
  std::vector<float> logits(pieces()->vocab_size());
  for (int i = 0; i < 40 && !fields.empty() && !mask.finished(); ++i) {
    std::fill(logits.begin(), logits.end(), 0.0F);
    mask.apply(logits);
    std::vector<TokenId> allowed;
    for (std::size_t id = 0; id < logits.size(); ++id) {
      if (logits[id] == 0.0F) allowed.push_back(static_cast<TokenId>(id));
    }
    require(!allowed.empty(), "there is a way on, or an error");
    const TokenId token = allowed[fields.byte() % allowed.size()];
    const GrammarMask before = mask;
    require(mask.accept(token), "what is allowed is accepted");
    text += pieces()->bytes(token);
    const TokenId other = static_cast<TokenId>(fields.byte());
    GrammarMask copy = before;
    require(copy.accept(other) == std::binary_search(allowed.begin(), allowed.end(), other),
            "what is accepted is allowed");
  }
  require(grammar.matches(text) == mask.can_end(), "a text is whole where an end is allowed");
}

void run(Bytes input) {
  Fields fields(input);
  const bool is_schema = (fields.byte() & 1) != 0;
  const std::string_view text = fields.text();
  try {
    walk(is_schema ? Grammar::json_schema(text) : Grammar::gbnf(text), fields);
  } catch (const Error& e) {
    require(!e.message().empty(), "an error says what is wrong");
  }
}

std::vector<Input> seeds() {
  std::vector<Input> out;
  const std::string choices =
      std::string("\xFE") + "\x05\x40\x33\x80\x11\x22\x07\x70\x61\x01\x02\x03\x55\x99\x12\x13";
  for (const char* text : {"root ::= (\"a\" | [^b-z\\n]{2,4})+ \"end\"? # x\n",
                           "root ::= e (\"+\" e)*\ne ::= [0-9] | \"(\" root \")\"",
                           "root ::= \"\\\"\" ([^\"\\\\] | \"\\\\\" [\"\\\\/bfnrt] | \"\\u00e9\")* \"\\\"\"",
                           "root ::= a a\na ::= \"a\" a | \"\""}) {
    out.push_back(to_input(std::string(1, '\0') + text + choices));
  }
  for (
      const char* text :
      {R"({"type":"object","properties":{"a":{"type":"integer","minimum":-3,"maximum":40},"b":{"type":"string","maxLength":3}},"required":["a"]})",
       R"({"$defs":{"n":{"type":["array","null"],"items":{"$ref":"#/$defs/n"},"maxItems":2}},"$ref":"#/$defs/n"})",
       R"({"anyOf":[{"const":"x"},{"type":"string","pattern":"^[ab]+\\d?$"},{"type":"number","exclusiveMaximum":2.5}]})",
       R"({"allOf":[{"properties":{"t":{"enum":["he",1,[true]]}}},{"required":["t"],"additionalProperties":{}}]})",
       R"({"oneOf":[{"type":"string","format":"date"},{"prefixItems":[{},false],"minItems":1}]})"}) {
    out.push_back(to_input(std::string(1, '\1') + text + choices));
  }
  return out;
}

}  // namespace grammar_target

const Target kGrammar{"grammar", grammar_target::run, grammar_target::seeds, false};

}  // namespace gemma::fuzz
