// Gemma 4: BPE over lines, turns with thoughts and tools; with a small vocabulary, and with goldens of the
// published one if they are in ../shared.
#include <algorithm>
#include <chrono>
#include <ctime>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "examples/chat_json.hpp"
#include "gguf/file.hpp"
#include "tests/paths.hpp"
#include "tests/tokenizer/jsonl.hpp"
#include "tests/tokenizer/small_vocabulary.hpp"
#include "tokenizer/chat_template.hpp"
#include "tokenizer/thoughts.hpp"
#include "tokenizer/tokenizer.hpp"

namespace gemma::test {
namespace {

using Ids = std::vector<TokenId>;

struct Small {
  explicit Small(SmallVocabulary v)
      : vocabulary(std::move(v)),
        bytes(vocabulary.bytes()),
        file(gguf::File::from_memory(bytes, "FILE")),
        tokenizer(make_tokenizer(Vocab::from(file))) {}
  TokenId id(std::string_view piece) const { return tokenizer->vocab().find(piece).value(); }
  Ids ids(const std::vector<std::string>& pieces) const {
    Ids out;
    for (const std::string& p : pieces) out.push_back(id(p));
    return out;
  }
  /// The ids without BOS.
  Ids plain(std::string_view text, bool special = false) const {
    return tokenizer->encode(text, {.parse_special = special, .add_bos = false});
  }
  SmallVocabulary vocabulary;
  std::vector<std::byte> bytes;
  gguf::File file;
  std::unique_ptr<const Tokenizer> tokenizer;
};

constexpr const char* kSpace = "\xe2\x96\x81";

TEST(LineBpe, MergesByRankOverWholeLines) {
  const Small s(small_gemma4());
  const std::string the = std::string(kSpace) + "the";
  EXPECT_EQ(s.plain("a the the"), s.ids({"a", the, the}));
  EXPECT_EQ(s.plain("the"), s.ids({"t", "he"}));  // no space is put before the text
  EXPECT_EQ(s.plain("ababab"), s.ids({"abab", "ab"}));
  EXPECT_EQ(s.plain("a\n\nb\n\n\n"), s.ids({"a", "\n\n", "b", "\n", "\n", "\n"}));
  EXPECT_EQ(s.plain("x\xc3\xa9\xff"), s.ids({"<0x78>", "\xc3\xa9", "<0xFF>"}));
  EXPECT_EQ(s.plain("</s>"), s.ids({"<", "/", "s", ">"}));  // no merges make </s>
  EXPECT_EQ(s.plain("<0x41>").size(), 6u);
  EXPECT_EQ(s.tokenizer->encode(""), Ids{2});
}

/// With a piece that has U+2581 after another character, texts are not split into words.
TEST(LineBpe, MergesMayCrossWordsWherePiecesDo) {
  SmallVocabulary v = small_gemma4();
  const std::string after = std::string(">") + kSpace;
  v.merges.insert(v.merges.begin(), std::string("> ") + kSpace);
  v.add(after, kNormal, -1000.0F);
  const Small s(v);
  const std::string the = std::string(kSpace) + "the";
  EXPECT_EQ(s.plain("> the> the the"), s.ids({after, "t", "he", after, "t", "he", the}));
  EXPECT_EQ(s.plain("a the"), s.ids({"a", the}));
  EXPECT_EQ(s.plain(">  the"), s.ids({after, the}));
}

TEST(LineBpe, RoundTripsAndMarkers) {
  const Small s(small_gemma4());
  for (const std::string text :
       {" the  ab\n\n\n\xe6\x97\xa5 <0x41> </s>\t", "<|channel>a<channel|>", "\xff\xfe", "a\xe2\x82"}) {
    EXPECT_EQ(s.tokenizer->decode(s.plain(text)), text);
  }
  EXPECT_EQ(s.plain("<|channel>a"), s.ids({"<|channel>", "a"}));
  // ends a generation, so it is a control token, whatever its type says
  EXPECT_EQ(s.tokenizer->vocab().type(s.id("<|tool_response>")), TokenType::kControl);
  for (const char* stop : {"<eos>", "<turn|>", "<|tool_response>"}) {
    EXPECT_TRUE(s.tokenizer->vocab().is_stop(s.id(stop))) << stop;
  }
  EXPECT_FALSE(s.tokenizer->vocab().is_stop(s.id("</s>")));
  EXPECT_EQ(s.plain("<|turn>", true), s.ids({"<|turn>"}));
  EXPECT_GT(s.plain("<|turn>").size(), 1u);
}

/// Merges combine texts: intermediate results need not be pieces.
TEST(LineBpe, StepsNeedNotBePieces) {
  SmallVocabulary v = small_gemma4();
  v.merges = {"x y", "xy z", "y z", "q q", std::string(kSpace) + " x"};
  v.add("xyz", kNormal, -1000.0F);
  const Small s(v);
  EXPECT_EQ(s.plain("xyz"), s.ids({"xyz"}));
  EXPECT_EQ(s.plain("xy"), s.ids({"<0x78>", "<0x79>"}));
  EXPECT_EQ(s.plain("ayza"), s.ids({"a", "<0x79>", "<0x7A>", "a"}));
  EXPECT_EQ(s.plain("qqq"), s.ids({"<0x71>", "<0x71>", "<0x71>"}));
  EXPECT_EQ(s.plain(" x"), s.ids({"<0xE2>", "<0x96>", "<0x81>", "<0x78>"}));
  for (const char* text : {"xyz yz qq", "\xff yz"}) {
    EXPECT_EQ(utf8::replace_invalid(s.tokenizer->decode(s.plain(text))), utf8::replace_invalid(text));
  }
}

TEST(LineBpe, BosIsAddedWhateverTheFileSays) {
  for (const int said : {-1, 0, 1}) {
    SmallVocabulary v = small_gemma4();
    v.more = [before = v.more, said](gguf::Writer& w) {
      before(w);
      if (said >= 0) w.add("tokenizer.ggml.add_bos_token", said == 1);
    };
    EXPECT_TRUE(Small(v).tokenizer->vocab().add_bos()) << said;
  }
}

/// Files of other converters, such as Ollama's: another model key, markers of other types.
TEST(LineBpe, FilesOfOtherConverters) {
  const Small right(small_gemma4());
  SmallVocabulary v = small_gemma4();
  v.model = "llama";
  for (auto& type : v.types) type = type == kUserDefined ? kNormal : type;
  v.types[1] = kNormal;
  v.types[4] = kUserDefined;
  const Small made(v);
  EXPECT_EQ(made.tokenizer->vocab().kind(), TokenizerKind::kLineBpe);
  for (const char* text : {"<|channel>a the<channel|>", "<|turn>", "<eos>"}) {
    for (const bool special : {false, true}) {
      EXPECT_EQ(made.plain(text, special), right.plain(text, special));
    }
  }
  SmallVocabulary untyped = small_gemma4();
  untyped.types.clear();
  untyped.scores.clear();
  EXPECT_EQ(Small(untyped).plain("<|channel>a the\xff"), right.plain("<|channel>a the\xff"));
}

TEST(LineBpe, HostileVocabularies) {
  const auto refused = [](SmallVocabulary v, std::string_view key, std::string_view reason) {
    const auto bytes = v.bytes();
    const auto file = gguf::File::from_memory(bytes, "FILE");
    try {
      make_tokenizer(Vocab::from(file))->encode("the ab");
      ADD_FAILURE() << "taken: " << reason;
    } catch (const Error& e) {
      const std::string_view what = e.what();
      EXPECT_TRUE(what.starts_with("FILE: key '" + std::string(key) + "'")) << what;
      EXPECT_NE(what.find(reason), what.npos) << what;
    }
  };
  for (const char* merge : {"he", "he ", " he", "", " ", "  "}) {
    SmallVocabulary v = small_gemma4();
    v.merges[2] = merge;
    refused(v, "tokenizer.ggml.merges", "not of two parts, at 2");
  }
  SmallVocabulary bytes = small_gemma4();
  const auto first = std::find(bytes.tokens.begin(), bytes.tokens.end(), "<0x00>") - bytes.tokens.begin();
  bytes.types[static_cast<std::size_t>(first) + 1] = kNormal;
  const Small unknown(bytes);  // if bytes are missing, <unk> is used
  EXPECT_EQ(unknown.plain("\xff"), Ids{3});
  bytes.more = [](gguf::Writer&) {};
  bytes.types[3] = kNormal;
  bytes.tokens[3] = "x";
  refused(bytes, "tokenizer.ggml.unknown_token_id", "is missing");
  SmallVocabulary twice = small_gemma4();
  twice.tokens[static_cast<std::size_t>(first) + 1] = "<0x00>";
  refused(twice, "tokenizer.ggml.tokens", "the repeated byte token");
  SmallVocabulary control = small_gemma4();  // merges do not make control tokens
  control.types.back() = kControl;
  EXPECT_EQ(Small(control).plain("abab").size(), 2u);
  SmallVocabulary none = small_gemma4();
  none.merges.clear();
  EXPECT_EQ(Small(none).plain("the").size(), 3u);
}

TEST(LineBpe, LongLinesTakeTimeInProportion) {
  const Small s(small_gemma4());
  for (const std::string_view unit : {"ab", "the ", " ", "\n", "a", "\xff", "\xe6\x97\xa5"}) {
    const auto seconds = [&](std::size_t size) {
      std::string text;
      while (text.size() < size) text += unit;
      double best = 1e9;
      for (int i = 0; i < 2; ++i) {
        const std::clock_t begin = std::clock();
        EXPECT_EQ(s.tokenizer->decode(s.plain(text)), text);
        best = std::min(best, static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC);
      }
      return best;
    };
    const double quarter = seconds(1 << 15);
    EXPECT_LT(seconds(1 << 17), 9 * quarter + 0.02) << unit;
  }
}

// ---- turns

std::string rendered(const ChatTemplate& chat, const std::string& json, bool thinking = false) {
  const auto in = nlohmann::json::parse(json);
  const auto tools = app::tools_of(in.value("tools", nlohmann::json::array()));
  ChatOptions options;
  options.thinking = thinking;
  options.tools = tools;
  return chat.render(app::messages_of(in.at("messages")), options).text;
}

TEST(Gemma4Turns, ThoughtsAndEndings) {
  const Small s(small_gemma4());
  const auto chat = [&](std::string_view name) { return ChatTemplate::from(s.tokenizer->vocab(), name); };
  const std::string hi = R"({"messages": [{"role": "user", "content": " Hi "}]})";
  const std::string asked = "<bos><|turn>user\nHi<turn|>\n<|turn>model\n";
  EXPECT_EQ(rendered(chat("gemma4"), hi), asked + "<|channel>thought\n<channel|>");
  EXPECT_EQ(rendered(chat("gemma4-e"), hi), asked);
  EXPECT_EQ(rendered(chat("gemma4"), hi, true), "<bos><|turn>system\n<|think|>\n<turn|>\n" + asked.substr(5));
  EXPECT_EQ(rendered(chat("gemma4-e-2026-04"), hi, true),
            "<bos><|turn>system\n<|think|><turn|>\n" + asked.substr(5));
  EXPECT_EQ(rendered(chat("gemma4-e"), R"({"messages": [{"role": "developer", "content": "S"},
      {"role": "user", "content": "U"},
      {"role": "assistant", "content": "<|channel>thought\nhm<channel|> A<channel|> B <|channel>x"},
      {"role": "assistant", "content": "C"}, {"role": "system", "content": ""}, {"role": "user", "content": "V"}]})"),
            "<bos><|turn>system\nS<turn|>\n<|turn>user\nU<turn|>\n<|turn>model\nA B<turn|>\nC<turn|>\n"
            "<|turn>system\n<turn|>\n<|turn>user\nV<turn|>\n<|turn>model\n");
  EXPECT_TRUE(chat("").recognised());  // no template: recognised by the vocabulary
  EXPECT_EQ(chat("").dialect().name, "gemma4");
}

