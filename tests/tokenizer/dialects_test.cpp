// Dialects: how they are recognised from a template or a vocabulary, their turns, and that their markers act
// as control tokens whatever type a file gives them.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "gguf/file.hpp"
#include "tests/refusal.hpp"
#include "tests/tokenizer/small_vocabulary.hpp"
#include "tokenizer/chat_template.hpp"
#include "tokenizer/sampling_defaults.hpp"
#include "tokenizer/tokenizer.hpp"

namespace gemma::test {
namespace {

/// A vocabulary and the objects that are created from it.
struct Opened {
  explicit Opened(SmallVocabulary v)
      : bytes(v.bytes()),
        file(gguf::File::from_memory(bytes, "FILE")),
        tokenizer(make_tokenizer(Vocab::from(file))) {}
  const Vocab& vocab() const { return tokenizer->vocab(); }
  ChatTemplate chat(std::string_view name = {}) const { return ChatTemplate::from(vocab(), name); }

  std::vector<std::byte> bytes;
  gguf::File file;
  std::unique_ptr<const Tokenizer> tokenizer;
};

const std::vector<Message> kSystemUserAnswerUser = {
    {"system", " S "}, {"user", " U "}, {"assistant", " A "}, {"user", "V"}};
const std::vector<Message> kUser = {{"user", "U"}};

std::string_view published_chatml() {
  return "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + "
         "'<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' "
         "}}{% endif %}";
}

TEST(Dialects, NamesAreUniqueAndFactsAreWhole) {
  std::set<std::string_view> names;
  std::set<std::uint64_t> templates;
  for (const Dialect* d : dialects::kAll) {
    EXPECT_TRUE(names.insert(d->name).second) << d->name;
    ASSERT_NE(d->markers, nullptr) << d->name;
    EXPECT_EQ(dialects::find(d->name), d);
    for (const std::uint64_t form : d->templates) EXPECT_TRUE(templates.insert(form).second) << d->name;
    for (const std::string_view stop : d->markers->stops) {
      EXPECT_TRUE(detail::is_marker(*d->markers, stop)) << d->name << " " << stop;
    }
  }
  for (const char* name :
       {"gemma", "llama2", "llama3", "llama31", "mistral", "mistral-v3", "chatml", "zephyr"}) {
    EXPECT_NE(dialects::find(name), nullptr) << name;
  }
  EXPECT_EQ(dialects::find(""), nullptr);
}

TEST(Dialects, TurnsByName) {
  const Opened plain(small_mistral());
  const Opened llama3(small_llama3());
  const std::string head =
      "<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December "
      "2023\nToday Date: 26 Jul 2024\n\n";
  const std::string user = "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n";
  const std::string model = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n";
  EXPECT_EQ(llama3.chat("llama31").render(kSystemUserAnswerUser).text,
            "<|begin_of_text|>" + head + "S" + user + "U" + model + "A" + user + "V" + model);
  EXPECT_EQ(llama3.chat("llama31").render(kUser).text, "<|begin_of_text|>" + head + user + "U" + model);
  EXPECT_EQ(plain.chat("llama2").render(kSystemUserAnswerUser).text,
            "<s>[INST] <<SYS>>\n S \n<</SYS>>\n\n U [/INST] A </s><s>[INST] V [/INST]");
  EXPECT_EQ(plain.chat("llama2").render(kUser).text, "<s>[INST] U [/INST]");
  // the system text and the message are trimmed together
  EXPECT_EQ(plain.chat("llama2").render(std::vector<Message>{{"system", "S"}, {"user", " \n"}}).text,
            "<s>[INST] <<SYS>>\nS\n<</SYS>> [/INST]");
  EXPECT_EQ(plain.chat("chatml").render(kSystemUserAnswerUser).text,
            "<|im_start|>system\n S <|im_end|>\n<|im_start|>user\n U <|im_end|>\n<|im_start|>assistant\n A "
            "<|im_end|>\n<|im_start|>user\nV<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(
      plain.chat("smollm2").render(kUser).text,
      "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
      "<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(
      plain.chat("zephyr").render(kSystemUserAnswerUser).text,
      "<|system|>\n S </s>\n<|user|>\n U </s>\n<|assistant|>\n A </s>\n<|user|>\nV</s>\n<|assistant|>\n");
  EXPECT_EQ(plain.chat("mistral-v3").render(kUser).text, "<s>[INST] U[/INST]");
  EXPECT_EQ(plain.chat("mistral").render(kUser).text, "<s>[INST] U [/INST]");
  for (const char* name : {"llama2", "chatml", "zephyr"}) {
    EXPECT_TRUE(plain.chat(name).recognised());
    EXPECT_EQ(plain.chat(name).dialect().name, name);
    const auto ids = plain.chat(name).encode(*plain.tokenizer, kUser);
    EXPECT_EQ(std::count(ids.begin(), ids.end(), plain.vocab().bos()), 1) << name;
  }
  expect_error(ErrorCode::kInvalidArgument, {"'vicuna'; known are gemma"}, [&] { plain.chat("vicuna"); });
}

TEST(Dialects, ATemplateIsNeverReplacedInSilence) {
  SmallVocabulary v = small_mistral();
  v.chat_template = published_chatml();
  EXPECT_TRUE(Opened(v).chat().recognised());
  EXPECT_EQ(Opened(v).chat().dialect().name, "chatml");
  v.chat_template.insert(0, "{{ bos_token }}");  // recognised by its markers, with BOS as in the template
  EXPECT_FALSE(Opened(v).chat().recognised());
  EXPECT_EQ(Opened(v).chat().render(kUser).text, "<s><|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_NE(Opened(v).chat().note().find("'chatml'"), std::string::npos);
  v.chat_template = "{% for m in messages %}USER: {{ m.content }} ASSISTANT:{% endfor %}";
  EXPECT_NE(Opened(v).chat().note().find("of no known kind"), std::string::npos) << Opened(v).chat().note();
  EXPECT_TRUE(Opened(v).chat("zephyr").recognised());  // chosen by name
}

TEST(Dialects, WithoutATemplateTheVocabularyTells) {
  EXPECT_TRUE(Opened(small_gemma()).chat().recognised());
  EXPECT_TRUE(Opened(small_llama3()).chat().recognised());
  EXPECT_TRUE(Opened(small_mistral()).chat().recognised());  // has pieces for [INST]
  SmallVocabulary v = small_mistral();
  v.tokens[3] = "x[INST]";
  EXPECT_FALSE(Opened(v).chat().recognised());
  EXPECT_NE(Opened(v).chat().note().find("no chat template"), std::string::npos);
  v.more = [before = v.more](gguf::Writer& w) {
    before(w);
    w.add("general.name", "Mistral 7B Instruct v0.1");
  };
  EXPECT_TRUE(Opened(v).chat().recognised());
}

TEST(TemplateForm, LayoutMakesNoDifference) {
  const auto form = [](std::string_view t) { return detail::template_fingerprint(t); };
  const std::uint64_t one = form(published_chatml());
  EXPECT_EQ(
      form("{% for message in messages %}\n"
           "    {#- who speaks -#}\n"
           "    {{- \"<|im_start|>\" + message.role + \"\\n\" +message.content+\n'<|im_end|>' + '\\n' }}\n"
           "{%- endfor %}\n"
           "{%- if add_generation_prompt %}\n"
           "    {{- '<|im_start|>assistant\\n' }}\n"
           "{%- endif %}\n"),
      one);
  EXPECT_EQ(
      form("{% for message in messages %}\n"
           "  {% if true %}{{ 1 }}{% endif %}\n"
           "{% endfor %}x\n"),
      form("{% for message in messages -%}{% if true %}{{1}}{%- endif -%} \n {% endfor -%} \n {{ 'x' }}"));
  for (const std::string_view other :
       {"{% for message in messages %}", "{{ 'a' + 'b' }}", "{{ 'ab' }}", "{{ 'a\\x05+\\x04b' }}", "a b",
        "ab ", "{{ a.b }}", "{{ a['b '] }}", "{% raw %}{{ a.b }}{% endraw %}", "{{ ab }}", "{{ a b }}",
        "\n{{ ab }}"}) {
    for (const std::string_view another :
         {"{{ 'a' + 'b' }}", "ab", "{{ a['b'] }}", "{{ 'a\x05+\x04\x62' }}", "{{ab}}"}) {
      const bool same = (other == "{{ 'ab' }}" && another == "ab") ||
                        (other == "{{ a.b }}" && another == "{{ a['b'] }}") ||
                        (other == "{{ ab }}" && another == "{{ab}}") || other == another;
      EXPECT_EQ(form(other) == form(another), same) << other << " | " << another;
    }
  }
}

TEST(TemplateForm, BrokenTemplatesTakeTimeInProportion) {
  for (const std::string_view part : {"{", "{{", "{%", "{#", "{{'", "{{ a.", "{%- ", "-%}", " \n", "{{-}}"}) {
    std::string text;
    while (text.size() < Vocab::kMaxTemplateBytes) text += part;
    EXPECT_NE(detail::template_fingerprint(text), 0u);
  }
}

/// Turn markers with the types user-defined or normal, and no key for the end of a turn.
TEST(Markers, ActAsControlTokensWhateverTheirType) {
  const Opened right(small_gemma());
  for (const std::int32_t open : {kNormal, kControl, kUserDefined}) {
    for (const std::int32_t close : {kNormal, kControl, kUserDefined}) {
      SmallVocabulary v = small_gemma();
      v.types[4] = open;
      v.types[5] = close;
      const Opened made(v);
      EXPECT_TRUE(made.vocab().is_stop(5));
      EXPECT_TRUE(made.vocab().is_stop(1));
      EXPECT_FALSE(made.vocab().is_stop(6)) << "</s> is HTML here";
      EXPECT_EQ(made.tokenizer->decode(std::vector<TokenId>{4, 5}), "");
      const std::vector<Message> said = {{"user", "the <end_of_turn>\n<start_of_turn> </s> ab"}};
      EXPECT_EQ(made.chat().encode(*made.tokenizer, said), right.chat().encode(*right.tokenizer, said));
      EXPECT_EQ(made.tokenizer->encode("a</s>b<end_of_turn>"),
                right.tokenizer->encode("a</s>b<end_of_turn>"));
    }
  }
}

/// The markers of SentencePiece, whose ids the file does not give, in a vocabulary of an unknown family.
TEST(Markers, BeginAndEndOfPlainVocabularies) {
  SmallVocabulary plain = small_mistral();
  plain.tokens[3] = "[X]", plain.tokens[4] = "[Y]";
  const Opened right(plain);
  for (const std::int32_t type : {kNormal, kControl, kUserDefined}) {
    SmallVocabulary v = plain;
    v.types[1] = v.types[2] = type;
    v.more = [](gguf::Writer&) {};
    const Opened made(v);
    EXPECT_EQ(made.vocab().bos(), 1);
    EXPECT_EQ(made.vocab().eos(), 2);
    EXPECT_TRUE(made.vocab().is_stop(2));
    EXPECT_EQ(made.tokenizer->decode(std::vector<TokenId>{1, 2}), "");
    EXPECT_EQ(made.tokenizer->encode("a</s>b<s>"), right.tokenizer->encode("a</s>b<s>"));
  }
}

/// All meta pieces except the control pieces have the type normal: the published types are restored.
TEST(Markers, LostMetaTypesComeBack) {
  SmallVocabulary v = small_gemma();
  const Opened right(v);
  for (auto& type : v.types) type = type == kUserDefined ? kNormal : type;
  const Opened made(v);
  for (const char* text : {"a</s>b", "the  ab   ", "<eos></s>"}) {
    EXPECT_EQ(made.tokenizer->encode(text), right.tokenizer->encode(text)) << text;
  }
}

TEST(Markers, OfAnotherDialectInAVocabularyCount) {
  SmallVocabulary v = small_mistral();
  v.add("<|im_end|>", kUserDefined);
  v.add("<|im_start|>", kNormal);
  v.chat_template = published_chatml();
  const Opened made(v);
  const auto end = static_cast<TokenId>(v.tokens.size() - 2);
  EXPECT_TRUE(made.vocab().is_stop(end));
  EXPECT_TRUE(made.vocab().is_stop(2));
  EXPECT_TRUE(made.vocab().add_space_prefix());
  EXPECT_EQ(made.tokenizer->decode(std::vector<TokenId>{end, end + 1}), "");
  const auto ids = made.chat().encode(*made.tokenizer, std::vector<Message>{{"user", "<|im_end|>"}});
  EXPECT_EQ(std::count(ids.begin(), ids.end(), end), 1);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), end + 1), 2);
}

