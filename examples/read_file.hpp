// Reads a whole file or standard input.
// Invariant: the result is complete; otherwise an Error names the path and the system's reason.
#pragma once

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <istream>
#include <memory>
#include <string>

#include "gguf/error.hpp"

namespace gemma::app {

/// Reads the rest of `in`; `name` is for messages. Throws Error{kIo}.
inline std::string read_all(std::FILE* in, const std::string& name) {
  std::string text;
  char part[1 << 14];
  for (std::size_t n = 0; (n = std::fread(part, 1, sizeof part, in)) != 0;) text.append(part, n);
  if (std::ferror(in) != 0) throw Error(ErrorCode::kIo, name + ": cannot be read: " + std::strerror(errno));
  return text;
}

/// Call it where lines of standard input have ended. Throws Error{kIo} if they ended by an error, for example
/// because it is a folder.
inline void check_stdin_was_read(const std::istream& in) {
  if (in.bad() || std::ferror(stdin) != 0)
    throw Error(ErrorCode::kIo, std::string("standard input: cannot be read: ") + std::strerror(errno));
}

/// Reads the file at `path`. Throws Error{kIo}.
inline std::string read_file(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> in(std::fopen(path.c_str(), "rb"), &std::fclose);
  if (!in) throw Error(ErrorCode::kIo, path + ": cannot be read: " + std::strerror(errno));
  return read_all(in.get(), path);
}

}  // namespace gemma::app
