// Byte-level BPE (Llama 3, SmolLM2): pre-tokens of bytes, merged by rank.
// Invariant: every byte has a token, so every text can be encoded and decode(encode(text)) is the text.
//
// Pieces and merges lie in the file in GPT-2's printable form, a character for each byte; here they are
// bytes. With Llama 3's pre-tokenizer one that is a piece is taken whole ("ignore_merges"). Otherwise the
// pair of lowest rank is merged, leftmost first, until none is left: a heap of pairs, O(n log n) for a
// pre-token of n bytes.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../gguf/error.hpp"
#include "piece_index.hpp"
#include "piece_matcher.hpp"
#include "pretokenize.hpp"
#include "tokenizer_base.hpp"
#include "utf8.hpp"
#include "vocab.hpp"

namespace gemma {

namespace detail {

/// GPT-2's characters for bytes: printable Latin-1 stands for itself, the other 68 bytes for U+0100 and up.
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

/// Appends the bytes that `piece` stands for; false, and nothing appended, when it holds another character.
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

/// (left id, right id) -> (rank, id of the merged piece): a flat hash table, at most two thirds full. Every
/// pair lies within kLongestProbe slots of its own: Llama 3's 280,147 need 41, more was made to collide.
class MergeTable {
 public:
  static constexpr std::size_t kLongestProbe = 1024;

  struct Merge {
    std::int32_t rank = -1;  // -1: no such merge
    TokenId merged = -1;
  };

  MergeTable() = default;
  explicit MergeTable(std::size_t count) : slots_(std::bit_ceil(count + count / 2 + 2)) {}

  /// Of equal pairs the first one stays. False when too many pairs collide.
  bool add(TokenId left, TokenId right, Merge merge) {
    const std::size_t at = find_slot(key(left, right));
    if (at == kNowhere) return false;
    if (slots_[at].merge.rank < 0) slots_[at] = {key(left, right), merge};
    return true;
  }
  Merge find(TokenId left, TokenId right) const noexcept {
    const std::size_t at = find_slot(key(left, right));
    return at == kNowhere ? Merge{} : slots_[at].merge;
  }

 private:
  struct Slot {
    std::uint64_t key = 0;
    Merge merge;
  };
  static std::uint64_t key(TokenId left, TokenId right) noexcept {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
           static_cast<std::uint32_t>(right);
  }
  static constexpr std::size_t kNowhere = ~std::size_t{0};
  /// The slot that holds `wanted`, or the free one where it belongs, or kNowhere when neither is near.
  std::size_t find_slot(std::uint64_t wanted) const noexcept {
    const std::size_t mask = slots_.size() - 1;
    // Fibonacci hashing: the product's high bits mix all bits of the key
    std::size_t at = static_cast<std::size_t>(wanted * 0x9E3779B97F4A7C15u >> 32) & mask;
    for (std::size_t i = 0; i < kLongestProbe; ++i, at = (at + 1) & mask) {
      if (slots_[at].merge.rank < 0 || slots_[at].key == wanted) return at;
    }
    return kNowhere;
  }

  std::vector<Slot> slots_;
};

}  // namespace detail

class BpeTokenizer final : public Tokenizer {
 public:
  /// Throws Error naming file and key: kUnsupported (a pre-tokenizer that is not known), kMalformed (a byte
  /// without a piece, a merge of pieces that do not exist).
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
  struct Symbol {
    TokenId id;         // -1 once merged into the one before
    std::int32_t prev;  // -1 at the ends
    std::int32_t next;
  };
  struct Candidate {
    std::int32_t rank;
    std::int32_t left;  // index of the left symbol
    TokenId left_id;    // the pair as it was: stale when the symbols have changed since
    TokenId right_id;
    TokenId merged;
    /// A heap's top is its greatest: lowest rank first, then leftmost.
    friend bool operator<(const Candidate& a, const Candidate& b) noexcept {
      return a.rank != b.rank ? a.rank > b.rank : a.left > b.left;
    }
  };
  /// Buffers that live for one call.
  struct Scratch {
    std::vector<std::size_t> ends;
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
  };

  /// The one that the file names, or that of its dialect.
  const PreTokenizer& pre_tokenizer() const {
    const std::string_view named = vocab().pre();
    // the first Llama 3 files have no such key: their markers tell
    const bool unsaid = named.empty() || named == "default";
    const PreTokenizer* known = dialects::find_pre_tokenizer(unsaid ? vocab().markers().pre : named);
    if (known != nullptr) return *known;
    constexpr std::string_view kKey = "tokenizer.ggml.pre";
    if (named.data() == nullptr) {
      throw Error(ErrorCode::kUnsupported, vocab().source() + ": key " + quoted(kKey) +
                                               " is missing, and the vocabulary's markers do not tell it");
    }
    vocab().fail(ErrorCode::kUnsupported, kKey,
                 "is " + quoted(named) + "; 'llama-bpe', 'smaug-bpe' and 'smollm' are supported",
                 named.data());
  }

