// Sockets: the listening one, and one client's connection with its limits of time and size.
// Invariant: a slow, silent or disconnected client costs a thread for a bounded time and a bounded amount of
// memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace gemma::server {

/// Limits of clients.
struct HttpLimits {
  std::size_t connections = 512;                   // maximum number at a time; others wait to be accepted
  std::size_t head_bytes = 64 * 1024;              // maximum size of a request line and its headers
  std::size_t body_bytes = std::size_t{32} << 20;  // maximum size of a body, decoded
  int idle_seconds = 60;                           // maximum time between two requests
  int read_seconds = 30;   // maximum time to receive a head, or a body (plus 1 ms per byte of it)
  int write_seconds = 60;  // maximum time in which a client reads nothing
};

/// Owns a socket and closes it.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int fd) noexcept : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(other.release()) {}
  Socket& operator=(Socket&& other) noexcept;
  ~Socket() { close(); }

  int fd() const noexcept { return fd_; }
  int release() noexcept;
  void close() noexcept;

 private:
  int fd_ = -1;
};

/// A socket that listens at `host` (a name, or an IPv4 or IPv6 address) and `port` (0: any free one). Throws
/// Error{kIo}: one line that names both and the reason.
Socket listen_at(const std::string& host, int port);
/// "http://HOST:PORT" of a listening socket.
std::string url_of(int fd, const std::string& host);
/// Address and port of either end of a connection; "" and 0 if it is closed.
struct Endpoint {
  std::string address;
  int port = 0;
};
Endpoint local_end(int fd);
Endpoint remote_end(int fd);

/// A client's connection. Used by one thread, except wake() and cut().
class Connection {
 public:
  Connection(Socket socket, const HttpLimits& limits);

  int fd() const noexcept { return socket_.fd(); }
  /// Waits until a request begins. Returns false if none does within the time, or the connection has ended.
  bool wait_for_request(int seconds);
  /// Starts the time and size limits of a head.
  void begin_head() noexcept;
  /// Starts the limits of a body, whose time limit grows with the bytes that arrive.
  void begin_body() noexcept;
  /// Reads some bytes. Returns their number; 0: the other side has closed, -1: an error, a time-out or more
  /// than is allowed.
  ssize_t read(char* to, std::size_t size);
  /// Whether read() refused a head because of its size.
  bool head_too_large() const noexcept { return head_too_large_; }
  bool has_data(int milliseconds) const;
  bool can_take_data(int milliseconds) const;
  /// Writes all of `data`, however slowly the client reads, as long as it reads some. Returns false if it
  /// stops reading.
  bool write(std::string_view data);
  /// Whether the other side has closed.
  bool peer_left() const;
  /// Before the connection is closed although the request was not read completely: drops what the client
  /// still sends, until it has sent all, or nothing for 2 seconds, for 10 seconds at most. Closing at once
  /// would break the client's sending, so that it would never read the response.
  void linger();

  /// Ends a wait for a request. May be called by any thread.
  void wake() const noexcept;
  /// Ends all reading and writing. May be called by any thread.
  void cut() const noexcept;

 private:
  Socket socket_;
  const HttpLimits& limits_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0;  // start of the received bytes that are not read yet
  std::size_t end_ = 0;
  std::size_t n_read_ = 0;  // bytes of this request
  bool in_head_ = true;
  bool head_too_large_ = false;
  std::int64_t deadline_ = 0;  // of the head or body, in milliseconds of a monotonic clock
};

}  // namespace gemma::server
