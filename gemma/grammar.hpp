// Constrained output: a grammar (GBNF) or a JSON schema decides which tokens may come next.
// Invariant: the text of accepted tokens is always the beginning of a text of the grammar, and can be
// completed; an end token is allowed exactly when the text is complete. Anything in a grammar or schema that
// cannot be enforced is an Error when it is read, never ignored. Time and memory are bounded whatever the
// grammar: see Grammar.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "piece_trie.hpp"

namespace gemma {

namespace detail {
class Automaton;
class MaskEngine;
}  // namespace detail

/// A set of allowed texts, compiled; takes about 1 ms for a schema of usual size. Independent of any
/// vocabulary. Immutable and cheap to copy; safe to share between threads.
class Grammar {
 public:
  /// Maximum length of a grammar or schema, in bytes.
  static constexpr std::size_t kMaxTextBytes = std::size_t{1} << 20;

  /// Compiles a grammar in GBNF (llama.cpp's notation, docs/constrained.md), whose start is rule "root".
  /// Throws Error{kMalformed} naming line and column, {kUnsupported} for left recursion, tokens in a grammar
  /// and grammars that are too large, {kOutOfMemory}.
  static Grammar gbnf(std::string_view text);
  /// Compiles a JSON schema (draft 2020-12, docs/constrained.md) into a set of values that it accepts,
  /// which may be fewer than all: members come in the order of "properties", white space is bounded, and a
  /// schema with "properties" and without "additionalProperties" allows no other members. Throws
  /// Error{kMalformed} for a text that is not a schema, {kUnsupported} naming a keyword or a combination that
  /// cannot be enforced, {kOutOfMemory}.
  static Grammar json_schema(std::string_view text);
  /// Grammar that accepts any JSON object.
  static Grammar json_object();

  /// Whether the grammar accepts a text. Throws Error{kUnsupported} if the grammar is too ambiguous.
  bool matches(std::string_view text) const;
  /// Memory held by the grammar, in bytes.
  std::size_t memory_bytes() const noexcept;

 private:
  friend class GrammarMask;
  explicit Grammar(std::shared_ptr<const detail::Automaton> automaton) : automaton_(std::move(automaton)) {}

  std::shared_ptr<const detail::Automaton> automaton_;
};

/// The position of one text in a grammar, and which tokens may come next. For each token: apply() to its
/// logits, choose, accept() the chosen one.
///
/// Copies continue independently (several answers to one prompt, drafts). Each mask is used by one thread at
/// a time; masks of different threads may be copies of each other: what they compute about the grammar is
/// shared under a lock, at most 48 MB for all copies.
class GrammarMask {
 public:
  /// A mask at the beginning of a text. Throws Error{kUnsupported} if the grammar's rules must nest too deep,
  /// {kOutOfMemory}.
  GrammarMask(const Grammar& grammar, std::shared_ptr<const PieceTrie> pieces);

  /// Sets the logits of all tokens that may not come next to -infinity. `logits` [vocab_size] may be longer
  /// than the vocabulary: ids without a piece are not allowed. Throws Error{kInvalidArgument} if it is
  /// shorter, {kUnsupported} if the grammar is too ambiguous or the vocabulary cannot spell what it requires,
  /// {kOutOfMemory}.
  void apply(std::span<float> logits);
  /// The ids that may come next, ascending. Throws as apply().
  std::vector<TokenId> allowed();
  /// Advances by a token. Returns false, and changes nothing, if the token may not come next. Throws
  /// Error{kUnsupported} if the grammar is too ambiguous, {kOutOfMemory}, and then nothing has changed.
  bool accept(TokenId token);

  /// Whether an end token was accepted: only further ends may follow.
  bool finished() const noexcept { return finished_; }
  /// Whether the text so far is complete.
  bool can_end() const noexcept { return can_end_; }
  /// Whether the text is complete and no further text is allowed.
  bool must_end() const noexcept { return must_end_; }

 private:
  friend class detail::MaskEngine;

  std::shared_ptr<detail::MaskEngine> engine_;
  std::vector<std::uint32_t> saved_;  // the state in a form that any table of the grammar can load
  std::uint64_t table_ = 0;           // number of the table that state_ refers to
  std::uint32_t state_ = 0;
  bool at_start_ = true;  // no token was accepted yet
  bool finished_ = false;
  bool can_end_ = false;
  bool must_end_ = false;
};

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "grammar/mask_engine.hpp"  // which ends with grammar.inl: it needs a whole MaskEngine
#endif
