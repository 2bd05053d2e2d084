// Uninitialised, 64-byte aligned memory for numbers, used by caches and workspaces.
// Invariant: large buffers take no physical memory before they are written (the system maps pages on first
// touch).
#pragma once

#include <cstddef>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

#include "../gguf/error.hpp"

namespace gemma {

namespace detail {

/// Memory for `size` elements of `element` bytes; nullptr if size is 0. Throws Error{kOutOfMemory} naming
/// `what`.
void* allocate_aligned(std::size_t size, std::size_t element, std::align_val_t alignment, const char* what);
/// Asks the system for 2 MiB pages where whole ones lie in [data, data + size). A hint; never fails.
void prefer_huge_pages(void* data, std::size_t size) noexcept;

}  // namespace detail

/// Owns `size` elements of a trivial type. Move-only.
template <typename T>
class AlignedBuffer {
  static_assert(std::is_trivially_destructible_v<T> && std::is_trivially_default_constructible_v<T>);

 public:
  static constexpr std::size_t kAlignment = 64;  // a cache line, and the width of the widest vector register

  AlignedBuffer() = default;
  /// Throws Error{kOutOfMemory} naming `what` when the system refuses.
  AlignedBuffer(std::size_t size, const char* what)
      : data_(static_cast<T*>(detail::allocate_aligned(size, sizeof(T), std::align_val_t{kAlignment}, what))),
        size_(size) {}
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
  /// page for each row. Memory is then taken 2 MiB at a time: do not use it for buffers that fill slowly.
  void prefer_huge_pages() noexcept { detail::prefer_huge_pages(data_, size_bytes()); }

  /// Pointer to the first element; nullptr when empty.
  T* data() noexcept { return data_; }
  /// Pointer to the first element; nullptr when empty.
  const T* data() const noexcept { return data_; }
  /// Number of elements.
  std::size_t size() const noexcept { return size_; }
  /// Size in bytes.
  std::size_t size_bytes() const noexcept { return size_ * sizeof(T); }
  /// Element i. The index is not checked.
  T& operator[](std::size_t i) noexcept { return data_[i]; }
  /// Element i. The index is not checked.
  const T& operator[](std::size_t i) const noexcept { return data_[i]; }
  /// All elements as a span.
  std::span<const T> span() const noexcept { return {data_, size_}; }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "aligned_buffer.inl"
#endif
