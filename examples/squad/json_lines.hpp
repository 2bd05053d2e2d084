// Files with one JSON object per line that are only appended to, and stay valid if the process is killed at
// any moment.
// Invariant: only complete lines count. An incomplete last line, which only a killed writer leaves, is
// ignored when the file is read and cut off when it is opened for appending; anything else that is not JSON
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
  std::uintmax_t whole_bytes = 0;  // up to the end of the last complete line
  bool needs_newline = false;      // the last line is complete but lacks its newline
};

/// Reads the file; one that does not exist has no lines. Throws gemma::Error (io; malformed, with the line).
JsonLines read_json_lines(const std::filesystem::path& file);

/// A file that is open until the object ends. Not copyable.
class OpenFile {
 public:
  /// Opens or creates the file with the flags of open(2). Throws gemma::Error (io).
  OpenFile(const std::filesystem::path& file, int flags);
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile();

  const int fd;
};

/// Appends lines, each with one write, so that after a kill there are only complete lines or one incomplete
/// last line. One writer at a time (see DirectoryLock).
class LineAppender {
 public:
  /// Opens or creates the file, first cutting it to `state.whole_bytes`. Throws gemma::Error (io).
  LineAppender(const std::filesystem::path& file, const JsonLines& state);

  /// Appends `line` (without a newline) and a newline. Throws gemma::Error (io), for example on a full disk,
  /// and then the file is as before.
  void append(std::string_view line);

 private:
  std::filesystem::path file_;
  OpenFile open_;
  std::uintmax_t size_ = 0;
};

/// Prevents a second process from writing into the same directory. Released when the process ends in any way.
/// Taking the lock removes temporary files of a killed writer (WholeFile's "*.part").
class DirectoryLock {
 public:
  /// Takes the lock. Throws gemma::Error (io) if another process holds it or the directory is read-only.
  explicit DirectoryLock(const std::filesystem::path& directory);

 private:
  OpenFile open_;
};

/// One line of JSON: no line breaks, invalid UTF-8 replaced by U+FFFD.
std::string to_line(const nlohmann::ordered_json& value);

}  // namespace gemma::squad
