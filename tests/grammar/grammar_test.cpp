// GBNF grammars and JSON schemas: the texts that they accept.
#include "gemma/grammar.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/refusal.hpp"

namespace gemma {
namespace {

using gemma::test::refusal_of;

struct Case {
  std::string grammar;
  std::vector<std::string> takes;
  std::vector<std::string> refuses;
};

void check(const Grammar& grammar, const Case& c) {
  for (const std::string& text : c.takes)
    EXPECT_TRUE(grammar.matches(text)) << c.grammar << "\n  takes " << text;
  for (const std::string& text : c.refuses) {
    EXPECT_FALSE(grammar.matches(text)) << c.grammar << "\n  refuses " << text;
  }
}

TEST(Gbnf, TakesItsTextsOnly) {
  const Case cases[] = {
      {"root ::= \"yes\" | \"no\"", {"yes", "no"}, {"", "y", "yesno", "maybe"}},
      {"root ::= [a-c]+ [^a-c\\n]?", {"a", "abcz", "a\xE2\x82\xAC"}, {"", "z", "a\n", "aéé"}},
      {"root ::= \"a\"{2,3} \"b\"{2} \"c\"{1,}", {"aabbc", "aaabbccc"}, {"abbc", "aabc", "aaaabbc", "aabb"}},
      {"root ::= item (\",\" item)*\nitem ::= [0-9]+ # digits\n", {"1", "1,22,3"}, {",", "1,", ""}},
      {"root ::= (\"x\" | (\"y\" \"z\"?)*) \".\"", {"x.", ".", "yzyy."}, {"z.", "xx."}},
      {"root ::= \"(\" root \")\" | \"\"", {"", "()", "((()))"}, {"(", "())"}},
      {"root ::=\n  \"a\"\n  | \"b\"\n  rest\nrest ::= \"c\"", {"a", "bc"}, {"b", "ac"}},
      {"root ::= \"\\x41\\u00e9\\U0001F600\\\"\\\\\\n\"", {"A\u00e9\U0001F600\"\\\n"}, {"A"}},
      {"root ::= .",
       {"a", "\n", "\u00e9", "\U0001F600"},
       {"", "ab", "\xC3", "\xED\xA0\x80", "\xF4\x90\x80\x80"}},
      {"root ::= [\\]\\-a^]", {"]", "-", "a", "^"}, {"\\", "b"}},
      {"root ::= [\xD0\xB0-\xD1\x8F]+", {"\xD0\xBF\xD1\x80"}, {"a", "\xD0"}},
  };
  for (const Case& c : cases) check(Grammar::gbnf(c.grammar), c);
}

TEST(Gbnf, RightRecursionIsAsFlatAsALoop) {
  const Grammar list = Grammar::gbnf("root ::= \"a\" root | \"b\"");
  EXPECT_TRUE(list.matches(std::string(5000, 'a') + "b"));
}

TEST(Gbnf, AmbiguityCostsNoMoreThanItsSize) {
  const Grammar twice = Grammar::gbnf("root ::= \"a\" root \"b\" | \"a\" root \"c\" | \"x\"");
  const std::string a(100, 'a');
  EXPECT_TRUE(twice.matches(a + "x" + std::string(100, 'b')));
  EXPECT_TRUE(twice.matches(a + "x" + std::string(100, 'c')));
  EXPECT_FALSE(twice.matches(a + "x" + std::string(99, 'c')));
  const Grammar sums = Grammar::gbnf("root ::= s\ns ::= \"a\" s s | \"a\"");
  EXPECT_TRUE(sums.matches("aaaaa"));
  EXPECT_TRUE(sums.matches(std::string(99, 'a')));
}

TEST(Gbnf, ErrorsNameThePlace) {
  const auto error = [](const std::string& text) { return refusal_of([&] { Grammar::gbnf(text); }); };
  EXPECT_EQ(error("root ::= \"a\nb ::= c"), "malformed: grammar, line 1, column 12: unterminated string");
  EXPECT_EQ(error("root ::= \"a\"\n\n  x := \"b\""),
            "malformed: grammar, line 3, column 5: expected a string, a character class, a rule or '('");
  EXPECT_EQ(error("a = \"b\""),
            "malformed: grammar, line 1, column 3: expected '::=' after the name of a rule");
  EXPECT_EQ(error("root ::= a\n"),
            "malformed: grammar, line 1, column 10: uses rule 'a', which is not defined");
  EXPECT_EQ(error("root ::= \"a\"\nroot ::= \"b\""),
            "malformed: grammar, line 2, column 1: defines rule 'root' again");
  EXPECT_EQ(error("start ::= \"a\""), "malformed: grammar: there is no rule 'root'");
  EXPECT_EQ(error(""), "malformed: grammar: there is no rule 'root'");
  EXPECT_EQ(error("root ::= (\"a\""), "malformed: grammar, line 1, column 14: expected ')'");
  EXPECT_EQ(error("root ::= [z-a]"),
            "malformed: grammar, line 1, column 14: a character range that ends before it begins");
  EXPECT_EQ(error("root ::= \"\\q\""), "malformed: grammar, line 1, column 12: an unknown escape");
  EXPECT_EQ(error("root ::= \"\\ud800\""),
            "malformed: grammar, line 1, column 17: an escape that is not a character");
  EXPECT_EQ(error("root ::= \"a\"{2,1}"),
            "malformed: grammar, line 1, column 18: a repetition whose maximum is below its minimum");
  EXPECT_EQ(error("root ::= \"\xFF\""), "malformed: grammar, line 1, column 11: not UTF-8");
  EXPECT_EQ(error("root ::= \"a\" )"),
            "malformed: grammar, line 1, column 14: expected a rule, '|' or the end");
  EXPECT_EQ(error("root ::= <think>"),
            "unsupported: grammar, line 1, column 10: tokens in a grammar are not supported");
}

TEST(Gbnf, LeftRecursionIsRefusedHoweverItHides) {
  const auto error = [](const std::string& text) { return refusal_of([&] { Grammar::gbnf(text); }); };
  const std::string refusal =
      "unsupported: grammar rule 'root' begins with itself (left recursion), which is not supported";
  EXPECT_EQ(error("root ::= root \"a\" | \"b\""), refusal);
  EXPECT_NE(error("root ::= a \"x\"\na ::= b\nb ::= root \"y\" | \"z\""), "no error");
  EXPECT_NE(error("root ::= e root \"a\" | \"b\"\ne ::= \"x\"?"), "no error");
  EXPECT_NE(error("root ::= (root)* \"a\""), "no error");
  EXPECT_EQ(error("root ::= a\na ::= \"x\" a"), "unsupported: no text can satisfy the grammar");
}

TEST(Gbnf, HostileGrammarsAreErrorsOrBounded) {
  const auto error = [](const std::string& text) {
    return refusal_of([&] { Grammar::gbnf(text).matches("aaaaaaaa"); });
  };
  EXPECT_NE(error("root ::= " + std::string(100000, '(')), "no error");
  EXPECT_NE(error("root ::= \"a\"" + std::string(100000, '*')), "no error");
  EXPECT_NE(error("root ::= \"a\"{99999999}"), "no error");
  EXPECT_NE(error("root ::= ((((\"ab\" \"cd\"){60000} \"e\"){60000} \"f\"){60000} [g-h]+){60000}"), "");
  EXPECT_NE(error("root ::= (((\"a\"?){60000})?){60000}"), "no error");
  EXPECT_NE(error("root ::= " + std::string(2 << 20, ' ')), "no error");
  std::string classes = "root ::=";
  for (int i = 0; i < 7; ++i) classes += " [bdfhjlnprtvxzBDFHJLNPRTVXZ02468!#%')+/]{60000}";
  EXPECT_EQ(error(classes), "unsupported: the grammar repeats large character classes too often");
  std::string chain = "root ::= r0\n";  // a thousand rules, each of which begins with a call of the next
  for (int i = 0; i < 1000; ++i)
    chain += "r" + std::to_string(i) + " ::= r" + std::to_string(i + 1) + " | \"x\"\n";
  EXPECT_EQ(error(chain + "r1000 ::= \"a\"+"), "no error");
  std::string nested = "root ::= r0\n";  // the calls must nest
  for (int i = 0; i < 1000; ++i)
    nested += "r" + std::to_string(i) + " ::= \"a\" r" + std::to_string(i + 1) + " \"b\"\n";
  EXPECT_EQ(error(nested + "r1000 ::= \"a\""),
            "unsupported: the grammar's rules must nest more than 512 deep");
  std::string squares = "root ::= (a | b)* \"!\"\n";  // each byte doubles the number of derivations
  squares += "a ::= [ab]* \"a\" [ab]{200}\nb ::= [ab]* \"b\" [ab]{200}\n";
  EXPECT_EQ(error(squares), "no error");
}

TEST(Gbnf, NestingEndsWhereItCannotBeClosedAnyMore) {
  const Grammar nest = Grammar::gbnf("root ::= \"(\" \"a\" root \")\" | \"x\"");
  std::string text;
  for (int i = 0; i < 400; ++i) text += "(a";
  EXPECT_TRUE(nest.matches(text + "x" + std::string(400, ')')));
  for (int i = 0; i < 400; ++i) text += "(a";
  EXPECT_FALSE(nest.matches(text + "x" + std::string(800, ')')));
}

TEST(JsonObject, TakesObjects) {
  check(Grammar::json_object(),
        {"json_object",
         {"{}", "{ }", R"({"a": 1})", R"({"a":[1,-2.5e+3,true,false,null,"x"],"b":{"c":"\u00e9\n"}})",
          "{\n  \"a\": 1,\n  \"b\": [\n    1,\n    2\n  ]\n}"},
         {"", "[]", "{", R"({"a"})", R"({"a":01})", R"({"a":1,})", "{  }", R"({"a":"\ud800"})",
          "{\"a\":\"\n\"}", "{\"a\":\"\xFF\"}", R"({"a":1} )"}});
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += "{\"a\":[";
  std::string closing;
  for (int i = 0; i < 100; ++i) closing += "]}";
  EXPECT_TRUE(Grammar::json_object().matches(deep + closing));
}

}  // namespace
}  // namespace gemma
