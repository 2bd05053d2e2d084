// Constrained output: a grammar (GBNF) or a JSON schema decides which tokens may come next.
// Invariant: text made of accepted tokens is always the beginning of a text of the grammar, and can be
// completed; an end token is allowed exactly where it is whole. What a grammar or schema asks for and cannot
// be kept is an Error when it is read, never ignored. Time and memory are bounded whatever the grammar: see
// Grammar.
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

/// What texts are allowed, compiled: 1 ms for a schema of usual size. Independent of any vocabulary.
/// Immutable and cheap to copy; safe to share between threads.
class Grammar {
 public:
  /// Maximum length of a grammar or schema, in bytes.
  static constexpr std::size_t kMaxTextBytes = std::size_t{1} << 20;

  /// A grammar in GBNF (llama.cpp's notation, docs/constrained.md); it begins at rule "root".
  /// Throws Error{kMalformed} naming line and column, {kUnsupported} for left recursion and grammars that are
  /// too large, {kOutOfMemory}.
  static Grammar gbnf(std::string_view text);
  /// The JSON values that a schema (draft 2020-12, docs/constrained.md) takes, or some of them: members come
  /// in the order of "properties", white space is bounded, and where "additionalProperties" is not there and
  /// "properties" is, there are no others. Throws Error{kMalformed} for what is no schema, {kUnsupported}
  /// naming a keyword or a combination that cannot be kept, {kOutOfMemory}.
  static Grammar json_schema(std::string_view text);
  /// Grammar that accepts any JSON object.
  static Grammar json_object();

  /// Whether a text is one of the grammar's. Throws Error{kUnsupported} when the grammar is too ambiguous.
  bool matches(std::string_view text) const;
  /// Memory held by the grammar, in bytes.
  std::size_t memory_bytes() const noexcept;

 private:
  friend class GrammarMask;
  explicit Grammar(std::shared_ptr<const detail::Automaton> automaton) : automaton_(std::move(automaton)) {}

  std::shared_ptr<const detail::Automaton> automaton_;
};

/// Where one text stands in a grammar, and which tokens may come next. Before each token: apply() to its
/// logits, choose, accept() what was chosen.
///
/// Copies go on independently (choices of one prompt, drafts). One thread at a time for each mask; masks of
/// different threads may be copies of each other: what they find out about the grammar is shared under a
/// lock, at most 48 MB for all copies.
class GrammarMask {
 public:
  /// At the beginning of a text. Throws Error{kUnsupported} when the grammar's rules must nest too deep,
  /// {kOutOfMemory}.
  GrammarMask(const Grammar& grammar, std::shared_ptr<const PieceTrie> pieces);

  /// Sets the logits of all tokens that may not come next to -infinity. `logits` [vocab_size] may be longer
  /// than the vocabulary: what has no piece is not allowed. Throws Error{kInvalidArgument} for fewer,
  /// {kUnsupported} when the grammar is too ambiguous or the vocabulary cannot spell what it asks for,
  /// {kOutOfMemory}.
  void apply(std::span<float> logits);
  /// The ids that may come next, ascending. Throws as apply().
  std::vector<TokenId> allowed();
  /// Goes on behind this token. False, and nothing has changed: it may not come next. Throws
  /// Error{kUnsupported} when the grammar is too ambiguous, {kOutOfMemory}, and then nothing has changed.
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
  std::vector<std::uint32_t> saved_;  // the state, for any table of the grammar
  std::uint64_t table_ = 0;           // whose number state_ is
  std::uint32_t state_ = 0;
  bool at_start_ = true;  // nothing was accepted yet
  bool finished_ = false;
  bool can_end_ = false;
  bool must_end_ = false;
};

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "grammar/mask_engine.hpp"  // which ends with grammar.inl: it needs a whole MaskEngine
#endif
