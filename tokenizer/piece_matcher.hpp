// Finds given pieces in a text: the longest one that starts at a position (control and user-defined tokens).
// Invariant: a byte trie, children of a node as a list of siblings; memory is bounded by the pieces' bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace gemma::detail {

/// A set of non-empty pieces with ids. Owns what it needs. Safe to read from many threads once filled.
class PieceMatcher {
 public:
  /// A match; length 0 means that nothing was found.
  struct Match {
    std::int32_t id = -1;    // -1: nothing starts here
    std::size_t length = 0;  // bytes
    /// Whether a piece matched.
    explicit operator bool() const noexcept { return id >= 0; }
  };

  /// Adds a piece; of equal pieces the one added first is found.
  void add(std::string_view piece, std::int32_t id) {
    if (piece.empty()) return;
    std::int32_t* link = &roots_[static_cast<unsigned char>(piece[0])];
    std::int32_t node = -1;
    for (const char c : piece) {
      while (*link >= 0 && nodes_[static_cast<std::size_t>(*link)].byte != c) {
        link = &nodes_[static_cast<std::size_t>(*link)].sibling;
      }
      node = *link;
      if (node < 0) {
        node = static_cast<std::int32_t>(nodes_.size());
        *link = node;  // before push_back, which may move what link points to
        nodes_.push_back({c, -1, -1, -1});
      }
      link = &nodes_[static_cast<std::size_t>(node)].child;
    }
    if (nodes_[static_cast<std::size_t>(node)].id < 0) nodes_[static_cast<std::size_t>(node)].id = id;
  }

  /// Whether the matcher holds no pieces.
  bool empty() const noexcept { return nodes_.empty(); }

  /// The longest piece that `text` has at `at`; needs at < text.size().
  Match longest_at(std::string_view text, std::size_t at) const noexcept {
    Match best;
    std::int32_t node = roots_[static_cast<unsigned char>(text[at])];
    for (std::size_t length = 1; node >= 0; ++length) {
      const Node& here = nodes_[static_cast<std::size_t>(node)];
      if (here.id >= 0) best = {here.id, length};
      if (at + length == text.size()) break;
      node = here.child;
      while (node >= 0 && nodes_[static_cast<std::size_t>(node)].byte != text[at + length]) {
        node = nodes_[static_cast<std::size_t>(node)].sibling;
      }
    }
    return best;
  }

  /// The first position from `at` on where a piece starts, or text.size(); `match` is the longest one there.
  std::size_t find(std::string_view text, std::size_t at, Match& match) const noexcept {
    if (nodes_.empty()) return text.size();
    for (; at < text.size(); ++at) {
      match = longest_at(text, at);
      if (match) return at;
    }
    return text.size();
  }

 private:
  struct Node {
    char byte;
    std::int32_t id;       // of the piece that ends here, or -1
    std::int32_t child;    // first child, or -1
    std::int32_t sibling;  // next child of the same parent, or -1
  };

  static constexpr std::array<std::int32_t, 256> no_roots() {
    std::array<std::int32_t, 256> none{};
    none.fill(-1);
    return none;
  }

  std::vector<Node> nodes_;
  std::array<std::int32_t, 256> roots_ = no_roots();
};

}  // namespace gemma::detail
