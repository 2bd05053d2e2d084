#include "examples/server/connection.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "examples/numbers.hpp"
#include "gguf/error.hpp"

namespace gemma::server {
namespace {

std::int64_t now_ms() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(since).count();
}

/// Waits for `events`; returns whether they, or a hang-up, happened.
bool wait_for(int fd, short events, std::int64_t milliseconds) {
  const std::int64_t deadline = now_ms() + milliseconds;
  for (;;) {
    pollfd p{fd, events, 0};
    const int left = static_cast<int>(std::clamp<std::int64_t>(deadline - now_ms(), 0, 1 << 30));
    const int n = ::poll(&p, 1, left);
    if (n > 0) return true;
    if (n == 0 || errno != EINTR) return false;
  }
}

Endpoint endpoint_of(const sockaddr_storage& address, socklen_t size) {
  char host[NI_MAXHOST] = "";
  char port[NI_MAXSERV] = "";
  const auto* any = static_cast<const sockaddr*>(static_cast<const void*>(&address));
  if (::getnameinfo(any, size, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return {};
  return {host, app::parse_number<int>(port).value_or(0)};
}

[[noreturn]] void cannot_listen(const std::string& host, int port, const std::string& why) {
  throw Error(ErrorCode::kIo, "cannot listen at " + host + " port " + std::to_string(port) + ": " + why);
}

}  // namespace

Socket& Socket::operator=(Socket&& other) noexcept {
  if (this != &other) {
    close();
    fd_ = other.release();
  }
  return *this;
}
int Socket::release() noexcept {
  const int fd = fd_;
  fd_ = -1;
  return fd;
}
void Socket::close() noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Socket listen_at(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (error != 0) cannot_listen(host, port, ::gai_strerror(error));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, &::freeaddrinfo);
  int why = 0;
  for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
    Socket s(::socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol));
    const int yes = 1;
    // allows reusing a port whose last server has just ended, but not one that is in use
    if (s.fd() >= 0) ::setsockopt(s.fd(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (s.fd() >= 0 && ::bind(s.fd(), a->ai_addr, a->ai_addrlen) == 0 && ::listen(s.fd(), 1024) == 0) {
      return s;
    }
    why = errno;
  }
  cannot_listen(host, port, std::strerror(why));
}

std::string url_of(int fd, const std::string& host) {
  const bool six = host.find(':') != std::string::npos;
  return "http://" + (six ? "[" + host + "]" : host) + ":" + std::to_string(local_end(fd).port);
}

Endpoint local_end(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  auto* any = static_cast<sockaddr*>(static_cast<void*>(&address));
  return ::getsockname(fd, any, &size) == 0 ? endpoint_of(address, size) : Endpoint{};
}
Endpoint remote_end(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  auto* any = static_cast<sockaddr*>(static_cast<void*>(&address));
  return ::getpeername(fd, any, &size) == 0 ? endpoint_of(address, size) : Endpoint{};
}

Connection::Connection(Socket socket, const HttpLimits& limits)
    : socket_(std::move(socket)), limits_(limits), buffer_(16 * 1024) {
  const int yes = 1;  // send each token without delay
  ::setsockopt(fd(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

bool Connection::has_data(int milliseconds) const {
  return begin_ != end_ || wait_for(fd(), POLLIN, milliseconds);
}
bool Connection::can_take_data(int milliseconds) const {
  return wait_for(fd(), POLLOUT, milliseconds);
}
bool Connection::wait_for_request(int seconds) {
  if (begin_ != end_) return true;
  char byte = 0;
  return has_data(seconds * 1000) && ::recv(fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

void Connection::begin_head() noexcept {
  n_read_ = 0;
  in_head_ = true;
  deadline_ = now_ms() + std::int64_t{limits_.read_seconds} * 1000;
}
void Connection::begin_body() noexcept {
  in_head_ = false;
  deadline_ = now_ms() + std::int64_t{limits_.read_seconds} * 1000;
}

ssize_t Connection::read(char* to, std::size_t size) {
  if (size == 0) return 0;
  // the framing of a chunked body is counted too
  const std::size_t most = in_head_ ? limits_.head_bytes : 2 * limits_.body_bytes + limits_.head_bytes;
  if (n_read_ >= most) {
    head_too_large_ = head_too_large_ || in_head_;
    return -1;
  }
  if (begin_ == end_) {
    // a body may take one millisecond longer for each byte that has arrived
    const std::int64_t earned = in_head_ ? 0 : static_cast<std::int64_t>(n_read_);
    const std::int64_t wait =
        std::min(deadline_ + earned - now_ms(), std::int64_t{limits_.read_seconds} * 1000);
    if (!wait_for(fd(), POLLIN, wait)) return -1;
    const ssize_t n = ::recv(fd(), buffer_.data(), buffer_.size(), 0);
    if (n <= 0) return n;
    begin_ = 0;
    end_ = static_cast<std::size_t>(n);
  }
  const std::size_t n = std::min({size, end_ - begin_, most - n_read_});
  std::copy_n(buffer_.data() + begin_, n, to);
  begin_ += n;
  n_read_ += n;
  return static_cast<ssize_t>(n);
}

bool Connection::write(std::string_view data) {
  while (!data.empty()) {
    const ssize_t n = ::send(fd(), data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
      data.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (!can_take_data(limits_.write_seconds * 1000)) return false;
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

bool Connection::peer_left() const {
  pollfd p{fd(), POLLIN | POLLRDHUP, 0};
  if (::poll(&p, 1, 0) <= 0) return false;
  if ((p.revents & (POLLERR | POLLHUP | POLLRDHUP | POLLNVAL)) != 0) return true;
  char byte = 0;
  return ::recv(fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

void Connection::linger() {
  ::shutdown(fd(), SHUT_WR);
  const std::int64_t deadline = now_ms() + 10000;
  for (;;) {
    const std::int64_t left = std::min<std::int64_t>(deadline - now_ms(), 2000);
    if (left <= 0 || !wait_for(fd(), POLLIN, left)) return;
    if (::recv(fd(), buffer_.data(), buffer_.size(), 0) <= 0) return;
  }
}

void Connection::wake() const noexcept {
  ::shutdown(fd(), SHUT_RD);
}
void Connection::cut() const noexcept {
  ::shutdown(fd(), SHUT_RDWR);
}

}  // namespace gemma::server
