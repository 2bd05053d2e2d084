// Definitions of os_file.hpp for Windows: descriptors are those of its C library.
#pragma once

#include <algorithm>
#include <cerrno>
#include <climits>
#include <new>

#include <fcntl.h>
#include <io.h>
#include <sys/stat.h>
#if !defined(NOMINMAX)
#define NOMINMAX
#endif
#if !defined(WIN32_LEAN_AND_MEAN)
#define WIN32_LEAN_AND_MEAN
#endif
#include <windows.h>

#include "linkage.hpp"

namespace gemma::detail::os {

/// The path in UTF-16, as the system's functions require it; empty, with errno set, if it is not UTF-8.
GEMMA_INLINE std::wstring wide(const std::string& path) noexcept {
  try {
    const int n = ::MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path.c_str(), -1, nullptr, 0);
    std::wstring out(static_cast<std::size_t>(std::max(n, 0)), L'\0');
    if (n > 0) {
      ::MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path.c_str(), -1, out.data(), n);
      out.pop_back();  // the terminating zero
    } else {
      errno = EILSEQ;
    }
    return out;
  } catch (const std::bad_alloc&) {
    errno = ENOMEM;
    return {};
  }
}

/// The errno value for an error of the system.
GEMMA_INLINE int errno_of(unsigned long error) noexcept {
  switch (error) {
    case ERROR_FILE_NOT_FOUND:
    case ERROR_PATH_NOT_FOUND:
      return ENOENT;
    case ERROR_ACCESS_DENIED:
    case ERROR_SHARING_VIOLATION:
    case ERROR_USER_MAPPED_FILE:
      return EACCES;
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_COMMITMENT_LIMIT:
      return ENOMEM;
    case ERROR_DISK_FULL:
      return ENOSPC;
    default:
      return EIO;
  }
}

GEMMA_INLINE int open_to_read(const std::string& path) noexcept {
  const std::wstring name = wide(path);
  if (name.empty()) return path.empty() ? (errno = ENOENT, -1) : -1;
  const DWORD attributes = ::GetFileAttributesW(name.c_str());
  if (attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY) != 0) {
    errno = EISDIR;  // the C library would set EACCES
    return -1;
  }
  return ::_wopen(name.c_str(), _O_RDONLY | _O_BINARY | _O_NOINHERIT);
}

GEMMA_INLINE int create(const std::string& path) noexcept {
  const std::wstring name = wide(path);
  if (name.empty()) return path.empty() ? (errno = ENOENT, -1) : -1;
  return ::_wopen(name.c_str(), _O_WRONLY | _O_CREAT | _O_EXCL | _O_BINARY | _O_NOINHERIT,
                  _S_IREAD | _S_IWRITE);
}

GEMMA_INLINE bool read_status(int fd, FileStatus& status) noexcept {
  struct _stat64 st {};
  if (::_fstat64(fd, &st) != 0) return false;
  status.kind = (st.st_mode & _S_IFMT) == _S_IFREG   ? FileStatus::Kind::kRegular
                : (st.st_mode & _S_IFMT) == _S_IFDIR ? FileStatus::Kind::kDirectory
                                                     : FileStatus::Kind::kOther;
  status.size_bytes = static_cast<std::uint64_t>(st.st_size);
  return true;
}

GEMMA_INLINE const std::byte* map(int fd, std::size_t size) noexcept {
  const auto file = reinterpret_cast<HANDLE>(::_get_osfhandle(fd));
  const HANDLE mapping = ::CreateFileMappingW(file, nullptr, PAGE_READONLY, 0, 0, nullptr);
  const void* const address =
      mapping == nullptr ? nullptr : ::MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, size);
  if (address == nullptr) errno = errno_of(::GetLastError());
  if (mapping != nullptr) ::CloseHandle(mapping);  // the view keeps the mapping alive
  return static_cast<const std::byte*>(address);
}

GEMMA_INLINE void unmap(const std::byte* begin, std::size_t) noexcept {
  ::UnmapViewOfFile(begin);
}

GEMMA_INLINE void advise(const std::byte*, std::size_t, Advice) noexcept {}

GEMMA_INLINE std::ptrdiff_t write_some(int fd, const std::byte* data, std::size_t size) noexcept {
  return ::_write(fd, data, static_cast<unsigned>(std::min<std::size_t>(size, INT_MAX)));
}

GEMMA_INLINE bool sync(int fd) noexcept {
  return ::_commit(fd) == 0 || errno == EBADF;  // pipes and consoles cannot be synced
}

GEMMA_INLINE bool close(int fd) noexcept {
  return ::_close(fd) == 0;
}

GEMMA_INLINE bool rename_over(const std::string& from, const std::string& to) noexcept {
  const std::wstring old_name = wide(from), new_name = wide(to);
  if (old_name.empty() || new_name.empty()) return false;
  if (::MoveFileExW(old_name.c_str(), new_name.c_str(), MOVEFILE_REPLACE_EXISTING) != 0) return true;
  errno = errno_of(::GetLastError());
  return false;
}

GEMMA_INLINE void remove(const std::string& path) noexcept {
  const std::wstring name = wide(path);
  if (!name.empty()) ::_wunlink(name.c_str());
}

}  // namespace gemma::detail::os
