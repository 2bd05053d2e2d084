// Files of one JSON object per line that are only ever appended to, and outlive a process killed at any
// moment. Invariant: a line counts when it is whole. A half last line, which only a killed writer leaves, is
// dropped when the file is read and cut off when it is opened for appending; anything else that is not JSON
// is an error.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace gemma::squad {

struct JsonLines {
  std::vector<nlohmann::json> lines;
  std::uintmax_t whole_bytes = 0;  // up to the end of the last whole line
  bool needs_newline = false;      // the last line is whole but for its newline
};

/// Reads the file; one that does not exist has no lines. Throws gemma::Error (io; malformed: which line).
JsonLines read_json_lines(const std::filesystem::path& file);

/// Appends lines, each with one write, so that readers and a kill see whole lines or a half last one.
/// Not copyable; one writer at a time (see DirectoryLock).
class LineAppender {
 public:
  /// Opens or creates the file, first cutting it to `state.whole_bytes`. Throws gemma::Error (io).
  LineAppender(const std::filesystem::path& file, const JsonLines& state);
  LineAppender(const LineAppender&) = delete;
  LineAppender& operator=(const LineAppender&) = delete;
  ~LineAppender();

  /// `line` without its newline. Throws gemma::Error (io), and then the file is as before, e.g. on a full
  /// disk.
  void append(std::string_view line);

 private:
  std::filesystem::path file_;
  int fd_ = -1;
  std::uintmax_t size_ = 0;
};

/// Keeps a second process from writing into the same directory. Freed when the process ends, however it ends.
/// Taking it removes what a killed writer left of files that never got their names (WholeFile's "*.part").
class DirectoryLock {
 public:
  /// Throws gemma::Error (io) when another process holds it or the directory cannot be written to.
  explicit DirectoryLock(const std::filesystem::path& directory);
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;
  ~DirectoryLock();

 private:
  int fd_ = -1;
};

/// One line of JSON: no line breaks, broken UTF-8 replaced by U+FFFD.
std::string to_line(const nlohmann::ordered_json& value);

}  // namespace gemma::squad
