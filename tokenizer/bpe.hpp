// Byte-level BPE (Llama 3, Qwen 2 and 3, SmolLM2): pre-tokens of bytes, merged by rank.
// Invariant: every text can be encoded. If every byte has a piece, as in Llama 3, decode(encode(text)) is the
// text; SmolLM2 lacks 21 bytes (control characters, and bytes that do not occur in UTF-8), and its tokenizer
// skips them.
//
// The file has pieces and merges in GPT-2's printable form, one character for each byte; here they are bytes.
// With Llama 3's pre-tokenizer, a pre-token that is a piece is not merged ("ignore_merges"). Otherwise the
// pair with the lowest rank is merged, leftmost first, until none is left: a heap of pairs, O(n log n) for a
// pre-token of n bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../gguf/error.hpp"
#include "bpe_merge.hpp"
#include "piece_index.hpp"
#include "piece_matcher.hpp"
#include "pretokenize.hpp"
#include "tokenizer_base.hpp"
#include "utf8.hpp"
#include "vocab.hpp"

namespace gemma::detail {

/// GPT-2's characters for bytes: printable Latin-1 represents itself, and U+0100 and up the other 68 bytes.
inline constexpr auto kByteOfPoint = [] {
  std::array<std::int16_t, 324> table{};
  std::int16_t moved = 256;
  for (auto& entry : table) entry = -1;
  for (std::int16_t byte = 0; byte < 256; ++byte) {
    const bool itself = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
    table[static_cast<std::size_t>(itself ? byte : moved++)] = byte;
  }
  return table;
}();

/// Appends the bytes that `piece` represents; returns false, and appends nothing, if it has other characters.
inline bool append_mapped(std::string_view piece, std::string& out) {
  const std::size_t before = out.size();
  for (std::size_t at = 0; at < piece.size();) {
    const utf8::Sequence s = utf8::next(piece, at);
    if (!s.valid || s.point >= kByteOfPoint.size() || kByteOfPoint[s.point] < 0) {
      out.resize(before);
      return false;
    }
    out += static_cast<char>(kByteOfPoint[s.point]);
    at += s.length;
  }
  return true;
}

class BpeTokenizer final : public Tokenizer {
 public:
  /// Throws Error naming file and key: kUnsupported for an unknown pre-tokenizer, kMalformed for a byte
  /// without a piece or a merge of pieces that do not exist.
  explicit BpeTokenizer(Vocab from)
      : Tokenizer(std::move(from)), pre_(pre_tokenizer()), pretokenizer_(pre_.pattern) {
    build_pieces();
    build_merges();
  }

 protected:
  void append_text(std::string_view text, std::vector<TokenId>& ids) const override {
    Scratch scratch;
    for (std::size_t done = 0; done < text.size();) {
      PieceMatcher::Match match;
      const std::size_t at = user_defined_.find(text, done, match);
      append_unmatched(text.substr(done, at - done), scratch, ids);
      if (at == text.size()) break;
      ids.push_back(match.id);
      done = at + match.length;
    }
  }

  void append_piece(TokenId id, std::string& out) const override {
    out += bytes_[static_cast<std::size_t>(id)];
  }

 private:
  /// Scratch buffers of one call.
  struct Scratch {
    std::vector<std::size_t> ends;
    MergeRow row;
  };

  /// The pre-tokenizer that the file names, or that of its dialect.
  const PreTokenizer& pre_tokenizer() const {
    const std::string_view named = vocab().pre();
    // the first Llama 3 files lack this key: their dialect is recognised by its markers
    const bool unsaid = named.empty() || named == "default";
    const PreTokenizer* known = dialects::find_pre_tokenizer(unsaid ? vocab().markers().pre : named);
    if (known != nullptr) return *known;
    constexpr std::string_view kKey = "tokenizer.ggml.pre";
    if (named.data() == nullptr) {
      refuse(ErrorCode::kUnsupported, [&] {
        return vocab().source() + ": key " + gemma::quoted(kKey) +
               " is missing, and the vocabulary's markers do not tell it";
      });
    }
    std::string known_names;
    for (const PreTokenizer& pre : dialects::kPreTokenizers) {
      for (const std::string_view name : pre.names) known_names += " " + gemma::quoted(name);
    }
    vocab().fail(ErrorCode::kUnsupported, kKey,
                 "is " + gemma::quoted(named) + ", which is not supported; supported are" + known_names,
                 named.data());
  }

