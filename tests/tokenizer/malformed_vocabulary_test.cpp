// One named test for each class of malformed vocabulary: the code of the error, and a message that names the
// file, the key, and the offset of the wrong value.
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include <gtest/gtest.h>

#include "gguf/file.hpp"
#include "tests/refusal.hpp"
#include "tests/tokenizer/small_vocabulary.hpp"
#include "tokenizer/chat_template.hpp"
#include "tokenizer/tokenizer.hpp"

namespace gemma::test {
namespace {

constexpr std::string_view kTokens = "tokenizer.ggml.tokens";
constexpr std::string_view kTypes = "tokenizer.ggml.token_type";
constexpr std::string_view kScores = "tokenizer.ggml.scores";
constexpr std::string_view kMerges = "tokenizer.ggml.merges";

/// The offset in the file of element `index` of an array, or of a scalar or text.
std::size_t offset_of(const gguf::File& file, std::string_view key, std::size_t index) {
  const gguf::Value& value = *file.find(key);
  if (const auto strings = value.as<std::vector<std::string_view>>(); strings && !strings->empty()) {
    return static_cast<std::size_t>(strings->at(index).data() -
                                    reinterpret_cast<const char*>(file.map().bytes().data()));
  }
  return file.offset_of(value.bytes()) + index * gguf::scalar_size(value.element_type());
}

constexpr std::size_t kNowhere = ~std::size_t{0};
/// Expects an error about element `index` of `key`; kNowhere: about the missing key.
void expect_vocabulary_error(const SmallVocabulary& vocabulary, ErrorCode code, std::string_view key,
                             std::size_t index, std::string_view reason) {
  const auto bytes = vocabulary.bytes();
  const auto file = gguf::File::from_memory(bytes, "FILE");
  try {
    make_tokenizer(Vocab::from(file))->encode("the ab");
    ADD_FAILURE() << "the vocabulary was taken";
  } catch (const Error& e) {
    const std::string_view what = e.what();
    EXPECT_EQ(e.code().name(), code.name()) << what;
    EXPECT_TRUE(what.starts_with("FILE: key " + quoted(key) + (index == kNowhere ? "" : " "))) << what;
    EXPECT_NE(what.find(reason), what.npos) << what;
    if (index == kNowhere) return;
    EXPECT_TRUE(what.ends_with(" (at byte " + std::to_string(offset_of(file, key, index)) + ")")) << what;
  }
}
void expect_taken(const SmallVocabulary& vocabulary) {
  const auto bytes = vocabulary.bytes();
  const auto file = gguf::File::from_memory(bytes, "FILE");
  const auto tokenizer = make_tokenizer(Vocab::from(file));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("the abab\xff\xc3")), "the abab\xff\xc3");
}
/// `base` with one more pair.
SmallVocabulary with(SmallVocabulary base, const std::function<void(gguf::Writer&)>& add) {
  base.more = [before = base.more, add](gguf::Writer& w) {
    before(w);
    add(w);
  };
  return base;
}

TEST(MalformedVocabulary, TheSmallOnesAreValid) {
  expect_taken(small_mistral());
  expect_taken(small_gemma());
  expect_taken(small_llama3());
}

TEST(MalformedVocabulary, NoTokens) {
  SmallVocabulary v = small_mistral();
  v.tokens.clear();
  v.scores.clear();
  v.types.clear();
  expect_vocabulary_error(v, ErrorCode::kMalformed, kTokens, 0, "is empty");
}

TEST(MalformedVocabulary, OtherCountsThanTokens) {
  for (const int more : {-1, 1}) {
    SmallVocabulary scores = small_mistral();
    scores.scores.resize(scores.tokens.size() + static_cast<std::size_t>(more));
    expect_vocabulary_error(scores, ErrorCode::kMalformed, kScores, 0,
                            "has " + std::to_string(scores.scores.size()) + " elements for " +
                                std::to_string(scores.tokens.size()) + " tokens");
    SmallVocabulary types = small_llama3();
    types.types.resize(types.tokens.size() + static_cast<std::size_t>(more), kNormal);
    expect_vocabulary_error(types, ErrorCode::kMalformed, kTypes, 0,
                            "has " + std::to_string(types.types.size()) + " elements for " +
                                std::to_string(types.tokens.size()) + " tokens");
  }
}

