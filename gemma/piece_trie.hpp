// The pieces of a vocabulary as a trie over their bytes, for finding all pieces that a grammar allows next in
// one walk.
// Invariant: it contains only pieces that write text: no control, unknown or unused pieces, no markers of
// turns, thoughts and tools.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "../tokenizer/tokenizer_base.hpp"

namespace gemma {

/// The trie. Immutable: one per model, shared by all grammars and threads. Does not refer to the tokenizer.
/// About 14 MB and 0.2 s for Gemma's 262,144 pieces.
class PieceTrie {
 public:
  /// Longest piece that constrained text may use, in bytes. Longer pieces of real vocabularies are runs of
  /// one character.
  static constexpr std::size_t kMaxBytes = 256;
  /// Longest piece of plain characters (grammar/plain_chars.hpp), in characters, that is allowed or refused
  /// as a whole, without a walk over its bytes.
  static constexpr std::size_t kMaxPlain = 32;

  /// Throws Error{kOutOfMemory}.
  static std::shared_ptr<const PieceTrie> from(const Tokenizer& tokenizer);

  /// Number of ids of the vocabulary, including those without text.
  std::size_t vocab_size() const noexcept { return begin_.size() - 1; }
  /// The text of a piece; "" for one that writes nothing or is not in the trie.
  std::string_view bytes(TokenId id) const {
    const auto i = static_cast<std::size_t>(id);
    return std::string_view(bytes_.data() + begin_[i], begin_[i + 1] - begin_[i]);
  }
  /// Whether the id is a byte token, which keeps a space at the start of a text.
  bool is_byte(TokenId id) const { return byte_[static_cast<std::size_t>(id)] != 0; }
  /// Ids that end a text, ascending.
  std::span<const TokenId> ends() const noexcept { return ends_; }
  /// Whether a leading space at the start of a text is dropped (Vocab::add_space_prefix).
  bool drops_space() const noexcept { return drops_space_; }
  /// Memory held by the trie, in bytes.
  std::size_t memory_bytes() const noexcept;

  /// A node: one byte more than its parent. Nodes are stored in depth-first order.
  struct Node {
    std::uint32_t behind;  // index of the first node after this node's subtree
    std::uint32_t tokens;  // index of the node's first id; its ids end where the next node's begin
    std::uint16_t depth;   // bytes from the root; 1 for the first byte of a piece
    std::uint8_t byte;     // the byte that the node adds
  };
  /// Nodes and the ids that end at them. The last node marks the end and has depth 0.
  struct Tree {
    std::vector<Node> nodes;   // depth first
    std::vector<TokenId> ids;  // in the order of the nodes
  };
  /// The tree of all pieces.
  const Tree& all() const noexcept { return all_; }
  /// The tree of the pieces that are not 1 to kMaxPlain plain characters.
  const Tree& odd() const noexcept { return odd_; }
  /// A set of ids as bits, 64 to a word: the pieces of 1 to n plain characters, n at most kMaxPlain.
  std::span<const std::uint64_t> plain(std::size_t n) const noexcept {
    return std::span(plain_).subspan((n < kMaxPlain ? n : kMaxPlain) * words(), words());
  }
  /// Number of 64-bit words in a set of ids.
  std::size_t words() const noexcept { return (vocab_size() + 63) / 64; }

 private:
  PieceTrie() = default;
  void read(const Tokenizer& tokenizer);
  static Tree tree_of(std::vector<TokenId> ids, const PieceTrie& pieces);

  std::vector<char> bytes_;
  std::vector<std::uint32_t> begin_;  // [vocab_size + 1]
  std::vector<char> byte_;            // [vocab_size]
  std::vector<TokenId> ends_;
  bool drops_space_ = false;
  Tree all_, odd_;
  std::vector<std::uint64_t> plain_;  // [kMaxPlain + 1, words]
};

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "piece_trie.inl"
#endif
