// The server below the routes: accepts connections, reads requests, sends replies. cpp-httplib parses and
// writes HTTP; this file decides on which socket, when, and for how long.
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

/// Runs one thread for each open connection.
class HttpServer {
 public:
  /// The handler must outlive it.
  HttpServer(HttpHandler& handler, const HttpLimits& limits) : handler_(handler), limits_(limits) {}
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  /// Cuts the remaining connections and waits for their threads.
  ~HttpServer();

  /// Starts to listen. Throws Error as listen_at().
  void bind(const std::string& host, int port);
  const std::string& url() const noexcept { return url_; }
  /// Accepts connections until `stop` is set; then stops listening and closes idle connections; the others
  /// end after the running request.
  void run(const std::atomic<bool>& stop);
  /// Waits until all connections have ended; returns false if they have not within the time.
  bool wait(double seconds);
  /// Cuts all connections.
  void cut();
  std::size_t n_connections() const;

 private:
  class Exchange;
  /// What a connection waits for: its first request, the next request, or the end of the running one.
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
  std::atomic<bool> crowded_{false};  // set if idle connections must make room for new ones
  mutable std::mutex mutex_;          // guards the members below
  std::condition_variable ended_;
  std::size_t n_threads_ = 0;
  std::map<const Connection*, State> connections_;
};

}  // namespace gemma::server
