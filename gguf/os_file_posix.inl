// Definitions of os_file.hpp for Linux and other POSIX systems.
#pragma once

#include <cerrno>
#include <cstdio>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "linkage.hpp"

namespace gemma::detail::os {

GEMMA_INLINE int open_to_read(const std::string& path) noexcept {
  // O_NONBLOCK: opening a FIFO must not wait for a writer; it is refused later, as it is not a regular file
  return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

GEMMA_INLINE int create(const std::string& path) noexcept {
  return ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
}

GEMMA_INLINE bool read_status(int fd, FileStatus& status) noexcept {
  struct stat st {};
  if (::fstat(fd, &st) != 0) return false;
  status.kind = S_ISREG(st.st_mode)   ? FileStatus::Kind::kRegular
                : S_ISDIR(st.st_mode) ? FileStatus::Kind::kDirectory
                                      : FileStatus::Kind::kOther;
  status.size_bytes = static_cast<std::uint64_t>(st.st_size);
  return true;
}

GEMMA_INLINE const std::byte* map(int fd, std::size_t size) noexcept {
  void* const address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  return address == MAP_FAILED ? nullptr : static_cast<const std::byte*>(address);
}

GEMMA_INLINE void unmap(const std::byte* begin, std::size_t size) noexcept {
  ::munmap(const_cast<std::byte*>(begin), size);
}

GEMMA_INLINE void advise(const std::byte* begin, std::size_t size, Advice advice) noexcept {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<std::uintptr_t>(begin) / page * page;
  const auto end = reinterpret_cast<std::uintptr_t>(begin) + size;
  int how = MADV_WILLNEED;
  if (advice == Advice::kWillNotNeed)
    how = MADV_DONTNEED;  // on a shared mapping this drops pages and loses no data
#if defined(MADV_HUGEPAGE)
  if (advice == Advice::kHugePages) how = MADV_HUGEPAGE;
#else
  if (advice == Advice::kHugePages) return;
#endif
  ::madvise(reinterpret_cast<void*>(first), end - first, how);
}

GEMMA_INLINE std::ptrdiff_t write_some(int fd, const std::byte* data, std::size_t size) noexcept {
  ssize_t n = 0;
  do {
    n = ::write(fd, data, size);
  } while (n < 0 && errno == EINTR);
  return n;
}

GEMMA_INLINE bool sync(int fd) noexcept {
  return ::fsync(fd) == 0 || errno == EINVAL || errno == EROFS;  // pipes and devices cannot be synced
}

GEMMA_INLINE bool close(int fd) noexcept {
  return ::close(fd) == 0;
}

GEMMA_INLINE bool rename_over(const std::string& from, const std::string& to) noexcept {
  return std::rename(from.c_str(), to.c_str()) == 0;
}

GEMMA_INLINE void remove(const std::string& path) noexcept {
  ::unlink(path.c_str());
}

}  // namespace gemma::detail::os
