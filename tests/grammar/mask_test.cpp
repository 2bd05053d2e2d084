// Masks over vocabularies: the tokens that are allowed next, and that generated texts match the grammar.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "gemma/grammar.hpp"
#include "gemma/grammar/gbnf.hpp"
#include "gemma/grammar/state_table.hpp"
#include "gguf/file.hpp"
#include "tests/grammar/random_walk.hpp"
#include "tests/paths.hpp"
#include "tests/tokenizer/small_vocabulary.hpp"
#include "tokenizer/tokenizer.hpp"

namespace gemma {
namespace {

struct Pieces {
  explicit Pieces(const test::SmallVocabulary& v)
      : bytes(v.bytes()),
        file(gguf::File::from_memory(bytes, "small")),
        tokenizer(make_tokenizer(Vocab::from(file))),
        trie(PieceTrie::from(*tokenizer)) {}

  TokenId id(std::string_view piece) const { return *tokenizer->vocab().find(piece); }
  TokenId byte(int b) const { return *tokenizer->vocab().byte_token(static_cast<std::uint8_t>(b)); }

  std::vector<std::byte> bytes;
  gguf::File file;
  std::unique_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<const PieceTrie> trie;
};

/// The small vocabulary of Gemma with additional pieces for JSON.
test::SmallVocabulary json_vocabulary() {
  test::SmallVocabulary v = test::small_gemma();
  for (const char* piece : {"{\"", "\":", "\",", "\"}", "abc", "12", "\":\xe2\x96\x81\"", "],", "}}",
                            "\xe2\x96\x81\"", "\xc3", "x\xe2\x82"}) {
    v.add(piece, test::kNormal);
  }
  return v;
}

/// The allowed ids, found by testing the text of each id.
std::vector<TokenId> allowed_slowly(const GrammarMask& mask, const Pieces& p) {
  std::vector<TokenId> out;
  for (std::size_t i = 0; i < p.trie->vocab_size(); ++i) {
    GrammarMask copy = mask;
    if (copy.accept(static_cast<TokenId>(i))) out.push_back(static_cast<TokenId>(i));
  }
  return out;
}

constexpr const char* kGrammars[] = {
    "root ::= [^\"]* \"\\\"\"",
    "root ::= \"abab\"{2} | \"the \"+",
    "root ::= ([a-z] | \"\\u00e9\"){3,70}",
    "root ::= \"\\\"\" [^\"\\\\\\x00-\\x1F]{0,5} \"\\\"\"",
    "root ::= \"[\" root? \"]\" | .{2}",
};

TEST(Mask, IsWhatTokensOneByOneAre) {
  for (const auto& vocabulary :
       {json_vocabulary(), test::small_llama3(), test::small_mistral(), test::small_gemma4()}) {
    const Pieces p(vocabulary);
    std::mt19937_64 random(1);
    std::vector<Grammar> grammars{Grammar::json_object()};
    for (const char* g : kGrammars) grammars.push_back(Grammar::gbnf(g));
    grammars.push_back(Grammar::json_schema(R"({"type":"string","maxLength":4})"));
    grammars.push_back(Grammar::json_schema(R"({"type":"string","pattern":"^.{2,40}$"})"));
    for (const Grammar& grammar : grammars) {
      GrammarMask mask(grammar, p.trie);
      for (int step = 0; step < 25 && !mask.finished(); ++step) {
        const auto allowed = mask.allowed();
        ASSERT_EQ(allowed, allowed_slowly(mask, p)) << step;
        ASSERT_TRUE(mask.accept(allowed[random() % allowed.size()]));
      }
    }
  }
}

TEST(Mask, SetsLogitsOfOthersToMinusInfinityAndKeepsTheRest) {
  const Pieces p(json_vocabulary());
  GrammarMask mask(Grammar::gbnf("root ::= \"ab\""), p.trie);
  std::vector<float> logits(p.trie->vocab_size() + 5);  // includes rows of the model without pieces
  for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(i) - 7.5F;
  mask.apply(logits);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    const bool may = id == p.id("ab") || id == p.id("a") || id == p.byte('a');
    EXPECT_EQ(logits[i], may ? static_cast<float>(i) - 7.5F : -std::numeric_limits<float>::infinity()) << i;
  }
  std::vector<float> few(p.trie->vocab_size() - 1);
  EXPECT_THROW(mask.apply(few), Error);
}

TEST(Mask, EndsAreAllowedWhereTheTextIsWhole) {
  const Pieces p(json_vocabulary());
  GrammarMask mask(Grammar::gbnf("root ::= \"a\" \"b\"?"), p.trie);
  const TokenId end = p.id("<end_of_turn>");
  EXPECT_FALSE(mask.can_end());
  EXPECT_FALSE(mask.accept(end));
  EXPECT_FALSE(mask.accept(p.id("<pad>")));
  EXPECT_FALSE(mask.accept(p.id("<start_of_turn>")));
  EXPECT_FALSE(mask.accept(-1));
  EXPECT_FALSE(mask.accept(1 << 20));
  EXPECT_TRUE(mask.accept(p.id("a")));
  EXPECT_TRUE(mask.can_end());
  EXPECT_FALSE(mask.must_end());
  const auto allowed = mask.allowed();
  EXPECT_TRUE(std::count(allowed.begin(), allowed.end(), end) == 1);
  EXPECT_TRUE(mask.accept(p.id("b")));
  EXPECT_TRUE(mask.must_end());
  EXPECT_EQ(mask.allowed(), std::vector<TokenId>(p.trie->ends().begin(), p.trie->ends().end()));
  EXPECT_TRUE(mask.accept(end));
  EXPECT_TRUE(mask.finished());
  EXPECT_FALSE(mask.accept(p.id("a")));
  EXPECT_EQ(mask.allowed(), std::vector<TokenId>(p.trie->ends().begin(), p.trie->ends().end()));
}

TEST(Mask, BytesSpellCharactersPieceByPiece) {
  const Pieces p(json_vocabulary());
  GrammarMask mask(Grammar::gbnf("root ::= \"\\u20AC\" | \"x\\u20AC\""), p.trie);
  const GrammarMask start = mask;
  for (const int b : {0xE2, 0x82, 0xAC}) {
    EXPECT_FALSE(mask.accept(p.byte(0xFF)));
    EXPECT_TRUE(mask.accept(p.byte(b)));
  }
  EXPECT_TRUE(mask.must_end());
  mask = start;
  EXPECT_TRUE(mask.accept(p.id("x\xe2\x82")));  // a piece that ends within a character
  EXPECT_TRUE(mask.accept(p.byte(0xAC)));
  EXPECT_TRUE(mask.must_end());
}

TEST(Mask, TheSpaceBeforeATextIsNoneOfIt) {
  const Pieces p(test::small_mistral());
  ASSERT_TRUE(p.trie->drops_space());
  GrammarMask mask(Grammar::gbnf("root ::= \"the the\""), p.trie);
  GrammarMask plain = mask;
  EXPECT_TRUE(mask.accept(p.id("\xe2\x96\x81the")));  // at the start, its text is "the",
  EXPECT_TRUE(mask.accept(p.id("\xe2\x96\x81the")));  // later it is " the"
  EXPECT_TRUE(mask.must_end());
  EXPECT_TRUE(plain.accept(p.id("t")));
}

TEST(Mask, CopiesGoOnByThemselvesAlsoWhenTheTableIsLeft) {
  const Pieces p(json_vocabulary());
  std::string text = "root ::= (a | b | c | d | e)* \"!\"\n";
  for (const char* rule : {"a", "b", "c", "d", "e"}) {  // many derivations, so that a table becomes full
    text += std::string(rule) + " ::= [ab]* \"a\" [ab]{1000} [" + rule + "x]\n";
  }
  const GrammarMask start(Grammar::gbnf(text), p.trie);
  std::mt19937_64 random(3);
  std::vector<GrammarMask> masks(3, start);
  std::vector<std::string> texts(3);
  for (int step = 0; step < 3000; ++step) {
    const std::size_t i = random() % masks.size();
    const bool a = random() % 2 == 0;
    ASSERT_TRUE(masks[i].accept(p.id(a ? "a" : "b"))) << step;
    texts[i] += a ? 'a' : 'b';
  }
  for (std::size_t i = 0; i < masks.size(); ++i) {  // a new mask with the same history agrees
    GrammarMask alone = start;
    for (const char c : texts[i]) ASSERT_TRUE(alone.accept(p.id(std::string(1, c))));
    EXPECT_EQ(alone.allowed(), masks[i].allowed());
    EXPECT_EQ(alone.can_end(), masks[i].can_end());
  }
}

TEST(StateTable, IsBoundedAndAStateGoesOnInANewOne) {
  detail::Rules rules;
  const auto root = detail::GbnfReader::root("root ::= [ab]* \"a\" [ab]{2500}", rules);
  const detail::Automaton automaton(rules, root);
  std::optional<detail::StateTable> table(std::in_place, automaton);
  std::vector<std::uint32_t> saved;
  std::uint32_t state = table->start();
  std::mt19937_64 random(3);
  std::string text;
  int n_full = 0;
  for (int step = 0; step < 3200; ++step) {
    table->save(state, saved);
    text += random() % 2 == 0 ? 'a' : 'b';
    try {
      state = table->next(state, static_cast<std::uint8_t>(text.back()));
    } catch (const detail::TableFull&) {
      ++n_full;
      EXPECT_LT(table->memory_bytes(), detail::StateTable::kMaxBytes + (1u << 20));
      table.emplace(automaton);
      state = table->next(table->load(saved), static_cast<std::uint8_t>(text.back()));
    }
    ASSERT_NE(state, detail::StateTable::kDead);
    const std::size_t n = text.size();
    ASSERT_EQ(table->accepts(state), n > 2500 && text[n - 2501] == 'a') << n;
  }
  EXPECT_GE(n_full, 1);
}

TEST(Mask, ThreadsMayUseCopies) {
  const Pieces p(json_vocabulary());
  const GrammarMask start(Grammar::json_object(), p.trie);
  std::vector<std::string> texts(4);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    threads.emplace_back([&, i] {
      std::mt19937_64 random(7);
      texts[i] = test::random_walk(
                     start, *p.trie, random, 30, 500, [] {}, [] {})
                     .text;
    });
  }
  for (std::thread& t : threads) t.join();
  for (const std::string& text : texts) EXPECT_EQ(text, texts[0]);
}

