// Definitions of mapped_file.hpp.
#pragma once

#include <cerrno>
#include <cstdint>
#include <system_error>

#include "linkage.hpp"
#include "os_file.hpp"

namespace gemma {

GEMMA_INLINE MappedFile::MappedFile(std::string path) : path_(std::move(path)) {
  if (path_.empty()) detail::refuse(ErrorCode::kIo, "the file's name is empty");
  if (path_.find('\0') != std::string::npos) fail("cannot open", EINVAL);
  Descriptor fd{detail::os::open_to_read(path_)};
  if (fd.number < 0) fail("cannot open", errno);
  detail::os::FileStatus status;
  if (!detail::os::read_status(fd.number, status)) fail("cannot stat", errno);
  using Kind = detail::os::FileStatus::Kind;
  if (status.kind == Kind::kDirectory) fail("cannot open", EISDIR);
  if (status.kind != Kind::kRegular) {
    detail::refuse(ErrorCode::kIo, [&] { return path_ + ": not a regular file"; });
  }
  if (!std::in_range<std::size_t>(status.size_bytes)) fail("cannot map", EFBIG);
  const auto size = static_cast<std::size_t>(status.size_bytes);
  if (size == 0) return;  // nothing to map; the reader reports an empty file
  const std::byte* const begin = detail::os::map(fd.number, size);
  if (begin == nullptr) fail("cannot map", errno);
  // A hint. Where the file system has large folios (ext4 and xfs of current kernels), pages that are not in
  // the cache yet are then read and mapped 2 MiB at a time. Decoding touches each page once per token; with
  // 4 KiB pages, TLB misses limited reading to 1 to 13 GB/s on a busy machine; with 2 MiB it was 13 to 33.
  detail::os::advise(begin, size, detail::os::Advice::kHugePages);
  bytes_ = {begin, size};
  fd_.swap(fd);
}

GEMMA_INLINE MappedFile MappedFile::borrow(std::span<const std::byte> bytes, std::string name) {
  MappedFile m;
  m.path_ = std::move(name);
  m.bytes_ = bytes;
  return m;
}

GEMMA_INLINE MappedFile::~MappedFile() {
  if (owned()) detail::os::unmap(bytes_.data(), bytes_.size());
}

GEMMA_INLINE MappedFile::Descriptor::~Descriptor() {
  if (number >= 0) detail::os::close(number);
}

GEMMA_INLINE void MappedFile::check_size() const {
  if (!owned()) return;
  detail::os::FileStatus status;
  if (!detail::os::read_status(fd_.number, status)) fail("cannot stat", errno);
  if (status.size_bytes < bytes_.size()) {
    detail::refuse(ErrorCode::kIo, [&] {
      return path_ + ": the file was truncated to " + std::to_string(status.size_bytes) +
             " bytes while it was open; it had " + std::to_string(bytes_.size());
    });
  }
}

GEMMA_INLINE void MappedFile::will_need(std::span<const std::byte> part) const noexcept {
  if (owned() && !part.empty()) detail::os::advise(part.data(), part.size(), detail::os::Advice::kWillNeed);
}

GEMMA_INLINE void MappedFile::will_not_need(std::span<const std::byte> part) const noexcept {
  if (owned() && !part.empty())
    detail::os::advise(part.data(), part.size(), detail::os::Advice::kWillNotNeed);
}

GEMMA_INLINE void MappedFile::fail(const char* what, int error) const {
  detail::refuse(ErrorCode::kIo,
                 [&] { return path_ + ": " + what + ": " + std::generic_category().message(error); });
}

}  // namespace gemma
