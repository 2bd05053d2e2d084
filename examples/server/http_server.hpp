// The server below the routes: accepts connections, reads requests, carries replies. cpp-httplib reads and
// writes HTTP; which socket it does so on, when, and for how long, is decided here.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <map>
#include <mutex>
#include <string>

#include "examples/server/connection.hpp"
#include "examples/server/http.hpp"

namespace gemma::server {

/// A thread for each connection, as long as it lives.
class HttpServer {
 public:
  /// The handler must outlive it.
  HttpServer(HttpHandler& handler, const HttpLimits& limits) : handler_(handler), limits_(limits) {}
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  /// Cuts what is left, and waits for its threads.
  ~HttpServer();

  /// Throws Error as listen_at().
  void bind(const std::string& host, int port);
  const std::string& url() const noexcept { return url_; }
  /// Accepts connections until `stop` is set; then nobody listens any more, idle connections are closed, and
  /// the others end with the request that is running.
  void run(const std::atomic<bool>& stop);
  /// Whether all connections have ended within the time.
  bool wait(double seconds);
  /// Cuts all connections.
  void cut();
  std::size_t n_connections() const;

 private:
  class Exchange;
  /// What a connection waits for: its first request, another one, or the end of one.
  enum class State { kFresh, kIdle, kBusy };
  class Listed;

  void serve(Socket socket);
  void wake(bool fresh_too) const;
  bool full() const;

  HttpHandler& handler_;
  HttpLimits limits_;
  Socket listener_;
  std::string url_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> crowded_{false};  // idle connections make room for new ones
  mutable std::mutex mutex_;          // guards what follows
  std::condition_variable ended_;
  std::size_t n_threads_ = 0;
  std::map<const Connection*, State> connections_;
};

}  // namespace gemma::server