TEST(Mask, AVocabularyThatCannotSpellItIsAnError) {
  test::SmallVocabulary v = test::small_gemma();
  for (std::size_t i = 0; i < v.tokens.size(); ++i) {
    if (v.tokens[i] == "<0x7A>") v.types[i] = test::kControl;  // no byte token for z
  }
  const Pieces p(v);
  GrammarMask mask(Grammar::gbnf("root ::= \"z\""), p.trie);
  std::vector<float> logits(p.trie->vocab_size());
  EXPECT_THROW(mask.apply(logits), Error);
}

TEST(Mask, MarkersOfToolsAndThoughtsAreNotText) {
  const Pieces p(test::small_gemma4());
  GrammarMask mask(Grammar::gbnf("root ::= .*"), p.trie);
  EXPECT_FALSE(mask.accept(p.id("<|tool_call>")));
  EXPECT_FALSE(mask.accept(p.id("<|channel>")));
  EXPECT_TRUE(mask.accept(p.id("<")));
}

// ---- generated texts, checked independently ----

using Json = nlohmann::json;

/// Whether a value is valid by a schema; supports the keywords of the schemas below.
bool is_valid(const Json& schema, const Json& v) {
  if (schema.contains("enum")) return std::count(schema["enum"].begin(), schema["enum"].end(), v) != 0;
  const std::string type = schema.value("type", "");
  if (type == "null") return v.is_null();
  if (type == "boolean") return v.is_boolean();
  if (type == "integer" || type == "number") {
    if (type == "integer" ? !v.is_number_integer() : !v.is_number()) return false;
    return v.get<double>() >= schema.value("minimum", -1e300) &&
           v.get<double>() <= schema.value("maximum", 1e300);
  }
  if (type == "string") {
    if (!v.is_string()) return false;
    const std::string text = v.get<std::string>();
    const auto n = static_cast<std::size_t>(std::count_if(
        text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
    return n >= schema.value("minLength", std::size_t{0}) && n <= schema.value("maxLength", SIZE_MAX);
  }
  if (type == "array") {
    return v.is_array() && v.size() >= schema.value("minItems", std::size_t{0}) &&
           v.size() <= schema.value("maxItems", SIZE_MAX) &&
           std::all_of(v.begin(), v.end(), [&](const Json& item) { return is_valid(schema["items"], item); });
  }
  if (!v.is_object()) return false;
  for (const auto& name : schema.value("required", Json::array())) {
    if (!v.contains(name)) return false;
  }
  const Json properties = schema.value("properties", Json::object());
  return std::all_of(v.items().begin(), v.items().end(), [&](const auto& member) {
    return properties.contains(member.key()) && is_valid(properties[member.key()], member.value());
  });
}

void walk_schemas(const std::shared_ptr<const PieceTrie>& trie, int walks) {
  constexpr const char* kSchemas[] = {
      R"({"type":"object","properties":{"name":{"type":"string","maxLength":12},"age":{"type":"integer","minimum":0,"maximum":150},
          "ok":{"type":"boolean"}},"required":["name","age"]})",
      R"({"type":"array","minItems":1,"maxItems":4,"items":{"type":"object","properties":{"k":{"enum":["a","b","\"q\"",3,null]},
          "v":{"type":"array","items":{"type":"number","minimum":-1,"maximum":2.5}}},"required":["k"]}})",
      R"({"type":"string","minLength":1,"maxLength":70})",
      R"({"type":"object","properties":{"a":{"type":"object","properties":{"b":{"type":"array","items":{"type":"string"}}},"required":["b"]}},"required":["a"]})",
  };
  std::mt19937_64 random(11);
  for (const char* text : kSchemas) {
    const Json schema = Json::parse(text);
    const GrammarMask start(Grammar::json_schema(text), trie);
    for (int i = 0; i < walks; ++i) {
      const test::Walk w = test::random_walk(
          start, *trie, random, 10 + random() % 20, 2000, [] {}, [] {});
      ASSERT_TRUE(w.finished) << w.text;
      ASSERT_TRUE(is_valid(schema, Json::parse(w.text))) << schema << "\n" << w.text;
    }
  }
}

TEST(Walk, RandomTokensMakeValidValues) {
  const Pieces p(json_vocabulary());
  walk_schemas(p.trie, 40);
}

TEST(Walk, TheSameWithAVocabularyOfThousands) {
  const auto file = gguf::File::open(test::demo_model());
  walk_schemas(PieceTrie::from(*make_tokenizer(Vocab::from(file))), 10);
}

}  // namespace
}  // namespace gemma