TEST(Gemma4Turns, SmallModelsHaveNoEmptyThought) {
  SmallVocabulary v = small_gemma4();
  v.more = [before = v.more](gguf::Writer& w) {
    before(w);
    w.add("gemma4.embedding_length_per_layer_input", std::uint32_t{256});
  };
  const Small s(v);
  EXPECT_EQ(ChatTemplate::from(s.tokenizer->vocab()).dialect().name, "gemma4-e");
  EXPECT_EQ(ChatTemplate::from(s.tokenizer->vocab(), "gemma4").dialect().name, "gemma4-e");
}

TEST(Gemma4Turns, ToolsAreCalledAndAnswer) {
  const Small s(small_gemma4());
  const ChatTemplate chat = ChatTemplate::from(s.tokenizer->vocab(), "gemma4");
  const std::string call =
      R"({"id": "1", "function": {"name": "f", "arguments": {"B": [1, 2.0, null, true], "a": "x"}}})";
  EXPECT_EQ(
      rendered(chat,
               R"({"messages": [{"role": "user", "content": "U"}, {"role": "assistant", "reasoning": "R",
      "tool_calls": [)" +
                   call + R"(]}, {"role": "tool", "tool_call_id": "1", "content": {"k": {"n": 1e30}}}]})"),
      "<bos><|turn>user\nU<turn|>\n<|turn>model\n<|channel>thought\nR\n<channel|><|tool_call>call:f{a:<|\"|>"
      "x<|\"|>,"
      "B:[1,2.0,None,true]}<tool_call|><|tool_response>response:f{k:{n:1e+30}}<tool_response|>");
  EXPECT_EQ(
      rendered(chat, R"({"messages": [{"role": "user", "content": "U"}], "tools": [{"function": {"name": "g",
      "description": "D", "parameters": {"type": "object", "properties": {"p": {"type": "object", "nullable": true,
      "properties": {"q": {"type": "array", "items": {"type": ["string", "null"], "k": {"z": 1}}}}, "required": ["q"]}}}}}]})"),
      "<bos><|turn>system\n<|tool>declaration:g{description:<|\"|>D<|\"|>,parameters:{properties:{p:{"
      "nullable:true,"
      "properties:{q:{items:{k:{<|\"|>z<|\"|>:1},type:[<|\"|>STRING<|\"|>,<|\"|>NULL<|\"|>]},type:<|\"|>"
      "ARRAY<|\"|>}},"
      "required:[<|\"|>q<|\"|>],type:<|\"|>OBJECT<|\"|>}},type:<|\"|>OBJECT<|\"|>}}<tool|><turn|>\n<|turn>"
      "user\n"
      "U<turn|>\n<|turn>model\n<|channel>thought\n<channel|>");
  EXPECT_THROW(rendered(chat, R"({"messages": [{"role": "user", "content": "U"}, {"role": "assistant",
      "tool_calls": [)" + call + R"(]}, {"role": "tool", "tool_call_id": "2", "content": ""}]})"),
               Error);
  EXPECT_THROW(rendered(ChatTemplate::from(s.tokenizer->vocab(), "chatml"),
                        R"({"messages": [{"role": "user", "content": "U"}], "tools": [{"function": {}}]})"),
               Error);
}

