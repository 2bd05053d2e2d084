// Tokenizers from malformed vocabularies: a tokenizer that is created must encode and decode, and its
// template must render.
#include <string>

#include "gguf/file.hpp"
#include "tests/fuzz/targets.hpp"
#include "tests/tokenizer/small_vocabulary.hpp"
#include "tokenizer/chat_template.hpp"
#include "tokenizer/tokenizer.hpp"

namespace gemma::fuzz {
namespace vocabulary_target {  // named, since these files are compiled as one unit

void use(const Tokenizer& tokenizer) {
  const Vocab& vocab = tokenizer.vocab();
  const std::string text = "The abab <s>[INST]</s>  \xc3\xa9\xe6\x97\xa5 1889\n\xff\xe2\x82";
  for (const bool special : {false, true}) {
    const auto ids = tokenizer.encode(text, {.parse_special = special});
    for (const TokenId id : ids) {
      require(id >= 0 && static_cast<std::size_t>(id) < vocab.size(), "ids are in the vocabulary");
    }
    tokenizer.decode(ids, {.show_special = special});
  }
  StreamDecoder stream(tokenizer, {.show_special = true});
  for (std::size_t i = 0; i < vocab.size(); ++i) {
    const std::string part = stream.push(static_cast<TokenId>(i));
    require(utf8::replace_invalid(part) == part, "a stream is valid UTF-8 at every moment");
  }
  stream.flush();
  for (const TokenId id : vocab.stop_ids()) require(vocab.is_stop(id), "a stop id stops");
}

void run(Bytes input) {
  const Input exact(input.begin(), input.end());
  try {
    const auto file = gguf::File::from_memory(exact, "fuzz");
    const auto tokenizer = make_tokenizer(Vocab::from(file));
    use(*tokenizer);
    const ChatTemplate chat = ChatTemplate::from(tokenizer->vocab());
    chat.encode(*tokenizer, std::vector<Message>{{"user", "<s>Hi"}, {"assistant", " \t"}, {"user", ""}});
  } catch (const Error& e) {
    // this includes vocabularies that sentencepiece would refuse only at the first text
    require(e.message().starts_with("fuzz: "), "an error names the file");
  }
}

std::vector<Input> seeds() {
  test::SmallVocabulary untyped = test::small_gemma();
  untyped.types.clear();
  untyped.scores.clear();
  test::SmallVocabulary templated = test::small_mistral();
  templated.chat_template =
      "{{ bos_token }}{% for message in messages %}[INST] {{ message['content'] }} [/INST]";
  test::SmallVocabulary converted = test::small_gemma();  // as converted by other engines
  converted.more = [n = converted.tokens.size(), rows = std::vector<std::byte>(4096)](gguf::Writer& w) {
    w.add("tokenizer.ggml.bos_token_id", std::uint32_t{2})
        .add("tokenizer.ggml.eos_token_id", std::int32_t{-1});
    w.add("tokenizer.ggml.padding_token_id", std::uint32_t{4096}).add("tokenizer.ggml.add_bos_token", true);
    w.add_array("tokenizer.ggml.eos_token_ids", std::vector<std::int32_t>{1, 5, -1});
    w.add("general.type", "model").add("gemma.embedding_length_per_layer_input", std::uint32_t{8});
    w.add_tensor("token_embd.weight", DType::kF32, {n - 1, 1}, std::span(rows).first(4 * (n - 1)));
  };
  std::vector<Input> out;
  for (const auto& v : {test::small_mistral(), test::small_gemma(), test::small_llama3(),
                        test::small_gemma4(), test::small_chatml(), untyped, templated, converted}) {
    out.push_back(v.bytes());
    const auto file = gguf::File::from_memory(out.back(), "seed");
    use(*make_tokenizer(Vocab::from(file)));  // all seeds are valid
  }
  return out;
}

}  // namespace vocabulary_target

const Target kVocabulary{"vocabulary", vocabulary_target::run, vocabulary_target::seeds, true};

}  // namespace gemma::fuzz
