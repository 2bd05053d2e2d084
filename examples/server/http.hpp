// HTTP as the routes see it: requests, replies, streams of events. Nothing here knows how they are carried.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gemma::server {

/// What a client sent.
struct HttpRequest {
  std::string method;
  std::string path;   // without the query
  std::string body;   // decoded
  std::string model;  // the parameter "model" of the query; "": none
  /// The value of a header, whose name is taken in any case; "": it is not there.
  std::function<std::string(const char*)> header;
  /// Whether the client has closed its side. Cheap enough for every token.
  std::function<bool()> client_left;
};

/// Where a stream goes.
class HttpSink {
 public:
  virtual ~HttpSink() = default;
  /// Sends this now. False: the client has gone, or takes nothing any more.
  virtual bool write(std::string_view text) = 0;
};

/// What the client gets: a body, or a stream.
struct HttpReply {
  int status = 200;
  std::string type = "application/json";
  std::string body = {};
  std::vector<std::pair<std::string, std::string>> headers = {};
  /// Writes the body piece by piece in place of `body`; false: the connection is to be cut. Does not throw.
  std::function<bool(HttpSink&)> stream = {};
};

/// Who answers. All functions are called by many threads at once, and none of them throws.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  /// Called with the head of a request, before its body is read: a reply if there is nothing to read it for.
  virtual std::optional<HttpReply> refuse(const HttpRequest& head) = 0;
  /// The reply to a whole request.
  virtual HttpReply handle(const HttpRequest& request) = 0;
  /// The reply to what is no request that could be handled (a malformed head, a body that is too large).
  /// `head`: what is known of the request; nullptr: nothing.
  virtual HttpReply error(int status, const std::string& message, const HttpRequest* head) = 0;
};

}  // namespace gemma::server