TEST(MalformedVocabulary, ArraysOfOtherTypes) {
  SmallVocabulary v = small_mistral();
  v.types.clear();
  const std::vector<float> floats(v.tokens.size(), 1.0F);
  v = with(v, [floats](gguf::Writer& w) { w.add_array(kTypes, floats); });
  const auto bytes = v.bytes();
  const auto file = gguf::File::from_memory(bytes, "FILE");
  EXPECT_EQ(
      test::refusal_of([&] { Vocab::from(file); }),
      "wrong_type: FILE: key 'tokenizer.ggml.token_type': array of float32 where array of int32 is expected, "
      "or out of its range (at byte " +
          std::to_string(offset_of(file, kTypes, 0)) + ")");
  SmallVocabulary scores = small_mistral();
  scores.scores.clear();
  expect_vocabulary_error(with(scores,
                               [](gguf::Writer& w) {
                                 w.add_array(kScores, {1, 2});
                               }),
                          ErrorCode::kWrongType, kScores, kNowhere,
                          "array of int32 where array of float32 is expected");
  SmallVocabulary big = small_mistral();
  big.types.clear();
  const std::vector<std::uint64_t> wide(big.tokens.size(), std::uint64_t{1} << 40);
  expect_vocabulary_error(with(big, [wide](gguf::Writer& w) { w.add_array(kTypes, wide); }),
                          ErrorCode::kWrongType, kTypes, kNowhere, "or out of its range");
}

TEST(MalformedVocabulary, UnknownTokenType) {
  for (const std::int32_t type : {-1, 7, 255, std::numeric_limits<std::int32_t>::min()}) {
    SmallVocabulary v = small_mistral();
    v.types[270] = type;
    expect_vocabulary_error(v, ErrorCode::kMalformed, kTypes, 270,
                            "the unknown type " + std::to_string(type) + " at 270");
  }
}

TEST(MalformedVocabulary, EmptyPiece) {
  SmallVocabulary v = small_mistral();
  v.tokens[270] = "";
  expect_vocabulary_error(v, ErrorCode::kMalformed, kTokens, 270, "has an empty piece at 270");
}

TEST(MalformedVocabulary, PieceOfMegabytes) {
  SmallVocabulary v = small_gemma();
  v.tokens[6] = std::string(std::size_t{1} << 21, 'a');
  expect_vocabulary_error(v, ErrorCode::kMalformed, kTokens, 6, "has a piece of 2097152 bytes at 6");
}

/// Control tokens are found by a trie with a node for each of their bytes, so their total length is limited.
TEST(MalformedVocabulary, PiecesOfMegabytesTogether) {
  SmallVocabulary v = small_gemma();
  for (std::size_t i = 0; i <= Vocab::kMaxPiecesBytes / Vocab::kMaxPieceBytes; ++i) {
    std::string piece = "<" + std::to_string(i) + ">";
    piece.resize(Vocab::kMaxPieceBytes, 'x');
    v.add(std::move(piece), kControl);
  }
  const auto bytes = v.bytes();
  const auto file = gguf::File::from_memory(bytes, "FILE");
  test::expect_error(ErrorCode::kMalformed, {"FILE: key 'tokenizer.ggml.tokens' has 335", "(at byte "},
                     [&] { Vocab::from(file); });
}

TEST(MalformedVocabulary, ByteTokenThatIsNoByte) {
  for (const char* piece : {"<0x-1>", "<0x1>", "<0x100>", "<0xGG>", "0x41", "<0x 1>", "A"}) {
    SmallVocabulary v = small_mistral();
    v.tokens[5] = piece;
    expect_vocabulary_error(v, ErrorCode::kMalformed, kTokens, 5,
                            "the invalid byte token " + quoted(piece) + " at 5");
  }
}

