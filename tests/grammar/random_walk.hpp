// Generates a text of a grammar from random tokens: at first any allowed ones, then those that lead to its
// end.
#pragma once

#include <algorithm>
#include <cstddef>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "gemma/grammar.hpp"

namespace gemma::test {

struct Walk {
  std::string text;
  bool finished = false;
  std::size_t n_tokens = 0;
};

/// Calls `before` and `after` around each apply(). Stops after `most` tokens.
template <typename Before, typename After>
Walk random_walk(GrammarMask mask, const PieceTrie& pieces, std::mt19937_64& random, std::size_t free_tokens,
                 std::size_t most, Before&& before, After&& after) {
  Walk out;
  std::vector<float> logits(pieces.vocab_size());
  std::vector<TokenId> allowed;
  for (; out.n_tokens < most && !mask.finished(); ++out.n_tokens) {
    std::fill(logits.begin(), logits.end(), 0.0F);
    before();
    mask.apply(logits);
    after();
    allowed.clear();
    for (std::size_t i = 0; i < logits.size(); ++i) {
      if (logits[i] == 0.0F) allowed.push_back(static_cast<TokenId>(i));
    }
    const auto any = [&] { return allowed[random() % allowed.size()]; };
    TokenId chosen = any();
    const bool ending = out.n_tokens >= free_tokens;
    if (mask.can_end() && (ending || random() % 4 == 0)) {
      chosen = pieces.ends()[0];
    } else if (random() % 3 == 0 || ending) {  // tokens that make progress in JSON
      constexpr std::string_view kSigns = "\"}]:,n";
      std::size_t best = kSigns.size();
      for (const TokenId id : allowed) {
        const std::string_view piece = pieces.bytes(id);
        const std::size_t at = piece.size() == 1 ? kSigns.find(piece[0]) : kSigns.npos;
        if (at < best && (ending || at == 0)) {
          best = at;
          chosen = id;
        }
      }
      // within a character or a number: the shortest piece
      for (std::size_t i = 0; best == kSigns.size() && ending && i < allowed.size(); ++i) {
        if (pieces.bytes(allowed[i]).size() < pieces.bytes(chosen).size()) chosen = allowed[i];
      }
    }
    if (!mask.accept(chosen)) throw std::logic_error("an allowed token is not accepted");
    out.text += pieces.bytes(chosen);
  }
  out.finished = mask.finished();
  return out;
}

}  // namespace gemma::test
