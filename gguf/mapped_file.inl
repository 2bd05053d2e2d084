// Definitions of mapped_file.hpp: the one place that maps files.
#pragma once

#include <cerrno>
#include <cstdint>
#include <system_error>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "linkage.hpp"

namespace gemma {

GEMMA_INLINE MappedFile::MappedFile(std::string path) : path_(std::move(path)) {
  if (path_.find('\0') != std::string::npos) fail("cannot open", EINVAL);
  // O_NONBLOCK: opening a FIFO must be refused below, not wait for somebody to write to it
  Descriptor fd{::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (fd.number < 0) fail("cannot open", errno);
  struct stat st {};
  if (::fstat(fd.number, &st) != 0) fail("cannot stat", errno);
  if (S_ISDIR(st.st_mode)) fail("cannot map", EISDIR);
  if (!S_ISREG(st.st_mode)) detail::refuse(ErrorCode::kIo, [&] { return path_ + ": not a regular file"; });
  if (!std::in_range<std::size_t>(st.st_size)) fail("cannot map", EFBIG);
  const auto size = static_cast<std::size_t>(st.st_size);
  if (size == 0) return;  // nothing to map; the reader reports an empty file
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.number, 0);
  if (address == MAP_FAILED) fail("cannot map", errno);
  // A hint. Where the file system has large folios (ext4 and xfs of current kernels), pages that are not in
  // the cache yet are then read and mapped 2 MiB at a time. Decoding touches each page once a token; misses
  // of the TLB for 4 KiB pages held reading to 1 to 13 GB/s on a busy machine, 13 to 33 with 2 MiB.
  ::madvise(address, size, MADV_HUGEPAGE);
  bytes_ = {static_cast<const std::byte*>(address), size};
  fd_.swap(fd);
}

GEMMA_INLINE MappedFile MappedFile::borrow(std::span<const std::byte> bytes, std::string name) {
  MappedFile m;
  m.path_ = std::move(name);
  m.bytes_ = bytes;
  return m;
}

GEMMA_INLINE MappedFile::~MappedFile() {
  if (owned()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

GEMMA_INLINE MappedFile::Descriptor::~Descriptor() {
  if (number >= 0) ::close(number);
}

GEMMA_INLINE void MappedFile::check_size() const {
  if (!owned()) return;
  struct stat st {};
  if (::fstat(fd_.number, &st) != 0) fail("cannot stat", errno);
  if (static_cast<std::uint64_t>(st.st_size) < bytes_.size()) {
    detail::refuse(ErrorCode::kIo, [&] {
      return path_ + ": the file was cut to " + std::to_string(st.st_size) + " bytes while it was open; " +
             std::to_string(bytes_.size()) + " are mapped";
    });
  }
}

GEMMA_INLINE void MappedFile::will_need(std::span<const std::byte> part) const noexcept {
  advise(part, MADV_WILLNEED);
}

GEMMA_INLINE void MappedFile::will_not_need(std::span<const std::byte> part) const noexcept {
  advise(part, MADV_DONTNEED);  // of a shared mapping of a file this drops pages, never data
}

GEMMA_INLINE void MappedFile::advise(std::span<const std::byte> part, int advice) const noexcept {
  if (!owned() || part.empty()) return;
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto end = reinterpret_cast<std::uintptr_t>(part.data()) + part.size();
  const auto begin = reinterpret_cast<std::uintptr_t>(part.data()) / page * page;
  ::madvise(reinterpret_cast<void*>(begin), end - begin, advice);
}

GEMMA_INLINE void MappedFile::fail(const char* what, int error) const {
  detail::refuse(ErrorCode::kIo,
                 [&] { return path_ + ": " + what + ": " + std::generic_category().message(error); });
}

}  // namespace gemma
