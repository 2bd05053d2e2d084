// JSON schemas: the texts that they accept, and the schemas that are refused.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "gemma/grammar.hpp"
#include "tests/refusal.hpp"

namespace gemma {
namespace {

struct SchemaCase {
  std::string schema;
  std::vector<std::string> takes;
  std::vector<std::string> refuses;
};

void check(const SchemaCase& c) {
  const Grammar grammar = Grammar::json_schema(c.schema);
  for (const std::string& text : c.takes)
    EXPECT_TRUE(grammar.matches(text)) << c.schema << "\n  takes " << text;
  for (const std::string& text : c.refuses) {
    EXPECT_FALSE(grammar.matches(text)) << c.schema << "\n  refuses " << text;
  }
}

std::string schema_error(const std::string& schema) {
  return gemma::test::refusal_of([&] { Grammar::json_schema(schema); });
}

TEST(Schema, Types) {
  check({"{}", {"1", "null", "[]", R"({"a":"b"})"}, {"", "nul"}});
  check({"true", {"1"}, {""}});
  check({R"({"type":"integer"})", {"0", "-17", "123456"}, {"1.0", "01", "1e3", "\"1\"", "+1"}});
  check({R"({"type":"number"})", {"0", "-17.25", "1e9"}, {".5", "1.", "NaN"}});
  check({R"({"type":["string","null"]})", {"\"a\"", "null"}, {"1", "true"}});
  check({R"({"type":"boolean"})", {"true", "false"}, {"True", "null"}});
}

TEST(Schema, Numbers) {
  check({R"({"type":"integer","minimum":5,"maximum":120})",
         {"5", "9", "10", "99", "120"},
         {"4", "121", "-5", "1000", "05"}});
  check({R"({"type":"integer","minimum":-12,"exclusiveMaximum":3})",
         {"-12", "-9", "0", "2"},
         {"-13", "3", "10"}});
  check({R"({"type":"integer","maximum":-10})", {"-10", "-99", "-100"}, {"-9", "0", "10"}});
  check({R"({"type":"integer","minimum":0.5,"maximum":2.5})", {"1", "2"}, {"0", "3"}});
  check({R"({"type":"number","minimum":0,"maximum":1})",
         {"0", "1", "0.5", "1.000", "0.999"},
         {"1.001", "-0.1", "2", "1.0000000000001"}});
  check({R"({"type":"number","exclusiveMinimum":0,"exclusiveMaximum":1.5})",
         {"0.1", "1.49", "1", "1.4999"},
         {"0", "0.0", "1.5", "1.50", "2"}});
  check({R"({"type":"number","minimum":-1.25,"maximum":-0.5})",
         {"-1.25", "-0.5", "-1", "-0.75"},
         {"-1.26", "-0.49", "0", "1"}});
  check({R"({"type":"number","minimum":1e2})", {"100", "100.5", "20000"}, {"99", "99.9"}});
}

TEST(Schema, Texts) {
  check({R"({"type":"string","minLength":2,"maxLength":3})",
         {"\"ab\"", "\"\u00e9\U0001F600x\"", R"("\n\u0041")"},
         {"\"a\"", "\"abcd\"", "ab"}});
  check({R"({"type":"string","pattern":"^[A-Z]{2}-\\d+$"})",
         {"\"AB-1\"", "\"ZZ-123\""},
         {"\"AB-\"", "\"xAB-1\"", "\"AB-1x\""}});
  check({R"({"type":"string","pattern":"b|^c"})", {"\"abc\"", "\"c\"", "\"b\\n\""}, {"\"ac\"", "\"\""}});
  check({R"j({"type":"string","pattern":"^(a|b\\.)*[^x]$"})j",
         {"\"ab.z\"", "\"q\"", R"("\"")"},
         {"\"x\"", "\"bz\"", "\"\\\""}});
  check({R"({"type":"string","pattern":"^[a-z]+$","minLength":2,"maxLength":4})",
         {"\"ab\"", "\"abcd\""},
         {"\"a\"", "\"abcde\""}});
  check({R"({"type":"string","format":"date"})",
         {"\"2024-02-29\"", "\"1999-12-31\""},
         {"\"2023-02-29\"", "\"2024-13-01\"", "\"2024-04-31\""}});
  check({R"({"type":"string","format":"date-time"})",
         {"\"2024-02-29T23:59:59Z\"", "\"2024-01-01T00:00:00.25+01:00\""},
         {"\"2024-02-29\"", "\"2024-02-29T24:00:00Z\""}});
  check({R"({"type":"string","format":"uuid"})", {"\"00000000-1111-2222-3333-444444444444\""}, {"\"0000\""}});
  check({R"({"type":"string","format":"email"})", {"\"a.b@example.org\""}, {"\"a@b\"", "\"@x.org\""}});
  check({R"({"enum":["a","b\"",1,null,{"x":[1,2]}]})",
         {"\"a\"", R"("b\"")", "1", "null", R"({"x":[1,2]})"},
         {"\"c\"", "2", "\"b\"\""}});
  check({R"({"type":"string","enum":["a",1]})", {"\"a\""}, {"1"}});
  check({R"({"const":"x"})", {"\"x\""}, {"\"y\""}});
}

