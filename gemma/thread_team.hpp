// The threads of one forward pass: one OpenMP region, a barrier between steps, and work that is divided in
// fixed shares (Worker::share) or in pieces on demand (take_piece()).
// Invariant: results never depend on the number of workers; only which worker computes them does.
#pragma once

#include <atomic>
#include <cstddef>
#include <type_traits>

namespace gemma {
namespace detail {

/// A reusable barrier that spins for some microseconds, then sleeps. Between two matmuls the wait is shorter
/// than a sleep; when the host program is busy elsewhere, sleeping leaves the core to it.
class Barrier {
 public:
  /// Returns when `count` workers have called it. Writes before the call are visible to all workers after it.
  void wait(unsigned count) noexcept;

 private:
  alignas(64) std::atomic<unsigned> arrived_{0};
  alignas(64) std::atomic<unsigned> generation_{0};
};

/// Range of work items: [begin, end).
struct WorkRange {
  std::size_t begin = 0;  // first item
  std::size_t end = 0;    // one past the last item
};

/// Takes the next piece of [0, n), in multiples of `unit`; empty when nothing is left. `taken` is shared by
/// the workers, 0 at first. A piece is `quarters` quarters of an even share of the rest: there are few
/// pieces, and the last ones are small, so that no worker waits long for a delayed one.
WorkRange take_piece(std::atomic<std::size_t>& taken, std::size_t n, std::size_t unit, unsigned count,
                     std::size_t quarters = 3) noexcept;

/// One thread of a team.
struct Worker {
  unsigned id = 0;             // below count; 0 is the caller's own thread
  unsigned count = 1;          // workers of the team
  Barrier* barrier = nullptr;  // shared by the team

  /// Waits until all workers of the team have called it.
  void sync() const noexcept { barrier->wait(count); }

  /// This worker's share of [0, n), cut at multiples of `unit`.
  WorkRange share(std::size_t n, std::size_t unit = 1) const noexcept {
    const std::size_t units = (n + unit - 1) / unit;
    const std::size_t begin = units * id / count * unit, end = units * (id + 1) / count * unit;
    return {begin < n ? begin : n, end < n ? end : n};
  }
};

bool is_teams_process() noexcept;

/// Calls f(data, worker) in each worker of a team.
void run_team(unsigned n_threads, Barrier& barrier, void (*f)(const void* data, const Worker&) noexcept,
              const void* data);

/// Runs f(Worker) on up to n_threads threads and returns when all are done. Inside a caller's own parallel
/// region OpenMP gives one thread (unless the caller allowed nesting), and so does a process forked from one
/// that computed with several: the result is the same. f must not throw.
template <typename F>
void run_team(unsigned n_threads, Barrier& barrier, F&& f) {
  using Function = std::remove_reference_t<F>;
  run_team(
      n_threads, barrier,
      [](const void* data, const Worker& w) noexcept {
        (*static_cast<Function*>(const_cast<void*>(data)))(w);
      },
      static_cast<const void*>(&f));
}

}  // namespace detail

/// Calls f(i) for each i of [0, n) on up to n_threads threads, each with an even share, and returns when all
/// are done; on one thread if detail::run_team() has only one. f must not throw, and must be callable by
/// several threads at once.
template <typename F>
void parallel_for(unsigned n_threads, std::size_t n, F&& f) {
  detail::Barrier unused;
  detail::run_team(n_threads, unused, [&](const detail::Worker& w) noexcept {
    const detail::WorkRange share = w.share(n);
    for (std::size_t i = share.begin; i < share.end; ++i) f(i);
  });
}

/// Number of physical cores that this process may run on, at most the CPU quota of its control groups,
/// rounded up (at least 1). SMT siblings are not counted: they share the vector units that matmuls fill. 1 if
/// the engine is built for one thread (GEMMA_SINGLE_THREAD).
unsigned physical_core_count();

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "thread_team.inl"
#endif
