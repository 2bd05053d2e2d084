// A file mapped read-only into memory. Invariant: the span stays valid and constant for the object's life.
// The second half of that is the outside world's to keep: another process that writes to the file changes the
// bytes, and one that truncates it makes access to the lost pages raise SIGBUS. check_size() tells, so that
// work can be refused before it begins; in the middle of it nothing can but a signal handler, which is the
// host program's to install. Replace model files by renaming a new one over them, which leaves the old bytes
// to whoever maps them.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.hpp"

namespace gemma {

/// Owns one read-only shared mapping, or borrows bytes that are in memory already. Movable, not copyable;
/// reading it from many threads is safe.
class MappedFile {
 public:
  /// Maps the whole of a regular file. Throws Error{kIo} naming the path and the system's reason.
  explicit MappedFile(std::string path) : path_(std::move(path)) {
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

  /// Bytes that somebody else owns and keeps for as long as the result, or what is moved from it, lives.
  /// `name` stands for the path in errors.
  static MappedFile borrow(std::span<const std::byte> bytes, std::string name) {
    MappedFile m;
    m.path_ = std::move(name);
    m.bytes_ = bytes;
    return m;
  }

  MappedFile(MappedFile&& other) noexcept { swap(other); }
  MappedFile& operator=(MappedFile&& other) noexcept {
    swap(other);
    return *this;
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile() {
    if (owned()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  }

  /// The whole file.
  std::span<const std::byte> bytes() const noexcept { return bytes_; }
  /// As given.
  const std::string& path() const noexcept { return path_; }

  /// Throws Error{kIo} when the file has become shorter than what was mapped, be it renamed or removed since:
  /// reading the bytes that are gone would raise SIGBUS. One system call, no allocation unless it throws.
  void check_size() const {
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

  /// Asks the kernel to read `part` (a sub-span of bytes()) ahead in the background. A hint; never fails.
  void will_need(std::span<const std::byte> part) const noexcept {
    if (!owned() || part.empty()) return;
    const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    const auto end = reinterpret_cast<std::uintptr_t>(part.data()) + part.size();
    const auto begin = reinterpret_cast<std::uintptr_t>(part.data()) / page * page;
    ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_WILLNEED);
  }

 private:
  struct Descriptor {  // kept as long as the mapping: the path may come to name another file
    explicit Descriptor(int n) noexcept : number(n) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
      if (number >= 0) ::close(number);
    }
    void swap(Descriptor& other) noexcept { std::swap(number, other.number); }
    int number;
  };

  MappedFile() = default;
  bool owned() const noexcept { return fd_.number >= 0; }

  void swap(MappedFile& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(bytes_, other.bytes_);
    fd_.swap(other.fd_);
  }
  [[noreturn]] void fail(const char* what, int error) const {
    detail::refuse(ErrorCode::kIo,
                   [&] { return path_ + ": " + what + ": " + std::generic_category().message(error); });
  }

  std::string path_;
  std::span<const std::byte> bytes_;
  Descriptor fd_{-1};  // of the mapping; none when the bytes are borrowed
};

}  // namespace gemma
