// HTTP as the routes see it: requests, replies, streams of events. Independent of the transport.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gemma::server {

/// A client's request.
struct HttpRequest {
  std::string method;
  std::string path;   // without the query
  std::string body;   // after Transfer-Encoding and Content-Encoding are undone
  std::string model;  // the parameter "model" of the query; "": none
  /// Returns the value of a header (its name is case-insensitive); "" if it is absent.
  std::function<std::string(const char*)> header;
  /// Whether the client has closed its side. Cheap enough for every token.
  std::function<bool()> client_left;
};

/// The receiver of a stream.
class HttpSink {
 public:
  virtual ~HttpSink() = default;
  /// Sends `text` without delay. Returns false if the client has disconnected or stopped reading.
  virtual bool write(std::string_view text) = 0;
};

/// A reply: a body, or a stream.
struct HttpReply {
  int status = 200;
  std::string type = "application/json";
  std::string body = {};
  std::vector<std::pair<std::string, std::string>> headers = {};
  /// If set, writes the body piece by piece instead of `body`. Returns false if the connection must be cut.
  /// Must not throw.
  std::function<bool(HttpSink&)> stream = {};
};

/// Answers requests. All functions are called by many threads at once, and none of them throws.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  /// Called with the head of a request before its body is read: returns a reply if the body is not needed.
  virtual std::optional<HttpReply> refuse(const HttpRequest& head) = 0;
  /// The reply to a whole request.
  virtual HttpReply handle(const HttpRequest& request) = 0;
  /// The reply to a request that cannot be handled (a malformed head, a body that is too large). `head`: what
  /// is known of the request; nullptr: nothing.
  virtual HttpReply error(int status, const std::string& message, const HttpRequest* head) = 0;
};

}  // namespace gemma::server
