// Ctrl-C as a flag.
// Invariant: a signal only sets a flag that the engine checks often; ordinary code then cleans up memory,
// files and the terminal.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>

#include <signal.h>

namespace gemma::app {

/// Sets a handler for each of `signals`, except those that the parent process ignored (nohup, a shell's
/// background job). Returns the old handlers, for restore_signals().
template <std::size_t N>
std::array<struct sigaction, N> handle_signals(const std::array<int, N>& signals, void (*handler)(int),
                                               int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  sigemptyset(&action.sa_mask);
  action.sa_flags = flags;
  std::array<struct sigaction, N> before{};
  for (std::size_t i = 0; i < N; ++i) {
    ::sigaction(signals[i], &action, &before[i]);
    if (before[i].sa_handler == SIG_IGN) ::sigaction(signals[i], &before[i], nullptr);
  }
  return before;
}
template <std::size_t N>
void restore_signals(const std::array<int, N>& signals, const std::array<struct sigaction, N>& before) {
  for (std::size_t i = 0; i < N; ++i) ::sigaction(signals[i], &before[i], nullptr);
}

/// While an object exists, SIGINT, SIGTERM and SIGHUP set the flag instead of ending the process. Only one
/// may exist at a time.
class InterruptGuard {
 public:
  explicit InterruptGuard(std::atomic<bool>& flag) {
    last_.store(0);
    flag_.store(&flag);
    before_ = handle_signals(
        kSignals,
        [](int number) {
          last_.store(number);
          // lock-free, hence allowed in a handler; null for a moment while the guard ends
          if (std::atomic<bool>* f = flag_.load()) f->store(true);
        },
        SA_RESTART);
  }
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
  ~InterruptGuard() {
    restore_signals(kSignals, before_);
    flag_.store(nullptr);
  }

  /// The last signal that arrived, or 0.
  int last() const noexcept { return last_.load(); }
  /// The exit status of a program that the last signal ended, as shells count: 128 + its number. May be asked
  /// after the guard has gone.
  static int exit_status() noexcept { return 128 + (last_.load() != 0 ? last_.load() : SIGINT); }

 private:
  static constexpr std::array kSignals = {SIGINT, SIGTERM, SIGHUP};
  static inline std::atomic<std::atomic<bool>*> flag_{nullptr};
  static inline std::atomic<int> last_{0};
  static_assert(std::atomic<bool>::is_always_lock_free &&
                std::atomic<std::atomic<bool>*>::is_always_lock_free);
  std::array<struct sigaction, kSignals.size()> before_{};
};

}  // namespace gemma::app