TEST(Gemma4Turns, WhatIsSaidStaysText) {
  const Small s(small_gemma4());
  const ChatTemplate chat = ChatTemplate::from(s.tokenizer->vocab(), "gemma4-e");
  Message asked{"assistant", "<eos>"};
  asked.tool_calls.push_back({"", "<|turn>", Value::object()});
  asked.tool_calls[0].arguments.add("<bos>", Value::text("<turn|>"));
  Message answer{"tool", "<turn|>"};
  const std::vector<Message> messages = {{"system", "<|think|>"}, {"user", "<turn|><|turn>"}, asked, answer};
  const Ids ids = chat.encode(*s.tokenizer, messages);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), s.id("<|turn>")), 3);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), s.id("<turn|>")), 3);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), s.id("<|think|>")), 0);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 1), 0);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 2), 1);
}

TEST(Gemma4Turns, AnAnswersIdsStayAsTheyWere) {
  const Small s(small_gemma4());
  const ChatTemplate chat = ChatTemplate::from(s.tokenizer->vocab(), "gemma4-e");
  std::vector<Message> messages = {{"user", "a"}};
  Ids expected = chat.encode(*s.tokenizer, messages);
  const Ids said = s.ids({"t", "h", "e"});
  expected.insert(expected.end(), said.begin(), said.end());
  messages.push_back({"assistant", "the", said});
  messages.push_back({"user", "b"});
  const Ids ids = chat.encode(*s.tokenizer, messages);
  ASSERT_GT(ids.size(), expected.size());
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), ids.begin()));
  EXPECT_EQ(ids[expected.size()], s.id("<turn|>"));
}

