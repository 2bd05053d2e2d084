// SQuAD v1.1 and v2.0 as published files or as rows: reading, a seeded selection of questions grouped by
// passage, and shards of it.
// Invariant: a Dataset is complete: ids are unique, every question refers to an existing passage and has its
// true answers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace gemma::squad {

struct Truth {
  std::string text;
  std::size_t start = 0;  // its position in the passage, in code points
};

struct Passage {
  std::string title;  // title of its article
  std::string text;
};

struct Question {
  std::string id;
  std::string text;
  std::vector<Truth> truths;  // empty: the passage does not answer it (v2.0 only)
  std::size_t passage = 0;    // index into Dataset::passages
};

struct Dataset {
  std::string version;  // of the file, e.g. "1.1"; "v2.0" if some question has no answer
  bool is_v2 = false;   // scored by the rules of v2.0: some question may have no answer
  std::vector<Passage> passages;
  std::vector<Question> questions;  // in the file's order
};

/// Parses JSON; `name` is the file's name in messages. Throws gemma::Error (malformed).
nlohmann::json parse_json(std::string_view text, std::string_view name);

/// Reads a SQuAD file as published, or rows as Hugging Face publishes them: JSON lines, or an array, of {id,
/// title, context, question, answers: {text: [], answer_start: []}}; rows with the same title and context
/// share a passage. A set is of v2.0 if its version says so, a question is marked impossible, or a question
/// has no answer where that is allowed (in rows, and in questions with an is_impossible); `is_impossible:
/// false` alone is no sign. Throws gemma::Error (io, malformed), which names the file and the place.
Dataset read_dataset(const std::filesystem::path& file);
/// Reads a data set from memory; `name` is the file's name in messages.
Dataset parse_dataset(std::string_view text, std::string_view name);

/// Selects `n` questions (0 or more than there are: all): all questions are shuffled (Fisher-Yates) with
/// `seed`, and the first n are grouped by passage, so that they can share its prefill: a passage comes where
/// its first question was, and its questions keep their order. Except for the grouping, the first n of a seed
/// are the first n of any larger selection of that seed.
Dataset select_questions(const Dataset& dataset, std::size_t n, std::uint64_t seed);

/// Part `index` of `count`, 1-based; count >= 1.
struct Shard {
  std::size_t index = 1;
  std::size_t count = 1;
};

/// "2/8" -> {2, 8}. Throws gemma::Error (invalid_argument) for anything else, also 0/8 and 9/8.
Shard parse_shard(std::string_view text);

/// The questions of a shard, in order: those about every count-th passage. The shards of a selection are
/// disjoint and together are the whole.
std::vector<std::size_t> questions_of(const Dataset& dataset, Shard shard);

}  // namespace gemma::squad
