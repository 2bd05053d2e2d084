// The only unit that includes cpp-httplib's header. One of its Server objects is used for each connection:
// our own stream gives it the bytes, so that limits, time-outs and the end of a connection are ours, whatever
// its version.
#include "examples/server/http_server.hpp"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <thread>

#include <httplib.h>
#include <poll.h>
#include <strings.h>
#include <sys/socket.h>

#include "examples/numbers.hpp"

namespace gemma::server {
namespace {

/// A connection as a stream of cpp-httplib. Later versions have more virtual functions: nothing is marked as
/// override, so that it compiles with both.
// NOLINTBEGIN(modernize-use-override)
class ConnectionStream : public httplib::Stream {
 public:
  explicit ConnectionStream(Connection& c) : c_(c) {}

  bool is_readable() const { return c_.has_data(0); }
  bool is_writable() const { return c_.can_take_data(0); }
  bool wait_readable() const { return c_.has_data(30000); }
  bool wait_writable() const { return c_.can_take_data(30000); }
  ssize_t read(char* to, std::size_t size) { return c_.read(to, size); }
  ssize_t write(const char* from, std::size_t size) {
    if (c_.head_too_large()) return -1;  // Exchange reports the error
    return c_.write({from, size}) ? static_cast<ssize_t>(size) : -1;
  }
  void get_remote_ip_and_port(std::string& ip, int& port) const { take(remote_end(c_.fd()), ip, port); }
  void get_local_ip_and_port(std::string& ip, int& port) const { take(local_end(c_.fd()), ip, port); }
  socket_t socket() const { return c_.fd(); }
  time_t duration() const { return 0; }

 private:
  static void take(const Endpoint& end, std::string& ip, int& port) {
    ip = end.address;
    port = end.port;
  }
  Connection& c_;
};
// NOLINTEND(modernize-use-override)

class SinkOf : public HttpSink {
 public:
  explicit SinkOf(httplib::DataSink& sink) : sink_(sink) {}
  bool write(std::string_view text) override { return text.empty() || sink_.write(text.data(), text.size()); }

 private:
  httplib::DataSink& sink_;
};

void put(HttpReply reply, const httplib::Request& request, httplib::Response& out) {
  out.status = reply.status;
  for (const auto& [name, value] : reply.headers) out.set_header(name, value);
  if (!reply.stream) {
    if (!reply.body.empty()) out.set_content(reply.body, reply.type);
    return;
  }
  out.set_header("Cache-Control", "no-cache");
  auto provider = [stream = std::move(reply.stream)](std::size_t, httplib::DataSink& sink) {
    SinkOf to(sink);
    if (!stream(to)) return false;
    sink.done();
    return true;
  };
  if (request.version == "HTTP/1.0") {
    out.set_content_provider(reply.type, std::move(provider));
  } else {
    out.set_chunked_content_provider(reply.type, std::move(provider));
  }
}

/// The path of a request target that may also name the server, as sent to proxies: "http://HOST/PATH".
std::string own_path(const std::string& target) {
  constexpr std::string_view kScheme = "http://";
  if (!target.starts_with(kScheme)) return target;
  const std::size_t slash = target.find('/', kScheme.size());
  return slash == std::string::npos ? "/" : target.substr(slash);
}

bool is_known_encoding(const std::string& name) {
  const auto is = [&](const char* known) { return ::strcasecmp(name.c_str(), known) == 0; };
  return name.empty() || is("identity") || is("gzip") || is("deflate") || is("br");
}

bool all_digits(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

}  // namespace

/// The requests of one connection.
class HttpServer::Exchange : public httplib::Server {
 public:
  Exchange(Connection& c, HttpHandler& handler, const HttpLimits& limits)
      : c_(c), handler_(handler), limits_(limits) {
    svr_sock_ = c.fd();  // the library streams only while this is valid
    set_payload_max_length(limits.body_bytes);
    set_pre_routing_handler([this](const httplib::Request& q, httplib::Response& r) {
      return is_done_by_head(q, r) ? HandlerResponse::Handled : HandlerResponse::Unhandled;
    });
    Post(".*", [this](const httplib::Request& q, httplib::Response& r, const httplib::ContentReader& reader) {
      read_and_handle(q, r, reader);
    });
    set_error_handler(HandlerWithResponse([this](const httplib::Request& q, httplib::Response& r) {
      if (r.body.empty()) refuse(q, r, r.status, why(r.status));
      if (r.status == 400 || r.status >= 408) close_ = close_ || !handled_;
      return HandlerResponse::Handled;
    }));
    set_post_routing_handler([this](const httplib::Request& q, httplib::Response& r) {
      if (q.version == "HTTP/1.0" && r.get_header_value("Content-Length").empty()) close_ = true;
      r.headers.erase("Keep-Alive");  // cpp-httplib's numbers, not ours
      if (!close_) return;
      r.headers.erase("Connection");
      r.set_header("Connection", "close");
    });
  }