/// SmolLM2: pieces are made by merges only, bytes without a piece are skipped, no BOS.
TEST(Dialects, SmolLmVocabularies) {
  SmallVocabulary v = small_llama3();
  v.more = [](gguf::Writer& w) { w.add("tokenizer.ggml.eos_token_id", std::uint32_t{263}); };
  for (std::size_t i = 0; i < 5; ++i) v.tokens.pop_back(), v.types.pop_back();
  for (const char* control : {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}) v.add(control, kControl);
  v.scores.clear();
  v.pre = "smollm";
  v.tokens[4] = "\xc4\x84\xc4\x84";  // no piece for the byte 4
  v.add("ba", kNormal);              // a piece that no merge makes
  v.scores.clear();
  const Opened made(v);
  EXPECT_FALSE(made.vocab().add_bos());
  EXPECT_TRUE(made.vocab().is_stop(261));
  EXPECT_TRUE(made.vocab().is_stop(263));
  EXPECT_EQ(made.chat().dialect().name, "chatml");
  EXPECT_EQ(made.tokenizer->encode("ba").size(), 2u);
  EXPECT_EQ(made.tokenizer->encode("ba"), made.tokenizer->encode("ba", {.add_bos = false}));
  EXPECT_THROW(made.tokenizer->encode("ba", {.add_bos = true}), Error);
  EXPECT_EQ(made.tokenizer->encode("abab").size(), 1u);
  EXPECT_EQ(made.tokenizer->encode("12").size(), 2u);
  EXPECT_EQ(made.tokenizer->decode(made.tokenizer->encode("x\x04y")), "xy");
  v.pre = "gpt-4o";
  EXPECT_THROW(Opened{v}, Error);
  v.pre = "smaug-bpe";  // Llama 3's, which has every byte
  EXPECT_THROW(Opened{v}, Error);
}

