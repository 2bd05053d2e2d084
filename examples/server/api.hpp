// The routes: which function answers which path, access control, logging and counting.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "examples/server/activity.hpp"
#include "examples/server/api_error.hpp"
#include "examples/server/http.hpp"
#include "examples/server/log.hpp"
#include "examples/server/model_pool.hpp"

namespace gemma::server {

/// Options of the routes.
struct ApiOptions {
  std::vector<std::string> keys;     // if not empty, a request needs one of these
  std::vector<std::string> origins;  // web origins that may send requests from a browser; "*": all
};

/// The error response for an exception that a request threw.
ApiError api_error_of(const std::exception_ptr& thrown);

/// Answers requests; all functions are thread-safe.
class Api : public HttpHandler {
 public:
  /// The context of answering one request.
  struct Call {
    const HttpRequest& request;
    std::shared_ptr<LogFields> log;  // fields of its log line beside time and status
  };

  /// `pool` and `log` must outlive it.
  Api(ModelPool& pool, Log& log, ApiOptions options);

  std::optional<HttpReply> refuse(const HttpRequest& head) override;
  HttpReply handle(const HttpRequest& request) override;
  HttpReply error(int status, const std::string& message, const HttpRequest* head) override;

  /// Refuses new requests from now on.
  void drain() noexcept { draining_ = true; }
  /// Ends running answers.
  void cancel() noexcept { cancelled_ = true; }
  bool cancelled() const noexcept { return cancelled_.load(); }
  ModelPool& pool() noexcept { return pool_; }
  Activity& activity() noexcept { return activity_; }
  /// Sets the function that counts connections, for /metrics.
  void count_connections(std::function<std::size_t()> count) { connections_ = std::move(count); }

 private:
  using Handler = HttpReply (Api::*)(const Call&);
  struct Route {
    std::string_view method, path;
    Handler handler;
    bool is_public = false;
    bool prefix = false;  // requests match if their path begins with `path`
  };

  static const std::vector<Route>& routes();
  /// The route of a request, or nullptr; `methods` gets the methods that the path has.
  static const Route* find(const HttpRequest& request, std::string& methods);
  bool has_key(const HttpRequest& head) const;
  void add_headers(const HttpRequest& request, HttpReply& reply) const;
  HttpReply failure(const HttpRequest& request, const ApiError& e) const;
  void finished(const HttpRequest& request, const std::string& path, int status, double seconds,
                const LogFields& more);

  HttpReply chat(const Call& call);
  HttpReply completions(const Call& call);
  HttpReply messages(const Call& call);
  HttpReply embeddings(const Call& call);
  HttpReply tokenize(const Call& call);
  HttpReply detokenize(const Call& call);
  HttpReply apply_template(const Call& call);
  HttpReply count_tokens(const Call& call);
  HttpReply page(const Call& call);
  HttpReply health(const Call& call);
  HttpReply models(const Call& call);
  HttpReply model(const Call& call);
  HttpReply props(const Call& call);
  HttpReply slots(const Call& call);
  HttpReply metrics(const Call& call);
  /// The model that a request names, loaded.
  ModelPool::Lease acquire(const std::string& name, const Call& call);

  ModelPool& pool_;
  Log& log_;
  ApiOptions options_;
  Activity activity_;
  std::function<std::size_t()> connections_ = [] { return std::size_t{0}; };
  std::int64_t created_;
  std::atomic<bool> draining_{false};
  std::atomic<bool> cancelled_{false};
};

/// Seconds since 1970.
std::int64_t unix_time();

}  // namespace gemma::server