/// However the text is divided into pieces, answer and thought are the same.
TEST(Thoughts, AreToldFromTheAnswer) {
  struct Case {
    std::string text, answer, thought;
  };
  for (const Case& c :
       {Case{"<|channel>thought\nhm<channel|>A", "A", "hm"}, Case{"A <|channel>x", "A ", "x"},
        Case{"A<channel|>B<|chan", "AB<|chan", ""}, Case{"<|channel>thou", "", "thou"},
        Case{"<|channel>thought<channel|>", "", "thought"}, Case{"", "", ""},
        Case{"a<|channel>thought\nb<|channel>c<channel|>d<|channel>e<channel|>f", "adf", "b<|channel>ce"}}) {
    for (std::size_t piece = 1; piece <= c.text.size() + 1; ++piece) {
      ThoughtSplitter splitter(dialects::kGemma4.turns.agent);
      std::string answer, thought;
      for (std::size_t at = 0; at < c.text.size(); at += piece) {
        const Thoughts part = splitter.push(std::string_view(c.text).substr(at, piece));
        answer += part.answer;
        thought += part.thought;
      }
      const Thoughts rest = splitter.flush();
      EXPECT_EQ(answer + rest.answer, c.answer) << c.text << " by " << piece;
      EXPECT_EQ(thought + rest.thought, c.thought) << c.text << " by " << piece;
      EXPECT_EQ(c.answer, detail::without_thoughts(c.text, "<|channel>", "<channel|>"));
    }
  }
  ThoughtSplitter none(dialects::kChatMl.turns.agent);
  EXPECT_EQ(none.push("<|channel>x<channel|>").answer, "<|channel>x<channel|>");
}

