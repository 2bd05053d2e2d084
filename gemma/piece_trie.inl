// Definitions of piece_trie.hpp.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "../gguf/linkage.hpp"
#include "grammar/plain_chars.hpp"

namespace gemma {

GEMMA_INLINE std::shared_ptr<const PieceTrie> PieceTrie::from(const Tokenizer& tokenizer) {
  return detail::or_out_of_memory("no memory for the trie of a vocabulary", [&] {
    std::shared_ptr<PieceTrie> out(new PieceTrie);
    out->read(tokenizer);
    return std::shared_ptr<const PieceTrie>(std::move(out));
  });
}

GEMMA_INLINE std::size_t PieceTrie::memory_bytes() const noexcept {
  const auto of = [](const auto& list) { return list.capacity() * sizeof(list[0]); };
  return of(bytes_) + of(begin_) + of(byte_) + of(ends_) + of(all_.nodes) + of(all_.ids) + of(odd_.nodes) +
         of(odd_.ids) + of(plain_);
}

GEMMA_INLINE void PieceTrie::read(const Tokenizer& tokenizer) {
  const Vocab& vocab = tokenizer.vocab();
  drops_space_ = vocab.add_space_prefix();
  ends_.assign(vocab.stop_ids().begin(), vocab.stop_ids().end());
  begin_.push_back(0);
  byte_.assign(vocab.size(), 0);
  std::vector<TokenId> ids, odd;
  std::vector<std::size_t> n_plain(vocab.size(), 0);
  std::string text;
  for (std::size_t i = 0; i < vocab.size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    const TokenType type = vocab.type(id);
    text.clear();
    const bool marker =
        type == TokenType::kUserDefined && detail::is_one_of(vocab.markers().user_defined, vocab.piece(id));
    const bool writes = type == TokenType::kNormal || type == TokenType::kByte ||
                        (type == TokenType::kUserDefined && !marker);
    bool at_start = false;
    if (writes && !vocab.is_stop(id)) tokenizer.append_token(id, false, at_start, text);
    if (text.size() > kMaxBytes) text.clear();
    bytes_.insert(bytes_.end(), text.begin(), text.end());
    begin_.push_back(static_cast<std::uint32_t>(bytes_.size()));
    byte_[i] = type == TokenType::kByte;
    if (text.empty()) continue;
    ids.push_back(id);
    const auto count = detail::PlainChars::count(text);
    if (count && *count <= kMaxPlain) {
      n_plain[i] = *count;
    } else {
      odd.push_back(id);
    }
  }
  plain_.assign((kMaxPlain + 1) * words(), 0);
  for (std::size_t i = 0; i < vocab.size(); ++i) {
    for (std::size_t n = n_plain[i]; n != 0 && n <= kMaxPlain; ++n) {
      plain_[n * words() + i / 64] |= std::uint64_t{1} << (i % 64);
    }
  }
  all_ = tree_of(std::move(ids), *this);
  odd_ = tree_of(std::move(odd), *this);
}

GEMMA_INLINE PieceTrie::Tree PieceTrie::tree_of(std::vector<TokenId> ids, const PieceTrie& pieces) {
  std::sort(ids.begin(), ids.end(), [&](TokenId a, TokenId b) {
    const std::string_view x = pieces.bytes(a);
    const std::string_view y = pieces.bytes(b);
    return x != y ? x < y : a < b;
  });
  Tree tree;
  std::vector<std::size_t> open;  // indices of the nodes from the root to the current one
  std::string_view before;
  const auto close = [&](std::size_t depth) {
    for (; open.size() > depth; open.pop_back()) {
      tree.nodes[open.back()].behind = static_cast<std::uint32_t>(tree.nodes.size());
    }
  };
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const std::string_view text = pieces.bytes(ids[i]);
    const auto same = static_cast<std::size_t>(
        std::mismatch(text.begin(), text.end(), before.begin(), before.end()).first - text.begin());
    close(same);
    for (std::size_t at = same; at < text.size(); ++at) {
      open.push_back(tree.nodes.size());
      tree.nodes.push_back({0, static_cast<std::uint32_t>(i), static_cast<std::uint16_t>(at + 1),
                            static_cast<std::uint8_t>(text[at])});
    }
    before = text;
  }
  close(0);
  tree.nodes.push_back({0, static_cast<std::uint32_t>(ids.size()), 0, 0});
  tree.nodes.shrink_to_fit();
  tree.ids = std::move(ids);
  return tree;
}

}  // namespace gemma
