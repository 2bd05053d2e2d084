// Vocabularies of a few hundred pieces in memory. Every part can be changed before the file is written, to
// create malformed files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/file.hpp"
#include "gguf/writer.hpp"
#include "tokenizer/bpe.hpp"

namespace gemma::test {

struct SmallVocabulary {
  std::string model = "llama";  // tokenizer.ggml.model
  std::string architecture = "llama";
  std::string pre = "llama-bpe";  // written for "gpt2" only
  std::vector<std::string> tokens;
  std::vector<float> scores;        // empty: no such key
  std::vector<std::int32_t> types;  // empty: no such key
  std::vector<std::string> merges;  // empty: no such key
  std::string chat_template;        // empty: no such key
  std::function<void(gguf::Writer&)> more = [](gguf::Writer&) {};

  void add(std::string piece, std::int32_t type, float score = 0.0F) {
    tokens.push_back(std::move(piece));
    types.push_back(type);
    scores.push_back(score);
  }

  std::vector<std::byte> bytes() const {
    gguf::Writer w;
    w.add("general.architecture", architecture).add("tokenizer.ggml.model", model);
    if (model == "gpt2") w.add("tokenizer.ggml.pre", pre);
    w.add_array("tokenizer.ggml.tokens", tokens);
    if (!scores.empty()) w.add_array("tokenizer.ggml.scores", scores);
    if (!types.empty()) w.add_array("tokenizer.ggml.token_type", types);
    if (model != "llama" || !merges.empty()) w.add_array("tokenizer.ggml.merges", merges);
    if (!chat_template.empty()) w.add("tokenizer.chat_template", chat_template);
    more(w);
    return w.bytes();
  }
};

/// GGUF's token types.
inline constexpr std::int32_t kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kByte = 6;

inline void add_byte_pieces(SmallVocabulary& v) {
  constexpr char kHex[] = "0123456789ABCDEF";
  for (int b = 0; b < 256; ++b) v.add(std::string("<0x") + kHex[b >> 4] + kHex[b & 15] + ">", kByte);
}
inline void add_learned_pieces(SmallVocabulary& v) {
  float score = 0;
  for (const char* piece : {"\xe2\x96\x81t", "he", "\xe2\x96\x81the", "ab", "abab", "\xe2\x96\x81", "t", "h",
                            "e", "a", "b", "\xc3\xa9", "[", "]", "I", "N", "S", "T", "/"}) {
    v.add(piece, kNormal, score--);
  }
}

/// Like Mistral's: <unk> 0, <s> 1, </s> 2, bytes, learned pieces; v0.3 types [INST] and [/INST] as control.
inline SmallVocabulary small_mistral() {
  SmallVocabulary v;
  v.add("<unk>", kUnknown);
  v.add("<s>", kControl);
  v.add("</s>", kControl);
  v.add("[INST]", kControl);
  v.add("[/INST]", kControl);
  add_byte_pieces(v);
  add_learned_pieces(v);
  v.more = [](gguf::Writer& w) {
    w.add("tokenizer.ggml.bos_token_id", std::uint32_t{1})
        .add("tokenizer.ggml.eos_token_id", std::uint32_t{2});
  };
  return v;
}

/// Like Gemma's: <pad> 0, <eos> 1, <bos> 2, <unk> 3, the turns, </s> and double spaces user-defined.
inline SmallVocabulary small_gemma() {
  SmallVocabulary v;
  v.architecture = "gemma";
  v.add("<pad>", kControl);
  v.add("<eos>", kControl);
  v.add("<bos>", kControl);
  v.add("<unk>", kUnknown);
  v.add("<start_of_turn>", kControl);
  v.add("<end_of_turn>", kControl);
  v.add("</s>", kUserDefined);
  v.add("  ", kUserDefined);
  add_byte_pieces(v);
  add_learned_pieces(v);
  v.more = [](gguf::Writer& w) {
    w.add("tokenizer.ggml.bos_token_id", std::uint32_t{2})
        .add("tokenizer.ggml.eos_token_id", std::uint32_t{1});
    w.add("tokenizer.ggml.add_bos_token", true);
  };
  return v;
}

/// Like Gemma 4's: <pad> 0, <eos> 1, <bos> 2, <unk> 3, the markers from 4 on, bytes, merged pieces.
inline SmallVocabulary small_gemma4() {
  SmallVocabulary v;
  v.model = "gemma4";
  v.architecture = "gemma4";
  for (const char* control :
       {"<pad>", "<eos>", "<bos>", "<unk>", "<|turn>", "<turn|>", "<|think|>", "<|tool>", "<tool|>"}) {
    v.add(control, kControl);
  }
  for (const char* shown : {"<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", "<|\"|>",
                            "<|channel>", "<channel|>"}) {
    v.add(shown, kUserDefined);
  }
  v.add("</s>", kNormal);
  v.add("\n", kNormal);
  v.add("\n\n", kNormal);
  add_byte_pieces(v);
  for (const char* piece : {"\xe2\x96\x81", "t", "h", "e", "a", "b", "\xc3\xa9", "<", ">", "/", "s"}) {
    v.add(piece, kNormal);
  }
  for (const char* merge : {"h e", "\xe2\x96\x81 t", "\xe2\x96\x81t he", "a b", "ab ab"}) {
    v.merges.emplace_back(merge);
    std::string piece = merge;
    piece.erase(piece.find(' '), 1);
    v.add(std::move(piece), kNormal);
  }
  v.scores.assign(v.tokens.size(), -1000.0F);
  v.more = [](gguf::Writer& w) {
    w.add("tokenizer.ggml.bos_token_id", std::uint32_t{2})
        .add("tokenizer.ggml.eos_token_id", std::uint32_t{1})
        .add("tokenizer.ggml.unknown_token_id", std::uint32_t{3});
  };
  return v;
}

/// Like Llama 3's: the 256 bytes in GPT-2's characters, a few merges, control tokens at the end.
inline SmallVocabulary small_llama3() {
  SmallVocabulary v;
  v.model = "gpt2";
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    for (std::uint32_t point = 0; point < detail::kByteOfPoint.size(); ++point) {
      if (detail::kByteOfPoint[point] != static_cast<std::int16_t>(byte)) continue;
      std::string piece;
      utf8::append(point, piece);
      v.add(std::move(piece), kNormal);
    }
  }
  for (const char* merge : {"h e", "\xc4\xa0 t", "\xc4\xa0t he", "a b", "ab ab"}) {
    v.merges.emplace_back(merge);
    std::string piece = merge;
    piece.erase(piece.find(' '), 1);
    v.add(std::move(piece), kNormal);
  }
  for (const char* control :
       {"<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}) {
    v.add(control, kControl);
  }
  v.scores.clear();
  return v;
}

/// Llama 3's pieces with the markers of ChatML, as Qwen and SmolLM2 have them.
inline SmallVocabulary small_chatml() {
  SmallVocabulary v = small_llama3();
  v.tokens.resize(v.tokens.size() - 5);
  v.types.resize(v.tokens.size());
  for (const char* control : {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}) v.add(control, kControl);
  v.scores.clear();
  return v;
}

}  // namespace gemma::test