TEST(MalformedVocabulary, ByteTokenTwice) {
  SmallVocabulary v = small_mistral();
  v.tokens[6] = "<0x00>";
  expect_vocabulary_error(v, ErrorCode::kMalformed, kTokens, 6, "the repeated byte token '<0x00>' at 6");
}

TEST(MalformedVocabulary, ScoreThatIsNoNumber) {
  for (const float score : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()}) {
    SmallVocabulary v = small_mistral();
    v.scores[262] = score;
    expect_vocabulary_error(v, ErrorCode::kMalformed, kScores, 262, "a score that is not finite at 262");
  }
}

/// An id out of range counts as missing, with a note: some converters write ids of tokens that they omitted.
TEST(MalformedVocabulary, SpecialIdOutOfRange) {
  const auto expect_note = [](const SmallVocabulary& v, std::string_view key, const std::string& id) {
    expect_taken(v);
    const auto bytes = v.bytes();
    const auto file = gguf::File::from_memory(bytes, "FILE");
    const Vocab vocab = Vocab::from(file);
    ASSERT_EQ(vocab.notes().size(), 1u) << key;
    EXPECT_EQ(vocab.notes()[0], "key " + quoted(key) + " is " + id + ", not an id of the " +
                                    std::to_string(v.tokens.size()) + " tokens: there is no such token");
  };
  for (const char* key : {"tokenizer.ggml.unknown_token_id", "tokenizer.ggml.eot_token_id",
                          "tokenizer.ggml.eom_token_id", "tokenizer.ggml.padding_token_id"}) {
    const SmallVocabulary v = small_mistral();
    const auto size = static_cast<std::uint32_t>(v.tokens.size());
    expect_note(with(v, [&](gguf::Writer& w) { w.add(key, size); }), key, std::to_string(size));
    expect_note(with(v, [&](gguf::Writer& w) { w.add(key, std::int32_t{-2}); }), key, "-2");
    expect_vocabulary_error(with(v, [&](gguf::Writer& w) { w.add(key, "1"); }), ErrorCode::kWrongType, key,
                            kNowhere, "string where int64");
  }
  for (const char* key : {"tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"}) {
    SmallVocabulary v = small_mistral();
    v.more = [key](gguf::Writer& w) { w.add(key, std::uint32_t{0xFFFFFFFE}); };
    expect_note(v, key, "4294967294");
    v.more = [key](gguf::Writer& w) { w.add(key, std::uint64_t{1} << 32 | 1); };
    expect_note(v, key, "4294967297");
  }
}

TEST(MalformedVocabulary, MinusOneIsNone) {
  SmallVocabulary v = small_mistral();
  v.more = [](gguf::Writer& w) {
    w.add("tokenizer.ggml.bos_token_id", std::uint32_t{0xFFFFFFFF})
        .add("tokenizer.ggml.eos_token_id", std::int32_t{-1});
  };
  const auto bytes = v.bytes();
  const auto file = gguf::File::from_memory(bytes, "FILE");
  const Vocab vocab = Vocab::from(file);
  EXPECT_FALSE(vocab.bos());
  EXPECT_FALSE(vocab.eos());
  EXPECT_FALSE(vocab.add_bos());
  EXPECT_TRUE(vocab.notes().empty());
}

TEST(MalformedVocabulary, ABosIsAskedForAndItsIdIsNone) {
  for (const std::uint32_t id : {0xFFFFFFFFu, 100000u}) {
    SmallVocabulary v = small_mistral();
    v.more = [id](gguf::Writer& w) {
      w.add("tokenizer.ggml.bos_token_id", id).add("tokenizer.ggml.add_bos_token", true);
    };
    const auto bytes = v.bytes();
    const auto file = gguf::File::from_memory(bytes, "FILE");
    const Vocab vocab = Vocab::from(file);
    EXPECT_FALSE(vocab.add_bos());
    ASSERT_FALSE(vocab.notes().empty());
    EXPECT_NE(vocab.notes().back().find("'tokenizer.ggml.add_bos_token'"), std::string::npos);
  }
}