TEST(Schema, Arrays) {
  check({R"({"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":3})",
         {"[1]", "[1,2,3]", "[1, 2]"},
         {"[]", "[1,2,3,4]", "[\"a\"]", "[1,]"}});
  check({R"({"type":"array","items":{"type":"integer"}})", {"[]", "[1,2,3,4,5]", "[ ]"}, {"[a]"}});
  check({R"({"prefixItems":[{"type":"integer"},{"type":"string"}],"items":false})",
         {R"([1,"a"])"},
         {"[1]", R"([1,"a",2])", R"(["a",1])"}});
  check({R"({"prefixItems":[{"type":"integer"}],"items":{"type":"null"},"maxItems":3})",
         {"[1]", "[1,null,null]"},
         {"[1,null,null,null]", "[null]"}});
  check({R"({"type":"array","maxItems":0})", {"[]"}, {"[1]"}});
  check({R"({"items":[{"type":"integer"}],"additionalItems":false})", {"[1]"}, {"[1,2]"}});
}

TEST(Schema, Objects) {
  check(
      {R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"},"c":{"type":"null"}},"required":["b"]})",
       {R"({"b":"x"})", R"({"a":1,"b":"x","c":null})", R"({ "b": "x", "c": null })"},
       {"{}", R"({"a":1})", R"({"b":"x","a":1})", R"({"b":"x","d":1})", R"({"b":"x",})", R"({,"b":"x"})"}});
  check({R"({"type":"object","properties":{"a":{},"b":{}},"additionalProperties":false})",
         {"{}", R"({"a":1})", R"({"b":[]})", R"({"a":1,"b":2})"},
         {R"({"c":1})"}});
  check(
      {R"({"type":"object","properties":{"ab":{"type":"integer"}},"additionalProperties":{"type":"string"}})",
       {"{}", R"({"ab":1})", R"({"a":"x"})", R"({"ab":1,"abc":"x","b":"y"})", R"({"":"x"})"},
       {R"({"ab":"x"})", R"({"a":1})", R"({"a\u0062":"x"})"}});
  check({R"({"type":"object","additionalProperties":{"type":"integer"}})",
         {"{}", R"({"x":1,"y":2})"},
         {R"({"x":"a"})"}});
  check({R"({"required":["a"],"additionalProperties":{"type":"integer"}})",
         {R"({"a":1})", R"({"a":1,"b":2})"},
         {"{}", R"({"b":2})"}});
  check({R"({"properties":{"a":false,"b":{"type":"null"}}})", {"{}", R"({"b":null})"}, {R"({"a":1})"}});
}

