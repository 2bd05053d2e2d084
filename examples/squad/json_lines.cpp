#include "examples/squad/json_lines.hpp"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/file.h>
#include <unistd.h>

#include "examples/read_file.hpp"
#include "examples/squad/fail.hpp"

namespace gemma::squad {
namespace {

[[noreturn]] void system_failed(const std::filesystem::path& file, std::string_view what, int error) {
  fail(ErrorCode::kIo, "{}: {}: {}", file.string(), what, std::strerror(error));
}

}  // namespace

JsonLines read_json_lines(const std::filesystem::path& file) {
  JsonLines out;
  if (!std::filesystem::exists(file)) return out;
  const std::string text = app::read_file(file.string());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t newline = text.find('\n', at);
    const bool whole = newline != std::string::npos;
    const std::size_t end = whole ? newline : text.size();
    nlohmann::json line = nlohmann::json::parse(std::string_view(text).substr(at, end - at), nullptr, false);
    if (!line.is_object()) {
      if (!whole) break;  // an incomplete line: an object ends with its closing brace
      fail(ErrorCode::kMalformed, "{}: line {} is not a JSON object", file.string(), out.lines.size() + 1);
    }
    out.lines.push_back(std::move(line));
    out.whole_bytes = end + (whole ? 1 : 0);
    out.needs_newline = !whole;
    at = end + 1;
  }
  return out;
}

OpenFile::OpenFile(const std::filesystem::path& file, int flags)
    : fd(::open(file.c_str(), flags | O_CREAT | O_CLOEXEC, 0666)) {
  if (fd < 0) system_failed(file, "cannot be written", errno);
}

OpenFile::~OpenFile() {
  ::close(fd);
}

LineAppender::LineAppender(const std::filesystem::path& file, const JsonLines& state)
    : file_(file), open_(file, O_WRONLY | O_APPEND), size_(state.whole_bytes) {
  if (::ftruncate(open_.fd, static_cast<off_t>(size_)) != 0) {
    system_failed(file, "cannot be cut to its whole lines", errno);
  }
  if (state.needs_newline) append("");
}

void LineAppender::append(std::string_view line) {
  const std::string text = fmt::format("{}\n", line);
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = ::write(open_.fd, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int error = errno;
      if (::ftruncate(open_.fd, static_cast<off_t>(size_)) != 0)
        system_failed(file_, "cannot be written or cut", error);
      system_failed(file_, "cannot be written", error);
    }
    done += static_cast<std::size_t>(n);
  }
  size_ += text.size();
}

DirectoryLock::DirectoryLock(const std::filesystem::path& directory) : open_(directory / "lock", O_RDWR) {
  if (::flock(open_.fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) system_failed(directory / "lock", "cannot be locked", errno);
    fail(ErrorCode::kIo, "{}: another process is writing there", directory.string());
  }
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(directory, ignored)) {
    if (entry.path().extension() == ".part") std::filesystem::remove(entry.path(), ignored);
  }
}

std::string to_line(const nlohmann::ordered_json& value) {
  return value.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace gemma::squad
