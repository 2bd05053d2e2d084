#include "tests/allocations.hpp"

#include <cstdlib>
#include <new>

#include <malloc.h>

namespace gemma::test {
Allocations allocations;

namespace {
bool must_fail(std::size_t size) noexcept {
  Allocations& a = allocations;
  if (a.until_failure != 0 && --a.until_failure == 0) {
    if (a.for_good) a.until_failure = 1;
    return true;
  }
  return a.limit != 0 && a.live + size > a.limit;
}
void raise_to(std::atomic<std::size_t>& most, std::size_t value) noexcept {
  std::size_t before = most;
  while (before < value && !most.compare_exchange_weak(before, value)) {
  }
}
void* take(std::size_t size, std::size_t alignment) noexcept {
  if (must_fail(size)) {
    allocations.failed = true;
    return nullptr;
  }
  const std::size_t whole = (size + alignment - 1) / alignment * alignment;  // required by aligned_alloc
  void* block = alignment <= alignof(std::max_align_t) ? std::malloc(size == 0 ? 1 : size)
                                                       : std::aligned_alloc(alignment, whole);
  if (block == nullptr) return nullptr;
  ++allocations.calls;
  allocations.bytes += size;
  ++allocations.blocks;
  raise_to(allocations.largest, size);
  raise_to(allocations.most_live, allocations.live += ::malloc_usable_size(block));
  return block;
}
void* take_or_throw(std::size_t size, std::size_t alignment = 1) {
  if (void* block = take(size, alignment)) return block;
  throw std::bad_alloc();
}
void give_back(void* block) noexcept {
  if (block == nullptr) return;
  --allocations.blocks;
  allocations.live -= ::malloc_usable_size(block);
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
