// The tokenizers of the bundled models on arbitrary texts and ids.
// Input: a byte that chooses the model and the options, then the text, whose bytes also serve as ids.
#include <array>
#include <memory>
#include <string>

#include "gguf/file.hpp"
#include "tests/fuzz/targets.hpp"
#include "tokenizer/tokenizer.hpp"

namespace gemma::fuzz {
namespace tokenizer_target {  // named, since these files are compiled as one unit

struct Opened {
  explicit Opened(const char* name)
      : file(
            gguf::File::open(std::string(GEMMA_SOURCE_DIR "/examples/models/") + name + "-demo.Q4_K_M.gguf")),
        tokenizer(make_tokenizer(Vocab::from(file))) {}
  gguf::File file;
  std::unique_ptr<const Tokenizer> tokenizer;
};

const Tokenizer& demo(unsigned which) {
  static const std::array<Opened, 3> all = {Opened("gemma"), Opened("llama"), Opened("mistral")};
  return *all[which % 3].tokenizer;
}

/// The text that decoding the ids of `text` gives: SentencePiece treats U+2581 as a space.
std::string expected(std::string_view text, const Tokenizer& tokenizer) {
  if (tokenizer.vocab().kind() != TokenizerKind::kSentencePiece) return std::string(text);
  std::string out;
  while (!text.empty()) {
    const bool mark = text.starts_with(utf8::kSpaceMark);
    out += mark ? ' ' : text[0];
    text.remove_prefix(mark ? utf8::kSpaceMark.size() : 1);
  }
  return out;
}

/// Checks that decoding `ids` as a stream and at once gives the same text, in valid UTF-8 after each step.
void check_stream(const Tokenizer& tokenizer, const std::vector<TokenId>& ids, const DecodeOptions& options) {
  StreamDecoder stream(tokenizer, options);
  std::string text;
  for (const TokenId id : ids) {
    const std::string part = stream.push(id);
    require(utf8::replace_invalid(part) == part, "a stream is valid UTF-8 at every moment");
    text += part;
  }
  text += stream.flush();
  require(text == utf8::replace_invalid(tokenizer.decode(ids, options)), "a stream is what decode() gives");
}

void run(Bytes input) {
  Fields fields(input);
  const unsigned choice = fields.byte();
  const Tokenizer& tokenizer = demo(choice & 3);
  const DecodeOptions decode{.show_special = (choice & 4) != 0, .continues = (choice & 8) != 0};
  const std::string text(fields.rest());

  const auto plain = tokenizer.encode(text, {.add_bos = false});
  require(tokenizer.decode(plain) == expected(text, tokenizer), "what was encoded comes back");
  for (const TokenId id : plain) {
    require(tokenizer.vocab().type(id) != TokenType::kControl,
            "text gives no control token unless asked for");
  }
  const TextRange literal{text.size() / 3, text.size() / 2};
  const auto special =
      tokenizer.encode(text, {.parse_special = true, .add_bos = true, .literal = {&literal, 1}});
  require(special.at(0) == tokenizer.vocab().bos(), "a BOS that is asked for comes first");
  check_stream(tokenizer, plain, decode);
  check_stream(tokenizer, special, decode);

  std::vector<TokenId> ids;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    ids.push_back(static_cast<unsigned char>(text[i]) * 17 + static_cast<unsigned char>(text[i + 1]));
  }
  try {
    check_stream(tokenizer, ids, decode);
  } catch (const Error& e) {
    require(e.code() == ErrorCode::kInvalidArgument, "an id out of range is the caller's mistake");
  }
}

std::vector<Input> seeds() {
  std::vector<Input> out;
  for (const char model : {'\0', '\1', '\2'}) {
    for (const std::string_view text :
         {std::string_view("The quick brown fox's 1889 jumps,\r\n\t over  it."),
          std::string_view("<bos><start_of_turn>user\nHi<end_of_turn><|eot_id|></s>[INST]"),
          std::string_view("na\xc3\xafve \xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x98\x80\xe2\x96\x81 \xff\xf0\x9f"),
          std::string_view("a\0b\x1f\x7f   ", 8)}) {
      out.push_back(to_input(std::string(1, model) + std::string(text)));
    }
  }
  return out;
}

}  // namespace tokenizer_target

const Target kTokenizer{"tokenizer", tokenizer_target::run, tokenizer_target::seeds, false};

}  // namespace gemma::fuzz
