// Reads the reply of a chat model and the ranking in it.
// Invariant: only a ranking that the reply states in full is accepted; an ambiguous one is not.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace gemma::squad {

/// The text of a chat completion's message that should contain the ranking: a function's arguments, a tool's,
/// or the content (a text, or a list of text parts). Throws nlohmann::json::exception for a message with none
/// of these.
std::string reply_text(const nlohmann::json& message);

/// Ranks by position (ranks[id - 1]), or an empty vector unless each ID from 1 to k occurs once. Everything
/// up to the last "</think>" is ignored; then a ranking, IDs from best to worst, is accepted as JSON
/// ({"rank": "2,1,3"} or {"rank": [2, 1, 3]}) or plain text ("2,1,3", "213", "2 > 1 > 3"): alone, between
/// fences, or as the last line of other text, where "Ranking:" or similar may precede it and marks of
/// emphasis surround it.
std::vector<double> ranking_in(std::string_view text, std::size_t k);

}  // namespace gemma::squad
