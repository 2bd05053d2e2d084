// Messages between the computing thread and the thread that communicates with other ranks.
// Invariant: messages of one sender arrive in the order in which they were sent; after fail() no thread
// waits.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "examples/pipeline/message.hpp"

namespace gemma::app {

/// The queues of messages. Neither copyable nor movable; thread-safe.
class Mailbox {
 public:
  explicit Mailbox(int rank) : rank_(rank) {}

  // ---- for the computing thread ----
  /// Sends a message, possibly to this rank itself. Never waits.
  void send(int to, Kind kind, std::vector<std::byte> bytes);
  /// Waits for the next message. Throws Error{kIo} with the reason given to fail(), {kCancelled} if the flag
  /// is set.
  Message receive(const std::atomic<bool>* cancel = nullptr);

  // ---- for the communicating thread ----
  void deliver(Message message);
  std::optional<Message> next_to_send();
  /// Reports that other ranks cannot be reached: from now on receive() throws with this reason, and failed()
  /// is set.
  void fail(const std::string& why);
  /// The flag to pass to Model's functions: it stops a running computation.
  const std::atomic<bool>& failed() const noexcept { return failed_; }

 private:
  const int rank_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Message> in_, out_;
  std::string why_;
  std::atomic<bool> failed_{false};
};

}  // namespace gemma::app
