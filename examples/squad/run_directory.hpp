// A run on disk: settings.json (the questions' source, models and options), questions.json (the selected
// questions, in SQuAD's own format, in the order in which they are asked) and answers.jsonl (one line per
// answer, appended when it arrives; once all are there, in the order of the models and their questions; all
// that depends on times is at a line's end, under "timing").
// Invariant: all answers of a directory belong to its settings; none occurs twice; a kill at any moment
// neither loses nor doubles one.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "examples/squad/answer_source.hpp"
#include "examples/squad/json_lines.hpp"
#include "examples/squad/run_settings.hpp"
#include "examples/squad/squad.hpp"

namespace gemma::squad {

/// The answers of a run, [models][questions] in the order of its settings and questions; nullopt: none yet.
using Answers = std::vector<std::vector<std::optional<Answer>>>;

/// Writes a file of a run completely or not at all. Throws gemma::Error (io).
void write_text(const std::filesystem::path& file, std::string_view text);

class RunDirectory {
 public:
  /// Starts a run, or continues an existing one. Throws gemma::Error: io (cannot be written, or another
  /// process uses it), invalid_argument (the existing run has other settings: names them in one line),
  /// malformed.
  static RunDirectory start(const std::filesystem::path& directory, const RunSettings& settings,
                            const Dataset& selection);
  /// Reads a run without changing it. Throws gemma::Error (io, malformed).
  static RunDirectory read(const std::filesystem::path& directory);

  const std::filesystem::path& path() const noexcept { return path_; }
  const RunSettings& settings() const noexcept { return settings_; }
  /// All selected questions, including those of other shards.
  const Dataset& questions() const noexcept { return questions_; }
  const Question& question(std::size_t index) const { return questions_.questions[index]; }
  std::size_t n_questions() const noexcept { return questions_.questions.size(); }
  /// Indices of the questions of this run's shard, in the order they are asked.
  std::vector<std::size_t> own_questions() const { return questions_of(questions_, settings_.shard); }
  /// Those of them that the model has not answered.
  std::vector<std::size_t> missing(std::size_t model) const;
  /// Models and questions are known by their indices in settings().models and questions().questions.
  const Answers& answers() const noexcept { return answers_; }
  /// An answer that has been given.
  const Answer& answer(std::size_t model, std::size_t question) const { return *answers_[model][question]; }
  const std::string& model_name(std::size_t model) const { return settings_.models[model].name; }
  std::size_t n_models() const noexcept { return settings_.models.size(); }
  std::size_t n_answers() const noexcept { return n_answers_; }
  /// The number of answers of the complete run.
  std::size_t n_wanted() const { return own_questions().size() * n_models(); }
  bool is_complete() const { return n_answers_ == n_wanted(); }
  /// Throws gemma::Error (invalid_argument), saying `why`, for a shard and for a run that is not complete.
  void check_whole(std::string_view why) const;

  /// Stores an answer; it is in the file when this returns. Only after start(). Throws gemma::Error (io).
  void append(std::size_t model, std::size_t question, Answer answer);
  /// Stores all answers at once and ends the run. Only after start(). Throws gemma::Error: io;
  /// invalid_argument if the run has other answers.
  void fill(Answers answers);
  /// Sorts the answers of a complete run, in the file too, which gemma::Error (io) leaves unchanged.
  void finish();

 private:
  RunDirectory() = default;
  void load();
  void add_stored(const JsonLines& stored);

  std::filesystem::path path_;
  RunSettings settings_;
  Dataset questions_;
  Answers answers_;
  std::size_t n_answers_ = 0;  // given answers
  std::unique_ptr<DirectoryLock> lock_;
  std::unique_ptr<LineAppender> appender_;
};

/// Merges the shards of a run, given in any order: checks that they belong to one run and are complete, and
/// writes `out` in the order in which one process would have written it. Throws gemma::Error with one line
/// that names the directory that does not match, or all missing shards and questions.
void merge_runs(const std::vector<std::filesystem::path>& shards, const std::filesystem::path& out);

}  // namespace gemma::squad
