// A file mapped read-only into memory.
// Invariant: the span stays valid and constant for the object's life, as long as no other process changes the
// file: one that writes to it changes the bytes, and one that truncates it makes access to the lost pages
// raise SIGBUS. check_size() detects a truncation before work begins; during the work only a signal handler
// can, and installing one is up to the host program. Replace model files by renaming a new one over them,
// which leaves the old bytes to processes that have mapped them.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include "error.hpp"

namespace gemma {

/// Owns one read-only shared mapping, or borrows bytes that are in memory already. Movable, not copyable;
/// reading it from many threads is safe.
class MappedFile {
 public:
  /// Maps the whole of a regular file. Throws Error{kIo} naming the path and the system's reason.
  explicit MappedFile(std::string path);

  /// Refers to bytes that the caller owns, which must outlive the result and whatever it is moved to. `name`
  /// stands for the path in errors.
  static MappedFile borrow(std::span<const std::byte> bytes, std::string name);

  MappedFile(MappedFile&& other) noexcept { swap(other); }
  MappedFile& operator=(MappedFile&& other) noexcept {
    swap(other);
    return *this;
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  /// All bytes of the file; valid for as long as this object lives.
  std::span<const std::byte> bytes() const noexcept { return bytes_; }
  /// The path, as it was given.
  const std::string& path() const noexcept { return path_; }

  /// Throws Error{kIo} when the file has become shorter than its mapping, also if it was renamed or removed
  /// since: reading the lost bytes would raise SIGBUS. One system call; allocates nothing unless it throws.
  void check_size() const;

  /// Asks the kernel to read `part` (a sub-span of bytes()) ahead in the background. A hint; never fails.
  void will_need(std::span<const std::byte> part) const noexcept;

  /// Releases the memory of `part`, so that reading a large file once keeps little of it in memory. The bytes
  /// stay valid and are read again on the next access. A hint; never fails.
  void will_not_need(std::span<const std::byte> part) const noexcept;

 private:
  struct Descriptor {  // kept as long as the mapping: the path may come to name another file
    explicit Descriptor(int n) noexcept : number(n) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor();
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
  [[noreturn]] void fail(const char* what, int error) const;

  std::string path_;
  std::span<const std::byte> bytes_;
  Descriptor fd_{-1};  // of the mapped file; -1 when the bytes are borrowed
};

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "mapped_file.inl"
#endif
