// Definitions of thread_team.hpp: the only place in the engine that starts a parallel region.
#pragma once

#include <algorithm>

#include <sys/types.h>
#include <unistd.h>

#if defined(GEMMA_SINGLE_THREAD)
// built for one thread: a team consists of the calling thread
#elif defined(_OPENMP)
#include <omp.h>
#else
#error \
    "gemma computes with OpenMP: compile with -fopenmp, link to gemma::header_only, or define GEMMA_SINGLE_THREAD"
#endif

#include "../gguf/linkage.hpp"
#include "cpu_count.hpp"

namespace gemma {

// Number of times that a waiting worker polls before it sleeps: about 50 us at 40 cycles per pause. Builds
// whose tests share the cores set it to 0 (by the CMake option of this name).
#if !defined(GEMMA_BARRIER_SPINS)
#define GEMMA_BARRIER_SPINS 4000
#endif

GEMMA_INLINE void detail::Barrier::wait(unsigned count) noexcept {
  constexpr int kSpins = GEMMA_BARRIER_SPINS;
  if (count <= 1) return;
  const unsigned generation = generation_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == count) {
    arrived_.store(0, std::memory_order_relaxed);
    generation_.store(generation + 1, std::memory_order_release);
    generation_.notify_all();
    return;
  }
  for (int spin = 0; spin < kSpins; ++spin) {
    if (generation_.load(std::memory_order_acquire) != generation) return;
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");  // `yield` does nothing on most cores; this takes about as long as x86's pause
#endif
  }
  while (generation_.load(std::memory_order_acquire) == generation) generation_.wait(generation);
}

GEMMA_INLINE detail::WorkRange detail::take_piece(std::atomic<std::size_t>& taken, std::size_t n,
                                                  std::size_t unit, unsigned count,
                                                  std::size_t quarters) noexcept {
  std::size_t begin = taken.load(std::memory_order_relaxed);
  while (begin < n) {
    const std::size_t units = std::max<std::size_t>(1, (n - begin) * quarters / (4 * unit * count));
    const std::size_t end = std::min(n, begin + units * unit);
    if (taken.compare_exchange_weak(begin, end, std::memory_order_relaxed)) return {begin, end};
  }
  return {n, n};
}

/// Whether this is the process that created OpenMP's threads: a forked process has none of them, and OpenMP's
/// runtime would wait for them forever. The first call determines that process.
GEMMA_INLINE bool detail::is_teams_process() noexcept {
  static const pid_t process = ::getpid();
  return ::getpid() == process;
}

GEMMA_INLINE void detail::run_team(unsigned n_threads, Barrier& barrier,
                                   void (*f)(const void* data, const Worker&) noexcept, const void* data) {
#if !defined(GEMMA_SINGLE_THREAD)
  if (n_threads > 1 && is_teams_process()) {
#pragma omp parallel num_threads(static_cast <int>(n_threads)) default(none) shared(barrier, f, data)
    f(data, Worker{static_cast<unsigned>(omp_get_thread_num()), static_cast<unsigned>(omp_get_num_threads()),
                   &barrier});
    return;
  }
#endif
  (void)n_threads;
  f(data, Worker{0, 1, &barrier});
}

GEMMA_INLINE unsigned physical_core_count() {
#if defined(GEMMA_SINGLE_THREAD)
  return 1;
#else
  return detail::usable_core_count();
#endif
}

}  // namespace gemma
