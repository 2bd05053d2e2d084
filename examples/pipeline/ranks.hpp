// This process among those that mpirun started, and the only file that talks to MPI. Invariant: MPI is called
// by one thread, which never waits inside it: it carries messages, sends a sign of life to the rank before
// this one, and watches the rank behind it, while another thread computes.
#pragma once

#include <functional>
#include <string>

#include "examples/pipeline/mailbox.hpp"

namespace gemma::app {

/// MPI from the constructor to the destructor; one in a process. Use it from the main thread.
class Ranks {
 public:
  Ranks(int& argc, char**& argv);
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;
  /// Ends MPI; within a few seconds even where others do not answer.
  ~Ranks();

  /// 0 .. size - 1.
  int rank() const noexcept { return rank_; }
  int size() const noexcept { return size_; }
  /// Threads that this rank can keep busy beside the others on this machine: the cores that mpirun has bound
  /// it to, or its share of those that they all may use.
  unsigned default_threads() const noexcept { return default_threads_; }
  /// This machine's name, for people.
  std::string host() const;

  /// Runs work(mailbox) in a thread of its own and carries its messages until it has returned on every rank;
  /// returns its status. When it throws, or the rank behind this one has given no sign of life for `timeout`
  /// seconds (0: that is not watched), prints one line on stderr and ends all ranks with status 1; where the
  /// mpirun that started this rank does not end by that within some seconds, it is ended, too.
  int run(double timeout, const std::function<int(Mailbox&)>& work);

 private:
  int rank_ = 0, size_ = 1;
  unsigned default_threads_ = 1;
};

}  // namespace gemma::app
