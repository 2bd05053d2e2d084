// Definitions of aligned_buffer.hpp.
#pragma once

#include <cstdint>
#include <limits>
#include <string>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include "../gguf/linkage.hpp"

namespace gemma::detail {

GEMMA_INLINE void* allocate_aligned(std::size_t size, std::size_t element, std::align_val_t alignment,
                                    const char* what) {
  if (size == 0) return nullptr;
  void* p = nullptr;
  if (size <= static_cast<std::size_t>(std::numeric_limits<std::ptrdiff_t>::max()) / element) {
    p = ::operator new(size* element, alignment, std::nothrow);
  }
  if (p == nullptr) {
    detail::refuse(ErrorCode::kOutOfMemory, [&] {
      return "no memory for " + std::to_string(size) + " x " + std::to_string(element) + " bytes of " + what;
    });
  }
  return p;
}

GEMMA_INLINE void prefer_huge_pages(void* data, std::size_t size) noexcept {
#ifdef __linux__
  constexpr std::uintptr_t kPage = std::uintptr_t{2} << 20;
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  const std::uintptr_t begin = (address + kPage - 1) / kPage * kPage, end = (address + size) / kPage * kPage;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
  (void)data, (void)size;
#endif
}

}  // namespace gemma::detail
