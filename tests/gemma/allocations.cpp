#include "tests/gemma/allocations.hpp"

#include <cstdlib>
#include <new>

namespace gemma::test {
Allocations allocations;

namespace {
void* take(std::size_t size, std::size_t alignment) noexcept {
  const std::size_t whole = (size + alignment - 1) / alignment * alignment;  // required by aligned_alloc
  void* block = alignment <= alignof(std::max_align_t) ? std::malloc(size == 0 ? 1 : size)
                                                       : std::aligned_alloc(alignment, whole);
  if (block == nullptr) return nullptr;
  ++allocations.calls;
  allocations.bytes += size;
  ++allocations.live;
  return block;
}
void* take_or_throw(std::size_t size, std::size_t alignment = 1) {
  if (void* block = take(size, alignment)) return block;
  throw std::bad_alloc();
}
void give_back(void* block) noexcept {
  if (block != nullptr) --allocations.live;
  std::free(block);
}
}  // namespace
}  // namespace gemma::test

using gemma::test::give_back;
using gemma::test::take;
using gemma::test::take_or_throw;

void* operator new(std::size_t n) {
  return take_or_throw(n);
}
void* operator new[](std::size_t n) {
  return take_or_throw(n);
}
void* operator new(std::size_t n, const std::nothrow_t&) noexcept {
  return take(n, 1);
}
void* operator new[](std::size_t n, const std::nothrow_t&) noexcept {
  return take(n, 1);
}
void* operator new(std::size_t n, std::align_val_t a) {
  return take_or_throw(n, static_cast<std::size_t>(a));
}
void* operator new(std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept {
  return take(n, static_cast<std::size_t>(a));
}
void operator delete(void* p) noexcept {
  give_back(p);
}
void operator delete[](void* p) noexcept {
  give_back(p);
}
void operator delete(void* p, std::size_t) noexcept {
  give_back(p);
}
void operator delete[](void* p, std::size_t) noexcept {
  give_back(p);
}
void operator delete(void* p, const std::nothrow_t&) noexcept {
  give_back(p);
}
void operator delete[](void* p, const std::nothrow_t&) noexcept {
  give_back(p);
}
void operator delete(void* p, std::align_val_t) noexcept {
  give_back(p);
}
void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
  give_back(p);
}
void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept {
  give_back(p);
}
