// This process's rank among those that mpirun started; the only file that uses MPI.
// Invariant: MPI is called by one thread, which never waits inside it: it sends and receives messages, sends
// heartbeats to the preceding rank, and watches the next rank, while another thread computes.
#pragma once

#include <functional>
#include <string>

#include "examples/pipeline/mailbox.hpp"

namespace gemma::app {

/// Initialises MPI in the constructor and finalises it in the destructor; one per process. Used from the main
/// thread.
class Ranks {
 public:
  Ranks(int& argc, char**& argv);
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;
  /// Finalises MPI, within a few seconds even if other ranks do not answer.
  ~Ranks();

  /// This rank, 0 to size() - 1.
  int rank() const noexcept { return rank_; }
  int size() const noexcept { return size_; }
  /// The number of threads that this rank can use beside other ranks on this machine: the cores to which
  /// mpirun has bound it, or its share of the cores that all may use.
  unsigned default_threads() const noexcept { return default_threads_; }
  /// This machine's name, for messages.
  std::string host() const;

  /// Runs work(mailbox) in a separate thread and delivers its messages until it has returned on every rank.
  /// Returns its status. If it throws, or nothing has come from the next rank for `timeout` seconds (0:
  /// not watched), prints one line on stderr and ends all ranks with status 1; an mpirun that then does not
  /// end within some seconds is killed.
  int run(double timeout, const std::function<int(Mailbox&)>& work);

 private:
  int rank_ = 0, size_ = 1;
  unsigned default_threads_ = 1;
};

}  // namespace gemma::app