/// Ollama's list of end tokens; invalid ids in it are ignored.
TEST(MalformedVocabulary, AListOfStops) {
  const SmallVocabulary v = with(small_mistral(), [](gguf::Writer& w) {
    w.add_array("tokenizer.ggml.eos_token_ids", std::vector<std::int32_t>{2, 4, -1, 100000});
  });
  const auto bytes = v.bytes();
  const auto file = gguf::File::from_memory(bytes, "FILE");
  const Vocab vocab = Vocab::from(file);
  EXPECT_EQ(std::vector<TokenId>(vocab.stop_ids().begin(), vocab.stop_ids().end()),
            (std::vector<TokenId>{2, 4}));
  expect_taken(with(small_mistral(), [](gguf::Writer& w) { w.add("tokenizer.ggml.eos_token_ids", "none"); }));
}

TEST(MalformedVocabulary, GemmasEndOfTextTypedNormal) {
  for (const bool said : {false, true}) {
    SmallVocabulary v = small_gemma();
    v.types[1] = kNormal;
    v.more = [said](gguf::Writer& w) {
      if (said) w.add("tokenizer.ggml.eos_token_id", std::uint32_t{1});
    };
    const auto bytes = v.bytes();
    const auto file = gguf::File::from_memory(bytes, "FILE");
    const Vocab vocab = Vocab::from(file);
    EXPECT_EQ(vocab.eos(), 1);
    EXPECT_EQ(vocab.type(1), TokenType::kControl);
    EXPECT_TRUE(vocab.is_stop(1));
  }
}

/// If all byte tokens seem to exist, the tokenizer relies on them; sentencepiece would report a missing one
/// only at the first text.
TEST(MalformedVocabulary, UnknownTokenThatIsAByte) {
  for (const std::uint32_t id : {5u, 260u}) {
    const SmallVocabulary v =
        with(small_mistral(), [id](gguf::Writer& w) { w.add("tokenizer.ggml.unknown_token_id", id); });
    expect_vocabulary_error(v, ErrorCode::kMalformed, "tokenizer.ggml.unknown_token_id", 0,
                            "is " + std::to_string(id) + ", a byte token");
  }
}

TEST(MalformedVocabulary, ABosIsAskedForAndThereIsNone) {
  SmallVocabulary v = small_llama3();
  v.tokens[v.tokens.size() - 5] = "<|other|>";
  v = with(v, [](gguf::Writer& w) { w.add("tokenizer.ggml.add_bos_token", true); });
  expect_vocabulary_error(v, ErrorCode::kMissingKey, "tokenizer.ggml.bos_token_id", kNowhere, "asks for it");
}

TEST(MalformedVocabulary, NoUnknownTokenAndNotAllBytes) {
  SmallVocabulary v = small_mistral();
  v.tokens[0] = "x";
  v.types[0] = kNormal;
  v.tokens[5] = "y";
  v.types[5] = kNormal;
  expect_vocabulary_error(v, ErrorCode::kMissingKey, "tokenizer.ggml.unknown_token_id", kNowhere,
                          "is missing");
}

TEST(MalformedVocabulary, MergesOfUnknownPieces) {
  for (const char* merge : {"he xx", "xx he", "he", "he ", " he", "", "h h", "\xff e", "h\xe2\x96\x81 e"}) {
    SmallVocabulary v = small_llama3();
    v.merges[2] = merge;
    expect_vocabulary_error(v, ErrorCode::kMalformed, kMerges, 2,
                            "has the merge " + quoted(merge) + " of unknown pieces at 2");
  }
}

TEST(MalformedVocabulary, NoPieceForAByte) {
  SmallVocabulary v = small_llama3();
  v.tokens[65] = "AA";
  expect_vocabulary_error(v, ErrorCode::kMalformed, kTokens, 0, "has no piece for the byte 65");
}

TEST(MalformedVocabulary, TokenizersThatAreNotRead) {
  SmallVocabulary v = small_mistral();
  v.model = "bert";
  expect_vocabulary_error(v, ErrorCode::kUnsupported, "tokenizer.ggml.model", 0, "is 'bert'");
  SmallVocabulary wordy =
      with(small_mistral(), [](gguf::Writer& w) { w.add("tokenizer.ggml.remove_extra_whitespaces", true); });
  expect_vocabulary_error(wordy, ErrorCode::kUnsupported, "tokenizer.ggml.remove_extra_whitespaces", 0,
                          "not supported");
}

