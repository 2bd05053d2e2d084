// Sockets: where clients connect, and one client's connection with its limits of time and size.
// Invariant: a client that is slow, silent or gone costs a thread for a bounded time and a bounded amount of
// memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace gemma::server {

/// What a client may take.
struct HttpLimits {
  std::size_t connections = 512;                   // at one time; others wait to be accepted
  std::size_t head_bytes = 64 * 1024;              // of a request line and its headers
  std::size_t body_bytes = std::size_t{32} << 20;  // decoded
  int idle_seconds = 60;                           // between two requests
  int read_seconds = 30;                           // for a head; for a body, and 1 ms for each byte of it
  int write_seconds = 60;                          // in which a client takes nothing
};

/// A socket that is closed with it.
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

/// A socket that listens at `host` (a name, or an address of either kind) and `port` (0: any that is free).
/// Throws Error{kIo}: one line that names both and says why.
Socket listen_at(const std::string& host, int port);
/// "http://HOST:PORT" of a socket that listens.
std::string url_of(int fd, const std::string& host);
/// Address and port of either end of a connection; "" and 0 where it has gone.
struct Endpoint {
  std::string address;
  int port = 0;
};
Endpoint local_end(int fd);
Endpoint remote_end(int fd);

/// A client's connection. One thread, but for wake() and cut().
class Connection {
 public:
  Connection(Socket socket, const HttpLimits& limits);

  int fd() const noexcept { return socket_.fd(); }
  /// Waits until a request begins. False: none does, within the time or at all.
  bool wait_for_request(int seconds);
  /// From here on a head is read, which is limited in time and size.
  void begin_head() noexcept;
  /// From here on a body is, whose time grows with what has come.
  void begin_body() noexcept;
  /// Bytes that came; 0: the other side has closed, -1: an error, a time-out or more than is allowed.
  ssize_t read(char* to, std::size_t size);
  /// Whether read() refused a head for its size.
  bool head_too_large() const noexcept { return head_too_large_; }
  bool has_data(int milliseconds) const;
  bool can_take_data(int milliseconds) const;
  /// All of it, however slowly the client takes it, as long as it takes some. False: it does not.
  bool write(std::string_view data);
  /// Whether the other side has closed.
  bool peer_left() const;
  /// Lets the client read what was written before the connection is closed, though not all that it sent was
  /// read: closing at once would take the answer away from it.
  void linger();

  /// Of any thread: a wait for a request ends.
  void wake() const noexcept;
  /// Of any thread: nothing can be read or written any more.
  void cut() const noexcept;

 private:
  Socket socket_;
  const HttpLimits& limits_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0;  // of what was received and not read
  std::size_t end_ = 0;
  std::size_t n_read_ = 0;  // of this request
  bool in_head_ = true;
  bool head_too_large_ = false;
  std::int64_t deadline_ = 0;  // of the head or the body: milliseconds of a clock that never goes back
};

}  // namespace gemma::server
