// BPE by merge rank over whole lines (Gemma 4): spaces become U+2581, user-defined pieces are matched first,
// a text is split at its newlines only, and the characters of a line are merged by rank. Invariant: text
// without a piece becomes byte tokens, so every text can be encoded.
//
// Source: the published tokenizer.json (BPE with byte fallback, which splits text at runs of newlines only).
// Words are merged one by one if no merge can cross their beginnings (words.hpp), and the ids of repeated
// words are looked up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "../gguf/error.hpp"
#include "bpe_merge.hpp"
#include "piece_index.hpp"
#include "piece_matcher.hpp"
#include "tokenizer_base.hpp"
#include "utf8.hpp"
#include "vocab.hpp"
#include "words.hpp"

namespace gemma::detail {

/// Construction takes milliseconds: the tables of 262,144 pieces and 514,906 merges are built at the first
/// call that needs them, by one thread while others wait.
class LineBpeTokenizer final : public Tokenizer {
 public:
  /// Throws Error{kMissingKey} if some character would have no token.
  explicit LineBpeTokenizer(Vocab from) : Tokenizer(std::move(from)), all_bytes_(vocab().has_all_bytes()) {
    require_token_for_every_byte(vocab());
    for (std::size_t i = 0; i < vocab().size(); ++i) {
      const auto id = static_cast<TokenId>(i);
      if (vocab().type(id) == TokenType::kUserDefined) {
        user_defined_.add(mark_spaces(vocab().piece(id)), id);
      }
    }
  }

 protected:
  void prepare() const override { tables(); }

  void append_text(std::string_view text, std::vector<TokenId>& ids) const override {
    const Tables& t = tables();
    std::string marked;
    marked.reserve(text.size() + text.size() / 2);
    append_marked(text, marked);
    Scratch scratch;
    for (std::size_t done = 0; done < marked.size();) {
      PieceMatcher::Match match;
      const std::size_t at = user_defined_.find(marked, done, match);
      append_unmatched(t, std::string_view(marked).substr(done, at - done), scratch, ids);
      if (at == marked.size()) break;
      ids.push_back(match.id);
      done = at + match.length;
    }
  }

  void append_piece(TokenId id, std::string& out) const override {
    if (vocab().type(id) == TokenType::kByte) {
      out += static_cast<char>(vocab().byte_of(id));
      return;
    }
    append_unmarked(vocab().piece(id), out);
  }

 private:
  /// Scratch buffers of one call.
  struct Scratch {
    Words words;
    MergeRow row;
  };
  /// Longest chain of the hash table of steps: longer chains result from keys that were chosen to collide.
  static constexpr std::size_t kLongestChain = 64;

  struct Tables {
    PieceIndex index;  // over the vocabulary's pieces
    /// Results of merges that are not pieces: intermediate steps towards a piece. Their ids begin at
    /// the vocabulary's size.
    std::unordered_map<std::string, TokenId> steps;
    MergeTable merges;
    WordCuts cuts;
  };

  /// Throws Error naming file and key: kMalformed (a merge that is not of two parts, pieces or merges
  /// chosen to collide), {kOutOfMemory}. Not by std::call_once: see SpmTokenizer.
  const Tables& tables() const {
    const std::lock_guard lock(building_);
    if (!tables_) tables_ = build();
    return *tables_;
  }

  std::unique_ptr<const Tables> build() const {
    auto t = std::make_unique<Tables>();
    t->index = PieceIndex(vocab().pieces());
    for (std::size_t i = 0; i < vocab().size(); ++i) {
      const auto id = static_cast<TokenId>(i);
      if (!vocab().piece(id).empty() && !t->index.add(id)) {
        vocab().fail(ErrorCode::kMalformed, "tokenizer.ggml.tokens", "has pieces chosen to collide",
                     vocab().piece(id).data());
      }
    }
    const auto merges = vocab().merges();
    t->merges = MergeTable(merges.size());
    std::string both;
    for (std::size_t rank = 0; rank < merges.size(); ++rank) add_merge(*t, rank, both);
    return t;
  }