  /// Reads a request and answers it; returns whether the connection continues.
  bool serve() {
    handled_ = false;
    c_.begin_head();
    ConnectionStream stream(c_);
    bool closed = false;
    const auto set_up = [](httplib::Request& q) { q.ranges.clear(); };
    const bool ok = process(*this, stream, closed, set_up);
    if (c_.head_too_large()) {
      const HttpReply reply = handler_.error(431, "the head of the request is too large", nullptr);
      c_.write("HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: " + reply.type +
               "\r\nContent-Length: " + std::to_string(reply.body.size()) + "\r\nConnection: close\r\n\r\n" +
               reply.body);
      unread_ = true;
    }
    if (close_ || unread_ || !ok) c_.linger();
    return ok && !closed && !close_ && !unread_;
  }

 private:
  /// Calls process_request() of this version of the library.
  template <typename Self, typename SetUp>
  static bool process(Self& self, ConnectionStream& stream, bool& closed, const SetUp& set_up) {
    if constexpr (requires { self.process_request(stream, false, closed, set_up); }) {
      return self.process_request(stream, false, closed, set_up);
    } else {
      const Endpoint far = remote_end(stream.socket()), near = local_end(stream.socket());
      return self.process_request(stream, far.address, far.port, near.address, near.port, false, closed,
                                  set_up);
    }
  }

  static std::string why(int status) {
    switch (status) {
      case 413:
        return "the body is too large";
      case 414:
        return "the path is too long";
      case 415:
        return "the Content-Encoding is not supported";
      default:
        return status >= 500 ? "the request failed" : "the request is malformed";
    }
  }

  HttpRequest request_of(const httplib::Request& q) {
    HttpRequest out;
    out.method = q.method;
    out.path = own_path(q.path);
    out.model = q.has_param("model") ? q.get_param_value("model") : "";
    out.header = [&q](const char* name) { return q.get_header_value(name); };
    out.client_left = [this] { return c_.peer_left(); };
    return out;
  }

  void refuse(const httplib::Request& q, httplib::Response& r, int status, const std::string& message) {
    const HttpRequest head = request_of(q);
    put(handler_.error(status, message, &head), q, r);
  }

  /// Answers requests that need no body or are refused before it is read; returns whether it did.
  bool is_done_by_head(const httplib::Request& q, httplib::Response& r) {
    handled_ = true;
    c_.begin_body();
    const std::string length = q.get_header_value("Content-Length");
    const std::string encoding = q.get_header_value("Transfer-Encoding");
    const bool has_body = !encoding.empty() || (!length.empty() && length != "0");
    HttpRequest request = request_of(q);
    if (!encoding.empty() && (::strcasecmp(encoding.c_str(), "chunked") != 0 || !length.empty())) {
      refuse(q, r, 400, "the Transfer-Encoding is not 'chunked' alone");
    } else if (q.get_header_value_count("Content-Length") > 1 || (!length.empty() && !all_digits(length))) {
      refuse(q, r, 400, "the Content-Length is not a number");
    } else if (!length.empty() &&
               app::parse_number<std::size_t>(length).value_or(SIZE_MAX) > limits_.body_bytes) {
      refuse(q, r, 413, why(413));
    } else if (auto refusal = handler_.refuse(request)) {
      put(std::move(*refusal), q, r);
    } else if (has_body && !is_known_encoding(q.get_header_value("Content-Encoding"))) {
      refuse(q, r, 415, why(415));
    } else if (q.method == "POST" && has_body && q.is_multipart_form_data()) {
      refuse(q, r, 415, "the body must be JSON, not a form");
    } else if (q.method == "POST" && has_body) {
      return false;
    } else {
      put(handler_.handle(request), q, r);
    }
    close_ = unread_ = close_ || has_body;
    return true;
  }

