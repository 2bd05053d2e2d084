// What the server is doing and has done: running answers for /slots, counters for /metrics.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "examples/server/response.hpp"

namespace gemma::server {

/// A running answer.
struct Running {
  std::string id;
  std::string model;
  std::size_t n_prompt = 0;
  std::atomic<std::size_t> n_generated{0};
  std::atomic<bool> has_slot{false};
};

/// The running answers and the counters. Thread-safe.
class Activity {
 public:
  /// The figures of one answer, counted when it ends.
  struct Ended {
    Usage usage;
    double queued_seconds = 0;
    double first_token_seconds = 0;
    double seconds = 0;
  };
  struct Counts {
    std::map<std::pair<std::string, int>, std::size_t> requests;  // indexed by path and status
    std::size_t n_prompt = 0, n_cached = 0, n_generated = 0;      // tokens
    std::size_t n_answers = 0;
    double queued_seconds = 0, first_token_seconds = 0, seconds = 0;  // sums over answers
    std::size_t n_left = 0;  // answers whose client closed the connection
  };

  /// Adds a running answer, listed as long as the returned pointer exists.
  std::shared_ptr<Running> begin(std::string id, std::string model, std::size_t n_prompt);
  void ended(const Ended& e);
  void client_left();
  /// Counts an answered request. `path` is one of the routes.
  void answered(const std::string& path, int status);

  std::vector<std::shared_ptr<const Running>> running() const;
  Counts counts() const;

 private:
  mutable std::mutex mutex_;
  std::list<std::weak_ptr<Running>> running_;
  Counts counts_;
};

}  // namespace gemma::server