  /// Adds merge `both`, whose two parts are separated by the first space after its first byte; parts hold no
  /// spaces.
  void add_merge(Tables& t, std::size_t rank, std::string& both) const {
    constexpr std::string_view kKey = "tokenizer.ggml.merges";
    const std::string_view merge = vocab().merges()[rank];
    const std::size_t space = merge.find(' ', 1);
    if (space == merge.npos || space + 1 == merge.size()) {
      vocab().fail(ErrorCode::kMalformed, kKey,
                   "has the merge " + gemma::quoted(merge) + ", not of two parts, at " + std::to_string(rank),
                   merge.data());
    }
    both.assign(merge, 0, space);
    both.append(merge, space + 1);
    const TokenId left = add_symbol(t, merge.substr(0, space), merge);
    const TokenId right = add_symbol(t, merge.substr(space + 1), merge);
    const TokenId merged = add_symbol(t, both, merge);
    if (!is_text(left) || !is_text(right) || !is_text(merged)) return;  // text never becomes a control token
    if (!t.merges.add(left, right, {static_cast<std::int32_t>(rank), merged})) {
      vocab().fail(ErrorCode::kMalformed, kKey, "has merges chosen to collide", merge.data());
    }
    t.cuts.add(both);
  }
  /// The id of a text that occurs in merges: that of its piece, or of its step, which is added if it is new.
  TokenId add_symbol(Tables& t, std::string_view text, std::string_view merge) const {
    if (const TokenId id = t.index.find(text); id >= 0) return id;
    const auto [it, fresh] =
        t.steps.try_emplace(std::string(text), static_cast<TokenId>(vocab().size() + t.steps.size()));
    if (fresh && t.steps.bucket_size(t.steps.bucket(it->first)) > kLongestChain) {
      vocab().fail(ErrorCode::kMalformed, "tokenizer.ggml.merges", "has parts chosen to collide",
                   merge.data());
    }
    return it->second;
  }

  bool is_piece(TokenId id) const { return static_cast<std::size_t>(id) < vocab().size(); }
  /// Whether plain text may become this symbol: it is a step or a piece of text. Requires id >= 0.
  bool is_text(TokenId id) const {
    if (!is_piece(id)) return true;
    const TokenType type = vocab().type(id);
    return type == TokenType::kNormal || type == TokenType::kUnused || type == TokenType::kUserDefined;
  }
  /// The id of the piece with this text, or -1.
  TokenId find_piece(const Tables& t, std::string_view text) const {
    const TokenId id = t.index.find(text);
    return id >= 0 && is_text(id) ? id : -1;
  }
  /// The id of the piece or step with this text, or -1.
  TokenId find_symbol(const Tables& t, std::string_view text) const {
    const TokenId id = t.index.find(text);
    if (id >= 0) return is_text(id) ? id : -1;
    if (t.steps.empty()) return -1;
    const auto it = t.steps.find(std::string(text));
    return it != t.steps.end() ? it->second : -1;
  }

  /// Appends the ids of `text`, which holds no user-defined piece. It is cut into runs of newlines and the
  /// text between them.
  void append_unmatched(const Tables& t, std::string_view text, Scratch& scratch,
                        std::vector<TokenId>& ids) const {
    while (!text.empty()) {
      const bool newlines = text.front() == '\n';
      const std::size_t end = newlines ? text.find_first_not_of('\n') : text.find('\n');
      const std::string_view run = text.substr(0, end);
      text.remove_prefix(run.size());
      const TokenId whole = newlines ? find_piece(t, run) : -1;
      if (whole >= 0) {
        ids.push_back(whole);
      } else {
        scratch.words.append(run, t.cuts, ids, [&](std::string_view word, std::vector<TokenId>& out) {
          append_word(t, word, scratch.row, out);
        });
      }
    }
  }

  /// Merges the characters of `word` and appends the ids. Symbols that are not pieces in the end, and invalid
  /// bytes, become byte tokens. A symbol's tag is its position in the word.
  void append_word(const Tables& t, std::string_view word, MergeRow& row, std::vector<TokenId>& ids) const {
    row.clear();
    for (std::size_t at = 0; at < word.size();) {
      const utf8::Sequence s = utf8::next(word, at);
      const std::string_view symbol = word.substr(at, s.length);
      row.add(s.valid ? find_symbol(t, symbol) : -1, static_cast<std::uint32_t>(at));
      at += s.length;
    }
    row.merge(t.merges);
    TokenId last = -1;
    std::size_t begin = 0;
    row.for_each([&](TokenId id, std::uint32_t at) {
      append_symbol(last, word.substr(begin, at - begin), ids);
      last = id;
      begin = at;
    });
    append_symbol(last, word.substr(begin), ids);
  }
  /// Appends a piece's id, or the byte tokens of `text` if the symbol is not a piece.
  void append_symbol(TokenId id, std::string_view text, std::vector<TokenId>& ids) const {
    if (id >= 0 && is_piece(id)) {
      ids.push_back(id);
      return;
    }
    for (const char c : text) {
      const auto byte = static_cast<std::uint8_t>(c);
      ids.push_back(all_bytes_ ? *vocab().byte_token(byte) : *vocab().unk());
    }
  }

  bool all_bytes_;
  PieceMatcher user_defined_;
  mutable std::mutex building_;
  mutable std::unique_ptr<const Tables> tables_;
};

}  // namespace gemma::detail