TEST(Schema, ReferencesAndCombinations) {
  check(
      {R"({"$defs":{"n":{"type":"object","properties":{"v":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/$defs/n"},{"type":"null"}]}},"required":["v","next"]}},"$ref":"#/$defs/n"})",
       {R"({"v":1,"next":null})", R"({"v":1,"next":{"v":2,"next":null}})"},
       {R"({"v":1})", R"({"v":1,"next":{}})"}});
  check({R"({"type":"array","items":{"$ref":"#"}})", {"[]", "[[],[[]]]"}, {"[1]"}});
  check(
      {R"({"allOf":[{"properties":{"a":{"type":"integer"}},"required":["a"]},{"properties":{"b":{"type":"string"},"a":{"maximum":5}},"required":["b"]}]})",
       {R"({"a":5,"b":"x"})"},
       {R"({"a":6,"b":"x"})", R"({"a":1})"}});
  check(
      {R"({"properties":{"k":{"type":"string"}},"required":["k"],"anyOf":[{"properties":{"x":{"type":"integer"}},"required":["x"]},{"properties":{"y":{"type":"null"}},"required":["y"]}]})",
       {R"({"k":"a","x":1})", R"({"k":"a","y":null})"},
       {R"({"k":"a"})"}});
  check(
      {R"({"oneOf":[{"properties":{"t":{"const":"a"},"x":{"type":"integer"}},"required":["t","x"]},{"properties":{"t":{"const":"b"}},"required":["t"]}]})",
       {R"({"t":"a","x":1})", R"({"t":"b"})"},
       {R"({"t":"a"})", R"({"t":"c"})"}});
  check({R"({"oneOf":[{"type":"integer"},{"type":"string"}]})", {"1", "\"a\""}, {"null"}});
  check({R"({"definitions":{"a/b~c":{"type":"null"}},"$ref":"#/definitions/a~1b~0c"})", {"null"}, {"1"}});
}

TEST(Schema, WhatIsNotKeptIsRefusedByName) {
  EXPECT_EQ(schema_error(R"({"type":"array","uniqueItems":true})"),
            "unsupported: schema: keyword 'uniqueItems' is not supported");
  EXPECT_EQ(schema_error(R"({"type":"object","patternProperties":{"^x":{}}})"),
            "unsupported: schema: keyword 'patternProperties' is not supported");
  EXPECT_EQ(schema_error(R"({"not":{"type":"null"}})"),
            "unsupported: schema: keyword 'not' is not supported");
  EXPECT_EQ(schema_error(R"({"if":{}})"), "unsupported: schema: keyword 'if' is not supported");
  EXPECT_EQ(schema_error(R"({"type":"string","format":"regex"})"),
            "unsupported: schema: format 'regex' is not supported");
  EXPECT_EQ(schema_error(R"({"type":"integer","multipleOf":3})"),
            "unsupported: schema: 'multipleOf' other than 1");
  EXPECT_EQ(schema_error(R"j({"type":"string","pattern":"(?=a)"})j"),
            "unsupported: schema: pattern '(?=a)' holds a look-ahead or look-behind, which is not supported");
  EXPECT_EQ(schema_error(R"({"type":"string","pattern":"[z-a]"})"),
            "malformed: schema: pattern '[z-a]' has a character range that ends before it begins");
  EXPECT_EQ(schema_error(R"({"type":"string","pattern":"[a-\\d]"})"),
            "malformed: schema: pattern '[a-\\d]' has a character range that ends in a class");
  EXPECT_EQ(schema_error(R"({"type":"string","pattern":"^a*b$","maxLength":3})"),
            "unsupported: schema: pattern '^a*b$' together with 'minLength' or 'maxLength', which its texts "
            "may not keep");
  EXPECT_EQ(schema_error(R"({"oneOf":[{"type":"integer"},{"type":"number"}]})"),
            "unsupported: schema: branches 1 and 2 of 'oneOf' may both hold for a value; use 'anyOf'");
  EXPECT_EQ(schema_error(R"({"enum":["a","bb"],"minLength":2})"),
            "unsupported: schema: 'enum' or 'const' together with 'minLength'");
  EXPECT_EQ(schema_error(R"({"$ref":"https://example.org/x"})"),
            "unsupported: schema: reference 'https://example.org/x' points outside the schema");
  EXPECT_EQ(schema_error(R"({"$ref":"#/$defs/x"})"),
            "malformed: schema: reference '#/$defs/x' does not resolve");
  EXPECT_EQ(schema_error(R"({"$ref":"#"})"),
            "unsupported: schema: a schema that refers to itself without a value in between");
  EXPECT_EQ(schema_error(R"({"type":"text"})"),
            "malformed: schema: keyword 'type' names an unknown type: 'text'");
  EXPECT_EQ(schema_error("false"), "unsupported: no text can satisfy the grammar");
  EXPECT_EQ(schema_error(R"({"type":"integer","minimum":5,"maximum":4})"),
            "unsupported: no text can satisfy the grammar");
  EXPECT_EQ(schema_error(R"({"type":"object","minProperties":1})"),
            "unsupported: schema: keyword 'minProperties' is above the number of required members");
  EXPECT_EQ(schema_error("{"), "malformed: schema, byte 1: not JSON: expected the name of a member");
  EXPECT_EQ(schema_error("3"),
            "malformed: schema: what should be a schema is neither an object nor true or false");
  EXPECT_EQ(schema_error(R"({"title":"t","description":"d","default":1,"x-mine":2,"$comment":"c"})"),
            "no error");
}

TEST(Schema, HostileSchemasAreErrorsOrBounded) {
  std::string doubling = R"({"$defs":{"d40":{"type":"null"})";
  for (int i = 39; i >= 0; --i) {
    const std::string next = "{\"$ref\":\"#/$defs/d" + std::to_string(i + 1) + "\"}";
    doubling += ",\"d" + std::to_string(i) + "\":{\"anyOf\":[" + next + "," + next + "]}";
  }
  EXPECT_EQ(schema_error(doubling + R"(},"$ref":"#/$defs/d0"})"), "no error");
  std::string many = R"({"allOf":[)";  // 2^20 combinations
  for (int i = 0; i < 20; ++i) {
    const std::string n = std::to_string(i);
    many += std::string(i != 0 ? "," : "") + "{\"anyOf\":[{\"required\":[\"a" + n +
            "\"]},{\"required\":[\"b" + n + "\"]}]}";
  }
  EXPECT_EQ(schema_error(many + "]}"), "unsupported: schema: 'anyOf' and 'oneOf' make too many combinations");
  EXPECT_NE(schema_error(std::string(100000, '[')), "no error");
  EXPECT_NE(schema_error(R"({"type":"string","minLength":1e18})"), "no error");
  EXPECT_EQ(schema_error(R"({"type":"string","maxLength":1e300})"), "no error");
  EXPECT_NE(schema_error(R"({"type":"string","pattern":")" + std::string(100000, '(') + "\"}"), "no error");
  std::string name(100000, 'x');
  EXPECT_EQ(schema_error("{\"properties\":{\"" + name + R"(":{}},"additionalProperties":true})"), "no error");
}

}  // namespace
}  // namespace gemma