  void build_pieces() {
    constexpr std::string_view kKey = "tokenizer.ggml.tokens";
    const std::size_t n = vocab().size();
    std::vector<std::size_t> ends(n);
    for (std::size_t i = 0; i < n; ++i) {
      const auto id = static_cast<TokenId>(i);
      const std::string_view piece = vocab().piece(id);
      const bool mapped = is_learned(id) && detail::append_mapped(piece, arena_);
      if (!mapped) arena_ += piece;  // an added token, spelled as it is
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
      if (byte_ids_[static_cast<std::size_t>(byte)] < 0) {
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
    merges_ = detail::MergeTable(merges.size());
    std::string both;
    for (std::size_t rank = 0; rank < merges.size(); ++rank) {
      const std::string_view merge = merges[rank];
      const std::size_t space = merge.find(' ', 1);
      both.clear();
      const bool first = detail::append_mapped(merge.substr(0, space), both);
      const std::size_t middle = both.size();
      const bool second = space < merge.size() && detail::append_mapped(merge.substr(space + 1), both);
      const std::string_view view = both;
      const TokenId left = index_.find(view.substr(0, middle));
      const TokenId right = index_.find(view.substr(middle));
      const TokenId merged = index_.find(view);
      if (!first || !second || left < 0 || right < 0 || merged < 0) {
        vocab().fail(ErrorCode::kMalformed, kKey,
                     "has the merge " + quoted(merge) + " of unknown pieces at " + std::to_string(rank),
                     merge.data());
      }
      if (!merges_.add(left, right, {static_cast<std::int32_t>(rank), merged})) {
        vocab().fail(ErrorCode::kMalformed, kKey, "has merges chosen to collide", merge.data());
      }
    }
  }

  /// `text` holds no user-defined piece; it may be empty or hold bytes that are not UTF-8: a run of such
  /// bytes is a pre-token of its own.
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
    std::vector<Symbol>& symbols = scratch.symbols;
    symbols.clear();
    const auto n = static_cast<std::int32_t>(text.size());
    for (std::int32_t i = 0; i < n; ++i) {
      const auto byte = static_cast<unsigned char>(text[static_cast<std::size_t>(i)]);
      symbols.push_back({byte_ids_[byte], i - 1, i + 1 == n ? -1 : i + 1});
    }
    merge_symbols(scratch);
    for (std::int32_t i = 0; i >= 0; i = symbols[static_cast<std::size_t>(i)].next) {
      ids.push_back(symbols[static_cast<std::size_t>(i)].id);
    }
  }

  void merge_symbols(Scratch& scratch) const {
    std::vector<Symbol>& symbols = scratch.symbols;
    std::vector<Candidate>& heap = scratch.heap;
    const auto at = [&](std::int32_t i) -> Symbol& { return symbols[static_cast<std::size_t>(i)]; };
    const auto consider = [&](std::int32_t left) {
      if (left < 0 || at(left).next < 0) return;
      const TokenId left_id = at(left).id;
      const TokenId right_id = at(at(left).next).id;
      const auto merge = merges_.find(left_id, right_id);
      if (merge.rank >= 0) heap.push_back({merge.rank, left, left_id, right_id, merge.merged});
    };
    heap.clear();
    const auto n = static_cast<std::int32_t>(symbols.size());
    for (std::int32_t i = 0; i + 1 < n; ++i) consider(i);
    std::make_heap(heap.begin(), heap.end());
    const auto push = [&](std::int32_t left) {
      const std::size_t before = heap.size();
      consider(left);
      if (heap.size() > before) std::push_heap(heap.begin(), heap.end());
    };
    while (!heap.empty()) {
      std::pop_heap(heap.begin(), heap.end());
      const Candidate best = heap.back();
      heap.pop_back();
      Symbol& left = at(best.left);
      if (left.id != best.left_id || left.next < 0 || at(left.next).id != best.right_id) continue;
      Symbol& right = at(left.next);
      left.id = best.merged;
      left.next = right.next;
      if (right.next >= 0) at(right.next).prev = best.left;
      right.id = -1;
      push(left.prev);
      push(best.left);
    }
  }

  const PreTokenizer& pre_;
  detail::Pretokenizer pretokenizer_;
  std::string arena_;                    // the bytes of all pieces, one after the other
  std::vector<std::string_view> bytes_;  // [vocab_size], into arena_
  PieceIndex index_;                     // over bytes_, learned pieces only
  std::array<TokenId, 256> byte_ids_{};  // [byte]
  detail::MergeTable merges_;
  PieceMatcher user_defined_;
};

}  // namespace gemma