  void read_and_handle(const httplib::Request& q, httplib::Response& r,
                       const httplib::ContentReader& reader) {
    HttpRequest request = request_of(q);
    bool too_large = false;
    r.status = -1;
    const bool ok = reader([&](const char* data, std::size_t n) {
      too_large = too_large || request.body.size() + n > limits_.body_bytes;
      if (!too_large) request.body.append(data, n);
      return !too_large;
    });
    if (ok) return put(handler_.handle(request), q, r);
    close_ = unread_ = true;
    if (too_large) return refuse(q, r, 413, why(413));
    const int status = r.status >= 400 ? r.status : 400;
    refuse(q, r, status, status == 400 ? "the body ended early or is malformed" : why(status));
  }

  Connection& c_;
  HttpHandler& handler_;
  const HttpLimits& limits_;
  bool handled_ = false;  // the head of the request was read
  bool close_ = false;    // the connection ends with this request
  bool unread_ = false;   // because the client's data was not read completely
};

HttpServer::~HttpServer() {
  stopping_ = true;
  cut();
  std::unique_lock lock(mutex_);
  ended_.wait(lock, [this] { return n_threads_ == 0; });
}

void HttpServer::bind(const std::string& host, int port) {
  listener_ = listen_at(host, port);
  url_ = url_of(listener_.fd(), host);
}

bool HttpServer::full() const {
  const std::lock_guard lock(mutex_);
  return n_threads_ >= limits_.connections;
}

void HttpServer::run(const std::atomic<bool>& stop) {
  while (!stop.load()) {
    crowded_ = full();
    if (crowded_.load()) {
      wake(false);
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      continue;
    }
    pollfd p{listener_.fd(), POLLIN, 0};
    if (::poll(&p, 1, 100) <= 0) continue;
    Socket socket(::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    if (socket.fd() < 0) {  // too many open files, or the client has disconnected already
      if (errno == EMFILE || errno == ENFILE) std::this_thread::sleep_for(std::chrono::milliseconds(20));
      continue;
    }
    {
      const std::lock_guard lock(mutex_);
      ++n_threads_;
    }
    try {
      auto shared = std::make_shared<Socket>(std::move(socket));
      std::thread([this, shared] { serve(std::move(*shared)); }).detach();
    } catch (const std::exception&) {  // no thread: the connection is closed
      const std::lock_guard lock(mutex_);
      --n_threads_;
    }
  }
  listener_.close();
  stopping_ = true;
  wake(true);
}

void HttpServer::wake(bool fresh_too) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [c, state] : connections_) {
    if (state == State::kIdle || (fresh_too && state == State::kFresh)) c->wake();
  }
}

/// Registers a connection, so that other threads can wake and cut it.
class HttpServer::Listed {
 public:
  Listed(HttpServer& server, const Connection& c) : server_(server), c_(c) { becomes(State::kFresh); }
  Listed(const Listed&) = delete;
  Listed& operator=(const Listed&) = delete;
  ~Listed() {
    const std::lock_guard lock(server_.mutex_);
    server_.connections_.erase(&c_);
  }
  void becomes(State state) {
    const std::lock_guard lock(server_.mutex_);
    server_.connections_[&c_] = state;
  }

 private:
  HttpServer& server_;
  const Connection& c_;
};

void HttpServer::serve(Socket socket) {
  try {
    Connection c(std::move(socket), limits_);
    Exchange exchange(c, handler_, limits_);
    Listed listed(*this, c);
    int seconds = limits_.read_seconds;
    while (c.wait_for_request(seconds)) {
      listed.becomes(State::kBusy);
      if (!exchange.serve()) break;
      listed.becomes(State::kIdle);
      seconds = stopping_.load() || crowded_.load() ? 0 : limits_.idle_seconds;
    }
  } catch (const std::exception&) {  // no memory for a connection
  }
  const std::lock_guard lock(mutex_);
  --n_threads_;
  ended_.notify_all();
}

bool HttpServer::wait(double seconds) {
  std::unique_lock lock(mutex_);
  return ended_.wait_for(lock, std::chrono::duration<double>(seconds), [this] { return n_threads_ == 0; });
}

void HttpServer::cut() {
  const std::lock_guard lock(mutex_);
  for (const auto& [c, state] : connections_) c->cut();
}

std::size_t HttpServer::n_connections() const {
  const std::lock_guard lock(mutex_);
  return n_threads_;
}

}  // namespace gemma::server
