// SentencePiece vocabularies (Gemma, Mistral, Llama 2): spaces become U+2581, user-defined pieces are matched
// first, sentencepiece merges the rest by score.
// Invariant: texts passed to sentencepiece are valid UTF-8 without spaces, and never empty.
//
// A word (a run of U+2581 and the characters up to the next run) is merged separately if no piece contains
// its beginning after another character (words.hpp): then no merge can cross it, so the ids are the same as
// for the whole text, and a repeated word takes one look-up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model_proto.hpp"
#include "piece_matcher.hpp"
#include "tokenizer_base.hpp"
#include "utf8.hpp"
#include "vocab.hpp"
#include "words.hpp"

namespace gemma::detail {

/// Wrapper of sentencepiece, whose headers only spm.cpp includes. Safe to use from many threads.
class SentencePiece {
 public:
  /// `model` is a serialized ModelProto. Throws Error{kMalformed} when sentencepiece refuses it.
  explicit SentencePiece(std::string_view model);
  ~SentencePiece();
  SentencePiece(const SentencePiece&) = delete;
  SentencePiece& operator=(const SentencePiece&) = delete;

  /// Appends the ids of `text` as sentencepiece's BPE gives them.
  void encode(std::string_view text, std::vector<TokenId>& ids) const;

 private:
  struct Processor;
  std::unique_ptr<const Processor> processor_;
};

/// Construction takes milliseconds: sentencepiece's own tables (0.1 s for Gemma's 256,000 pieces) are built
/// at the first call that needs them, by one thread while others wait.
class SpmTokenizer final : public Tokenizer {
 public:
  /// Throws Error{kMissingKey} if some character would have no token.
  explicit SpmTokenizer(Vocab from) : Tokenizer(std::move(from)) {
    require_token_for_every_byte(vocab());
    for (std::size_t i = 0; i < vocab().size(); ++i) {
      const auto id = static_cast<TokenId>(i);
      const TokenType type = vocab().type(id);
      if (type == TokenType::kUserDefined) user_defined_.add(mark_spaces(vocab().piece(id)), id);
      if (type == TokenType::kNormal || type == TokenType::kUnused) cuts_.add(vocab().piece(id));
    }
  }

 protected:
  void prepare() const override { model(); }

  void append_text(std::string_view text, std::vector<TokenId>& ids) const override {
    std::string marked;
    marked.reserve(text.size() + text.size() / 2 + utf8::kSpaceMark.size());
    if (vocab().add_space_prefix()) marked += utf8::kSpaceMark;
    append_marked(text, marked);
    Words words;
    for (std::size_t done = 0; done < marked.size();) {
      PieceMatcher::Match match;
      const std::size_t at = user_defined_.find(marked, done, match);
      append_unmatched(std::string_view(marked).substr(done, at - done), words, ids);
      if (at == marked.size()) break;
      ids.push_back(match.id);
      done = at + match.length;
    }
  }

  void append_piece(TokenId id, std::string& out) const override {
    const std::string_view piece = vocab().piece(id);
    if (vocab().type(id) == TokenType::kByte) {
      out += static_cast<char>(vocab().byte_of(id));
      return;
    }
    append_unmarked(piece, out);
  }

 private:
  /// Does not use std::call_once: glibc aborts if an exception leaves it while there is no memory to load the
  /// unwinder.
  const SentencePiece& model() const {
    const std::lock_guard lock(building_);
    if (!model_) model_ = std::make_unique<SentencePiece>(model_proto(vocab()));
    return *model_;
  }

  /// Appends the ids of `text`, which contains no user-defined piece; it may be empty or contain invalid
  /// UTF-8.
  void append_unmatched(std::string_view text, Words& words, std::vector<TokenId>& ids) const {
    while (!text.empty()) {
      const std::size_t valid = utf8::valid_prefix(text);
      append_valid(text.substr(0, valid), words, ids);
      text.remove_prefix(valid);
      if (text.empty()) break;
      const auto byte = static_cast<std::uint8_t>(text[0]);
      ids.push_back(vocab().has_all_bytes() ? *vocab().byte_token(byte) : *vocab().unk());
      text.remove_prefix(1);
    }
  }

  void append_valid(std::string_view text, Words& words, std::vector<TokenId>& ids) const {
    words.append(text, cuts_, ids,
                 [this](std::string_view word, std::vector<TokenId>& out) { model().encode(word, out); });
  }

  PieceMatcher user_defined_;
  WordCuts cuts_;
  mutable std::mutex building_;
  mutable std::unique_ptr<const SentencePiece> model_;
};

}  // namespace gemma::detail
