// An OpenAI-compatible endpoint on 127.0.0.1 that replies, stalls, breaks off or sends nonsense, as each test
// says.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace gemma::squad::test {

/// What the endpoint does with one request.
struct Reply {
  std::string raw;     // sent as it is, status line and all
  double stall_s = 0;  // before sending
  double drip_s = 0;   // between single bytes; 0: all at once
};

inline Reply http(int status, const std::string& body, const std::string& headers = "") {
  return {"HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Type: application/json\r\nContent-Length: " +
              std::to_string(body.size()) + "\r\nConnection: close\r\n" + headers + "\r\n" + body,
          0, 0};
}

/// Serves each connection on its own thread, on a plain socket, so that it can break every rule of HTTP.
class FakeEndpoint {
 public:
  /// `serve` is given the number of the request (from 0) and its text.
  using Serve = std::function<Reply(std::size_t number, const std::string& request)>;

  explicit FakeEndpoint(Serve serve) : serve_(std::move(serve)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener_, 16) != 0)
      throw std::runtime_error("there is no free port");
    socklen_t size = sizeof address;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { loop(); });
  }
  FakeEndpoint(const FakeEndpoint&) = delete;
  FakeEndpoint& operator=(const FakeEndpoint&) = delete;
  ~FakeEndpoint() {
    stop_ = true;
    thread_.join();
    for (std::thread& connection : connections_) connection.join();
    ::close(listener_);
  }

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/v1"; }
  std::size_t n_requests() const { return number_; }
  /// Seconds between the arrivals of two requests.
  double gap(std::size_t from, std::size_t to) {
    const std::lock_guard guard(mutex_);
    return std::chrono::duration<double>(arrivals_.at(to) - arrivals_.at(from)).count();
  }

 private:
  void loop() {
    while (!stop_) {
      pollfd ready{listener_, POLLIN, 0};
      if (::poll(&ready, 1, 20) <= 0) continue;
      const int connection = ::accept(listener_, nullptr, nullptr);
      if (connection >= 0) connections_.emplace_back([this, connection] { serve(connection); });
    }
  }

  void serve(int connection) {
    const std::string request = read_request(connection);
    if (!request.empty()) {
      Reply reply;
      {
        const std::lock_guard guard(mutex_);
        arrivals_.push_back(std::chrono::steady_clock::now());
        reply = serve_(number_++, request);
      }
      wait(reply.stall_s);
      if (reply.drip_s > 0) {
        for (const char c : reply.raw) {
          if (stop_ || ::send(connection, &c, 1, MSG_NOSIGNAL) != 1) break;
          wait(reply.drip_s);
        }
      } else {
        std::size_t done = 0;
        while (done < reply.raw.size()) {
          const ssize_t n =
              ::send(connection, reply.raw.data() + done, reply.raw.size() - done, MSG_NOSIGNAL);
          if (n <= 0) break;
          done += static_cast<std::size_t>(n);
        }
      }
    }
    ::close(connection);
  }

  void wait(double seconds) const {
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    while (!stop_ && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  /// Headers and as much body as they announce.
  static std::string read_request(int connection) {
    std::string text;
    char buffer[4096];
    for (;;) {
      const std::size_t head = text.find("\r\n\r\n");
      if (head != std::string::npos) {
        const std::size_t length = text.find("Content-Length: ");
        const std::size_t body = length == std::string::npos ? 0 : std::stoul(text.substr(length + 16));
        if (text.size() >= head + 4 + body) return text;
      }
      const ssize_t n = ::recv(connection, buffer, sizeof buffer, 0);
      if (n <= 0) return "";
      text.append(buffer, static_cast<std::size_t>(n));
    }
  }

  Serve serve_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> stop_{false};
  std::atomic<std::size_t> number_{0};
  std::mutex mutex_;
  std::vector<std::chrono::steady_clock::time_point> arrivals_;
  std::vector<std::thread> connections_;
  std::thread thread_;
};

}  // namespace gemma::squad::test
