// SQuAD v1.1 and v2.0 as published files or as rows: reading, a seeded selection of questions grouped by
// passage, and shards of it. Invariant: a Dataset is whole: ids are unique, every question names an existing
// passage and has its truths.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace gemma::squad {

struct Truth {
  std::string text;
  std::size_t start = 0;  // where it stands in the passage, in code points
};

struct Passage {
  std::string title;  // of the article it is from
  std::string text;
};

struct Question {
  std::string id;
  std::string text;
  std::vector<Truth> truths;  // empty: the passage does not answer it (v2.0 only)
  std::size_t passage = 0;    // index into Dataset::passages
};

struct Dataset {
  std::string version;  // as the file says, e.g. "1.1"; "v2.0" where some question has no answer
  bool is_v2 = false;   // scored by the rules of v2.0: some question may have no answer
  std::vector<Passage> passages;
  std::vector<Question> questions;  // in the file's order
};

/// Reads a SQuAD file as published, or rows as Hugging Face publishes them: JSON lines, or an array, of {id,
/// title, context, question, answers: {text: [], answer_start: []}}; rows of the same title and context share
/// a passage. A set is of v2.0 when its version says so, a question is marked impossible, or has no answer
/// where that is allowed (rows, and questions with an is_impossible); `is_impossible: false` alone says
/// nothing. Throws gemma::Error (io, malformed) with one line that names the file and the place.
Dataset read_dataset(const std::filesystem::path& file);
/// The same from memory; `name` stands in messages for the file.
Dataset parse_dataset(std::string_view json, std::string_view name);

/// The questions of one passage, asked one after the other so that they can share its prefill.
struct PassageGroup {
  std::size_t passage = 0;
  std::vector<std::size_t> questions;  // indices into Dataset::questions
};

/// `n` questions (0: all; more than there are: all) in the order of a Fisher-Yates shuffle of all questions
/// seeded with `seed`, then gathered by passage: a passage stands where its first question stood, its
/// questions keep their shuffled order. The first n of a seed are the first n of any larger selection of that
/// seed, up to the gathering.
std::vector<PassageGroup> select_questions(const Dataset& dataset, std::size_t n, std::uint64_t seed);

/// Part `index` of `count`, 1-based; count >= 1.
struct Shard {
  std::size_t index = 1;
  std::size_t count = 1;
};

/// "2/8" -> {2, 8}. Throws gemma::Error (invalid_argument) for anything else, also 0/8 and 9/8.
Shard parse_shard(std::string_view text);

/// The passages of a shard: every count-th one. The shards of a selection are disjoint and together are all
/// of it.
std::vector<PassageGroup> shard_of(const std::vector<PassageGroup>& groups, Shard shard);

/// All questions of `groups`, in order.
std::vector<std::size_t> questions_of(const std::vector<PassageGroup>& groups);

}  // namespace gemma::squad