TEST(MalformedVocabulary, ChatTemplateOfMegabytes) {
  SmallVocabulary v = small_mistral();
  v.chat_template = std::string(Vocab::kMaxTemplateBytes + 1, '{');
  expect_vocabulary_error(v, ErrorCode::kMalformed, "tokenizer.chat_template", 0,
                          "has 1048577 bytes; at most 1048576 are accepted");
  v.chat_template.pop_back();  // the maximum length: rendered by the vocabulary's markers, quickly
  const auto bytes = v.bytes();
  const auto file = gguf::File::from_memory(bytes, "FILE");
  const ChatTemplate chat = ChatTemplate::from(Vocab::from(file));
  EXPECT_FALSE(chat.recognised());
  EXPECT_NE(chat.render(std::vector<Message>{{"user", "x"}}).text.find("[INST] x"), std::string::npos);
}

// ---- pieces chosen to collide: the time of opening a file is proportional to its size, whatever it contains

/// `count` 8-byte pieces that have the same slot in every table of PieceIndex for at least `count` pieces.
std::vector<std::string> pieces_of_one_slot(std::size_t count) {
  std::vector<std::string> out;
  for (std::uint64_t i = 0; out.size() < count; ++i) {
    const std::uint64_t key =
        i * 0xF1DE83E19937733Du;  // the inverse of the table's multiplier, so that mixing gives i
    const std::uint64_t head = (key ^ key >> 32) - 8;
    std::string piece(8, '\0');
    std::memcpy(piece.data(), &head, 8);
    if (piece.find('\0') == piece.npos) out.push_back(piece);
  }
  return out;
}

TEST(HostileVocabulary, PiecesThatCollideInOurTable) {
  const auto pieces = pieces_of_one_slot(5000);
  const std::vector<std::string_view> views(pieces.begin(), pieces.end());
  detail::PieceIndex index{views};
  std::size_t taken = 0;
  while (taken < views.size() && index.add(static_cast<std::int32_t>(taken))) ++taken;
  EXPECT_EQ(taken, detail::PieceIndex::kLongestProbe);
  EXPECT_EQ(index.find(views[0]), 0);
  EXPECT_EQ(index.find(views.back()), -1);
}

TEST(HostileVocabulary, MergesThatCollideInOurTable) {
  detail::MergeTable table(5000);
  std::size_t taken = 0;
  for (std::uint64_t i = 0; i < 5000; ++i) {
    const std::uint64_t key = i * 0xF1DE83E19937733Du;
    if (!table.add(static_cast<TokenId>(key >> 32), static_cast<TokenId>(key), {1, 1})) break;
    ++taken;
  }
  EXPECT_EQ(taken, detail::MergeTable::kLongestProbe);
}

/// sentencepiece stores pieces in std::unordered_map, whose std::hash is public.
TEST(HostileVocabulary, PiecesThatCollideInSentencepiece) {
  std::unordered_set<int> growing;  // has as many buckets as the map of the pieces below will have
  while (growing.size() < 100) growing.insert(static_cast<int>(growing.size()));
  const std::size_t buckets = growing.bucket_count();
  SmallVocabulary v = small_mistral();
  std::size_t found = 0;
  for (std::uint64_t i = 0; found < 100; ++i) {
    std::string piece = "p" + std::to_string(i);
    if (std::hash<std::string_view>{}(piece) % buckets != 7) continue;
    v.add(std::move(piece), kNormal);
    ++found;
  }
  const auto bytes = v.bytes();
  const auto file = gguf::File::from_memory(bytes, "FILE");
  const auto tokenizer = make_tokenizer(Vocab::from(file));
  test::expect_error(ErrorCode::kMalformed,
                     {"FILE: key 'tokenizer.ggml.tokens' has pieces chosen to collide (at byte "},
                     [&] { tokenizer->encode("x"); });
}

}  // namespace
}  // namespace gemma::test