  void build_pieces() {
    constexpr std::string_view kKey = "tokenizer.ggml.tokens";
    const std::size_t n = vocab().size();
    std::vector<std::size_t> ends(n);
    for (std::size_t i = 0; i < n; ++i) {
      const auto id = static_cast<TokenId>(i);
      const std::string_view piece = vocab().piece(id);
      const bool mapped = is_learned(id) && append_mapped(piece, arena_);
      if (!mapped) arena_ += piece;  // an added token, whose piece is its spelling
      if (vocab().type(id) == TokenType::kUserDefined) user_defined_.add(piece, id);
      ends[i] = arena_.size();
    }
    bytes_.resize(n);
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t begin = i == 0 ? 0 : ends[i - 1];
      bytes_[i] = std::string_view(arena_).substr(begin, ends[i] - begin);
    }
    index_ = PieceIndex(bytes_);
    for (std::size_t i = 0; i < n; ++i) {
      const auto id = static_cast<TokenId>(i);
      if (is_learned(id) && !bytes_[i].empty() && !index_.add(id)) {
        vocab().fail(ErrorCode::kMalformed, kKey, "has pieces chosen to collide", vocab().piece(id).data());
      }
    }
    for (int byte = 0; byte < 256; ++byte) {
      const char c = static_cast<char>(byte);
      byte_ids_[static_cast<std::size_t>(byte)] = index_.find({&c, 1});
      if (byte_ids_[static_cast<std::size_t>(byte)] < 0 && pre_.all_bytes) {
        vocab().fail(ErrorCode::kMalformed, kKey, "has no piece for the byte " + std::to_string(byte),
                     vocab().piece(0).data());
      }
    }
  }
  bool is_learned(TokenId id) const {
    const TokenType type = vocab().type(id);
    return type == TokenType::kNormal || type == TokenType::kUnused;
  }

  void build_merges() {
    constexpr std::string_view kKey = "tokenizer.ggml.merges";
    const auto merges = vocab().merges();
    merges_ = MergeTable(merges.size());
    std::string both;
    for (std::size_t rank = 0; rank < merges.size(); ++rank) {
      const std::string_view merge = merges[rank];
      const std::size_t space = merge.find(' ', 1);
      both.clear();
      const bool first = append_mapped(merge.substr(0, space), both);
      const std::size_t middle = both.size();
      const bool second = space < merge.size() && append_mapped(merge.substr(space + 1), both);
      const std::string_view view = both;
      const TokenId left = index_.find(view.substr(0, middle));
      const TokenId right = index_.find(view.substr(middle));
      const TokenId merged = index_.find(view);
      if (!first || !second || left < 0 || right < 0 || merged < 0) {
        vocab().fail(
            ErrorCode::kMalformed, kKey,
            "has the merge " + gemma::quoted(merge) + " of unknown pieces at " + std::to_string(rank),
            merge.data());
      }
      if (!merges_.add(left, right, {static_cast<std::int32_t>(rank), merged})) {
        vocab().fail(ErrorCode::kMalformed, kKey, "has merges chosen to collide", merge.data());
      }
    }
  }

  /// Appends the ids of `text`, which contains no user-defined piece; it may be empty or contain invalid
  /// UTF-8: a run of invalid bytes is a separate pre-token.
  void append_unmatched(std::string_view text, Scratch& scratch, std::vector<TokenId>& ids) const {
    while (!text.empty()) {
      const std::size_t valid = utf8::valid_prefix(text);
      pretokenizer_.split(text.substr(0, valid), scratch.ends);
      std::size_t begin = 0;
      for (const std::size_t end : scratch.ends) {
        append_pretoken(text.substr(begin, end - begin), scratch, ids);
        begin = end;
      }
      text.remove_prefix(valid);
      std::size_t broken = 0;
      while (broken < text.size() && !utf8::next(text, broken).valid)
        broken += utf8::next(text, broken).length;
      if (broken > 0) append_pretoken(text.substr(0, broken), scratch, ids);
      text.remove_prefix(broken);
    }
  }

  void append_pretoken(std::string_view text, Scratch& scratch, std::vector<TokenId>& ids) const {
    if (const TokenId whole = pre_.whole_pieces ? index_.find(text) : -1; whole >= 0) {
      ids.push_back(whole);
      return;
    }
    scratch.row.clear();
    for (const char c : text) scratch.row.add(byte_ids_[static_cast<unsigned char>(c)]);
    scratch.row.merge(merges_);
    scratch.row.for_each([&](TokenId id, std::uint32_t) {
      if (id >= 0) ids.push_back(id);
    });
  }

  const PreTokenizer& pre_;
  Pretokenizer pretokenizer_;
  std::string arena_;                    // the bytes of all pieces, one after the other
  std::vector<std::string_view> bytes_;  // [vocab_size], into arena_
  PieceIndex index_;                     // over bytes_, learned pieces only
  std::array<TokenId, 256> byte_ids_{};  // [byte]
  MergeTable merges_;
  PieceMatcher user_defined_;
};

}  // namespace gemma::detail
