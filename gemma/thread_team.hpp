// The threads of one forward pass: one OpenMP region, a barrier between steps, static shares of work.
// Invariant: what is computed never depends on the number of workers; only who computes it does.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <fstream>
#include <set>
#include <string>

#include <sched.h>

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace gemma {

/// A reusable barrier that spins for some microseconds, then sleeps. Between two matmuls the wait is shorter
/// than a sleep; when the host program is busy elsewhere, sleeping leaves the core to it.
class Barrier {
 public:
  /// Returns when `count` workers have called it. Everything written before is visible after.
  void wait(unsigned count) noexcept {
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
#endif
    }
    while (generation_.load(std::memory_order_acquire) == generation) generation_.wait(generation);
  }

 private:
  static constexpr int kSpins = 4000;  // about 50 us at 40 cycles a pause
  alignas(64) std::atomic<unsigned> arrived_{0};
  alignas(64) std::atomic<unsigned> generation_{0};
};

/// A share of work: [begin, end).
struct Range {
  std::size_t begin = 0;  // the first
  std::size_t end = 0;    // one past the last
};

/// The next piece of [0, n) for whoever asks first, in multiples of `unit`; empty when all is taken. Three
/// quarters of an even share of what is left: few pieces, and the last ones are small, so that no worker
/// waits long for one that was held up.
inline Range take(std::atomic<std::size_t>& taken, std::size_t n, std::size_t unit, unsigned count) noexcept {
  std::size_t begin = taken.load(std::memory_order_relaxed);
  while (begin < n) {
    const std::size_t units = std::max<std::size_t>(1, (n - begin) * 3 / (4 * unit * count));
    const std::size_t end = std::min(n, begin + units * unit);
    if (taken.compare_exchange_weak(begin, end, std::memory_order_relaxed)) return {begin, end};
  }
  return {n, n};
}

/// One thread of a team.
struct Worker {
  unsigned id = 0;             // below count; 0 is the caller's own thread
  unsigned count = 1;          // workers of the team
  Barrier* barrier = nullptr;  // shared by the team

  /// Waits for all workers of the team.
  void sync() const noexcept { barrier->wait(count); }

  /// This worker's share of [0, n), cut at multiples of `unit`.
  Range share(std::size_t n, std::size_t unit = 1) const noexcept {
    const std::size_t units = (n + unit - 1) / unit;
    return {std::min(n, units * id / count * unit), std::min(n, units * (id + 1) / count * unit)};
  }
};

/// Runs f(Worker) on up to n_threads threads and returns when all are done. Inside a caller's own parallel
/// region OpenMP gives one thread (unless the caller allowed nesting): the result is the same. f must not
/// throw.
template <typename F>
void run_team(unsigned n_threads, Barrier& barrier, F&& f) {
#if defined(_OPENMP)
  if (n_threads > 1) {
#pragma omp parallel num_threads(static_cast <int>(n_threads)) default(none) shared(barrier, f)
    f(Worker{static_cast<unsigned>(omp_get_thread_num()), static_cast<unsigned>(omp_get_num_threads()),
             &barrier});
    return;
  }
#endif
  f(Worker{0, 1, &barrier});
}

/// Physical cores that this process may run on (at least 1): SMT siblings share the vector units that matmuls
/// fill.
inline unsigned physical_core_count() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return 1;
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    std::ifstream siblings("/sys/devices/system/cpu/cpu" + std::to_string(cpu) +
                           "/topology/thread_siblings_list");
    std::string core;
    if (!std::getline(siblings, core))
      core = "cpu" + std::to_string(cpu);  // no such file: count it as a core
    cores.insert(core);
  }
  return std::max(1u, static_cast<unsigned>(cores.size()));
}

}  // namespace gemma
