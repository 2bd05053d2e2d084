// A run on disk: settings.json (what was asked, of whom, how), questions.json (the selected questions, in
// SQuAD's own format, in the order they are asked) and answers.jsonl (one line per answer, appended as it
// comes; once all are there, in the order of the models and their questions). Invariant: all answers of a
// directory were asked for by its settings; none stands twice; none is lost or doubled by a kill at any
// moment.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "examples/squad/answer_source.hpp"
#include "examples/squad/run_settings.hpp"
#include "examples/squad/squad.hpp"

namespace gemma::squad {

class DirectoryLock;
class LineAppender;

/// One answer, as stored.
struct AnswerRecord {
  std::string model;
  std::string id;  // of the question
  Answer answer;
};

/// The line of answers.jsonl: everything that depends on times comes last, under "timing".
std::string to_line(const AnswerRecord& record);

class RunDirectory {
 public:
  /// Starts a run, or continues the one that is there. Throws gemma::Error: io (cannot be written, another
  /// process is at it), invalid_argument (the run there has other settings: which, in one line), malformed.
  static RunDirectory start(const std::filesystem::path& directory, const RunSettings& settings,
                            const Dataset& selection);
  /// Reads a run without changing it. Throws gemma::Error (io, malformed).
  static RunDirectory read(const std::filesystem::path& directory);
  /// Writes a whole run at once, answers in the order given. The directory must not hold another run
  /// (invalid_argument); the same one, from a call that was killed after it, is left as it is.
  static void write(const std::filesystem::path& directory, const RunSettings& settings,
                    const Dataset& selection, const std::vector<AnswerRecord>& answers);

  RunDirectory(RunDirectory&&) noexcept;
  RunDirectory& operator=(RunDirectory&&) noexcept;
  ~RunDirectory();

  const std::filesystem::path& path() const noexcept { return path_; }
  const RunSettings& settings() const noexcept { return settings_; }
  /// All selected questions, those of other shards too.
  const Dataset& questions() const noexcept { return questions_; }
  /// Indices of the questions of this run's shard, in the order they are asked.
  std::vector<std::size_t> own_questions() const;
  const std::vector<AnswerRecord>& answers() const noexcept { return answers_; }
  /// nullptr when this question has not been answered by this model.
  const AnswerRecord* find(std::string_view model, std::string_view id) const;
  /// How many answers the run will have in the end.
  std::size_t n_wanted() const;
  bool is_complete() const { return answers_.size() == n_wanted(); }

  /// Stores an answer; it is in the file when this returns. Only after start(). Throws gemma::Error (io).
  void append(AnswerRecord record);
  /// Nothing follows: the answers of a complete run are put in order, in the file too. Throws gemma::Error
  /// (io), and then the file is as before.
  void finish();

 private:
  RunDirectory();
  void load();
  void expect();
  void add(AnswerRecord record);

  std::filesystem::path path_;
  RunSettings settings_;
  Dataset questions_;
  std::vector<AnswerRecord> answers_;
  // model and id, of every answer wanted -> index into answers_, or that it is missing
  std::unordered_map<std::string, std::size_t> places_;
  std::unique_ptr<DirectoryLock> lock_;
  std::unique_ptr<LineAppender> appender_;
};

/// Joins the shards of a run, given in any order: checks that they are of one run and complete, and writes
/// `out` in the order that one process would have written. Throws gemma::Error with one line that names the
/// directory that does not fit, or all shards and the questions that are missing.
void merge_runs(const std::vector<std::filesystem::path>& shards, const std::filesystem::path& out);

}  // namespace gemma::squad