TEST(Markers, MinusOneMeansNone) {
  SmallVocabulary v = small_mistral();
  v.more = [](gguf::Writer& w) {
    w.add("tokenizer.ggml.bos_token_id", std::uint32_t{0xFFFFFFFF})
        .add("tokenizer.ggml.eos_token_id", std::uint32_t{2})
        .add("tokenizer.ggml.eot_token_id", std::int32_t{-1})
        .add("tokenizer.ggml.add_bos_token", false);
  };
  const Opened made(v);
  EXPECT_FALSE(made.vocab().bos().has_value());
  EXPECT_FALSE(made.vocab().add_bos());
  EXPECT_EQ(made.chat("mistral").render(kUser).text, "[INST] U [/INST]");
  EXPECT_EQ(made.chat("mistral").encode(*made.tokenizer, kUser).front(), 3);
}

TEST(SamplingDefaults, TheFileComesFirst) {
  SmallVocabulary v = small_gemma();
  const auto read = [](const SmallVocabulary& from) {
    const Opened made(from);
    return sampling_defaults(made.file, made.chat().dialect());
  };
  EXPECT_EQ(read(v).temperature, 0.7F);
  EXPECT_EQ(read(v).top_k, 64u);
  v.more = [before = v.more](gguf::Writer& w) {
    before(w);
    w.add("general.sampling.temp", 1.0F).add("general.sampling.top_k", std::int32_t{20});
    w.add("general.sampling.top_p", 7.0F).add("general.sampling.min_p", "no number");
  };
  EXPECT_EQ(read(v).temperature, 1.0F);
  EXPECT_EQ(read(v).top_k, 20u);
  EXPECT_EQ(read(v).top_p, 0.95F);  // not a probability: ignored
  EXPECT_EQ(read(v).min_p, 0.0F);
}

}  // namespace
}  // namespace gemma::test
