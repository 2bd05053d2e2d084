// What a chat model replied, and the ranking in it.
// Invariant: a ranking is one that the reply states in full; what could be read in two ways is none.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace gemma::squad {

/// The text of a chat completion's message that should hold the ranking: a function's arguments, a tool's, or
/// the content (a text, or a list of parts that are texts). Throws nlohmann::json::exception for a message
/// that has none of them.
std::string reply_text(const nlohmann::json& message);

/// Ranks by position shown (as parse_ranking()), or nothing. Understood are, after everything up to the last
/// "</think>": JSON ({"rank": "2,1,3"} or {"rank": [2, 1, 3]}) or a plain ranking, alone, between fences, or
/// as the last line of other text, where "Ranking:" and the like may stand before it and marks of emphasis
/// around it.
std::vector<double> ranking_in(std::string_view text, std::size_t k);

}  // namespace gemma::squad
