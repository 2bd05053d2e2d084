// Uninitialised, 64-byte aligned memory for numbers: what caches and workspaces are made of.
// Invariant: large buffers take no physical memory before they are written (the system maps pages on first
// touch).
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include "../gguf/error.hpp"

namespace gemma {

namespace detail {

/// A hint, for the whole 2 MiB pages of [data, data + size).
inline void prefer_huge_pages(void* data, std::size_t size) noexcept {
#ifdef __linux__
  constexpr std::uintptr_t kPage = std::uintptr_t{2} << 20;
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  const std::uintptr_t begin = (address + kPage - 1) / kPage * kPage, end = (address + size) / kPage * kPage;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
  (void)data, (void)size;
#endif
}

}  // namespace detail

/// Owns `size` elements of a trivial type. Move-only.
template <typename T>
class AlignedBuffer {
  static_assert(std::is_trivially_destructible_v<T> && std::is_trivially_default_constructible_v<T>);

 public:
  static constexpr std::size_t kAlignment = 64;  // a cache line, and the widest vector register

  AlignedBuffer() = default;
  /// Throws Error{kOutOfMemory} naming `what` when the system refuses.
  AlignedBuffer(std::size_t size, const char* what) : size_(size) {
    if (size == 0) return;
    void* p = nullptr;
    if (size <= static_cast<std::size_t>(std::numeric_limits<std::ptrdiff_t>::max()) / sizeof(T)) {
      p = ::operator new (size * sizeof(T), std::align_val_t{kAlignment}, std::nothrow);
    }
    if (p == nullptr) {
      throw Error(ErrorCode::kOutOfMemory, "no memory for " + std::to_string(size) + " x " +
                                               std::to_string(sizeof(T)) + " bytes of " + what);
    }
    data_ = static_cast<T*>(p);
  }
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  ~AlignedBuffer() { ::operator delete (data_, std::align_val_t{kAlignment}); }

  /// Asks the system for 2 MiB pages where the buffer spans them: matrices whose rows lie far apart touch a
  /// page for each row. Memory is then taken 2 MiB at a time, so not for what fills slowly.
  void prefer_huge_pages() noexcept { detail::prefer_huge_pages(data_, size_bytes()); }

  /// The first element, or nullptr.
  T* data() noexcept { return data_; }
  /// The first element, or nullptr.
  const T* data() const noexcept { return data_; }
  /// Elements.
  std::size_t size() const noexcept { return size_; }
  /// Bytes.
  std::size_t size_bytes() const noexcept { return size_ * sizeof(T); }
  /// Element i, unchecked.
  T& operator[](std::size_t i) noexcept { return data_[i]; }
  /// Element i, unchecked.
  const T& operator[](std::size_t i) const noexcept { return data_[i]; }
  /// All elements.
  std::span<const T> span() const noexcept { return {data_, size_}; }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace gemma
