// Messages between the thread that computes and the thread that talks to other ranks. Invariant: messages of
// one sender come in the order in which they were sent; after fail() nobody waits any more.
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

/// Neither copied nor moved; all functions may be called by any thread.
class Mailbox {
 public:
  explicit Mailbox(int rank) : rank_(rank) {}

  // ---- for who computes ----
  /// Sends, to this very rank too. Never waits.
  void send(int to, Kind kind, std::vector<std::byte> bytes);
  /// The next message; waits for it. Throws Error{kIo} with what fail() was given, {kCancelled} when the
  /// flag is set.
  Message receive(const std::atomic<bool>* cancel = nullptr);

  // ---- for who talks to other ranks ----
  void deliver(Message message);
  std::optional<Message> next_to_send();
  /// Other ranks cannot be reached: receive() throws this from now on, and failed() is set.
  void fail(const std::string& why);
  /// For Model's functions: stops what is being computed.
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
