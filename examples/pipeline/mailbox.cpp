#include "examples/pipeline/mailbox.hpp"

#include <chrono>
#include <utility>

#include "gemma/engine_error_code.hpp"

namespace gemma::app {

void Mailbox::send(int to, Kind kind, std::vector<std::byte> bytes) {
  Message message{kind, to, std::move(bytes)};
  if (to == rank_) return deliver(std::move(message));
  const std::lock_guard lock(mutex_);
  out_.push_back(std::move(message));
}

Message Mailbox::receive(const std::atomic<bool>* cancel) {
  std::unique_lock lock(mutex_);
  while (in_.empty()) {
    if (failed_) throw Error(ErrorCode::kIo, why_);
    if (cancel != nullptr && cancel->load()) throw Error(EngineErrorCode::kCancelled, "cancelled");
    // a signal handler sets the flag and cannot wake this thread
    arrived_.wait_for(lock, std::chrono::milliseconds(50));
  }
  Message message = std::move(in_.front());
  in_.pop_front();
  return message;
}

void Mailbox::deliver(Message message) {
  const std::lock_guard lock(mutex_);
  in_.push_back(std::move(message));
  arrived_.notify_one();
}

std::optional<Message> Mailbox::next_to_send() {
  const std::lock_guard lock(mutex_);
  if (out_.empty()) return std::nullopt;
  std::optional<Message> message = std::move(out_.front());
  out_.pop_front();
  return message;
}

void Mailbox::fail(const std::string& why) {
  const std::lock_guard lock(mutex_);
  why_ = why;
  failed_ = true;
  arrived_.notify_all();
}

}  // namespace gemma::app
