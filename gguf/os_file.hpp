// The operating system's functions for reading and writing files. Each system has one file of definitions
// (os_file_posix.inl, os_file_windows.inl); all code above is the same on all systems. Paths are UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace gemma::detail::os {

/// Properties of an open file.
struct FileStatus {
  enum class Kind : std::uint8_t { kRegular, kDirectory, kOther };
  Kind kind = Kind::kOther;
  std::uint64_t size_bytes = 0;
};

/// How a part of a mapping will be used.
enum class Advice : std::uint8_t { kWillNeed, kWillNotNeed, kHugePages };

// Each function that fails returns -1, false or nullptr, and leaves its reason in errno.

/// A descriptor for reading. Does not wait for a writer if the path is a pipe.
int open_to_read(const std::string& path) noexcept;
/// Creates a file and returns its descriptor; fails if the file exists.
int create(const std::string& path) noexcept;
/// The status of an open file.
bool read_status(int fd, FileStatus& status) noexcept;
/// Maps the first `size` bytes, read-only and shared; 0 is not allowed.
const std::byte* map(int fd, std::size_t size) noexcept;
/// Ends a mapping.
void unmap(const std::byte* begin, std::size_t size) noexcept;
/// A hint about any part of a mapping; never fails.
void advise(const std::byte* begin, std::size_t size, Advice advice) noexcept;
/// Writes at least one byte; returns the number of bytes written.
std::ptrdiff_t write_some(int fd, const std::byte* data, std::size_t size) noexcept;
/// Waits until the written data is on the disk.
bool sync(int fd) noexcept;
bool close(int fd) noexcept;
/// Renames `from` to `to`, replacing a file of that name.
bool rename_over(const std::string& from, const std::string& to) noexcept;
void remove(const std::string& path) noexcept;

}  // namespace gemma::detail::os

#if defined(GEMMA_HEADER_ONLY)
#include "os_file.inl"
#endif