TEST(Gemma4Goldens, RendersThePublishedTemplatesToTheCharacter) {
  GEMMA_NEEDS_SHARED("tokenizers/gemma4.chat_templates.json");
  const auto folder = shared_dir() / "tokenizers";
  const auto templates = nlohmann::json::parse(std::ifstream(folder / "gemma4.chat_templates.json"));
  std::size_t compared = 0;
  for (const auto& [key, entry] : templates.items()) {
    SmallVocabulary v = small_gemma4();
    v.chat_template = entry.at("template");
    const Small s(v);
    const ChatTemplate chat = ChatTemplate::from(s.tokenizer->vocab());
    EXPECT_TRUE(chat.recognised()) << key;
    for (const char* file : {"gemma4.chat.jsonl", "gemma4.tools.jsonl"}) {
      for (const auto& row : read_jsonl(folder / file)) {
        if (row.at("model") != key) continue;
        const auto tools = app::tools_of(row.value("tools", nlohmann::json::array()));
        const auto messages = app::messages_of(row.at("messages"));
        ChatOptions options;
        options.add_generation_prompt = row.at("add_generation_prompt");
        options.thinking = row.value("enable_thinking", false);
        options.tools = tools;
        EXPECT_EQ(chat.render(messages, options).text, row.at("text").get<std::string>()) << row.dump();
        const Ids ids = chat.encode(*s.tokenizer, messages, options);
        EXPECT_EQ(std::count(ids.begin(), ids.end(), 2), 1) << row.dump();
        ++compared;
      }
    }
  }
  EXPECT_EQ(compared, 229u);
}

TEST(Gemma4Goldens, TheVocabularyFileIsFastToOpenAndToUse) {
  GEMMA_NEEDS_SHARED("tokenizers/gemma4.vocab.gguf");
  const auto now = [] { return std::chrono::steady_clock::now(); };
  const auto seconds = [](auto a, auto b) { return std::chrono::duration<double>(b - a).count(); };
  const auto begin = now();
  const auto file = gguf::File::open((shared_dir() / "tokenizers" / "gemma4.vocab.gguf").string());
  const auto tokenizer = make_tokenizer(Vocab::from(file));
  const auto opened = now();
  tokenizer->warm_up();
  const auto ready = now();
  std::string line;
  while (line.size() < (1u << 20))
    line += "The quick brown fox, " + std::to_string(line.size()) + " jumps over it. ";
  const auto ids = tokenizer->encode(line);
  const auto done = now();
  RecordProperty("open_ms", std::to_string(seconds(begin, opened) * 1e3));
  RecordProperty("tables_ms", std::to_string(seconds(opened, ready) * 1e3));
  RecordProperty("megabyte_ms", std::to_string(seconds(ready, done) * 1e3));
  EXPECT_EQ(tokenizer->decode(ids), line);
  EXPECT_EQ(ChatTemplate::from(tokenizer->vocab()).dialect().name, "gemma4");
  EXPECT_EQ(std::vector<TokenId>(tokenizer->vocab().stop_ids().begin(), tokenizer->vocab().stop_ids().end()),
            (Ids{1, 50, 106}));
}

}  // namespace
}  // namespace gemma::test
